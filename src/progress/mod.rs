//! How far a run is, for people: lines on stderr once it takes longer than a second.

use std::io::Write;
use std::time::Duration;

use crate::observe::event::{RunEvent, Sink, What};
use crate::protocol::outcome::Outcome;
use crate::time::{Human, Timestamp};
use crate::verdict::result::grouped;

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Not at all.
    Off,
    /// One line that is written over, for a terminal.
    Line,
    /// A new line every few seconds, for a log.
    Log,
}

/// Looks at the clock only every so many events: a virtual run has millions a second.
const EVENTS_BETWEEN_LOOKS: u32 = 1 << 12;
/// Runs shorter than this show nothing.
const QUIET: Duration = Duration::from_secs(1);

/// Shows how far one run is.
pub struct Progress<W: Write> {
    mode: Mode,
    out: W,
    name: String,
    planned_end: Option<Timestamp>,
    /// Time since the program started.
    now: Box<dyn Fn() -> Timestamp + Send>,
    next: Timestamp,
    skipped: u32,
    is_live: bool,
    sent: u64,
    answered: u64,
    failed: u64,
    is_drawn: bool,
}

impl<W: Write> Progress<W> {
    /// Progress of the run called `name`. `now` tells the time; in a live run it is asked at every
    /// event, since there may be few.
    pub fn new(
        mode: Mode,
        out: W,
        name: &str,
        planned_end: Option<Timestamp>,
        is_live: bool,
        now: Box<dyn Fn() -> Timestamp + Send>,
    ) -> Self {
        let started = now();
        Self {
            mode,
            out,
            name: name.to_owned(),
            planned_end,
            next: started + QUIET,
            now,
            skipped: 0,
            is_live,
            sent: 0,
            answered: 0,
            failed: 0,
            is_drawn: false,
        }
    }

    /// Takes the line away again.
    pub fn finish(mut self) {
        if self.is_drawn && self.mode == Mode::Line {
            let _ = write!(self.out, "\r\u{1b}[K");
            let _ = self.out.flush();
        }
    }

    fn draw(&mut self, at: Timestamp) {
        let share = self
            .planned_end
            .filter(|end| *end > Timestamp::ZERO)
            .map(|end| {
                let part = at.as_secs_f64() / end.as_secs_f64();
                format!("{:3.0} % ", (part * 100.0).min(100.0))
            });
        let line = format!(
            "{}{}: {}, {} sent, {} answered, {} failed",
            share.unwrap_or_default(),
            self.name,
            Human(at.elapsed()),
            grouped(self.sent),
            grouped(self.answered),
            grouped(self.failed),
        );
        // Progress that cannot be shown is no reason to stop.
        let _ = match self.mode {
            Mode::Off => Ok(()),
            Mode::Line => write!(self.out, "\r\u{1b}[K{line}"),
            Mode::Log => writeln!(self.out, "{line}"),
        };
        let _ = self.out.flush();
        self.is_drawn = true;
    }

    fn pause(&self) -> Duration {
        match self.mode {
            Mode::Line => Duration::from_millis(200),
            Mode::Off | Mode::Log => Duration::from_secs(5),
        }
    }
}

impl<W: Write> Sink for Progress<W> {
    fn event(&mut self, event: &RunEvent) {
        match &event.what {
            What::Sent(_) => self.sent += 1,
            What::Answered(answered) => {
                self.answered += 1;
                let is_failure = !answered.outcome.is_success();
                // Whoever hangs up was failed by nobody.
                let is_gone = answered.outcome == Outcome::ClientGone;
                self.failed += u64::from(is_failure && !is_gone);
            }
            What::Assigned { .. }
            | What::Dispatched { .. }
            | What::Cancelled { .. }
            | What::Accepted(_)
            | What::UpstreamEnded(_)
            | What::Booked(_)
            | What::Settled(_)
            | What::Judged(_)
            | What::RolledBack(_)
            | What::Held(_)
            | What::Told(_)
            | What::NotPromoted(_)
            | What::Standing(_)
            | What::Fault { .. }
            | What::Gaps(_)
            | What::HeldBack { .. }
            | What::Purse(_)
            | What::Ordered(_)
            | What::OrderEnded(_)
            | What::OutOfFiles
            | What::ClockJumped(_)
            | What::Machine(_)
            | What::Keys(_)
            | What::Memory { .. } => {}
        }
        if self.mode == Mode::Off {
            return;
        }
        self.skipped += 1;
        if self.skipped < EVENTS_BETWEEN_LOOKS && !self.is_live {
            return;
        }
        self.skipped = 0;
        let now = (self.now)();
        if now >= self.next {
            self.next = now + self.pause();
            self.draw(event.at);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::id::RequestKey;
    use crate::observe::event::Answered;
    use crate::protocol::drift::Drift;
    use crate::protocol::outcome::Outcome;

    fn answered() -> RunEvent {
        RunEvent {
            at: Timestamp::from_secs_f64(30.0),
            what: What::Answered(Answered {
                key: RequestKey(1),
                outcome: Outcome::Timeout,
                claim: crate::observe::event::Claim::default(),
                usage: None,
                origin: crate::observe::event::Origin::default(),
                streamed: None,
                drift: Drift::NONE,
            }),
        }
    }

    #[test]
    fn short_runs_are_silent_and_long_ones_are_not() {
        let time = Arc::new(AtomicU64::new(0));
        let clock = time.clone();
        let mut out = Vec::new();
        let now = Box::new(move || Timestamp(clock.load(Ordering::Relaxed)));
        let end = Some(Timestamp::from_secs_f64(60.0));
        let mut progress = Progress::new(Mode::Log, &mut out, "s", end, true, now);
        progress.event(&answered());
        time.store(1_500_000_000, Ordering::Relaxed);
        progress.event(&answered());
        progress.event(&answered());
        progress.finish();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, " 50 % s: 30 s, 0 sent, 2 answered, 2 failed\n");
    }
}
