//! What a run costs: tokens and money by version, and how much of it bought an answer.
//!
//! An attempt is *served* when a caller got its answer, else *wasted*. Tokens are those that the upstream's
//! ledger states; an attempt that may have used tokens, and of which nobody says how many, is
//! counted as unknown and costs nothing here. The same fold works on the router's word alone, where
//! there are no ledgers: [`CostBook::booked`].

use std::time::Duration;

use crate::id::{PerVersion, VersionId};
use crate::observe::event::Booked;
use crate::observe::story::{Attempt, Story};
use crate::pricing::{Cost, Price, monthly_projection, per_million, yearly};
use crate::protocol::openai::Usage;
use crate::protocol::outcome::Outcome;

/// What one attempt spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spend {
    /// Where.
    pub version: VersionId,
    /// The tokens; none when nobody says.
    pub usage: Option<Usage>,
    /// What it cost, where somebody states that.
    pub stated: Option<Cost>,
    /// Did no caller get its answer?
    pub is_wasted: bool,
    /// May it have used tokens, though nobody says how many?
    pub is_unknown: bool,
}

impl Spend {
    fn new(
        version: VersionId,
        (usage, stated): (Option<Usage>, Option<Cost>),
        is_wasted: bool,
        end: Option<Outcome>,
    ) -> Self {
        let is_known = usage.is_some() || stated.is_some();
        Self {
            version,
            usage,
            stated,
            is_wasted,
            is_unknown: !is_known && end.is_none_or(may_use_tokens),
        }
    }

    /// What it cost: as stated, else by its tokens; nothing without a price or known tokens.
    pub fn cost(&self, price: Option<Price>) -> Cost {
        let by_tokens = price.zip(self.usage).map(|(price, usage)| price.of(usage));
        self.stated.or(by_tokens).unwrap_or(Cost::ZERO)
    }
}

/// What the attempts of a request spent.
pub fn spends(story: &Story) -> impl Iterator<Item = Spend> {
    let serving = story.serving();
    let with_places = story.attempts.iter().enumerate();
    with_places.map(move |(place, attempt)| {
        let is_wasted = serving != Some(place);
        let spent = (tokens(attempt), attempt.cost);
        Spend::new(attempt.version, spent, is_wasted, end(attempt))
    })
}

/// By the upstream's ledger; where no upstream has one, by the router's word.
fn tokens(attempt: &Attempt) -> Option<Usage> {
    match attempt.was_accepted() {
        true => attempt.usage,
        false => attempt.booked.and_then(|(_, booked)| booked.usage),
    }
}

fn end(attempt: &Attempt) -> Option<Outcome> {
    match attempt.was_accepted() {
        true => attempt.truth(),
        // Nothing took it.
        false => attempt.truth().or(Some(Outcome::Connect)),
    }
}

/// Refusals and broken upstreams answer with an error, which nobody is charged for. Whatever ended
/// without an answer may have been worked on.
fn may_use_tokens(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Success
        | Outcome::Timeout
        | Outcome::Reset
        | Outcome::Truncated
        | Outcome::StreamError
        | Outcome::Malformed
        | Outcome::ClientGone
        | Outcome::Deadline
        | Outcome::Shutdown => true,
        Outcome::Unauthorized
        | Outcome::Forbidden
        | Outcome::ModelNotFound
        | Outcome::RateLimited
        | Outcome::QuotaExhausted
        | Outcome::BadRequest
        | Outcome::ServerError
        | Outcome::Overloaded
        | Outcome::Connect
        | Outcome::Limited => false,
    }
}

/// Attempts, their tokens, and what they cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Attempts whose tokens or costs are known.
    pub attempts: u64,
    /// Tokens of their prompts.
    pub input_tokens: u64,
    /// Tokens of their answers.
    pub output_tokens: u64,
    /// What they cost; nothing without a price.
    pub cost: Cost,
}

impl Part {
    fn add(&mut self, usage: Option<Usage>, cost: Cost) {
        self.attempts += 1;
        if let Some(usage) = usage {
            self.input_tokens += u64::from(usage.prompt_tokens);
            self.output_tokens += u64::from(usage.completion_tokens);
        }
        self.cost += cost;
    }
}

/// What one version cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VersionCosts {
    /// Its price.
    pub price: Option<Price>,
    /// Attempts whose answer a caller got.
    pub served: Part,
    /// Attempts whose answer nobody got: failed, stopped, replaced.
    pub wasted: Part,
    /// Attempts that may have used tokens, and nobody says how many.
    pub unknown: u64,
    /// Attempts whose costs are stated.
    pub stated: u64,
    /// Attempts whose tokens the gateway counted, because their streams do not state them.
    pub estimated: u64,
}

impl VersionCosts {
    /// Takes an attempt in as the router booked it. A booked success is an answer that its caller got.
    pub fn booked(&mut self, booked: &Booked) {
        let is_wasted = !booked.outcome.is_success();
        self.estimated += u64::from(booked.is_estimated);
        let end = Some(booked.outcome);
        self.spend(Spend::new(
            booked.version,
            (booked.usage, None),
            is_wasted,
            end,
        ));
    }

    fn spend(&mut self, spend: Spend) {
        self.unknown += u64::from(spend.is_unknown);
        self.stated += u64::from(spend.stated.is_some());
        let cost = spend.cost(self.price);
        if spend.usage.is_some() || spend.stated.is_some() {
            let part = match spend.is_wasted {
                true => &mut self.wasted,
                false => &mut self.served,
            };
            part.add(spend.usage, cost);
        }
    }

    /// Is it known what its tokens cost: by a price, or because somebody states it?
    pub fn is_priced(&self) -> bool {
        self.price.is_some() || self.stated > 0
    }

