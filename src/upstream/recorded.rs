//! Answers that were written down once, given again.

use std::fmt;
use std::sync::Arc;

use crate::id::{RequestKey, Seed, VersionId};
use crate::protocol::recorded::Answer;
use crate::rng::{Draw, Purpose, draw};
use crate::upstream::profile::Ask;

/// Most answers of a log that are kept to be drawn from.
pub const MOST_KEPT: usize = 1 << 16;

/// Where the answers of an upstream come from.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Answers {
    /// Its profile draws them.
    #[default]
    Drawn,
    /// The very request was answered like this when it was recorded.
    OfTheRequest,
    /// Any answer of a log.
    OfAny(Arc<Reservoir>),
}

impl Answers {
    /// Do they come from a log?
    pub fn are_recorded(&self) -> bool {
        *self != Self::Drawn
    }

    /// What a log tells of the answer to an attempt; none where no log is asked.
    pub fn told(&self, seed: Seed, ask: &Ask) -> Option<Answer> {
        match self {
            Self::Drawn => None,
            Self::OfTheRequest => Some(ask.recorded.unwrap_or_default()),
            Self::OfAny(reservoir) => Some(reservoir.draw(seed, ask)),
        }
    }
}

/// Answers of a log of which every one had the same chance to be kept.
#[derive(Clone, Default, PartialEq)]
pub struct Reservoir {
    answers: Vec<Answer>,
    /// How many there were.
    pub seen: u64,
}

impl fmt::Debug for Reservoir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} answers", self.answers.len(), self.seen)
    }
}

impl Reservoir {
    /// The answers of a log (Vitter, "Random Sampling with a Reservoir", ACM TOMS 11, 1985: algorithm R). Which ones are kept
    /// hangs on the log alone: whatever the seed of a run, it draws from the same ones.
    pub fn of(answers: impl IntoIterator<Item = Answer>) -> Self {
        let mut reservoir = Self::default();
        answers
            .into_iter()
            .for_each(|answer| reservoir.take(answer));
        reservoir
    }

    /// Takes the next answer in.
    pub fn take(&mut self, answer: Answer) {
        self.seen += 1;
        if self.answers.len() < MOST_KEPT {
            self.answers.push(answer);
            return;
        }
        let place = any(self.seen).below(self.seen);
        if let Some(old) = self.answers.get_mut(place as usize) {
            *old = answer;
        }
    }

    /// All of it as a text, for those who need to know whether it is the same.
    pub fn text(&self) -> String {
        format!("{:?} of {}", self.answers, self.seen)
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    fn draw(&self, seed: Seed, ask: &Ask) -> Answer {
        let drawn = draw(seed, Purpose::Recorded, ask.key, ask.version, ask.nth);
        let place = drawn.below(self.answers.len() as u64);
        self.answers
            .get(place as usize)
            .copied()
            .unwrap_or_default()
    }
}

/// The draw for the nth answer of a log.
fn any(nth: u64) -> Draw {
    let (key, version) = (RequestKey(nth), VersionId::default());
    draw(Seed(0), Purpose::Recorded, key, version, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(n: u32) -> Answer {
        Answer {
            output_tokens: Some(n),
            ..Answer::default()
        }
    }

    #[test]
    fn every_answer_has_the_same_chance() {
        let few = Reservoir::of((0..10).map(answer));
        assert_eq!((few.answers.len(), few.seen), (10, 10));
        let many = 4 * MOST_KEPT as u32;
        let kept = Reservoir::of((0..many).map(answer));
        assert_eq!(
            (kept.answers.len(), kept.seen),
            (MOST_KEPT, u64::from(many))
        );
        let late = kept
            .answers
            .iter()
            .filter(|a| a.output_tokens >= Some(many / 2));
        // Five standard deviations of Binomial(65,536, 0.5).
        assert!((32_128..=33_408).contains(&late.count()));
    }
}
