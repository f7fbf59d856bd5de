//! `GET /metrics`: the tally for Prometheus, in the OpenMetrics text format. docs/metrics.md lists the
//! names.

use std::fmt;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Registry;

use crate::live::admin::orders::{Answer, Api};
use crate::live::admin::problem::Problem;
use crate::live::admin::tally::{Tally, WHYS};
use crate::live::admin::{Present, view};
use crate::live::gateway::unheard::Why;
use crate::protocol::drift::DriftKind;
use crate::protocol::outcome::Outcome;
use crate::router::core::Footprint;
use crate::router::judge::sequential::HoldReason;
use crate::router::ramp::Phase;

const CONTENT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `GET /metrics`
pub async fn scrape(State(admin): Api) -> Answer {
    let snapshot = Snapshot {
        present: admin.present().await?,
        tally: admin.config.tally.read(),
        footprint: admin.driver.footprint(),
        unheard: admin.unheard(),
    };
    let mut registry = Registry::with_prefix("graygate");
    registry.register_collector(Box::new(snapshot));
    let mut text = String::new();
    encode(&mut text, &registry).map_err(|_| {
        let message = "the metrics cannot be written";
        Problem::new(500, "internal_error", message)
    })?;
    let mut response: Response = text.into_response();
    let content = HeaderValue::from_static(CONTENT);
    response.headers_mut().insert(CONTENT_TYPE, content);
    Ok(response)
}

/// Everything at one moment.
#[derive(Debug)]
struct Snapshot {
    present: Present,
    tally: Tally,
    footprint: Footprint,
    unheard: [(Why, u64); Why::ALL.len()],
}

type Labels<'l> = &'l [(&'static str, &'l str)];

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.requests(&mut encoder)?;
        self.unheard(&mut encoder)?;
        self.attempts(&mut encoder)?;
        self.latency(&mut encoder)?;
        self.drift(&mut encoder)?;
        self.costs(&mut encoder)?;
        self.release(&mut encoder)?;
        self.judge(&mut encoder)?;
        self.process(&mut encoder)
    }
}

impl Snapshot {
    fn requests(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Requests by the version they were given to as they arrived";
        let mut given = counter(encoder, "assigned", help)?;
        for version in &self.tally.versions {
            count(&mut given, &[("version", &version.name)], version.assigned)?;
        }
        let help = "Requests that ended, by the version that answered";
        let mut ended = counter(encoder, "requests", help)?;
        for version in &self.tally.versions {
            let own = version.served - version.served_as_fallback;
            for (fallback, n) in [("false", own), ("true", version.served_as_fallback)] {
                let labels = request_labels(&version.name, Outcome::Success, fallback);
                count(&mut ended, &labels, n)?;
            }
        }
        for (fallback, counts) in ["false", "true"].into_iter().zip(&self.tally.failed) {
            for (outcome, n) in seen(counts) {
                count(&mut ended, &request_labels("none", outcome, fallback), n)?;
            }
        }
        Ok(())
    }

    fn unheard(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Requests that the gateway refused before the router heard of them, by why";
        let mut unheard = counter(encoder, "refused_requests", help)?;
        for (why, n) in self.unheard {
            count(&mut unheard, &[("reason", why.name())], n)?;
        }
        Ok(())
    }

    fn attempts(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Attempts that ended, by the version that was tried";
        let mut attempts = counter(encoder, "attempts", help)?;
        for version in &self.tally.versions {
            for ((kind, fallbacks), counts) in WHYS.into_iter().zip(&version.attempts) {
                let fallbacks = fallbacks.to_string();
                for (outcome, n) in seen(counts) {
                    let labels = [
                        ("version", version.name.as_str()),
                        ("outcome", outcome.name()),
                        ("kind", kind.name()),
                        ("fallback", fallbacks.as_str()),
                    ];
                    count(&mut attempts, &labels, n)?;
                }
            }
        }
        Ok(())
    }

