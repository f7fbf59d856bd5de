//! Everything the admin API answers to.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use hyper::header::{CONTENT_TYPE, HeaderValue};

use crate::live::admin::problem::Problem;
use crate::live::admin::{
    Admin, auth, checkpoints, configuration, form, health, metrics, orders, stats, weights,
};

/// The document that describes all of this to programs.
pub const OPENAPI: &str = include_str!("openapi.json");

/// A path with the methods it takes.
pub struct Route {
    /// The path; `{id}` stands for any one part of it.
    pub path: &'static str,
    /// The methods, in capitals.
    pub methods: &'static [&'static str],
    handler: MethodRouter<Arc<Admin>>,
}

/// All paths.
pub fn all() -> Vec<Route> {
    let route = |path, methods, handler| Route {
        path,
        methods,
        handler,
    };
    let read: &[&str] = &["GET"];
    let order: &[&str] = &["POST"];
    vec![
        route(
            "/v1/routing/config",
            &["GET", "POST"],
            get(weights::show).post(weights::set),
        ),
        route(
            "/v1/deployment/config",
            &["GET", "PUT"],
            get(configuration::show).put(configuration::apply),
        ),
        route("/v1/deployment", read, get(orders::show)),
        route("/v1/deployment/promote", order, post(orders::promote)),
        route("/v1/deployment/pause", order, post(orders::pause)),
        route("/v1/deployment/resume", order, post(orders::resume)),
        route("/v1/deployment/abort", order, post(orders::abort)),
        route("/v1/deployment/rollback", order, post(orders::roll_back)),
        route(
            "/v1/deployment/instant-rollback",
            order,
            post(orders::instant_rollback),
        ),
        route(
            "/v1/deployment/checkpoints",
            &["GET", "POST"],
            get(checkpoints::list).post(checkpoints::create),
        ),
        route(
            "/v1/deployment/checkpoints/{id}/restore",
            order,
            post(checkpoints::restore),
        ),
        route("/v1/deployment/history", read, get(checkpoints::history)),
        route(
            "/v1/deployment/rollbacks",
            read,
            get(checkpoints::rollbacks),
        ),
        route("/v1/stats", read, get(stats::stats)),
        route("/v1/errors", read, get(stats::errors)),
        route("/healthz", read, get(health::healthz)),
        route("/readyz", read, get(health::readyz)),
        route("/metrics", read, get(metrics::scrape)),
        route("/openapi.json", read, get(openapi)),
    ]
}

/// The service of all paths.
pub fn router(admin: Arc<Admin>) -> Router {
    let routes = all().into_iter();
    let router = routes.fold(Router::new(), |router, route| {
        router.route(route.path, route.handler)
    });
    router
        .fallback(nothing_here)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn(form::whole_body))
        // The outermost: nothing is read of those who may not.
        .layer(from_fn_with_state(admin.clone(), auth::guard))
        .with_state(admin)
}

async fn nothing_here(request: Request) -> Problem {
    let path: String = request.uri().path().chars().take(200).collect();
    let message = format!("there is nothing at {path}: see /openapi.json");
    Problem::new(404, "not_found", message)
}

async fn wrong_method() -> Problem {
    let message = "wrong method: the header `Allow` names the right ones";
    Problem::new(405, "method_not_allowed", message)
}

async fn openapi() -> Response {
    let mut response = OPENAPI.into_response();
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
