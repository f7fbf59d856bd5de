//! Is it alive, and is it ready? For load balancers and supervisors, who show no token.

use axum::extract::State;
use axum::response::Response;
use serde_json::json;

use crate::live::admin::orders::Api;
use crate::live::admin::view;

/// `GET /healthz`: the process answers.
pub async fn healthz() -> Response {
    view::answer(200, &json!({"status": "ok"}))
}

/// `GET /readyz`: callers are served. Without its canary for want of a store or a model, a gateway is
/// degraded and still ready: stable serves everything.
pub async fn readyz(State(admin): Api) -> Response {
    if !admin.config.drain.is_open() {
        return view::answer(503, &json!({"status": "stopping", "reasons": []}));
    }
    let tally = admin.config.tally.read();
    let reasons = [
        (tally.is_store_broken, "store_failed"),
        (tally.is_model_missing, "model_missing"),
    ];
    let reasons: Vec<&str> = reasons
        .into_iter()
        .filter_map(|(holds, name)| holds.then_some(name))
        .collect();
    let status = match reasons.is_empty() {
        true => "ready",
        false => "degraded",
    };
    view::answer(200, &json!({"status": status, "reasons": reasons}))
}