    fn latency(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (name, help) = (
            "attempt_duration_seconds",
            "Time from sending an attempt to its end",
        );
        let kind = MetricType::Histogram;
        let mut family = encoder.encode_descriptor(name, help, None, kind)?;
        for version in &self.tally.versions {
            for (result, latency) in ["success", "failure"].into_iter().zip(&version.latency) {
                let labels: Labels<'_> = &[("version", &version.name), ("result", result)];
                let mut one = family.encode_family(&labels)?;
                let (sum, n) = (latency.sum, latency.count());
                one.encode_histogram::<NoLabelSet>(sum, n, &latency.classes(), None)?;
            }
        }
        Ok(())
    }

    fn drift(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Answers that differ from the OpenAI shape, by how they do";
        let mut drift = counter(encoder, "drift", help)?;
        for version in &self.tally.versions {
            for (kind, n) in DriftKind::ALL.into_iter().zip(version.drift) {
                let labels = [("version", version.name.as_str()), ("kind", kind.name())];
                count(&mut drift, &labels, n)?;
            }
        }
        Ok(())
    }

    fn costs(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let versions = self.tally.versions.iter();
        let priced: Vec<_> = versions
            .filter_map(|v| Some((v, v.costs.total()?)))
            .collect();
        let help = "What attempts cost, by the tokens that their answers state";
        let mut cost = counter(encoder, "cost_dollars", help)?;
        for (version, total) in &priced {
            let labels: Labels<'_> = &[("version", &version.name)];
            let dollars = total.as_dollars_f64();
            let mut one = cost.encode_family(&labels)?;
            one.encode_counter(&dollars, None::<&Exemplar<NoLabelSet, f64>>)?;
        }
        let help = "Attempts that may have used tokens, and nobody says how many";
        let mut unknown = counter(encoder, "cost_unknown_attempts", help)?;
        for (version, _) in &priced {
            let labels = [("version", version.name.as_str())];
            count(&mut unknown, &labels, version.costs.unknown)?;
        }
        Ok(())
    }

    fn release(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Present { standing, config } = &self.present;
        let share = "Share of the randomly split requests that goes to the canary now";
        gauge(encoder, "canary_share", share, standing.share)?;
        let mut weights = gauges(encoder, "version_weight", "Share by the weights, 0 to 1")?;
        for (id, version) in config.versions.iter() {
            let labels = [("version", version.name.as_str())];
            set(&mut weights, &labels, config.split.share(id))?;
        }
        let revision = "Counts changes of configuration and weights";
        gauge(encoder, "revision", revision, standing.revision as f64)?;
        let mut phases = gauges(encoder, "phase", "1 for the phase of the release")?;
        for phase in PHASES {
            let labels = [("phase", phase.name())];
            set(&mut phases, &labels, truth(phase == standing.phase))?;
        }
        let step = standing.step.as_ref().map_or(-1.0, |(n, _)| *n as f64);
        gauge(
            encoder,
            "ramp_step",
            "Position of the ramp's step; -1 without a ramp",
            step,
        )?;
        let held = standing.held.as_secs_f64();
        gauge(
            encoder,
            "step_held_seconds",
            "How long the step has been held",
            held,
        )?;
        self.closings(encoder)
    }

    fn closings(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "1 for the reason why nothing goes to the canary whatever its weight";
        let mut closed = gauges(encoder, "canary_closed", help)?;
        let why = view::closed(&self.present.standing);
        for reason in ["rolled_back", "store_failed", "model_missing"] {
            set(
                &mut closed,
                &[("reason", reason)],
                truth(why == Some(reason)),
            )?;
        }
        let mut rollbacks = counter(encoder, "rollbacks", "Rollbacks by their reason")?;
        for (reason, n) in &self.tally.rollbacks {
            count(&mut rollbacks, &[("reason", reason)], *n)?;
        }
        let help = "How often what happens could not be kept any more";
        let mut failures = counter(encoder, "store_failures", help)?;
        plain(&mut failures, self.tally.store_failures)
    }

