//! Gates about rollbacks: what they ask for, and whether the router, or another gateway, can show it.

use std::time::Duration;

use crate::config::fields::Cx;
use crate::config::node::{Entry, Node};
use crate::config::values;
use crate::experiment::external::External;
use crate::fault::schedule::{self, Fault};
use crate::observe::orders::FOLLOWS_WITHIN;
use crate::router::config::{JudgeConfig, RouterConfig, Threshold, ThresholdAction};
use crate::router::judge::sequential::Metric;
use crate::scenario::gates::{Setting, gate_fields, least, min_n};
use crate::stats::compare::{Comparison, Op};
use crate::stats::proportion::draws_to_meet;
use crate::time::Timestamp;
use crate::verdict::gates::MISSED;
use crate::verdict::spec::{AfterRollbackSpec, GateSpec, NoRollbackSpec, RollbackSpec};

/// Reports a gate about rollbacks of a router that cannot roll back: its result is certain before
/// the run.
fn needs_rollback(cx: Cx<'_>, entry: &Entry, setting: Setting<'_>, result: &str) {
    if setting.external.is_some() {
        // Whether it can roll back, it says elsewhere.
        return needs_open_door(cx, entry, setting);
    }
    let why = match &setting.router.judge {
        JudgeConfig::Sequential(_) => return,
        JudgeConfig::Off => "the router's judge is off",
        JudgeConfig::Literal(judge) => {
            let acts = |t: &Threshold| t.action == ThresholdAction::Rollback;
            if judge.thresholds.iter().any(acts) {
                return;
            }
            "the router's judge has no threshold under `rollback`"
        }
    };
    let message = format!("{why}: `{}` could never {result}", entry.key);
    let hint = "give the judge a threshold, like rollback: {error_rate: \"> 5%\"}";
    cx.problems.add(cx.at(entry.place, message).hint(hint));
}

/// Reports a gate about rollbacks that only ledgers show, when a fault keeps everybody out of the canary: its ledger is then as
/// empty as that of a closed one.
fn needs_open_door(cx: Cx<'_>, entry: &Entry, setting: Setting<'_>) {
    let canary = setting.router.canary;
    let is_shut = |f: &&Fault| f.on.contains(&canary) && f.kind.keeps_out();
    let Some(fault) = setting.faults.iter().find(is_shut) else {
        return;
    };
    let name = fault.kind.name();
    let message = format!(
        "`{name}` keeps everybody out of the canary, and `{}` of another gateway rests on who comes there",
        entry.key
    );
    let hint = "`reset` and `close` break connections that the upstream has taken";
    cx.problems.add(cx.at(entry.place, message).hint(hint));
}

pub(super) fn no_rollback(cx: Cx<'_>, entry: &Entry, setting: Setting<'_>) -> Option<GateSpec> {
    needs_rollback(cx, entry, setting, "fail");
    let min_n = min_n(cx, &entry.value, "no_rollback")?;
    Some(GateSpec::NoRollback(NoRollbackSpec {
        min_n,
        share: setting.router.canary_share(),
        in_ledgers: setting.external.is_some(),
    }))
}

pub(super) fn notification(cx: Cx<'_>, entry: &Entry, setting: Setting<'_>) -> Option<GateSpec> {
    needs_rollback(cx, entry, setting, "pass");
    let receivers = &setting.router.rollback;
    if receivers.webhooks.is_empty() && receivers.peers.is_empty() {
        let message = "the router has nobody to tell: `notification` could never pass";
        let hint = "add `rollback: {webhooks: [ROLLBACK_WEBHOOK_URL]}` to the router";
        cx.problems.add(cx.at(entry.place, message).hint(hint));
    }
    gate_fields(cx, &entry.value, "notification")?.finish();
    Some(GateSpec::Notification)
}

