//! The weights of the versions.

use axum::body::Bytes;
use axum::extract::State;
use hyper::header::HeaderMap;
use serde_json::{Value, json};

use crate::id::PerVersion;
use crate::live::admin::form::{BasedOn, Form};
use crate::live::admin::orders::{Answer, Api};
use crate::live::admin::{Admin, view};
use crate::router::config::RouterConfig;
use crate::router::control::Order;

/// `GET /v1/routing/config`
pub async fn show(State(admin): Api) -> Answer {
    admin.weights().await
}

/// `POST /v1/routing/config`
pub async fn set(State(admin): Api, headers: HeaderMap, body: Bytes) -> Answer {
    let mut form = Form::parse(&body)?;
    let revision = form.revision();
    let given = form.take("weights");
    let config = admin.driver.adopted().config;
    let weights = read(&config, given, &mut form);
    form.finish()?;
    let based_on = BasedOn::read(&headers, revision)?;
    admin.ordered(based_on, Order::SetWeights(weights)).await?;
    admin.weights().await
}

/// The weights that are given, and every mistake in them.
fn read(config: &RouterConfig, given: Option<Value>, form: &mut Form) -> PerVersion<f64> {
    let mut given = match given {
        Some(Value::Object(map)) => map,
        _ => {
            form.complain("`weights` must be an object like {\"v1\": 90, \"v2\": 10}");
            return PerVersion::default();
        }
    };
    let versions = config.versions.values();
    let weights = versions.map(|version| {
        let name = &version.name;
        let weight = given.remove(name);
        match weight.as_ref().map(Value::as_f64) {
            None => form.complain(format!("`{name}` has no weight")),
            Some(None) => form.complain(format!("the weight of `{name}` is no number")),
            Some(Some(weight)) if weight < 0.0 => {
                form.complain(format!("the weight of `{name}` is negative"));
            }
            Some(Some(weight)) => return weight,
        }
        0.0
    });
    let weights: PerVersion<f64> = weights.collect();
    for unknown in given.keys() {
        let name: String = unknown.chars().take(64).collect();
        form.complain(format!("there is no version `{name}`"));
    }
    weights
}

impl Admin {
    async fn weights(&self) -> Answer {
        let present = self.present().await?;
        let (standing, config) = (&present.standing, &present.config);
        let body = json!({
            "revision": standing.revision,
            "weights": view::by_version(config, |v| json!(config.split.weights[v])),
            "shares": view::by_version(config, |v| json!(config.split.share(v))),
            "canary_share": standing.share,
            "canary_closed": view::closed(standing),
            "phase": standing.phase.name(),
            "missing": view::missing(standing),
        });
        Ok(view::tagged(200, standing.revision, &body))
    }
}
