//! A streamed answer as a script: which event comes when, and how it ends.
//!
//! Every moment is counted from the one the request was taken, so that a player that is late for one event is
//! not late for the rest.

use std::time::Duration;

use crate::protocol::drift::{Drift, DriftKind};
use crate::protocol::openai::Usage;
use crate::protocol::outcome::Outcome;
use crate::upstream::odd::{Form, Odd, Reading, Shape};

/// A streamed answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamPlan {
    /// The tokens it is to have.
    pub usage: Usage,
    /// Between two chunks.
    pub gap: Duration,
    /// Tokens of a chunk, at least one.
    pub per_chunk: u32,
    /// How it ends.
    pub ending: Ending,
    /// In which form it comes.
    pub manner: Manner,
}

/// In which form a stream comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// OpenAI's.
    Usual,
    /// OpenAI's, with the finish reason `content_filter`.
    Filtered,
    /// Another one: every chunk of it.
    Drifted(Shape),
}

impl Manner {
    /// The shape, when it is not OpenAI's.
    pub fn shape(self) -> Option<Shape> {
        match self {
            Self::Drifted(shape) => Some(shape),
            Self::Usual | Self::Filtered => None,
        }
    }
}

/// How a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As it should: finish reason, usage, `[DONE]`.
    Whole,
    /// Otherwise.
    Broken {
        /// After so many of its tokens, if it has as many.
        after: u32,
        /// What happens then.
        how: Breakage,
        /// Without any token before it: is it said before that who speaks?
        has_role: bool,
    },
}

/// What goes wrong with a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breakage {
    /// The connection is closed between two events, as if nothing were missing.
    Close,
    /// The connection is closed before the body's own end.
    Cut,
    /// The connection is reset.
    Reset,
    /// The body ends in good order in the middle of a UTF-8 character.
    MidCharacter,
    /// The body ends in good order in the middle of a JSON string.
    MidString,
    /// Nothing more comes, and the connection stays open.
    Stall,
    /// All of it comes but `[DONE]`.
    NoDone,
    /// An error event, and then a clean end.
    Error,
    /// An event that is no chunk, and then the rest as if nothing had been.
    Malformed,
    /// One chunk comes twice, and then the rest as if nothing had been.
    Duplicate,
    /// It goes on as another answer, by another model, and ends as if nothing had been.
    Splice,
    /// Chunks without choices, and then `[DONE]`: no answer. A fault of whole answers, too, so not among [`Self::ALL`].
    NoChoices,
}

impl Breakage {
    /// Every one that is a kind of fault of its own.
    pub const ALL: [Self; 11] = [
        Self::Close,
        Self::Cut,
        Self::Reset,
        Self::MidCharacter,
        Self::MidString,
        Self::Stall,
        Self::NoDone,
        Self::Error,
        Self::Malformed,
        Self::Duplicate,
        Self::Splice,
    ];

    /// The name of its fault in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Close => "stream_close",
            Self::Cut => "stream_cut",
            Self::Reset => "stream_reset",
            Self::MidCharacter => "stream_mid_character",
            Self::MidString => "stream_mid_string",
            Self::Stall => "stream_stall",
            Self::NoDone => "stream_no_done",
            Self::Error => "stream_error",
            Self::Malformed => "stream_malformed",
            Self::Duplicate => "stream_duplicate",
            Self::Splice => "stream_splice",
            Self::NoChoices => "empty_choices",
        }
    }

    /// How the attempt ends for whoever reads it, if they wait long enough; none when it never ends.
    pub fn outcome(self) -> Option<Outcome> {
        match self {
            Self::Close | Self::Cut | Self::MidCharacter | Self::MidString | Self::NoDone => {
                Some(Outcome::Truncated)
            }
            Self::Reset => Some(Outcome::Reset),
            Self::Stall => None,
            Self::Error => Some(Outcome::StreamError),
            Self::Malformed | Self::Splice | Self::NoChoices => Some(Outcome::Malformed),
            // Whoever reads it has no way to know.
            Self::Duplicate => Some(Outcome::Success),
        }
    }
}

