//! Recorded traffic, sent again: at its own pace, faster, or as fast as it is answered.

use std::fmt;
use std::time::Duration;

use crate::id::RequestKey;
use crate::time::Timestamp;
use crate::traffic::body::Prompt;
use crate::traffic::log::{Offset, RecordedLog, scaled};
use crate::traffic::source::{Next, Planned, Source};

/// Requests under way at `--speed max`.
pub const MAX_SPEED_CONCURRENCY: u32 = 64;

/// How fast a log is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// This many times as fast as it was recorded (> 0).
    Times(f64),
    /// The next request as soon as one of 64 is answered; the recorded times are ignored.
    Max,
}

/// How many requests of a log are scheduled before `duration`; all of them when answers set the pace.
pub fn planned(log: &RecordedLog, speed: Speed, duration: Option<Duration>) -> u64 {
    match (speed, duration) {
        (Speed::Times(factor), Some(duration)) => log.scheduled_before(factor, duration),
        _ => log.len(),
    }
}

/// A source that sends a recorded log again.
pub struct Replay {
    rows: Box<dyn Iterator<Item = Offset> + Send>,
    /// What comes next, if it was looked at already.
    peeked: Option<Offset>,
    speed: Speed,
    end: Timestamp,
    /// The number of the next row.
    next: u64,
    free: u32,
    now: Timestamp,
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay")
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

impl Replay {
    /// The requests of `log` at `speed`; those scheduled at or after `duration` are left out.
    pub fn new(log: &RecordedLog, speed: Speed, duration: Option<Duration>) -> Self {
        Self {
            rows: log.offsets(),
            peeked: None,
            speed,
            end: duration.map_or(Timestamp::MAX, Timestamp::from),
            next: 0,
            free: MAX_SPEED_CONCURRENCY,
            now: Timestamp::ZERO,
        }
    }

    fn moment(&self, offset: u64) -> Option<Timestamp> {
        match self.speed {
            Speed::Times(factor) => Some(scaled(offset, factor)),
            Speed::Max => (self.free > 0).then_some(self.now),
        }
    }
}

impl Source for Replay {
    fn peek(&mut self) -> Next {
        if self.peeked.is_none() {
            self.peeked = self.rows.next();
        }
        let Some((offset, row)) = self.peeked else {
            return Next::Done;
        };
        let Some(at) = self.moment(offset) else {
            return Next::AfterAnswer;
        };
        if at >= self.end {
            return Next::Done;
        }
        Next::Request(Planned {
            key: RequestKey(self.next),
            at,
            caller: 0,
            prompt: Prompt::MadeUp {
                input_tokens: row.input_tokens,
                output_tokens: row.output_tokens,
            },
            stream: false,
            forced: None,
            hangs_up: None,
        })
    }

    fn take(&mut self) {
        self.peeked = None;
        self.next += 1;
        self.free = self
            .free
            .saturating_sub(u32::from(self.speed == Speed::Max));
    }

    fn answered(&mut self, _key: RequestKey, at: Timestamp) -> bool {
        self.free += u32::from(self.speed == Speed::Max);
        self.now = at;
        self.speed == Speed::Max
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::traffic::log::account::LogAccount;
    use crate::traffic::log::shape::Shape;
    use crate::traffic::log::survey::Survey;
    use crate::traffic::log::{Kept, Row, RowSource};

    const S: i64 = 1_000_000_000;

    fn log(times: &[i64]) -> RecordedLog {
        let rows = times.iter().zip(0..).map(|(at, n)| Row {
            at: at * S,
            input_tokens: n,
            output_tokens: 1,
            session: None,
        });
        let kept = Kept::new(rows.collect());
        let start = times.iter().min().copied().unwrap_or_default() * S;
        let mut survey = Survey::default();
        kept.rows()
            .for_each(|row| survey.take(row.at.abs_diff(start)));
        let (shape, account) = (Shape::default(), LogAccount::default());
        RecordedLog::new(Arc::new(kept), start, shape, account, survey)
    }

    fn seconds(source: &mut Replay) -> Vec<f64> {
        std::iter::from_fn(|| match source.next() {
            Next::Request(planned) => Some(planned.at.as_secs_f64()),
            Next::AfterAnswer | Next::Done => None,
        })
        .collect()
    }

    #[test]
    fn rows_are_sent_in_order_of_time_and_those_of_one_moment_as_they_stand() {
        let log = log(&[100, 102, 101, 101, 107]);
        let order: Vec<u32> = log.offsets().map(|(_, row)| row.input_tokens).collect();
        assert_eq!(order, [0, 2, 3, 1, 4]);
        assert_eq!((log.len(), log.recorded.ties), (5, 1));
        assert_eq!(log.span(), Duration::from_secs(7));
    }

    #[test]
    fn speed_shrinks_the_gaps() {
        let log = log(&[100, 101, 110]);
        let at = |speed| seconds(&mut Replay::new(&log, speed, None));
        assert_eq!(at(Speed::Times(1.0)), [0.0, 1.0, 10.0]);
        assert_eq!(at(Speed::Times(10.0)), [0.0, 0.1, 1.0]);
        let ten = Some(Duration::from_secs(10));
        let mut cut = Replay::new(&log, Speed::Times(1.0), ten);
        assert_eq!(seconds(&mut cut), [0.0, 1.0]);
    }

    #[test]
    fn at_full_speed_answers_set_the_pace() {
        let times: Vec<i64> = (0..100).collect();
        let mut source = Replay::new(&log(&times), Speed::Max, None);
        assert_eq!(seconds(&mut source).len(), 64);
        assert_eq!(source.next(), Next::AfterAnswer);
        source.answered(RequestKey(0), Timestamp(5));
        assert!(matches!(source.next(), Next::Request(p) if p.at == Timestamp(5)));
    }

    #[test]
    fn what_comes_after_the_duration_is_counted_as_left_out() {
        let log = log(&[0, 2, 4, 6]);
        let before =
            |speed, seconds: Option<u64>| planned(&log, speed, seconds.map(Duration::from_secs));
        assert_eq!(before(Speed::Times(1.0), Some(4)), 2);
        assert_eq!(before(Speed::Times(2.0), Some(3)), 3);
        assert_eq!(before(Speed::Times(1.0), None), 4);
        assert_eq!(before(Speed::Max, Some(1)), 4);
    }
}
