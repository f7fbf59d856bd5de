//! The end of a server's life: new requests are turned away, those under way are finished.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

/// A server's farewell: says when it begins, knows who is still busy.
#[derive(Debug, Default)]
pub struct Drain {
    begun: watch::Sender<bool>,
    /// Connections over which a request came, and that are not closed yet.
    busy: watch::Sender<usize>,
    turned_away: AtomicU64,
    /// Are requests that come too late not even answered?
    is_abrupt: bool,
}

/// A connection that is busy, until it is dropped.
#[derive(Debug)]
pub struct Busy {
    drain: Arc<Drain>,
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.drain.busy.send_modify(|busy| *busy -= 1);
    }
}

impl Drain {
    /// The end of a server that is just gone: whoever comes too late gets no answer.
    pub fn abrupt() -> Self {
        Self {
            is_abrupt: true,
            ..Self::default()
        }
    }

    /// Are requests that come too late not even answered?
    pub fn is_abrupt(&self) -> bool {
        self.is_abrupt
    }

    /// From now on nobody is let in. Connections without a request under way close at once.
    pub fn begin(&self) {
        self.begun.send_replace(true);
    }

    /// A request comes in; none once the drain began.
    pub fn enter(self: &Arc<Self>) -> Option<Busy> {
        // Counted before it is asked, so that nobody slips in between `begin` and `finished`.
        self.busy.send_modify(|busy| *busy += 1);
        let busy = Busy {
            drain: self.clone(),
        };
        self.is_open().then_some(busy)
    }

    /// Are requests let in?
    pub fn is_open(&self) -> bool {
        !*self.begun.borrow()
    }

    /// A request is turned away.
    pub fn note_turned_away(&self) {
        self.turned_away.fetch_add(1, Ordering::Relaxed);
    }

    /// How many requests were turned away.
    pub fn turned_away(&self) -> u64 {
        self.turned_away.load(Ordering::Relaxed)
    }

    /// Waits until the drain begins.
    pub async fn begun(&self) {
        // The sender is here, so it is not gone.
        let _ = self.begun.subscribe().wait_for(|begun| *begun).await;
    }

    /// Waits until nobody is busy any more.
    pub async fn finished(&self) {
        let _ = self.busy.subscribe().wait_for(|busy| *busy == 0).await;
    }

    /// How many connections are busy. Before the drain, idle ones over which a request once came
    /// count, too.
    pub fn busy(&self) -> usize {
        *self.busy.borrow()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_finished_when_the_last_one_leaves() {
        let drain = Arc::new(Drain::default());
        let first = drain.enter().expect("it is open");
        drain.begin();
        drain.begun().await;
        assert!(drain.enter().is_none(), "nobody comes in any more");
        assert_eq!(drain.busy(), 1);
        let finished = drain.clone();
        let finished = tokio::spawn(async move { finished.finished().await });
        tokio::task::yield_now().await;
        assert!(!finished.is_finished());
        drop(first);
        finished.await.unwrap();
    }
}