/// One thing that a stream does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// The chunk that says who speaks.
    Role,
    /// A chunk with so many tokens.
    Tokens(u32),
    /// The same chunk of so many tokens again.
    Again(u32),
    /// A chunk without choices.
    Empty,
    /// The chunk with the finish reason.
    Finish,
    /// The chunk with the usage, for who asked for it.
    Usage,
    /// `[DONE]`.
    Done,
    /// An error event.
    Error,
    /// An event that is no chunk.
    Garbage,
    /// A chunk of so many tokens and a finish reason, of another answer by another model.
    Foreign(u32),
    /// The beginning of a chunk, up to the middle of a character.
    HalfCharacter,
    /// The beginning of a chunk, up to the middle of a string.
    HalfString,
    /// The body ends.
    End,
    /// The connection is closed before the body's end.
    Cut,
    /// The connection is reset.
    Reset,
    /// Nothing more, for as long as the other side waits.
    Silence,
}

/// A piece and its moment, counted from the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// When.
    pub after: Duration,
    /// What.
    pub piece: Piece,
}

impl StreamPlan {
    /// A stream of nothing: for what is said of a stream whatever comes with it.
    pub const EMPTY: Self = Self {
        usage: Usage {
            prompt_tokens: 0,
            completion_tokens: 0,
        },
        gap: Duration::ZERO,
        per_chunk: 1,
        ending: Ending::Whole,
        manner: Manner::Usual,
    };

    /// All it does, when its first token comes after `first`. The role comes half-way there, as from servers
    /// that speak before they think.
    pub fn moments(&self, first: Duration) -> impl Iterator<Item = Moment> + use<> {
        let plan = *self;
        let role = Moment {
            after: first / 2,
            piece: Piece::Role,
        };
        let chunks = (0..plan.chunks_sent()).map(move |index| Moment {
            after: plan.chunk_at(first, index),
            piece: Piece::Tokens(plan.tokens_of(index)),
        });
        let last = plan.last_at(first);
        let tail = plan.tail();
        let role = plan.says_role().then_some(role);
        let tail = tail.into_iter().flat_map(move |(piece, chunks_more)| {
            // What goes on after an odd event has its chunks still to come.
            let from = plan.chunks_sent();
            let more = (from..from + chunks_more).map(move |index| Moment {
                after: plan.chunk_at(first, index),
                piece: Piece::Tokens(plan.tokens_of(index)),
            });
            let after = if chunks_more > 0 {
                last
            } else {
                plan.tail_at(first)
            };
            std::iter::once(Moment { after, piece }).chain(more)
        });
        role.into_iter().chain(chunks).chain(tail)
    }

    /// What comes after the chunks before the breakage, each with the chunks that follow it.
    fn tail(&self) -> Vec<(Piece, u32)> {
        let finish = [(Piece::Finish, 0), (Piece::Usage, 0)].into_iter();
        let done = [(Piece::Done, 0), (Piece::End, 0)];
        let rest = self.chunks() - self.chunks_sent();
        match self.ending {
            Ending::Whole => finish.chain(done).collect(),
            Ending::Broken { how, .. } => match how {
                Breakage::Close => vec![(Piece::End, 0)],
                Breakage::Cut => vec![(Piece::Cut, 0)],
                Breakage::Reset => vec![(Piece::Reset, 0)],
                Breakage::MidCharacter => vec![(Piece::HalfCharacter, 0), (Piece::End, 0)],
                Breakage::MidString => vec![(Piece::HalfString, 0), (Piece::End, 0)],
                Breakage::Stall => vec![(Piece::Silence, 0)],
                Breakage::NoDone => finish.chain([(Piece::End, 0)]).collect(),
                Breakage::Error => vec![(Piece::Error, 0), (Piece::End, 0)],
                Breakage::Malformed => {
                    let odd = [(Piece::Garbage, rest)];
                    odd.into_iter().chain(finish).chain(done).collect()
                }
                Breakage::Duplicate => {
                    let again = self.tokens_of(self.chunks_sent().saturating_sub(1));
                    let odd = [(Piece::Again(again), rest)];
                    odd.into_iter().chain(finish).chain(done).collect()
                }
                Breakage::NoChoices => {
                    let empty = [(Piece::Empty, 0)];
                    empty.into_iter().chain(done).collect()
                }
                Breakage::Splice => {
                    let sent = self.tokens_of_first(self.chunks_sent());
                    let left = self.usage.completion_tokens - sent;
                    let other = [(Piece::Foreign(left.max(1)), 0)];
                    other.into_iter().chain(done).collect()
                }
            },
        }
    }

