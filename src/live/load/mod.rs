//! The load generator: sends planned requests on schedule, whatever the answers do.

pub mod client;
mod reading;

use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use crate::id::RequestKey;
use crate::live::clock::Clock;
use crate::live::load::client::LoadClient;
use crate::time::Timestamp;
use crate::traffic::source::{Next, Planned, Source};

/// An answer that came: to which request, and when.
type Answer = (RequestKey, Timestamp);

/// Sends everything a source has to offer, and waits for the answers. Requests are sent on tasks of
/// their own, so that no answer delays another request. Stops sending when dropped.
pub async fn send(mut source: Box<dyn Source>, client: Arc<LoadClient>, clock: Clock) {
    let (answered, mut answers) = unbounded_channel();
    let mut tasks = JoinSet::new();
    loop {
        match source.peek() {
            Next::Request(planned) => {
                // Made before its time comes: making it must not delay it.
                let prepared = client.prepare(planned);
                if !wait(clock, planned, &mut answers, source.as_mut()).await {
                    continue;
                }
                source.take();
                let (client, answered) = (client.clone(), answered.clone());
                tasks.spawn(async move {
                    client.send(prepared).await;
                    tell(&answered, (planned.key, clock.now()));
                });
                // Tasks that are done are of no more use.
                while tasks.try_join_next().is_some() {}
            }
            Next::AfterAnswer => {
                if let Some((key, at)) = answers.recv().await {
                    source.answered(key, at);
                }
            }
            Next::Done => break,
        }
    }
    while tasks.join_next().await.is_some() {}
}

/// Waits for the moment of a request. Says whether it is still the next one then: an answer may call for
/// one that comes before it.
async fn wait(
    clock: Clock,
    planned: Planned,
    answers: &mut UnboundedReceiver<Answer>,
    source: &mut dyn Source,
) -> bool {
    let due = clock.sleep_exactly_until(planned.at);
    tokio::pin!(due);
    loop {
        tokio::select! {
            biased;
            () = &mut due => return true,
            Some((key, at)) = answers.recv() => {
                let may_change = source.answered(key, at);
                if may_change && source.peek() != Next::Request(planned) {
                    return false;
                }
            }
        }
    }
}

fn tell(answered: &UnboundedSender<Answer>, answer: Answer) {
    // Nobody listens any more when the run is over.
    let _ = answered.send(answer);
}
