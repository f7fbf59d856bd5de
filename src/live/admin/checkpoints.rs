//! What is kept of a release: checkpoints, history, rollbacks.

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use hyper::header::HeaderMap;
use serde_json::{Value, json};

use crate::config::redact::redact;
use crate::live::admin::form::{BasedOn, Form};
use crate::live::admin::orders::{Answer, Api};
use crate::live::admin::problem::Problem;
use crate::live::admin::records::Records;
use crate::live::admin::view;
use crate::router::control::Order;

/// Entries that are shown unless more are asked for, and most that can be.
const SHOWN: (usize, usize) = (100, 1_000);

/// `GET /v1/deployment/checkpoints`
pub async fn list(State(admin): Api) -> Answer {
    let checkpoints = admin.read(|records| records.checkpoints()).await?;
    // Newest first, like everything here.
    let list = checkpoints.iter().rev().map(view::checkpoint);
    Ok(listed("checkpoints", list.collect()))
}

/// `POST /v1/deployment/checkpoints`
pub async fn create(State(admin): Api, headers: HeaderMap, body: Bytes) -> Answer {
    let mut form = Form::parse(&body)?;
    let name = form.text("name");
    let revision = form.revision();
    form.finish()?;
    let name = redact(name.as_deref().unwrap_or("by hand"));
    let based_on = BasedOn::read(&headers, revision)?;
    admin.ordered(based_on, Order::Checkpoint { name }).await?;
    let newest = admin.read(|records| records.checkpoints()).await?.pop();
    let body = newest.as_ref().map_or(Value::Null, view::checkpoint);
    Ok(view::answer(201, &body))
}

/// `POST /v1/deployment/checkpoints/{id}/restore`
pub async fn restore(
    State(admin): Api,
    Path(checkpoint): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let mut form = Form::parse(&body)?;
    let revision = form.revision();
    form.finish()?;
    let based_on = BasedOn::read(&headers, revision)?;
    let order = Order::Restore { checkpoint };
    admin.ordered(based_on, order).await.map_err(|problem| {
        if problem.code == "no_checkpoint" {
            return Problem::new(404, "no_checkpoint", "there is no such checkpoint");
        }
        problem
    })?;
    admin.release(200).await
}

/// `GET /v1/deployment/history`
pub async fn history(State(admin): Api, RawQuery(query): RawQuery) -> Answer {
    let limit = limit(query.as_deref())?;
    let entries = admin.read(move |records| records.history(limit)).await?;
    Ok(listed("history", entries.iter().map(view::entry).collect()))
}

/// `GET /v1/deployment/rollbacks`
pub async fn rollbacks(State(admin): Api, RawQuery(query): RawQuery) -> Answer {
    let limit = limit(query.as_deref())?;
    let read = move |records: &dyn Records| {
        let rollbacks = records.rollbacks(limit)?.into_iter();
        let with_told = rollbacks.map(|r| records.told(&r.id).map(|told| (r, told)));
        with_told.collect::<Result<Vec<_>, _>>()
    };
    let records = admin.read(read).await?;
    let config = admin.driver.adopted().config;
    let list = records.iter().map(|(record, told)| {
        let mut shown = view::rollback(&config, record);
        shown["told"] = json!(told.as_ref().map(view::told));
        shown
    });
    Ok(listed("rollbacks", list.collect()))
}

fn listed(name: &str, list: Vec<Value>) -> Response {
    view::answer(200, &json!({ name: list }))
}

fn limit(query: Option<&str>) -> Result<usize, Problem> {
    let Some(query) = query.filter(|query| !query.is_empty()) else {
        return Ok(SHOWN.0);
    };
    let number = query.strip_prefix("limit=").map(str::parse::<usize>);
    match number {
        Some(Ok(limit)) if (1..=SHOWN.1).contains(&limit) => Ok(limit),
        _ => {
            let message = format!("only limit=NUMBER is understood, 1 to {}", SHOWN.1);
            Err(Problem::new(400, "invalid_request", message))
        }
    }
}
