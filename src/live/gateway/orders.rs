//! The way of the core's orders to the task of a request.
//!
//! A channel for a handful of messages: it takes one small allocation, where a general one takes room
//! for dozens, and a task that gives itself an order through the core does not wake itself.

use std::future::{Future, poll_fn};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use smallvec::SmallVec;

/// A new way: where orders are given, and where they are taken.
pub fn orders<T>() -> (Giver<T>, Taker<T>) {
    let desk = Arc::new(Desk(Mutex::new(State {
        orders: SmallVec::new(),
        waiting: None,
        is_closed: false,
    })));
    (Giver(desk.clone()), Taker(desk))
}

#[derive(Debug)]
struct Desk<T>(Mutex<State<T>>);

#[derive(Debug)]
struct State<T> {
    /// Oldest first. Most requests get two: send, forward.
    orders: SmallVec<[T; 2]>,
    /// Who waits for the next one.
    waiting: Option<Waker>,
    /// Will there be no more?
    is_closed: bool,
}

impl<T> Desk<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing in here panics half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes something, and wakes who waited for it.
    fn change(&self, change: impl FnOnce(&mut State<T>)) {
        let waiting = {
            let mut state = self.lock();
            change(&mut state);
            state.waiting.take()
        };
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }
}

/// Where orders are given. Dropped, it says that there will be no more.
#[derive(Debug)]
pub struct Giver<T>(Arc<Desk<T>>);

impl<T> Giver<T> {
    /// Gives an order. When nobody takes any more, nobody will read it.
    pub fn send(&self, order: T) {
        self.0.change(|state| state.orders.push(order));
    }
}

impl<T> Drop for Giver<T> {
    fn drop(&mut self) {
        self.0.change(|state| state.is_closed = true);
    }
}

/// Where orders are taken, in the order in which they were given.
#[derive(Debug)]
pub struct Taker<T>(Arc<Desk<T>>);

impl<T> Taker<T> {
    /// The next order; none when there will be no more. Nothing is lost when it is dropped early.
    pub fn recv(&mut self) -> impl Future<Output = Option<T>> {
        let wait = Wait(&self.0);
        poll_fn(move |context| wait.poll(context))
    }

    /// The same for whoever is polled. It is woken for the next order until it asks again.
    pub fn poll(&mut self, context: &Context<'_>) -> Poll<Option<T>> {
        self.0.poll(context)
    }
}

impl<T> Desk<T> {
    fn poll(&self, context: &Context<'_>) -> Poll<Option<T>> {
        let mut state = self.lock();
        if !state.orders.is_empty() {
            return Poll::Ready(Some(state.orders.remove(0)));
        }
        if state.is_closed {
            return Poll::Ready(None);
        }
        state.waiting = Some(context.waker().clone());
        Poll::Pending
    }
}

/// Whoever waits. One that does something else meanwhile is not woken.
struct Wait<'d, T>(&'d Desk<T>);

impl<T> Wait<'_, T> {
    fn poll(&self, context: &Context<'_>) -> Poll<Option<T>> {
        self.0.poll(context)
    }
}

impl<T> Drop for Wait<'_, T> {
    fn drop(&mut self) {
        self.0.lock().waiting = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn orders_come_in_the_order_given_and_end_with_the_giver() {
        let (giver, mut taker) = orders();
        (0..5).for_each(|n| giver.send(n));
        drop(giver);
        for n in 0..5 {
            assert_eq!(taker.recv().await, Some(n));
        }
        assert_eq!(taker.recv().await, None);
    }

    #[tokio::test]
    async fn who_waits_is_woken_by_an_order_and_by_the_end() {
        let (giver, mut taker) = orders();
        let task = tokio::spawn(async move { (taker.recv().await, taker.recv().await) });
        tokio::task::yield_now().await;
        giver.send('a');
        tokio::task::yield_now().await;
        drop(giver);
        assert_eq!(task.await.unwrap(), (Some('a'), None));
    }

    #[test]
    fn who_stopped_waiting_is_not_woken() {
        let (giver, mut taker) = orders();
        let mut wait = Box::pin(taker.recv());
        let mut context = Context::from_waker(Waker::noop());
        assert!(wait.as_mut().poll(&mut context).is_pending());
        assert!(giver.0.lock().waiting.is_some());
        drop(wait);
        assert!(giver.0.lock().waiting.is_none());
        giver.send(1);
        let mut again = Box::pin(taker.recv());
        assert_eq!(again.as_mut().poll(&mut context), Poll::Ready(Some(1)));
    }
}