    /// Everything it cost; none where that is not known.
    pub fn total(&self) -> Option<Cost> {
        self.is_priced().then_some(())?;
        Some(self.served.cost.saturating_add(self.wasted.cost))
    }

    /// What it cost for nothing; none where that is not known.
    pub fn wasted(&self) -> Option<Cost> {
        self.is_priced().then_some(self.wasted.cost)
    }
}

/// The costs of all versions.
#[derive(Clone, Debug)]
pub struct CostBook {
    /// By version.
    pub versions: PerVersion<VersionCosts>,
}

impl CostBook {
    /// An empty book with the versions' prices.
    pub fn new(prices: &PerVersion<Option<Price>>) -> Self {
        let priced = |price: &Option<Price>| VersionCosts {
            price: *price,
            ..VersionCosts::default()
        };
        Self {
            versions: prices.values().map(priced).collect(),
        }
    }

    /// An empty book of so many versions without prices.
    pub fn unpriced(versions: usize) -> Self {
        Self::new(&PerVersion::from_fn(versions, |_| None))
    }

    /// Takes a request in that is over.
    pub fn story(&mut self, story: &Story) {
        spends(story).for_each(|spend| self.versions[spend.version].spend(spend));
    }

    /// Takes an attempt in as the router booked it: for a gateway without ledgers.
    pub fn booked(&mut self, booked: &Booked) {
        self.versions[booked.version].booked(booked);
    }

    /// Has any version a price?
    pub fn is_priced(&self) -> bool {
        self.versions.values().any(VersionCosts::is_priced)
    }

    /// Everything; none when a version has no price.
    pub fn total(&self) -> Option<Cost> {
        self.versions.values().map(VersionCosts::total).sum()
    }

    /// Everything that was spent for nothing; none when a version has no price.
    pub fn wasted(&self) -> Option<Cost> {
        self.versions.values().map(VersionCosts::wasted).sum()
    }

    /// Attempts that may have used tokens, and nobody says how many.
    pub fn unknown(&self) -> u64 {
        self.versions.values().map(|v| v.unknown).sum()
    }
}

/// What goes on like this run would cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Projection {
    /// 30 days at the run's mean rate of requests.
    pub month: Option<Cost>,
    /// Twelve such months.
    pub year: Option<Cost>,
    /// A million requests.
    pub million_requests: Option<Cost>,
}

impl Projection {
    /// From what so many requests cost, which were sent in this time; none for fewer than two.
    pub fn of(cost: Cost, requests: u64, time: Option<Duration>) -> Self {
        let month = time.and_then(|time| monthly_projection(cost, time));
        Self {
            month: month.map(Cost::to_cents),
            year: month.map(|month| yearly(month).to_cents()),
            million_requests: per_million(cost, requests).map(Cost::to_cents),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::RequestKey;
    use crate::observe::event::AttemptKind;
    use crate::protocol::drift::Drift;

    const CANARY: VersionId = VersionId(1);

    fn prices() -> PerVersion<Option<Price>> {
        let price = Price {
            input: "$2".parse().unwrap(),
            output: "$8".parse().unwrap(),
        };
        PerVersion::from_fn(2, |_| Some(price))
    }

    fn booked(outcome: Outcome, usage: Option<Usage>) -> Booked {
        Booked {
            key: RequestKey(1),
            n: 0,
            version: CANARY,
            kind: AttemptKind::First,
            fallback: false,
            outcome,
            latency: Duration::ZERO,
            usage,
            is_estimated: false,
            drift: Drift::NONE,
        }
    }

    #[test]
    fn a_book_by_the_router_s_word_tells_served_wasted_and_unknown_apart() {
        let mut book = CostBook::new(&prices());
        let usage = Some(Usage {
            prompt_tokens: 1_000,
            completion_tokens: 500,
        });
        book.booked(&booked(Outcome::Success, usage));
        book.booked(&booked(Outcome::Truncated, usage));
        book.booked(&booked(Outcome::Success, None));
        book.booked(&booked(Outcome::Timeout, None));
        book.booked(&booked(Outcome::Unauthorized, None));
        let canary = &book.versions[CANARY];
        assert_eq!((canary.served.attempts, canary.wasted.attempts), (1, 1));
        assert_eq!(canary.unknown, 2, "a refusal uses no tokens");
        assert_eq!(book.total().unwrap().to_string(), "$0.012");
        assert_eq!(book.wasted().unwrap().to_string(), "$0.006");
    }

    #[test]
    fn without_a_price_there_is_no_cost_rather_than_none_to_pay() {
        let mut prices = prices();
        prices[VersionId(0)] = None;
        let book = CostBook::new(&prices);
        assert!(book.is_priced());
        assert_eq!(book.total(), None);
        assert_eq!(book.versions[CANARY].total(), Some(Cost::ZERO));
        assert!(!CostBook::unpriced(2).is_priced());
    }

    #[test]
    fn a_projection_needs_a_rate() {
        let cost = "$6".parse().unwrap();
        let day = Some(Duration::from_secs(86_400));
        let projection = Projection::of(cost, 1_000, day);
        let shown = |c: Option<Cost>| c.map(|c| c.to_string());
        assert_eq!(shown(projection.month).as_deref(), Some("$180.00"));
        assert_eq!(shown(projection.year).as_deref(), Some("$2,160.00"));
        let million = shown(projection.million_requests);
        assert_eq!(million.as_deref(), Some("$6,000.00"));
        assert_eq!(Projection::of(cost, 0, None).million_requests, None);
        assert_eq!(Projection::of(cost, 1, None).month, None);
    }
}
