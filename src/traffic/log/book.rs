//! How the requests under way had been answered when they were recorded, for upstreams that answer as the log says.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::id::{IdMap, RequestKey};
use crate::protocol::recorded::Answer;
use crate::traffic::log::Told;

/// Requests that are remembered after they were answered: an attempt of theirs may still be on its way to an upstream.
const REMEMBERED: usize = 10_000;

/// The recorded answers of requests under way.
#[derive(Debug, Default)]
pub struct Book(Mutex<Pages>);

#[derive(Debug, Default)]
struct Pages {
    told: IdMap<RequestKey, Arc<Told>>,
    /// Requests that were answered, the oldest first.
    over: VecDeque<RequestKey>,
}

impl Book {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request is about to be sent.
    pub fn enter(&self, key: RequestKey, told: &Arc<Told>) {
        self.pages().told.insert(key, told.clone());
    }

    /// A request was answered.
    pub fn answered(&self, key: RequestKey) {
        let pages = &mut *self.pages();
        pages.over.push_back(key);
        if pages.over.len() > REMEMBERED
            && let Some(oldest) = pages.over.pop_front()
        {
            pages.told.remove(oldest);
        }
    }

    /// The answer to the nth try of a request, from 0: that of the nth attempt in the log, or of the last one there is.
    pub fn answer(&self, key: RequestKey, nth: u32) -> Option<Answer> {
        let pages = self.pages();
        let answers = &pages.told.get(key)?.answers;
        let last = answers.len().checked_sub(1)?;
        answers.get(last.min(nth as usize)).copied()
    }
}

#[cfg(test)]
mod tests {
    use smallvec::smallvec;

    use super::*;

    #[test]
    fn tries_beyond_the_last_attempt_are_answered_like_it() {
        let answer = |n| Answer {
            output_tokens: Some(n),
            ..Answer::default()
        };
        let told = Arc::new(Told {
            answers: smallvec![answer(1), answer(2)],
            ..Told::default()
        });
        let book = Book::default();
        let key = RequestKey(7);
        book.enter(key, &told);
        let tokens = |nth| book.answer(key, nth).and_then(|a| a.output_tokens);
        assert_eq!(
            [0, 1, 2, 9].map(tokens),
            [Some(1), Some(2), Some(2), Some(2)]
        );
        book.answered(key);
        assert_eq!(tokens(0), Some(1));
        (0..REMEMBERED as u64).for_each(|n| book.answered(RequestKey(100 + n)));
        assert_eq!(tokens(0), None);
        assert!(book.pages().told.is_empty());
    }
}
