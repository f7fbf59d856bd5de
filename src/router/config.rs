//! What the router is told: plain, validated data. Files are read by `config/`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{PerVersion, VersionId};
use crate::pricing::Price;
use crate::router::budget::RetryBudget;
use crate::router::io::Measure;
use crate::router::judge::sequential::SequentialConfig;
use crate::router::limit::RateLimit;
use crate::router::ramp::RampConfig;

/// The whole configuration of a router.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouterConfig {
    /// The versions, stable and canary, in the order of the file.
    pub versions: PerVersion<VersionConfig>,
    /// The version that everything falls back to.
    pub stable: VersionId,
    /// The version on trial.
    pub canary: VersionId,
    /// Who may choose a version by a header; nobody when absent.
    pub overrides: Option<OverrideConfig>,
    /// Rules that pin requests to a version, first match wins.
    pub routes: Vec<Route>,
    /// How the other requests are split.
    pub split: SplitConfig,
    /// When a failed attempt is tried again.
    pub retry: RetryPolicy,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// When stable answers for a failed canary.
    pub fallback: FallbackPolicy,
    /// When the canary is rolled back.
    pub judge: JudgeConfig,
    /// By which steps the canary gets its weight; it has its weight from the start when absent.
    pub ramp: Option<RampConfig>,
    /// What a rollback does beyond closing the canary.
    pub rollback: RollbackConfig,
}

impl RouterConfig {
    /// The name of a version.
    pub fn name(&self, version: VersionId) -> &str {
        &self.versions[version].name
    }

    /// The version with this name.
    pub fn version_named(&self, name: &str) -> Option<VersionId> {
        self.versions
            .iter()
            .find(|(_, v)| v.name == name)
            .map(|(id, _)| id)
    }

    /// The version whose upstream knows this model; none when several do.
    pub fn version_of_model(&self, model: &str) -> Option<VersionId> {
        let mut those = self.versions.iter().filter(|(_, v)| v.model == model);
        let (only, _) = those.next()?;
        those.next().is_none().then_some(only)
    }

    /// The canary's share of the randomly split requests, 0 to 1.
    pub fn canary_share(&self) -> f64 {
        self.split.share(self.canary)
    }

    /// The headers (lower case) that rules or sticky assignment look at.
    pub fn headers_looked_at(&self) -> impl Iterator<Item = &str> {
        let conditions = self.routes.iter().flat_map(|route| &route.when);
        let by_rules = conditions.filter_map(|condition| match condition {
            Condition::Header { name, .. } => Some(name.as_str()),
            Condition::Tier(_) | Condition::Model(_) | Condition::Tenant(_) => None,
        });
        let by_split = match &self.split.sticky {
            Some(StickyBy::Header(name)) => Some(name.as_str()),
            Some(StickyBy::User) | None => None,
        };
        by_rules.chain(by_split)
    }

    /// Do the two versions use different keys, so that one's 401 says nothing of the other?
    pub fn has_separate_credentials(&self) -> bool {
        self.versions[self.stable].api_key_env != self.versions[self.canary].api_key_env
    }

    /// The same configuration with the canary at `share` (0 to 1) and stable with the rest.
    pub fn with_canary_share(&self, share: f64) -> Self {
        let mut config = self.clone();
        for (version, weight) in config.split.weights.iter_mut() {
            *weight = match version == self.canary {
                true => share * 100.0,
                false => (1.0 - share) * 100.0,
            };
        }
        config
    }
}

/// Who may choose a version by a header.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OverrideConfig {
    /// The header (lower case) that names the version.
    pub header: String,
    /// Callers of these tiers may.
    pub tiers: Vec<String>,
    /// Callers who show one of the keys in these environment variables may.
    pub key_envs: Vec<String>,
}

/// What a rollback does beyond closing the canary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RollbackConfig {
    /// What becomes of attempts that are out at the canary.
    pub in_flight: InFlight,
    /// Who is told: URLs that get the record.
    pub webhooks: Vec<String>,
    /// Admin addresses of the other instances of this gateway, which are told to roll back as well.
    pub peers: Vec<String>,
}

impl Default for RollbackConfig {
    fn default() -> Self {
        Self {
            in_flight: InFlight::Drain,
            webhooks: Vec::new(),
            peers: Vec::new(),
        }
    }
}

/// What becomes of attempts that are out at the canary when it is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InFlight {
    /// They may finish.
    Drain,
    /// Those of which no caller has seen anything are cancelled, and stable is asked.
    Cancel,
}

/// What a version can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Features {
    /// Streamed answers.
    pub streaming: bool,
    /// Tools and functions.
    pub tools: bool,
}

impl Features {
    /// Everything there is.
    pub const ALL: Self = Self {
        streaming: true,
        tools: true,
    };

    /// Does this cover what a request needs?
    pub fn cover(self, needs: Self) -> bool {
        (self.streaming || !needs.streaming) && (self.tools || !needs.tools)
    }
}

impl Default for Features {
    /// None at all: what a plain request needs.
    fn default() -> Self {
        Self {
            streaming: false,
            tools: false,
        }
    }
}

/// One model version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VersionConfig {
    /// Its name: `v1`, `gpt-4.1-stable` …
    pub name: String,
    /// The model name that its upstream knows.
    pub model: String,
    /// Base URL of its OpenAI-compatible API, up to and including `/v1`. A run of the harness puts
    /// its own mock here.
    pub endpoint: Option<String>,
    /// The environment variable that holds its key.
    pub api_key_env: Option<String>,
    /// What it can do: requests that need more go to stable.
    pub features: Features,
    /// How many attempts its upstream takes; any number when absent.
    pub rate_limit: Option<RateLimit>,
    /// What its tokens cost; unknown when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
}