    /// Does anything come before the breakage? What goes on as another answer must have begun as one.
    fn says_role(&self) -> bool {
        match self.ending {
            Ending::Broken {
                after,
                how,
                has_role,
            } => after > 0 || has_role || how == Breakage::Splice,
            Ending::Whole => true,
        }
    }

    /// Chunks of the whole answer.
    pub fn chunks(&self) -> u32 {
        self.usage.completion_tokens.div_ceil(self.per_chunk.max(1))
    }

    /// Chunks until it ends or breaks.
    pub fn chunks_sent(&self) -> u32 {
        let all = self.chunks();
        match self.ending {
            Ending::Broken {
                how: Breakage::NoDone,
                ..
            }
            | Ending::Whole => all,
            Ending::Broken { after, .. } => all.min(after.div_ceil(self.per_chunk.max(1))),
        }
    }

    /// Tokens of the chunk with this number.
    fn tokens_of(&self, index: u32) -> u32 {
        let before = index.saturating_mul(self.per_chunk.max(1));
        let left = self.usage.completion_tokens.saturating_sub(before);
        left.min(self.per_chunk.max(1))
    }

    /// When the chunk with this number comes.
    pub fn chunk_at(&self, first: Duration, index: u32) -> Duration {
        first.saturating_add(self.gap.saturating_mul(index))
    }

    /// When the last chunk before the end or the breakage comes.
    fn last_at(&self, first: Duration) -> Duration {
        match self.chunks_sent() {
            0 => first,
            sent => self.chunk_at(first, sent - 1),
        }
    }

    /// When the last chunk of all comes.
    fn tail_at(&self, first: Duration) -> Duration {
        let goes_on = matches!(
            self.ending,
            Ending::Broken {
                how: Breakage::Malformed | Breakage::Duplicate,
                ..
            }
        );
        match self.chunks() {
            all if goes_on && all > 0 => self.chunk_at(first, all - 1),
            _ => self.last_at(first),
        }
    }

    /// When it is over for whoever reads it, and how; none when it never is.
    pub fn end(&self, first: Duration) -> Option<(Duration, Outcome)> {
        match self.ending {
            Ending::Whole => Some((self.last_at(first), Outcome::Success)),
            Ending::Broken { how, .. } => {
                let at = match how {
                    Breakage::Duplicate => self.tail_at(first),
                    // Whoever reads a garbled event reads no further.
                    _ => self.last_at(first),
                };
                how.outcome().map(|outcome| (at, outcome))
            }
        }
    }

    /// Chunks of the answer that its reader gets, but for one that comes twice: after a garbled event nobody
    /// reads on, after one that comes again everybody does.
    pub fn chunks_read(&self) -> u32 {
        match self.ending {
            Ending::Broken {
                how: Breakage::Duplicate,
                ..
            } => self.chunks(),
            Ending::Broken { .. } | Ending::Whole => self.chunks_sent(),
        }
    }

    /// The chunk that comes twice, if one does: when, and its tokens.
    pub fn again(&self, first: Duration) -> Option<(Duration, u32)> {
        let is_duplicate = self.tail().iter().find_map(|(piece, _)| match piece {
            Piece::Again(tokens) => Some(*tokens),
            _ => None,
        });
        is_duplicate.map(|tokens| (self.last_at(first), tokens))
    }

