//! Who may, who may not, and what nobody ever sees.

use std::process::{Command, Stdio};

use graygate::live::admin::routes;
use serde_json::json;

use crate::admin::{CANARY_KEY, STABLE_KEY, Stand, TOKEN};
use crate::process::{Server, router_file};
use crate::support::in_company;

const OPEN: [&str; 2] = ["/healthz", "/readyz"];

#[test]
fn without_the_token_nothing_is_said_but_health() {
    let stand = Stand::new(&[], "");
    let wrong = format!("Bearer {}x", &TOKEN[..TOKEN.len() - 1]);
    let basic = format!("Basic {TOKEN}");
    let cases: [&[(&str, &str)]; 4] = [
        &[],
        &[("authorization", &wrong)],
        &[("authorization", &basic)],
        &[("authorization", "Bearer ")],
    ];
    for route in routes::all().iter().filter(|r| !OPEN.contains(&r.path)) {
        for headers in cases {
            let method = route.methods[0];
            let answer = stand.ask_with(method, route.path, "", headers);
            assert_eq!(answer.status, 401, "{method} {}", route.path);
            assert_eq!(answer.headers["www-authenticate"], "Bearer");
        }
    }
    assert_eq!(stand.ask_with("GET", "/nowhere", "", &[]).status, 401);
    for path in OPEN {
        assert_eq!(stand.ask_with("GET", path, "", &[]).status, 200, "{path}");
    }
    assert_eq!(stand.ask("GET", "/v1/deployment", "").status, 200);
    let lower = format!("bearer {TOKEN}");
    let answer = stand.ask_with("GET", "/v1/stats", "", &[("authorization", &lower)]);
    assert_eq!(answer.status, 200);
}

#[test]
fn without_a_token_this_machine_may_and_web_pages_may_not() {
    let stand = Stand::with(&[], "", &[]);
    let ask = |headers| stand.ask_with("POST", "/v1/deployment/rollback", "", headers);
    assert_eq!(ask(&[("origin", "http://evil.example")]).status, 403);
    assert_eq!(ask(&[("host", "evil.example:8081")]).status, 403);
    assert_eq!(
        stand.ask_with("GET", "/v1/deployment", "", &[]).json()["phase"],
        "progressing"
    );
    assert_eq!(ask(&[]).status, 200);
}

/// Starts a gateway that must not start, and returns its exit code and what it said.
fn refused(args: &[&str], token: Option<&str>) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let nobody = "http://127.0.0.1:9/v1";
    let router = router_file(folder.path(), nobody, nobody, "");
    let mut command = Command::new(env!("CARGO_BIN_EXE_graygate"));
    command.args(["serve", &router]).args(args);
    command
        .env("STABLE_API_KEY", STABLE_KEY)
        .env("CANARY_API_KEY", CANARY_KEY);
    command
        .env_remove("GRAYGATE_ADMIN_TOKEN")
        .stdin(Stdio::null());
    command.envs(token.map(|token| ("GRAYGATE_ADMIN_TOKEN", token)));
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), said)
}

#[test]
fn other_machines_need_a_token() {
    let _company = in_company();
    for address in ["0.0.0.0:0", "[::]:0"] {
        let (code, said) = refused(&["--admin", address], None);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("GRAYGATE_ADMIN_TOKEN"), "{said}");
        assert!(said.contains("hint: "), "{said}");
    }
    // With one it goes on, to the upstream that is not there.
    let (code, said) = refused(&["--admin", "0.0.0.0:0"], Some(TOKEN));
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("cannot reach the upstream"), "{said}");
}

#[test]
fn a_token_that_can_be_guessed_is_refused_and_not_shown() {
    let _company = in_company();
    for token in ["short-token", "a token with spaces in it"] {
        let (code, said) = refused(&[], Some(token));
        assert_eq!(code, Some(2), "{said}");
        assert!(!said.contains(token), "{said}");
    }
}

#[test]
fn the_api_can_be_turned_off() {
    let _company = in_company();
    let folder = tempfile::tempdir().unwrap();
    let mock = Server::start(&["mock"], &[]);
    let router = router_file(folder.path(), &mock.base, &mock.base, "");
    let keys = [
        ("STABLE_API_KEY", STABLE_KEY),
        ("CANARY_API_KEY", CANARY_KEY),
    ];
    let gateway = Server::start(&["serve", &router, "--admin", "none"], &keys);
    assert!(!gateway.log().contains("admin API"), "{}", gateway.log());
}

#[test]
fn no_answer_and_no_log_line_holds_a_secret() {
    let stand = Stand::new(&["kind: unauthorized, share: 100%"], "");
    for _ in 0..3 {
        stand.served_by("premium");
    }
    stand.wait_for_stats(|stats| stats["fallbacks"]["answered"] == 3);
    let key = "sk-pasted-by-mistake-0123456789";
    let mut said = vec![
        stand
            .post("/v1/deployment/checkpoints", &json!({"name": key}))
            .text,
        stand
            .ask("PUT", "/v1/deployment/config", &format!("versions: {key}"))
            .text,
        stand
            .post("/v1/deployment/rollback", &json!({"reason": key}))
            .text,
        stand
            .post("/v1/routing/config", &json!({"weights": {key: 1}}))
            .text,
        stand.ask("GET", &format!("/{key}"), "").text,
    ];
    for route in routes::all().iter().filter(|r| r.methods.contains(&"GET")) {
        let answer = stand.ask("GET", route.path, "");
        assert_eq!(answer.status, 200, "{}", route.path);
        said.push(answer.text);
    }
    said.push(stand.gateway.log());
    for text in said {
        for secret in [TOKEN, STABLE_KEY, CANARY_KEY, "pasted-by-mistake"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

#[test]
fn what_is_too_large_is_not_read() {
    let stand = Stand::new(&[], "");
    let large = "x".repeat((1 << 20) + 1);
    let answer = stand.ask("PUT", "/v1/deployment/config", &large);
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (413, "request_too_large")
    );
    let long = "x".repeat(64 << 10);
    let answer = stand.ask_with("GET", "/healthz", "", &[("x-long", &long)]);
    assert_eq!(answer.status, 431);
}
