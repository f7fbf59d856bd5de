//! Upstreams that are no mocks: on what terms they are asked, and the budget that nothing may pass.
//!
//! What a request may use at most is set aside before it is sent, so that a budget holds whatever the answer turns
//! out to be: a token has at least one byte, so the prompt has at most as many tokens as the request has bytes,
//! and a few for the words that a server puts around it; the answer is limited by the request itself.

use serde::Serialize;

use crate::pricing::{Cost, Price};
use crate::protocol::openai::Usage;

/// Tokens of a prompt that are not in the request: what a server's template puts around it.
const TEMPLATE_TOKENS: u64 = 64;

/// The fields of a request that limit its answer, the older name first.
pub const LIMIT_FIELDS: [&str; 2] = ["max_tokens", "max_completion_tokens"];

/// On what terms a real upstream is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct RealUpstream {
    /// Most requests that it works on at once.
    pub concurrency: u32,
    /// Most requests a second that it is asked, evenly spaced; any number when absent.
    pub rate: Option<f64>,
    /// Most tokens of an answer: requests that ask for more, or say nothing, ask for so many.
    pub max_tokens: u32,
    /// Which of [`LIMIT_FIELDS`] is set in requests that have none.
    pub limit_field: &'static str,
}

impl RealUpstream {
    /// What a request with a body of so many bytes may use at most, with so many answers of at most so many
    /// tokens each.
    pub fn most(bytes: usize, answers: u64, max_tokens: u64, price: Option<&Price>) -> Spending {
        let input = (bytes as u64).saturating_add(TEMPLATE_TOKENS);
        let output = answers.saturating_mul(max_tokens);
        Spending {
            money: price.map_or(Cost::ZERO, |p| p.of_tokens(input, output)),
            tokens: input.saturating_add(output),
        }
    }
}

/// Money and tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Spending {
    /// The money, in nano-dollars.
    pub money: Cost,
    /// The tokens of prompts and answers together.
    pub tokens: u64,
}

impl Spending {
    /// What the tokens that an answer states come to. Those that are in its total alone (of reasoning, say) count as
    /// tokens of the answer. An answer without a token states nothing.
    pub fn stated(usage: Usage, total: Option<u64>, price: Option<&Price>) -> Option<Self> {
        let (input, output) = (
            u64::from(usage.prompt_tokens),
            u64::from(usage.completion_tokens),
        );
        let tokens = total.unwrap_or_default().max(input + output);
        (tokens > 0).then(|| Self {
            money: price.map_or(Cost::ZERO, |p| p.of_tokens(input, tokens - input)),
            tokens,
        })
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            money: self.money.saturating_add(other.money),
            tokens: self.tokens.saturating_add(other.tokens),
        }
    }

    fn less(self, other: Self) -> Self {
        let nanos = self.money.nanos().saturating_sub(other.money.nanos());
        Self {
            money: Cost::from_nanos(nanos),
            tokens: self.tokens.saturating_sub(other.tokens),
        }
    }
}

/// What real upstreams may cost in one run. What is absent is not limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// The money.
    pub money: Option<Cost>,
    /// The tokens of prompts and answers together.
    pub tokens: Option<u64>,
}

impl Budget {
    /// Is that within it?
    pub fn covers(&self, spending: Spending) -> bool {
        self.money.is_none_or(|most| spending.money <= most)
            && self.tokens.is_none_or(|most| spending.tokens <= most)
    }
}

/// How a purse stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PurseState {
    /// What was spent. Of requests that did not say, all that they might have used.
    pub spent: Spending,
    /// What requests under way may spend at most.
    pub under_way: Spending,
    /// What the request that would have come next may spend at most, when the budget could not take it.
    pub refused: Option<Spending>,
}

/// A budget at work: what was spent, and what requests under way may still spend.
#[derive(Clone, Debug)]
pub struct Purse {
    budget: Budget,
    spent: Spending,
    under_way: Spending,
    /// What could not be set aside any more. Nothing is from then on.
    refused: Option<Spending>,
}

impl Purse {
    /// A purse nothing was taken from.
    pub fn new(budget: Budget) -> Self {
        Self {
            budget,
            spent: Spending::default(),
            under_way: Spending::default(),
            refused: None,
        }
    }

