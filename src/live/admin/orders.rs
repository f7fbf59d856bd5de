//! Where the release stands, and orders to change it.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use hyper::header::HeaderMap;
use serde_json::json;

use crate::config::redact::redact;
use crate::live::admin::form::{BasedOn, Form};
use crate::live::admin::problem::Problem;
use crate::live::admin::{Admin, PATIENCE, view};
use crate::router::control::Order;
use crate::router::io::Standing;

/// The API that a handler belongs to.
pub type Api = State<Arc<Admin>>;
/// What a handler answers.
pub type Answer = Result<Response, Problem>;

/// `GET /v1/deployment`
pub async fn show(State(admin): Api) -> Answer {
    admin.release(200).await
}

/// `POST /v1/deployment/promote`
pub async fn promote(State(admin): Api, headers: HeaderMap, body: Bytes) -> Answer {
    admin.simply(&headers, &body, Order::Promote).await
}

/// `POST /v1/deployment/pause`
pub async fn pause(State(admin): Api, headers: HeaderMap, body: Bytes) -> Answer {
    admin.simply(&headers, &body, Order::Pause).await
}

/// `POST /v1/deployment/resume`
pub async fn resume(State(admin): Api, headers: HeaderMap, body: Bytes) -> Answer {
    admin.simply(&headers, &body, Order::Resume).await
}

/// `POST /v1/deployment/rollback`; with an `id`, a peer's.
pub async fn roll_back(State(admin): Api, headers: HeaderMap, body: Bytes) -> Answer {
    let mut form = Form::parse(&body)?;
    let id = form.text("id");
    let Asked { why, based_on } = asked(form, &headers, "no reason was given")?;
    match id {
        None => admin.close(based_on, Order::RollBack { why }).await,
        Some(id) => admin.peer_rollback(&id, &why).await,
    }
}

/// `POST /v1/deployment/abort`
pub async fn abort(State(admin): Api, headers: HeaderMap, body: Bytes) -> Answer {
    let Asked { why, based_on } = asked(Form::parse(&body)?, &headers, "aborted")?;
    admin.close(based_on, Order::RollBack { why }).await
}

/// `POST /v1/deployment/instant-rollback`
pub async fn instant_rollback(State(admin): Api, headers: HeaderMap, body: Bytes) -> Answer {
    let form = Form::parse(&body)?;
    let Asked { why, based_on } = asked(form, &headers, "no reason was given")?;
    let closed = admin.close(based_on, Order::InstantRollback { why }).await;
    closed.map_err(|mut problem| {
        if problem.code == "no_checkpoint" {
            // Not the address is wrong, but the moment.
            problem.status = 409;
        }
        problem
    })
}

/// A rollback as somebody asked for it.
struct Asked {
    why: String,
    based_on: BasedOn,
}

fn asked(mut form: Form, headers: &HeaderMap, default: &str) -> Result<Asked, Problem> {
    let why = form.text("reason");
    let revision = form.revision();
    form.finish()?;
    Ok(Asked {
        // It gets into records, logs and messages.
        why: redact(why.as_deref().unwrap_or(default)),
        based_on: BasedOn::read(headers, revision)?,
    })
}

impl Admin {
    /// The release as an answer.
    pub(super) async fn release(&self, status: u16) -> Answer {
        let present = self.present().await?;
        let body = view::release(&present);
        Ok(view::tagged(status, present.standing.revision, &body))
    }

    /// An order that needs no words.
    async fn simply(&self, headers: &HeaderMap, body: &[u8], order: Order) -> Answer {
        let mut form = Form::parse(body)?;
        let revision = form.revision();
        form.finish()?;
        let based_on = BasedOn::read(headers, revision)?;
        self.ordered(based_on, order).await?;
        self.release(200).await
    }

    /// Has the core do something, and waits for its answer.
    pub(super) async fn ordered(
        &self,
        based_on: BasedOn,
        order: Order,
    ) -> Result<Standing, Problem> {
        let answer = self.driver.order(based_on.revision, order);
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(answer) => answer.map_err(|refusal| based_on.problem(refusal)),
            Err(_) => {
                let message =
                    "it is still being written, or waits for a change that is: look again";
                Err(Problem::new(503, "not_kept_yet", message))
            }
        }
    }

    /// Closes the canary, and tells of the record. A store in trouble delays the record and not the
    /// closing, so neither does it delay the answer for long.
    pub(super) async fn close(&self, based_on: BasedOn, order: Order) -> Answer {
        let is_kept = match self.ordered(based_on, order).await {
            Ok(_) => true,
            Err(problem) if problem.code == "not_kept_yet" => false,
            Err(problem) => return Err(problem),
        };
        let present = self.present().await?;
        let record = match is_kept {
            true => self.read(|records| records.rollbacks(1)).await?.pop(),
            false => None,
        };
        let mut body = view::release(&present);
        body["kept"] = json!(is_kept);
        body["rollback"] = json!(record.map(|r| view::rollback(&present.config, &r)));
        let status = if is_kept { 200 } else { 202 };
        Ok(view::tagged(status, present.standing.revision, &body))
    }
}
