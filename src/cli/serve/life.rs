//! How a gateway ends: the first signal lets the requests under way end, the second one or the limit
//! cuts them off.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::cli::exit;
use crate::cli::serve::reload::Reload;
use crate::cli::signals::{Order, Signals};
use crate::live::http::drain::Drain;

/// Idle connections close in this time. Only then is it known who is really busy.
const CLOSING: Duration = Duration::from_millis(50);

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Everybody was served.
    Drained,
    /// Requests were cut off.
    Cut,
    /// The gateway itself broke.
    Broken,
    /// What happened could not be kept.
    Forgotten,
}

impl End {
    /// The same end, unless something that was to be kept is lost.
    pub(super) fn with(self, is_kept: bool) -> Self {
        match self {
            Self::Drained if !is_kept => Self::Forgotten,
            end => end,
        }
    }

    pub(super) fn exit_code(self) -> u8 {
        match self {
            Self::Drained => exit::PASS,
            Self::Cut => exit::INTERRUPTED,
            Self::Broken | Self::Forgotten => exit::BROKEN,
        }
    }
}

/// What a gateway's life hangs on.
pub(super) struct Life {
    /// The signals of the process.
    pub(super) signals: Signals,
    /// Time for the requests under way.
    pub(super) limit: Duration,
    /// How the gateway learns of its end.
    pub(super) drain: Arc<Drain>,
    /// What reads the configuration again.
    pub(super) reload: Reload,
}

impl Life {
    /// Waits for the order to stop. The configuration may change any number of times before.
    async fn stopped(&mut self) {
        let watching = tokio::spawn(self.reload.clone().watch());
        while self.signals.next().await == Order::Reload {
            self.reload.now().await;
        }
        watching.abort();
    }

    /// Waits for the end of a gateway at work, and leads it there.
    pub(super) async fn lead(mut self, gateway: JoinHandle<()>) -> End {
        tokio::select! {
            () = self.stopped() => {}
            _ = gateway => {
                tracing::error!("the gateway broke: it serves nobody any more");
                return End::Broken;
            }
        }
        self.drain.begin();
        let limit = humantime::format_duration(self.limit);
        tracing::info!("shutting down: requests under way have {limit} to end");
        let why = tokio::select! {
            biased;
            () = self.drain.finished() => {
                tracing::info!("every request under way was answered");
                return End::Drained;
            }
            () = stop_signal(&mut self.signals) => "a second signal came".to_owned(),
            () = tokio::time::sleep(self.limit.max(CLOSING)) => format!("{limit} are over"),
        };
        tracing::warn!("{why}: {} requests were cut off", self.drain.busy());
        End::Cut
    }
}

/// The next order to stop: what is coming to an end reads no configuration any more.
pub(super) async fn stop_signal(signals: &mut Signals) {
    while signals.next().await != Order::Stop {}
}