    fn judge(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        type Value = fn(&crate::observe::event::Finding) -> Option<f64>;
        let columns: [(&str, &str, Value); 4] = [
            ("judge_value", "What the judge saw last", |f| f.value),
            ("judge_bound", "What it must not cross", |f| Some(f.bound)),
            ("judge_samples", "Judged attempts it rests on", |f| {
                Some(f.samples as f64)
            }),
            (
                "judge_violated",
                "1 when the bound is crossed on enough samples",
                |f| Some(truth(f.violated)),
            ),
        ];
        for (name, help, value) in columns {
            let mut family = gauges(encoder, name, help)?;
            for finding in self.tally.findings.values() {
                let version = self.tally.name(finding.version);
                let labels = [("version", version), ("measure", finding.measure)];
                if let Some(value) = value(finding) {
                    set(&mut family, &labels, value)?;
                }
            }
        }
        let help = "1 for the reason why the judge holds";
        let mut held = gauges(encoder, "judge_held", help)?;
        for reason in HoldReason::ALL.map(HoldReason::name) {
            let is_so = self.tally.held == Some(reason);
            set(&mut held, &[("reason", reason)], truth(is_so))?;
        }
        Ok(())
    }

    fn process(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Footprint { in_flight, bytes } = self.footprint;
        gauge(
            encoder,
            "requests_in_flight",
            "Requests under way",
            in_flight as f64,
        )?;
        gauge(
            encoder,
            "router_bytes",
            "Memory of the router's core",
            bytes as f64,
        )?;
        let mut build = gauges(encoder, "build_info", "1, with what this program is")?;
        set(&mut build, &[("graygate", env!("CARGO_PKG_VERSION"))], 1.0)
    }
}

const PHASES: [Phase; 5] = [
    Phase::Pending,
    Phase::Progressing,
    Phase::Paused,
    Phase::Promoted,
    Phase::RolledBack,
];

fn truth(holds: bool) -> f64 {
    if holds { 1.0 } else { 0.0 }
}

fn request_labels<'l>(
    version: &'l str,
    outcome: Outcome,
    fallback: &'l str,
) -> [(&'static str, &'l str); 3] {
    [
        ("version", version),
        ("outcome", outcome.name()),
        ("fallback", fallback),
    ]
}

/// The outcomes that came at all.
fn seen(counts: &[u64]) -> impl Iterator<Item = (Outcome, u64)> {
    let named = Outcome::ALL.into_iter().zip(counts.iter().copied());
    named.filter(|(_, n)| *n > 0)
}

fn counter<'e>(
    encoder: &'e mut DescriptorEncoder<'_>,
    name: &'e str,
    help: &str,
) -> Result<MetricEncoder<'e>, fmt::Error> {
    encoder.encode_descriptor(name, help, None, MetricType::Counter)
}

fn count(family: &mut MetricEncoder<'_>, labels: Labels<'_>, n: u64) -> fmt::Result {
    plain(&mut family.encode_family(&labels)?, n)
}

fn plain(one: &mut MetricEncoder<'_>, n: u64) -> fmt::Result {
    one.encode_counter(&n, None::<&Exemplar<NoLabelSet, u64>>)
}

fn gauges<'e>(
    encoder: &'e mut DescriptorEncoder<'_>,
    name: &'e str,
    help: &str,
) -> Result<MetricEncoder<'e>, fmt::Error> {
    encoder.encode_descriptor(name, help, None, MetricType::Gauge)
}

fn set(family: &mut MetricEncoder<'_>, labels: Labels<'_>, value: f64) -> fmt::Result {
    family.encode_family(&labels)?.encode_gauge(&value)
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: f64) -> fmt::Result {
    encoder
        .encode_descriptor(name, help, None, MetricType::Gauge)?
        .encode_gauge(&value)
}