    /// How the tokens of its first so many chunks follow each other: as many of them, each so long after the
    /// one before it. A chunk's tokens share the time that it took; those of the first come at once.
    pub fn gaps(&self, chunks: u32) -> Vec<(Duration, u32)> {
        let mut gaps: Vec<(Duration, u32)> = Vec::new();
        let mut add = |each: Duration, tokens: u32| {
            if tokens > 0 {
                gaps.push((each, tokens));
            }
        };
        let at_once = self.tokens_of(0).min(self.tokens_of_first(chunks));
        add(Duration::ZERO, at_once.saturating_sub(1));
        let Some(last) = chunks.checked_sub(1).filter(|last| *last > 0) else {
            return gaps;
        };
        let size = self.per_chunk.max(1);
        let in_last = self.tokens_of(last);
        let whole = if in_last == size { last } else { last - 1 };
        add(self.gap / size, whole.saturating_mul(size));
        if in_last < size {
            add(self.gap / in_last.max(1), in_last);
        }
        gaps
    }

    /// Does a token come before it ends?
    pub fn has_token(&self) -> bool {
        self.chunks_read() > 0
    }

    /// The tokens that it states, if it comes to that.
    pub fn stated_usage(&self) -> Option<Usage> {
        let states = match self.ending {
            Ending::Whole => true,
            Ending::Broken { how, .. } => matches!(how, Breakage::NoDone | Breakage::Duplicate),
        };
        match self.reading() {
            Some(reading) => reading.usage.filter(|_| states),
            None => states.then_some(self.usage),
        }
    }

    /// What its shape means to its readers, if it is not OpenAI's: the same as for a whole answer.
    fn reading(&self) -> Option<Reading> {
        let shape = self.manner.shape()?;
        let odd = Odd {
            form: Form::Drifted(shape),
            usage: self.usage,
        };
        Some(odd.reading())
    }

    /// The tokens that are spent on it, as far as the upstream can tell.
    pub fn spent(&self) -> Option<Usage> {
        let spent = Usage {
            completion_tokens: self.tokens_sent(),
            ..self.usage
        };
        let is_told = self.reading().is_none_or(|reading| reading.usage.is_some());
        is_told.then_some(spent)
    }

    /// How it differs from the OpenAI shape, and how it still does once a gateway has put it right. What broke off
    /// shows nothing.
    pub fn drift(&self) -> (Drift, Drift) {
        let outcome = match self.ending {
            Ending::Whole => Some(Outcome::Success),
            Ending::Broken {
                how: Breakage::NoChoices,
                ..
            } => {
                let nothing = Drift::NONE.with(DriftKind::MissingChoices, true);
                return (nothing, nothing);
            }
            Ending::Broken { how, .. } => how.outcome(),
        };
        let reading = self.reading().filter(|_| outcome == Some(Outcome::Success));
        let drift = |reading: Reading| (reading.drift, reading.remaining);
        reading.map_or((Drift::NONE, Drift::NONE), drift)
    }

    /// Tokens that were sent, but for those that came twice.
    pub fn tokens_sent(&self) -> u32 {
        self.tokens_of_first(self.chunks_read())
    }

    /// Tokens of the first so many chunks.
    pub fn tokens_of_first(&self, chunks: u32) -> u32 {
        let sent = chunks.saturating_mul(self.per_chunk.max(1));
        self.usage.completion_tokens.min(sent)
    }

    /// When the first chunk comes that is no earlier than `at`, when the first of all comes after `first`.
    pub fn next_chunk(&self, first: Duration, at: Duration) -> Option<Duration> {
        let since = at.saturating_sub(first);
        let index = since.as_nanos().div_ceil(self.gap.as_nanos().max(1));
        let index = u32::try_from(index).ok()?;
        (index < self.chunks_read()).then(|| self.chunk_at(first, index))
    }