/// One routing rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Route {
    /// All of these must hold.
    pub when: Vec<Condition>,
    /// Where the request goes then.
    pub to: VersionId,
}

/// One condition of a rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// The caller's tier is this.
    Tier(String),
    /// The caller's tenant is this.
    Tenant(String),
    /// The model that was asked for is this.
    Model(String),
    /// This header (lower case) has this value.
    Header {
        /// Header name in lower case.
        name: String,
        /// The exact value.
        value: String,
    },
}

/// How requests without a rule are split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SplitConfig {
    /// Non-negative weights, not all zero; only their proportions matter.
    pub weights: PerVersion<f64>,
    /// What keeps a caller on one version; at random a request when absent.
    pub sticky: Option<StickyBy>,
}

impl SplitConfig {
    /// The share of `version`, 0 to 1.
    pub fn share(&self, version: VersionId) -> f64 {
        let total: f64 = self.weights.values().sum();
        self.weights[version] / total
    }
}

/// What identifies a caller for sticky assignment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StickyBy {
    /// The user: header `x-user-id`, else the body's `user`.
    User,
    /// The value of this header (lower case).
    Header(String),
}

/// When a failed attempt is tried again on the same version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Retries after the first attempt, per version: at most `1 + max_retries` tries each.
    pub max_retries: u32,
    /// Wait before the first retry.
    pub base: Duration,
    /// Each further wait is this many times the one before (≥ 1).
    pub factor: f64,
    /// Share of each wait that is random: 0 none, 1 anything between 0 and the full wait.
    pub jitter: f64,
    /// No wait is longer, whatever `Retry-After` says: the request goes on without the retry.
    pub max_wait: Duration,
    /// How many retries there may be over all requests; any number when absent.
    pub budget: Option<RetryBudget>,
}

/// How long things may take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timeouts {
    /// To connect to an upstream.
    pub connect: Duration,
    /// One attempt, from sending to the complete answer.
    pub attempt: Duration,
    /// What later tries at the same version get: the second twice this, the third three times, and
    /// so on. The same as the first when absent.
    pub escalation: Option<Duration>,
    /// A streamed attempt, from sending to its first token. Bounded by `attempt`, as all of it, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_token: Option<Duration>,
    /// Between two events of a stream, once its first token is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<Duration>,
    /// The whole request, retries, waits and fallback included. Longer than `attempt`.
    pub request: Duration,
}

impl Timeouts {
    /// The time that try number `nth` (from 0) at one version gets.
    pub fn of_try(&self, nth: u32) -> Duration {
        match self.escalation {
            Some(step) if nth > 0 => step.saturating_mul(nth.saturating_add(1)),
            Some(_) | None => self.attempt,
        }
    }

    /// The shortest of all.
    pub fn shortest(&self) -> Duration {
        let always = [self.connect, self.attempt, self.request];
        let some = [self.escalation, self.first_token, self.idle];
        let all = some.into_iter().flatten().chain(always);
        all.min().unwrap_or(self.attempt)
    }

    /// The longest time that any of `tries` at one version gets.
    pub fn longest(&self, tries: u32) -> Duration {
        self.attempt.max(self.of_try(tries.saturating_sub(1)))
    }
}

/// When stable answers for a failed canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FallbackPolicy {
    /// At the first failure of the canary.
    Immediately,
    /// Once the canary's retries are used up.
    AfterRetries,
    /// Never: the canary's failures reach the caller.
    Off,
}

/// When the canary is rolled back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JudgeConfig {
    /// Never: somebody else watches.
    Off,
    /// Thresholds on a sliding window.
    Literal(LiteralConfig),
    /// Evidence that holds at every look.
    Sequential(SequentialConfig),
}

impl JudgeConfig {
    /// How long a weight is planned to last that no ramp plans.
    pub fn horizon(&self) -> Duration {
        match self {
            Self::Sequential(settings) => settings.horizon,
            Self::Off | Self::Literal(_) => Duration::ZERO,
        }
    }
}

/// Thresholds on a sliding window of the canary's attempts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LiteralConfig {
    /// Length of the window.
    pub window: Duration,
    /// The window holds at most about this many of the newest attempts.
    pub max_samples: u64,
    /// No threshold applies below this many judged attempts.
    pub min_requests: u64,
    /// Pause between two regular looks; failures are looked at when they happen.
    pub every: Duration,
    /// The thresholds, in order: the first violated one with action rollback decides.
    pub thresholds: Vec<Threshold>,
}

/// One threshold of the literal judge.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// What is looked at, and the bound it must not cross.
    pub limit: Limit,
    /// What happens when it is crossed.
    pub action: ThresholdAction,
}

/// A measure with its bound.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Violated when failures / judged attempts is above this share (0 to 1).
    ErrorRate(f64),
    /// Violated when successes / judged attempts is below this share (0 to 1).
    SuccessRate(f64),
    /// Violated when the 99th percentile of the latency of judged attempts, failures included, is
    /// above this.
    P99(Duration),
}

impl Limit {
    /// What is measured.
    pub fn measure(self) -> Measure {
        match self {
            Self::ErrorRate(_) => Measure::ErrorRate,
            Self::SuccessRate(_) => Measure::SuccessRate,
            Self::P99(_) => Measure::P99,
        }
    }

    /// The bound as a number: a share of 1, or seconds.
    pub fn bound(self) -> f64 {
        match self {
            Self::ErrorRate(share) | Self::SuccessRate(share) => share,
            Self::P99(latency) => latency.as_secs_f64(),
        }
    }
}

/// What a crossed threshold causes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThresholdAction {
    /// Weights go to stable 100 / canary 0, for good.
    Rollback,
    /// An event for people.
    Alert,
}
