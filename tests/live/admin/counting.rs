//! What the gateway says of its traffic: statistics, errors, metrics.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::json;

use crate::admin::Stand;
use crate::process::wait_for;
use crate::support::project;

/// The samples of a page of metrics, by name with labels. Panics on what is no OpenMetrics text.
fn samples(page: &str) -> BTreeMap<String, f64> {
    let mut lines: Vec<&str> = page.lines().collect();
    assert_eq!(lines.pop(), Some("# EOF"));
    let (about, samples): (Vec<&str>, Vec<&str>) = lines.iter().partition(|l| l.starts_with("# "));
    assert!(
        about
            .iter()
            .all(|l| l.starts_with("# HELP graygate_") || l.starts_with("# TYPE graygate_"))
    );
    let split = |line: &&str| {
        let (name, value) = line.rsplit_once(' ').expect("a value");
        (name.to_owned(), value.parse().expect("a number"))
    };
    let all: BTreeMap<String, f64> = samples.iter().map(split).collect();
    assert_eq!(all.len(), samples.len(), "no sample comes twice");
    all
}

#[test]
fn traffic_shows_in_statistics_metrics_and_errors_alike() {
    let stand = Stand::new(&["kind: unauthorized, share: 100%"], "");
    for _ in 0..8 {
        assert_eq!(stand.served_by("free"), "v1");
    }
    for _ in 0..2 {
        assert_eq!(stand.served_by("premium"), "v1", "stable stands in");
    }
    let stats = stand.wait_for_stats(|s| s["requests"]["succeeded"] == 10);
    assert_eq!(stats["requests"]["outcomes"], json!({"success": 10}));
    assert_eq!(stats["fallbacks"], json!({"tried": 2, "answered": 2}));
    let v2 = &stats["versions"]["v2"];
    assert_eq!(
        (&v2["assigned"], &v2["share"], &v2["served"]),
        (&json!(2), &json!(0.2), &json!(0))
    );
    assert_eq!(v2["outcomes"], json!({"unauthorized": 2}));
    let v1 = &stats["versions"]["v1"];
    assert_eq!(
        (&v1["assigned"], &v1["served"], &v1["served_as_fallback"]),
        (&json!(8), &json!(10), &json!(2))
    );
    assert!(v1["mean_latency_ms"]["success"].as_f64().unwrap() >= 2.0);
    assert!(
        stats["judge"]
            .as_array()
            .unwrap()
            .iter()
            .all(|f| f["version"] == "v2")
    );

    let page = stand.ask("GET", "/metrics", "");
    assert_eq!(
        page.headers["content-type"],
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    let metrics = samples(&page.text);
    for (name, value) in [
        ("graygate_assigned_total{version=\"v1\"}", 8.0),
        ("graygate_assigned_total{version=\"v2\"}", 2.0),
        (
            "graygate_requests_total{version=\"v1\",outcome=\"success\",fallback=\"false\"}",
            8.0,
        ),
        (
            "graygate_requests_total{version=\"v1\",outcome=\"success\",fallback=\"true\"}",
            2.0,
        ),
        (
            "graygate_attempts_total{version=\"v2\",outcome=\"unauthorized\",kind=\"first\",fallback=\"0\"}",
            2.0,
        ),
        (
            "graygate_attempts_total{version=\"v1\",outcome=\"success\",kind=\"fallback\",fallback=\"1\"}",
            2.0,
        ),
        (
            "graygate_attempt_duration_seconds_count{version=\"v1\",result=\"success\"}",
            10.0,
        ),
        (
            "graygate_attempt_duration_seconds_bucket{le=\"+Inf\",version=\"v1\",result=\"success\"}",
            10.0,
        ),
        ("graygate_canary_share", 0.0),
        ("graygate_version_weight{version=\"v1\"}", 1.0),
        ("graygate_revision", 1.0),
        ("graygate_phase{phase=\"progressing\"}", 1.0),
        ("graygate_phase{phase=\"rolled_back\"}", 0.0),
        ("graygate_ramp_step", -1.0),
        ("graygate_canary_closed{reason=\"store_failed\"}", 0.0),
        ("graygate_store_failures_total", 0.0),
        ("graygate_requests_in_flight", 0.0),
    ] {
        assert_eq!(metrics.get(name), Some(&value), "{name}\n{}", page.text);
    }

    let errors = stand.get("/v1/errors");
    let errors = errors["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 2, "{errors:#?}");
    assert_eq!(errors[0]["outcome"], "unauthorized");
    assert_eq!(errors[0]["of"], "attempt");
    assert!(
        errors[0]["at"].as_str().unwrap().starts_with("20"),
        "{}",
        errors[0]
    );
}

#[test]
fn a_rollback_shows_in_the_metrics() {
    let stand = Stand::new(&[], "");
    stand.post("/v1/deployment/rollback", &json!({}));
    let metrics = wait_for(|| {
        let metrics = samples(&stand.ask("GET", "/metrics", "").text);
        metrics
            .contains_key("graygate_rollbacks_total{reason=\"by_hand\"}")
            .then_some(metrics)
    });
    assert_eq!(metrics["graygate_rollbacks_total{reason=\"by_hand\"}"], 1.0);
    assert_eq!(metrics["graygate_phase{phase=\"rolled_back\"}"], 1.0);
    assert_eq!(
        metrics["graygate_canary_closed{reason=\"rolled_back\"}"],
        1.0
    );
}

/// Names and labels of docs/metrics.md's table of a gateway.
fn documented() -> BTreeSet<String> {
    let page = std::fs::read_to_string(project("docs/metrics.md")).unwrap();
    let (_, page) = page.split_once("## Metrics of a gateway").unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let rows = rows.map(|row| row.split('|').map(|cell| cell.replace('`', "")));
    let mut names = BTreeSet::new();
    for mut cells in rows {
        let (name, labels) = (cells.nth(1).unwrap(), cells.next().unwrap());
        let labels: BTreeSet<&str> = labels.split(',').map(str::trim).collect();
        for name in name.split(',').map(str::trim) {
            // The judge's four gauges share a row, the later ones without what all begin with.
            let start = if name.starts_with('_') {
                "graygate_judge"
            } else {
                ""
            };
            names.insert(format!("{start}{name} {labels:?}"));
        }
    }
    names
}

/// The same of what is scraped: of histograms, their own name.
fn scraped(page: &str) -> BTreeSet<String> {
    let samples = samples(page).into_keys().filter(|s| !s.contains("_bucket"));
    let named = samples.filter(|s| !s.contains("_seconds_sum"));
    let described = named.map(|sample| {
        let (name, labels) = sample.split_once('{').unwrap_or((&sample, ""));
        let pairs = labels.trim_end_matches('}').split("\",");
        let labels: BTreeSet<&str> = pairs
            .map(|pair| pair.split('=').next().unwrap_or_default())
            .collect();
        let name = name.strip_suffix("_seconds_count").map_or_else(
            || name.to_owned(),
            |histogram| format!("{histogram}_seconds"),
        );
        format!("{name} {labels:?}")
    });
    described.collect()
}

#[test]
fn every_metric_is_documented_with_its_labels_and_every_documented_one_is_there() {
    let judge =
        "judge: {literal: {min_requests: 1, every: 50ms, rollback: {error_rate: \"> 99%\"}}}";
    let stand = Stand::new(&[], judge);
    let price = "role: canary, price: {input: $2.00, output: $8.00},";
    let priced = stand.router().replace("role: canary,", price);
    let applied = stand.ask("PUT", "/v1/deployment/config", &priced);
    assert_eq!(applied.status, 200, "{}", applied.text);
    assert_eq!(stand.served_by("premium"), "v2");
    let stats = stand.wait_for_stats(|s| s["versions"]["v2"]["served"] == 1);
    let cost = &stats["versions"]["v2"]["cost"];
    assert!(cost["total_nano_usd"].as_u64().unwrap() >= 3 * 8_000);
    assert_eq!(cost["unknown_attempts"], 0);
    assert_eq!(stats["versions"]["v1"]["cost"], json!(null));
    // A look before anything was counted has no value to show.
    let has_value = |found: &serde_json::Value| found["value"].is_number();
    stand.wait_for_stats(|s| {
        s["judge"]
            .as_array()
            .is_some_and(|f| f.iter().any(has_value))
    });
    stand.post("/v1/deployment/rollback", &json!({}));
    stand.wait_for_stats(|s| s["rollbacks"] != json!({}));
    assert_eq!(
        scraped(&stand.ask("GET", "/metrics", "").text),
        documented()
    );
}

/// Asks the gateway itself for something; returns the answer's status and the id of the request.
fn call(stand: &Stand, method: Method, path: &str, body: Vec<u8>) -> (u16, Option<String>) {
    let url = stand.gateway.base.replace("/v1", path);
    let sent = stand.client.request(method, url).body(body).send();
    let answer = stand.runtime.block_on(sent).expect("an answer");
    let id = answer.headers().get("x-request-id");
    let id = id.map(|id| id.to_str().expect("text").to_owned());
    (answer.status().as_u16(), id)
}

#[test]
fn what_the_router_never_hears_of_is_counted_by_why() {
    let stand = Stand::new(&[], "");
    let chat = "/v1/chat/completions";
    let asked = [
        (Method::POST, chat, b"{".to_vec(), 400),
        (Method::POST, chat, b"[]".to_vec(), 400),
        (Method::POST, chat, vec![b' '; (16 << 20) + 1], 413),
        (Method::GET, chat, Vec::new(), 405),
        (Method::GET, "/v2/models", Vec::new(), 404),
    ];
    for (method, path, body, status) in asked {
        assert_eq!(call(&stand, method, path, body).0, status, "{path}");
    }
    assert_eq!(stand.served_by("free"), "v1");
    let page = stand.ask("GET", "/metrics", "").text;
    let metrics = samples(&page);
    for (reason, count) in [
        ("invalid_request", 2.0),
        ("request_too_large", 1.0),
        ("method_not_allowed", 1.0),
        ("not_found", 1.0),
        ("request_timeout", 0.0),
        ("broken_off", 0.0),
        ("shutting_down", 0.0),
    ] {
        let name = format!("graygate_refused_requests_total{{reason=\"{reason}\"}}");
        assert_eq!(metrics.get(&name), Some(&count), "{name}\n{page}");
    }
    let stats = stand.wait_for_stats(|s| s["requests"]["succeeded"] == 1);
    assert_eq!(
        stats["refused"],
        json!({
            "invalid_request": 2, "request_too_large": 1,
            "method_not_allowed": 1, "not_found": 1,
        })
    );
    assert_eq!(stats["requests"]["arrived"], 1, "the router heard of one");
}

#[test]
fn retries_after_a_fallback_are_told_from_those_before_it() {
    let stand = Stand::new(
        &["kind: server_error, share: 100%"],
        "fallback: after_retries\nretry: {max_retries: 1, base: 1ms}",
    );
    assert_eq!(stand.served_by("premium"), "v1");
    stand.wait_for_stats(|s| s["requests"]["succeeded"] == 1);
    let page = stand.ask("GET", "/metrics", "").text;
    let metrics = samples(&page);
    for (version, outcome, kind, fallback) in [
        ("v2", "server_error", "first", 0),
        ("v2", "server_error", "retry", 0),
        ("v1", "success", "fallback", 1),
    ] {
        let name = format!(
            "graygate_attempts_total{{version=\"{version}\",outcome=\"{outcome}\",kind=\"{kind}\",fallback=\"{fallback}\"}}"
        );
        assert_eq!(metrics.get(&name), Some(&1.0), "{name}\n{page}");
    }
}

#[test]
fn no_two_processes_give_the_same_id_to_requests() {
    let ids: BTreeSet<String> = (0..2)
        .flat_map(|_| {
            let stand = Stand::new(&[], "");
            let body = br#"{"model": "gpt-4.1", "messages": []}"#;
            let ask = || call(&stand, Method::POST, "/v1/chat/completions", body.to_vec()).1;
            [ask().expect("an id"), ask().expect("an id")]
        })
        .collect();
    assert_eq!(ids.len(), 4, "{ids:?}");
    // The form of a UUID, which some upstreams insist on.
    let lengths = |id: &String| id.split('-').map(str::len).collect::<Vec<_>>();
    assert!(
        ids.iter().all(|id| lengths(id) == [8, 4, 4, 4, 12]),
        "{ids:?}"
    );
}
