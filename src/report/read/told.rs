//! A run told again: the rows of its requests and attempts, and its own events, as the events that gates saw.
//!
//! Rows know microseconds, and not everything. What they lack is left out here, and gates that need it must not be asked.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::id::{RequestKey, VersionId};
use crate::observe::event::{
    Accepted, Answered, AttemptKind, Booked, Claim, Finding, Missing, Origin, RollbackFacts,
    RunEvent, Sent, StandingFacts, Streamed, UpstreamEnded, What,
};
use crate::observe::meta::RunMeta;
use crate::observe::orders::{OrderEnd, OrderFacts, OrderKind};
use crate::protocol::drift::Drift;
use crate::protocol::openai::Usage;
use crate::protocol::outcome::Outcome;
use crate::report::read::summary::Summary;
use crate::report::read::{Row, Unreadable, rows};
use crate::time::Timestamp;
use crate::traffic::caller::Intent;

/// Whoever tells a run again.
pub struct Teller<'m> {
    meta: &'m RunMeta,
    /// Where the configuration obliges each caller's requests to go: rows do not number who is sticky.
    intents: &'m [Intent],
    /// What the run says of itself.
    recorded: &'m Summary,
    events: Vec<RunEvent>,
}

/// A row of `requests.csv`.
struct Request {
    key: RequestKey,
    attempts: usize,
    sent: Option<(Timestamp, Sent)>,
    answered: Option<(Timestamp, Outcome)>,
    output_tokens: Option<u32>,
    streamed: Option<Streamed>,
}

/// A row of `attempts.csv`.
struct Attempt {
    key: RequestKey,
    n: u32,
    version: VersionId,
    ordinal: u32,
    kind: Option<AttemptKind>,
    dispatched_at: Option<Timestamp>,
    accepted_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    outcome: Option<Outcome>,
    booked: Option<(VersionId, Outcome)>,
    altered: Option<bool>,
    usage: Option<Usage>,
}

/// All events of a run that kept all its rows, in order of time, up to its end.
///
/// # Errors
/// When a file cannot be read, or says what no run can have written.
pub fn events(
    folder: &Path,
    meta: &RunMeta,
    intents: &[Intent],
    recorded: &Summary,
) -> Result<(Vec<RunEvent>, u64), Unreadable> {
    let mut teller = Teller {
        meta,
        intents,
        recorded,
        events: Vec::new(),
    };
    // What happened to the run as a whole comes before what happened to requests in the same microsecond.
    teller.run_events(&folder.join("events.jsonl"))?;
    let (mut requests, mut attempts) = (Vec::new(), Vec::new());
    let kept = rows(&folder.join("requests.csv"), &mut |row| {
        requests.push(teller.request(row)?);
        Ok(())
    })?;
    let path = folder.join("attempts.csv");
    rows(&path, &mut |row| {
        attempts.push(teller.attempt(row)?);
        Ok(())
    })?;
    let mut rest = attempts.as_slice();
    for request in &requests {
        let own = rest.split_at_checked(request.attempts);
        let (own, others) = own.ok_or_else(|| Unreadable::new(&path, "it has too few rows"))?;
        if own.iter().any(|attempt| attempt.key != request.key) {
            let why = "its rows do not follow those of requests.csv";
            return Err(Unreadable::new(&path, why));
        }
        rest = others;
        teller.story(request, own);
    }
    if !rest.is_empty() {
        let why = "it has more rows than requests.csv tells of";
        return Err(Unreadable::new(&path, why));
    }
    // The sort is stable: what was told in order stays so.
    teller.events.sort_by_key(|event| event.at);
    teller.tell(exact(recorded.duration_s), What::Held(None));
    Ok((teller.events, kept))
}

