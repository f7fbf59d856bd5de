//! The load generator: sends planned requests on schedule, whatever the answers do.

pub mod client;
mod reading;

use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use crate::live::clock::Clock;
use crate::live::load::client::LoadClient;
use crate::time::Timestamp;
use crate::traffic::source::{Next, Source};

/// Sends everything a source has to offer, and waits for the answers. Requests are sent on tasks of
/// their own, so that no answer delays another request. Stops sending when dropped.
pub async fn send(mut source: Box<dyn Source>, client: Arc<LoadClient>, clock: Clock) {
    let (answered, mut answers) = unbounded_channel();
    let mut tasks = JoinSet::new();
    let mut next = source.next();
    loop {
        match next {
            Next::Request(planned) => {
                // Made before its time comes: making it must not delay it.
                let prepared = client.prepare(planned);
                wait(clock, planned.at, &mut answers, source.as_mut()).await;
                let (client, answered) = (client.clone(), answered.clone());
                tasks.spawn(async move {
                    client.send(prepared).await;
                    tell(&answered, clock.now());
                });
                // Tasks that are done are of no more use.
                while tasks.try_join_next().is_some() {}
                next = source.next();
            }
            Next::AfterAnswer => {
                if let Some(at) = answers.recv().await {
                    source.answered(at);
                }
                next = source.next();
            }
            Next::Done => break,
        }
    }
    while tasks.join_next().await.is_some() {}
}

/// Waits for a moment. A closed loop learns of answers meanwhile.
async fn wait(
    clock: Clock,
    at: Timestamp,
    answers: &mut UnboundedReceiver<Timestamp>,
    source: &mut dyn Source,
) {
    let due = clock.sleep_until(at);
    tokio::pin!(due);
    loop {
        tokio::select! {
            biased;
            () = &mut due => return,
            Some(at) = answers.recv() => source.answered(at),
        }
    }
}

fn tell(answered: &UnboundedSender<Timestamp>, at: Timestamp) {
    // Nobody listens any more when the run is over.
    let _ = answered.send(at);
}
