//! `budget`: real upstreams cost no more than they may. Every run with such upstreams has this gate.
//!
//! A run that its budget stopped has not shown what it was to show: it never passes.

use crate::observe::event::{RunEvent, What};
use crate::observe::join::Joined;
use crate::pricing::Cost;
use crate::upstream::real::{Budget, PurseState, Spending};
use crate::verdict::gates::{End, Gate};
use crate::verdict::result::{Check, GateResult, Status, grouped};

/// The gate at work.
pub struct BudgetGate {
    budget: Budget,
    /// The last word on it.
    state: Option<PurseState>,
}

impl BudgetGate {
    /// A gate that has heard nothing.
    pub fn new(budget: Budget) -> Self {
        let state = None;
        Self { budget, state }
    }

    fn money(&self, most: Cost) -> Check {
        let spent = self.state.map(|state| state.spent.money);
        let status = self.status(spent.map(|spent| spent <= most));
        let seen = spent.map_or_else(nothing, |spent| spent.to_string());
        let figure = spent.map(Cost::as_dollars_f64);
        Check::census(format!("money <= {most}"), status, seen).figure(figure, "$", 1)
    }

    fn tokens(&self, most: u64) -> Check {
        let spent = self.state.map(|state| state.spent.tokens);
        let status = self.status(spent.map(|spent| spent <= most));
        let seen = spent.map_or_else(nothing, grouped);
        let condition = format!("tokens <= {}", grouped(most));
        Check::census(condition, status, seen).figure(spent.map(|n| n as f64), "tokens", 1)
    }

    fn status(&self, is_kept: Option<bool>) -> Status {
        match is_kept {
            None => Status::Inconclusive,
            Some(true) => Status::Pass,
            Some(false) => Status::Fail,
        }
    }

    /// Was there enough for all requests?
    fn suffices(&self) -> Check {
        let refused = self.state.and_then(|state| Some((state, state.refused?)));
        let (status, seen) = match refused {
            None => (Status::Pass, "it did".to_owned()),
            Some((state, next)) => {
                let [spent, under_way, next] =
                    [state.spent, state.under_way, next].map(|s| self.in_words(s));
                let seen = format!(
                    "it did not: {spent} spent, at most {under_way} under way, and at most {next} for the \
                     next request"
                );
                (Status::Inconclusive, seen)
            }
        };
        Check::census("the budget suffices for every request", status, seen)
    }

    /// What the budget limits of it.
    fn in_words(&self, spending: Spending) -> String {
        let money = self.budget.money.map(|_| spending.money.to_string());
        let tokens = self.budget.tokens;
        let tokens = tokens.map(|_| format!("{} tokens", grouped(spending.tokens)));
        let parts: Vec<String> = money.into_iter().chain(tokens).collect();
        parts.join(" and ")
    }
}

fn nothing() -> String {
    "nobody said".to_owned()
}

impl Gate for BudgetGate {
    fn event(&mut self, event: &RunEvent, _joined: &Joined) {
        if let What::Purse(state) = &event.what {
            self.state = Some(*state);
        }
    }

    fn finish(&self, _end: &End<'_>) -> GateResult {
        let money = self.budget.money.map(|most| self.money(most));
        let tokens = self.budget.tokens.map(|most| self.tokens(most));
        let checks = money.into_iter().chain(tokens).chain([self.suffices()]);
        GateResult::of("budget", checks.collect())
    }
}