impl Teller<'_> {
    fn tell(&mut self, at: Timestamp, what: What) {
        self.events.push(RunEvent { at, what });
    }

    fn version(&self, name: &str) -> Result<VersionId, String> {
        let mut versions = self.meta.versions.iter();
        let found = versions.find(|(_, version)| version.name == name);
        found
            .map(|(id, _)| id)
            .ok_or_else(|| format!("the scenario has no version `{name}`"))
    }

    fn request(&self, row: &Row) -> Result<Request, String> {
        let scheduled_at = moment(row, "scheduled_at_s")?;
        let stream = row.maybe("stream").filter(|text| !text.is_empty());
        let sent = match (moment(row, "sent_at_s")?, scheduled_at) {
            (Some(at), Some(scheduled_at)) => Some((
                at,
                Sent {
                    key: RequestKey(needed(row, "key")?),
                    scheduled_at,
                    intent: self.intent(row)?,
                    caller: needed(row, "caller")?,
                    input_tokens: needed(row, "input_tokens")?,
                    stream: stream.is_some(),
                },
            )),
            _ => None,
        };
        let outcome = outcome(row, "outcome")?;
        Ok(Request {
            key: RequestKey(needed(row, "key")?),
            attempts: needed(row, "attempts")?,
            sent,
            answered: moment(row, "answered_at_s")?.zip(outcome),
            output_tokens: parsed(row, "output_tokens")?,
            streamed: scheduled_at.map_or(Ok(None), |at| streamed(row, at))?,
        })
    }

    /// Rows do not number who is sticky: the scenario does, if its callers are those of the run.
    fn intent(&self, row: &Row) -> Result<Intent, String> {
        let text = row.text("intent")?;
        if let Some(name) = text.strip_prefix("forced:") {
            return Ok(Intent::Forced(self.version(name)?));
        }
        let caller: u32 = needed(row, "caller")?;
        let index = usize::try_from(caller).unwrap_or(usize::MAX);
        let known = self.intents.get(index).copied();
        let is_it = |intent: &Intent| match intent {
            Intent::Random => text == "random",
            Intent::Sticky(_) => text == "sticky",
            Intent::Pinned(version) => {
                text.strip_prefix("pinned:") == Some(self.meta.name(*version))
            }
            Intent::Forced(_) => false,
        };
        known
            .filter(is_it)
            .ok_or_else(|| format!("caller {caller} ({text}) is none of this scenario's"))
    }

    fn attempt(&self, row: &Row) -> Result<Attempt, String> {
        let booked = match row.text("router_version")? {
            "" => None,
            name => outcome(row, "router_outcome")?.map(|o| self.version(name).map(|v| (v, o))),
        };
        let usage = parsed(row, "input_tokens")?.zip(parsed(row, "output_tokens")?);
        Ok(Attempt {
            key: RequestKey(needed(row, "key")?),
            n: needed(row, "n")?,
            version: self.version(row.text("version")?)?,
            ordinal: needed(row, "try_at_version")?,
            kind: kind(row.text("kind")?)?,
            dispatched_at: moment(row, "dispatched_at_s")?,
            accepted_at: moment(row, "accepted_at_s")?,
            ended_at: moment(row, "ended_at_s")?,
            outcome: outcome(row, "outcome")?,
            booked: booked.transpose()?,
            altered: parsed(row, "altered")?,
            usage: usage.map(|(prompt_tokens, completion_tokens)| Usage {
                prompt_tokens,
                completion_tokens,
            }),
        })
    }

    /// A request, in the order in which each of its parts causes the next.
    fn story(&mut self, request: &Request, attempts: &[Attempt]) {
        if let Some((at, sent)) = request.sent {
            self.tell(at, What::Sent(sent));
        }
        let mut fallback = false;
        for attempt in attempts {
            fallback |= attempt.kind == Some(AttemptKind::Fallback);
            self.try_again(attempt, fallback);
        }
        if let Some((at, outcome)) = request.answered {
            self.tell(at, What::Answered(request.answer(outcome, attempts)));
        }
    }

    fn try_again(&mut self, attempt: &Attempt, fallback: bool) {
        let (key, n, version) = (attempt.key, attempt.n, attempt.version);
        if let Some(at) = attempt.dispatched_at {
            self.tell(at, What::Dispatched { key, n, version });
        }
        // No two rows of a ledger have one number.
        let row = self.events.len() as u64;
        if let Some(at) = attempt.accepted_at {
            self.tell(at, What::Accepted(attempt.accepted(row)));
        }
        let started_at = attempt.dispatched_at.or(attempt.accepted_at);
        let Some(over_at) = attempt.ended_at.or(started_at) else {
            return;
        };
        if attempt.was_given_up() {
            self.tell(over_at, What::Cancelled { key, n });
        }
        if let (Some(at), Some(outcome)) = (attempt.ended_at, attempt.outcome) {
            self.tell(at, What::UpstreamEnded(attempt.ended(row, outcome)));
        }
        if let Some((version, outcome)) = attempt.booked {
            self.tell(
                over_at,
                What::Booked(Booked {
                    key,
                    n,
                    version,
                    kind: attempt.kind.unwrap_or(AttemptKind::First),
                    fallback,
                    outcome,
                    latency: started_at.map_or(Duration::ZERO, |from| over_at.since(from)),
                    usage: None,
                    is_estimated: false,
                    drift: Drift::NONE,
                }),
            );
        }
    }

    fn run_events(&mut self, path: &Path) -> Result<(), Unreadable> {
        let text = fs::read_to_string(path).map_err(|e| Unreadable::new(path, e))?;
        for (number, line) in (1..).zip(text.lines()) {
            let event = serde_json::from_str(line)
                .map_err(|e| e.to_string())
                .and_then(|value: Value| self.run_event(&value));
            let event =
                event.map_err(|why| Unreadable::new(path, format_args!("line {number}: {why}")))?;
            self.events.extend(event);
        }
        Ok(())
    }

    fn run_event(&self, line: &Value) -> Result<Option<RunEvent>, String> {
        let at = line["at_s"].as_f64().map(exact);
        // Requests are told in whole microseconds, and so is what comes between them.
        let floor = |at: Timestamp| Timestamp(at.0 / 1_000 * 1_000);
        let at = floor(at.ok_or("it has no `at_s`")?);
        let what = match line["event"].as_str() {
            Some("run") => return self.recorded.is_named_by(line).map(|()| None),
            Some("rolled_back") => What::RolledBack(self.rollback(line)?),
            Some("standing") => What::Standing(standing(line)),
            Some("ordered") => What::Ordered(order(line)?),
            Some("order_ended") => What::OrderEnded(order_end(line)?),
            Some("not_promoted") => What::NotPromoted(missing(&line["missing"])),
            _ => return Ok(None),
        };
        Ok(Some(RunEvent { at, what }))
    }

    fn rollback(&self, line: &Value) -> Result<RollbackFacts, String> {
        let finding = &line["reason"];
        let reason = (!finding.is_null()).then(|| self.finding(finding));
        let decided_at = line["decided_at_s"].as_f64();
        Ok(RollbackFacts {
            id: text(line, "id"),
            from: self.version(&text(line, "from"))?,
            to: self.version(&text(line, "to"))?,
            decided_at: exact(decided_at.ok_or("it has no `decided_at_s`")?),
            cause: lasting(&text(line, "cause")),
            words: line["words"].as_str().map(str::to_owned),
            reason: reason.transpose()?,
            step: line["step"].as_str().map(str::to_owned),
            affected_requests: line["affected_requests"].as_u64().unwrap_or_default(),
        })
    }

    fn finding(&self, line: &Value) -> Result<Finding, String> {
        Ok(Finding {
            version: self.version(&text(line, "version"))?,
            measure: lasting(&text(line, "measure")),
            value: line["value"].as_f64(),
            bound: line["bound"].as_f64().unwrap_or_default(),
            samples: line["samples"].as_u64().unwrap_or_default(),
            min_samples: line["min_samples"].as_u64().unwrap_or_default(),
            action: lasting(&text(line, "action")),
            violated: line["violated"].as_bool().unwrap_or_default(),
        })
    }
}

