//! How a gateway ends: the first signal lets the requests under way end, the second one or the limit
//! cuts them off.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::cli::exit;
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
}

impl End {
    pub(super) fn exit_code(self) -> u8 {
        match self {
            Self::Drained => exit::PASS,
            Self::Cut => exit::INTERRUPTED,
            Self::Broken => exit::BROKEN,
        }
    }
}

/// What a gateway's life hangs on.
#[derive(Debug)]
pub(super) struct Life {
    /// The signals of the process.
    pub(super) signals: Signals,
    /// Time for the requests under way.
    pub(super) limit: Duration,
    /// How the gateway learns of its end.
    pub(super) drain: Arc<Drain>,
}

impl Life {
    /// Waits for the end of a gateway at work, and leads it there.
    pub(super) async fn lead(mut self, gateway: JoinHandle<()>) -> End {
        tokio::select! {
            Order::Stop = self.signals.next() => {}
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
            Order::Stop = self.signals.next() => "a second signal came".to_owned(),
            () = tokio::time::sleep(self.limit.max(CLOSING)) => format!("{limit} are over"),
        };
        tracing::warn!("{why}: {} requests were cut off", self.drain.busy());
        End::Cut
    }
}