pub(super) fn rollback(cx: Cx<'_>, entry: &Entry, setting: Setting<'_>) -> Option<GateSpec> {
    needs_rollback(cx, entry, setting, "pass");
    let fields = gate_fields(cx, &entry.value, "rollback")?;
    let reasons = reasons(setting.router);
    let reasons: Vec<_> = reasons.iter().map(|r| (*r, *r)).collect();
    let reason = match setting.external {
        None => fields.optional("reason", |cx, n| values::word(cx, n, "a reason", &reasons)),
        Some(_) => no_reason(cx, fields.node("reason")),
    };
    let since = fields.optional("since", values::duration);
    let within = fields.optional("within", values::positive_duration);
    let canary_requests = fields.optional("canary_requests", values::count_comparison);
    let user_errors = fields.optional("user_errors", values::count_comparison);
    fields.finish();
    Some(GateSpec::Rollback(RollbackSpec {
        reason: reason.map(str::to_owned),
        since: since.map_or_else(|| trouble(setting), Timestamp::from),
        within,
        canary_requests,
        user_errors,
        in_ledgers: setting.external.map(|_| setting.router.canary_share()),
    }))
}

/// Nobody tells why another gateway rolls back.
fn no_reason(cx: Cx<'_>, node: Option<&Node>) -> Option<&'static str> {
    let message =
        "another gateway's rollback is seen in the upstreams' ledgers, which give no reason";
    let hint = "leave `reason` out; `within` and `since` say which trouble it must follow";
    cx.error(cx.at(node?.place, message).hint(hint))
}

/// What the router's judge may roll back for.
fn reasons(router: &RouterConfig) -> Vec<&'static str> {
    let mut reasons = match &router.judge {
        JudgeConfig::Off | JudgeConfig::Literal(_) => vec!["error_rate", "success_rate", "p99"],
        JudgeConfig::Sequential(_) => Metric::ALL.iter().map(|m| m.name()).collect(),
    };
    reasons.extend(router.ramp.iter().map(|_| "inconclusive"));
    reasons
}

/// When the trouble begins: with the first order to roll back, else with the canary's first fault.
fn trouble(setting: Setting<'_>) -> Timestamp {
    let ordered = setting.external.and_then(External::first_rollback_order);
    if let Some(at) = ordered {
        return at;
    }
    schedule::trouble(setting.faults, setting.router.canary).unwrap_or(Timestamp::ZERO)
}

/// How long a router may take to follow what it has decided, unless somebody says otherwise.
pub(super) fn grace(setting: Setting<'_>) -> Duration {
    match setting.external {
        Some(_) => FOLLOWS_WITHIN,
        None => Duration::ZERO,
    }
}

/// The smallest share that the canary has while it is open, as far as the scenario says.
fn least_share(setting: Setting<'_>) -> f64 {
    let own = setting.router.canary_share();
    let orders = setting.external.iter().flat_map(|gateway| &gateway.orders);
    let shares = orders.filter_map(|order| order.what.share_of(setting.router.canary));
    let ordered = shares.filter(|share| *share > 0.0);
    ordered.fold(own, f64::min)
}

pub(super) fn after_rollback(cx: Cx<'_>, entry: &Entry, setting: Setting<'_>) -> Option<GateSpec> {
    needs_rollback(cx, entry, setting, "pass");
    let fields = gate_fields(cx, &entry.value, "after_rollback")?;
    let canary_requests = fields.optional("canary_requests", values::count_comparison);
    let grace_given = fields.optional("grace", values::duration);
    let min_n = least(&fields);
    fields.finish();
    let telling = draws_to_meet(least_share(setting), MISSED).unwrap_or(0);
    Some(GateSpec::AfterRollback(AfterRollbackSpec {
        canary_requests: canary_requests.unwrap_or(Comparison {
            op: Op::Equal,
            bound: 0,
        }),
        grace: grace_given.unwrap_or_else(|| grace(setting)),
        min_n: min_n.unwrap_or(telling),
    }))
}