fn standing(line: &Value) -> StandingFacts {
    StandingFacts {
        revision: line["revision"].as_u64().unwrap_or_default(),
        phase: lasting(&text(line, "phase")),
        step: line["step"].as_str().map(str::to_owned),
        share: line["share"].as_f64().unwrap_or_default(),
        cause: lasting(&text(line, "cause")),
        closed: Vec::new(),
    }
}

fn order(line: &Value) -> Result<OrderFacts, String> {
    let number = line["order"].as_u64().and_then(|n| u16::try_from(n).ok());
    let kind = match (line["kind"].as_str(), line["canary_share"].as_f64()) {
        (Some("rollback"), _) => OrderKind::Rollback,
        (Some("set_weights"), Some(share)) => OrderKind::SetWeights { share },
        _ => return Err("it is no order that is known".to_owned()),
    };
    Ok(OrderFacts {
        number: number.ok_or("its order has no number")?,
        kind,
    })
}

fn order_end(line: &Value) -> Result<OrderEnd, String> {
    let status = line["status"].as_u64();
    Ok(OrderEnd {
        order: order(line)?,
        status: status.and_then(|status| u16::try_from(status).ok()),
        took: crate::time::seconds(line["took_s"].as_f64().unwrap_or_default()),
        answer: text(line, "answer"),
    })
}

fn missing(list: &Value) -> Vec<Missing> {
    let all = list.as_array().into_iter().flatten();
    let one = |value: &Value| Missing {
        code: lasting(&text(value, "code")),
        words: text(value, "words"),
        have: value["have"].as_f64(),
        need: value["need"].as_f64(),
        unit: value["unit"].as_str().map(lasting),
    };
    all.map(one).collect()
}

fn text(line: &Value, name: &str) -> String {
    line[name].as_str().unwrap_or_default().to_owned()
}

/// A name that lives as long as the program, as those in the code do. There are a handful of them in a run.
fn lasting(name: &str) -> &'static str {
    Box::leak(name.to_owned().into_boxed_str())
}

/// The moment that was written as these seconds, to the nanosecond.
fn exact(seconds: f64) -> Timestamp {
    Timestamp((seconds * 1e9).round().max(0.0) as u64)
}