    /// Chunks that were sent so long after the request was taken, when the first came after `first`.
    pub fn chunks_by(&self, first: Duration, passed: Duration) -> u32 {
        let Some(since) = passed.checked_sub(first) else {
            return 0;
        };
        let more = since.as_nanos() / self.gap.as_nanos().max(1);
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        self.chunks_read().min(more.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(tokens: u32, per_chunk: u32, ending: Ending) -> StreamPlan {
        StreamPlan {
            usage: Usage {
                prompt_tokens: 3,
                completion_tokens: tokens,
            },
            gap: Duration::from_millis(20),
            per_chunk,
            ending,
            manner: Manner::Usual,
        }
    }

    fn broken(after: u32, how: Breakage) -> Ending {
        Ending::Broken {
            after,
            how,
            has_role: false,
        }
    }

    fn pieces(plan: StreamPlan) -> Vec<(u64, Piece)> {
        plan.moments(Duration::from_millis(100))
            .map(|m| (m.after.as_millis() as u64, m.piece))
            .collect()
    }

    #[test]
    fn a_whole_stream_has_every_token_at_its_time() {
        use Piece::{Done, End, Finish, Role, Tokens, Usage};
        assert_eq!(
            pieces(plan(5, 2, Ending::Whole)),
            [
                (50, Role),
                (100, Tokens(2)),
                (120, Tokens(2)),
                (140, Tokens(1)),
                (140, Finish),
                (140, Usage),
                (140, Done),
                (140, End)
            ]
        );
    }

    #[test]
    fn the_gaps_of_a_stream_are_all_of_its_time() {
        let ms = Duration::from_millis;
        assert_eq!(plan(5, 1, Ending::Whole).gaps(5), [(ms(20), 4)]);
        assert_eq!(
            plan(5, 2, Ending::Whole).gaps(3),
            [(Duration::ZERO, 1), (ms(10), 2), (ms(20), 1)]
        );
        for (tokens, per_chunk) in [(1, 1), (3, 4), (8, 4), (9, 4), (40, 3)] {
            let plan = plan(tokens, per_chunk, Ending::Whole);
            let gaps = plan.gaps(plan.chunks());
            let time: Duration = gaps.iter().map(|(each, n)| *each * *n).sum();
            let short = (plan.gap * (plan.chunks() - 1)).saturating_sub(time);
            assert!(short < Duration::from_micros(1), "{gaps:?}");
            assert_eq!(gaps.iter().map(|(_, n)| n).sum::<u32>(), tokens - 1);
        }
    }

    #[test]
    fn a_chunk_that_comes_twice_is_followed_by_the_rest() {
        let how = Breakage::Duplicate;
        let twice = plan(5, 2, broken(2, how));
        let first = Duration::from_millis(100);
        assert_eq!((twice.chunks_read(), twice.tokens_sent()), (3, 5));
        assert_eq!(twice.again(first), Some((first, 2)));
        assert_eq!(plan(5, 2, Ending::Whole).again(first), None);
    }

    #[test]
    fn a_breakage_comes_after_its_tokens() {
        use Piece::{Cut, Garbage, Role, Silence, Tokens};
        let broken = |after, how| plan(3, 1, broken(after, how));
        assert_eq!(pieces(broken(0, Breakage::Cut)), [(100, Cut)]);
        assert_eq!(
            pieces(broken(1, Breakage::Stall)),
            [(50, Role), (100, Tokens(1)), (100, Silence)]
        );
        let odd = pieces(broken(2, Breakage::Malformed));
        assert_eq!(
            odd[..5],
            [
                (50, Role),
                (100, Tokens(1)),
                (120, Tokens(1)),
                (120, Garbage),
                (140, Tokens(1))
            ]
        );
        assert_eq!(odd.len(), 9, "{odd:?}");
        // It has no more than it has.
        assert_eq!(broken(9, Breakage::Cut).chunks_sent(), 3);
        assert_eq!(broken(9, Breakage::Cut).tokens_sent(), 3);
    }
}