    /// Sets aside what a request may use at most. False when the budget could be passed by it: then nothing is
    /// set aside, and nothing for any other request after it.
    pub fn reserve(&mut self, most: Spending) -> bool {
        let all = self.spent.plus(self.under_way).plus(most);
        let is_covered = self.refused.is_none() && self.budget.covers(all);
        match is_covered {
            true => self.under_way = self.under_way.plus(most),
            false => self.refused = self.refused.or(Some(most)),
        }
        is_covered
    }

    /// A request is over for which `most` was set aside. Who does not know what it used gives that again.
    pub fn settle(&mut self, most: Spending, used: Spending) {
        self.under_way = self.under_way.less(most);
        self.spent = self.spent.plus(used);
    }

    /// How it stands.
    pub fn state(&self) -> PurseState {
        PurseState {
            spent: self.spent,
            under_way: self.under_way,
            refused: self.refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PRICE: Price = Price {
        input: Cost::from_nanos(2_000_000_000),
        output: Cost::from_nanos(8_000_000_000),
    };

    fn spending(nanos: u64, tokens: u64) -> Spending {
        Spending {
            money: Cost::from_nanos(nanos),
            tokens,
        }
    }

    #[test]
    fn a_request_may_use_its_bytes_and_all_its_answers() {
        // 936 + 64 input tokens for $2 a million, 2 · 250 output tokens for $8.
        let most = RealUpstream::most(936, 2, 250, Some(&PRICE));
        assert_eq!(most, spending(2_000_000 + 4_000_000, 1_500));
        assert_eq!(RealUpstream::most(936, 2, 250, None), spending(0, 1_500));
        let endless = RealUpstream::most(usize::MAX, u64::MAX, u64::MAX, Some(&PRICE));
        assert_eq!(endless, spending(u64::MAX, u64::MAX));
    }

    #[test]
    fn what_is_in_the_total_alone_is_paid_for_too() {
        let usage = Usage {
            prompt_tokens: 100,
            completion_tokens: 50,
        };
        let of = |usage, total| Spending::stated(usage, total, Some(&PRICE));
        // $2 and $8 a million.
        assert_eq!(of(usage, None), Some(spending(600_000, 150)));
        assert_eq!(of(usage, Some(150)), of(usage, None));
        assert_eq!(of(usage, Some(7)), of(usage, None));
        assert_eq!(of(usage, Some(1_150)), Some(spending(8_600_000, 1_150)));
        assert_eq!(of(Usage::default(), Some(0)), None);
    }

    #[test]
    fn the_last_token_of_a_budget_can_be_spent_and_no_more() {
        let budget = Budget {
            money: None,
            tokens: Some(10),
        };
        let mut purse = Purse::new(budget);
        assert!(purse.reserve(spending(9_999, 6)));
        assert!(purse.reserve(spending(0, 4)));
        purse.settle(spending(9_999, 6), spending(1_000, 1));
        assert!(purse.reserve(spending(0, 5)));
        let state = purse.state();
        assert_eq!(state.spent, spending(1_000, 1));
        assert_eq!((state.under_way, state.refused), (spending(0, 9), None));
        assert!(!purse.reserve(spending(0, 1)));
        assert!(!purse.reserve(spending(0, 0)), "it stays shut");
        assert_eq!(purse.state().refused, Some(spending(0, 1)));
    }

    proptest! {
        /// Whatever requests use of what was set aside for them, a budget is never passed.
        #[test]
        fn a_budget_holds(
            money in 0_u64..1_000,
            tokens in 0_u64..1_000,
            steps in prop::collection::vec((0_u64..200, 0_u64..200, 0_u64..=100, any::<bool>()), 1..60),
        ) {
            let budget = Budget { money: Some(Cost::from_nanos(money)), tokens: Some(tokens) };
            let mut purse = Purse::new(budget);
            let mut under_way = Vec::new();
            for (nanos, tokens, percent, ends) in steps {
                let most = spending(nanos, tokens);
                if purse.reserve(most) {
                    under_way.push((most, spending(nanos * percent / 100, tokens * percent / 100)));
                }
                if ends && let Some((most, used)) = under_way.pop() {
                    purse.settle(most, used);
                }
                let state = purse.state();
                prop_assert!(budget.covers(state.spent.plus(state.under_way)));
            }
        }
    }
}