impl Request {
    fn answer(&self, outcome: Outcome, attempts: &[Attempt]) -> Answered {
        // Whoever lost patience was told nothing; then the router saw its caller leave.
        let last = attempts.last().and_then(|attempt| attempt.booked);
        let has_left = match outcome {
            Outcome::ClientGone => true,
            Outcome::Timeout => last.is_none_or(|(_, booked)| booked == Outcome::ClientGone),
            _ => false,
        };
        let usage = self.output_tokens.map(|completion_tokens| Usage {
            prompt_tokens: self.sent.map_or(0, |(_, sent)| sent.input_tokens),
            completion_tokens,
        });
        Answered {
            key: self.key,
            outcome,
            claim: Claim {
                attempts: (!has_left).then_some(attempts.len() as u32),
                ..Claim::default()
            },
            usage,
            origin: Origin::default(),
            drift: Drift::NONE,
            streamed: self.streamed,
        }
    }
}

impl Attempt {
    /// Did the router hang up on it? Then the upstream cannot tell why it ended, and the row says what the router says.
    fn was_given_up(&self) -> bool {
        let is_giving_up = |outcome: Outcome| {
            use Outcome::{ClientGone, Deadline, Shutdown, Timeout};
            matches!(outcome, Timeout | Deadline | ClientGone | Shutdown)
        };
        let booked = self.booked.map(|(_, outcome)| outcome);
        booked.is_some_and(is_giving_up) && self.outcome == booked
    }

    fn accepted(&self, row: u64) -> Accepted {
        Accepted {
            row,
            key: Some(self.key),
            version: self.version,
            ordinal: self.ordinal,
            n: self.dispatched_at.map(|_| self.n),
            fault: None,
            retry_after: None,
            altered: self.altered,
            is_told: None,
        }
    }

    fn ended(&self, row: u64, outcome: Outcome) -> UpstreamEnded {
        UpstreamEnded {
            row,
            key: Some(self.key),
            version: self.version,
            ordinal: self.ordinal,
            outcome,
            usage: self.usage,
            cost: None,
            drift: Drift::NONE,
        }
    }
}

fn streamed(row: &Row, scheduled_at: Timestamp) -> Result<Option<Streamed>, String> {
    let first = match row.maybe("first_token_ms") {
        Some(_) => row.micros("first_token_ms")?,
        None => None,
    };
    let Some(first) = first else {
        return Ok(None);
    };
    let first_token = scheduled_at + Duration::from_micros(first);
    Ok(Some(Streamed {
        first_token,
        last_token: first_token,
        tokens: needed(row, "tokens")?,
        is_estimated: false,
        chunks: needed(row, "chunks")?,
        longest_gap: Duration::ZERO,
        content: None,
        is_spliced: false,
        is_done_after_failure: false,
    }))
}

/// Seconds with six decimals; none where the field is empty.
fn moment(row: &Row, column: &str) -> Result<Option<Timestamp>, String> {
    let text = row.text(column)?;
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = || format!("`{text}` is no time ({column})");
    let (seconds, micros) = text.split_once('.').ok_or_else(wrong)?;
    let seconds: u64 = seconds.parse().map_err(|_| wrong())?;
    let micros: u64 = match micros.len() {
        6 => micros.parse().map_err(|_| wrong())?,
        _ => return Err(wrong()),
    };
    let all = seconds
        .checked_mul(1_000_000)
        .and_then(|s| s.checked_add(micros));
    let nanos = all.and_then(|all| all.checked_mul(1_000));
    nanos.map(|nanos| Some(Timestamp(nanos))).ok_or_else(wrong)
}

fn outcome(row: &Row, column: &str) -> Result<Option<Outcome>, String> {
    match row.text(column)? {
        "" => Ok(None),
        name => {
            let outcome = Outcome::from_name(name);
            let outcome = outcome.ok_or_else(|| format!("`{name}` is no outcome ({column})"))?;
            Ok(Some(outcome))
        }
    }
}

fn kind(name: &str) -> Result<Option<AttemptKind>, String> {
    use AttemptKind::{Fallback, First, Retry};
    if name.is_empty() {
        return Ok(None);
    }
    let found = [First, Retry, Fallback]
        .into_iter()
        .find(|kind| kind.name() == name);
    found
        .map(Some)
        .ok_or_else(|| format!("`{name}` is no kind of attempt"))
}

fn parsed<T: std::str::FromStr>(row: &Row, column: &str) -> Result<Option<T>, String> {
    match row.text(column)? {
        "" => Ok(None),
        text => {
            let parsed = text.parse().ok();
            let parsed = parsed.ok_or_else(|| format!("`{text}` is not understood ({column})"))?;
            Ok(Some(parsed))
        }
    }
}

fn needed<T: std::str::FromStr>(row: &Row, column: &str) -> Result<T, String> {
    parsed(row, column)?.ok_or_else(|| format!("there is nothing in `{column}`"))
}
