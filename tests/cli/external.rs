//! Mistakes in what a scenario says of another gateway: each is told with its place and what is expected.

use crate::support::{Folder, graygate};

fn mistakes(head: &str, external: &str, rest: &str) -> String {
    let folder = Folder::new();
    let text = format!(
        "name: outside\n{head}\nrouter:\n  external:\n{external}\n\
         traffic: {{synthetic: {{arrivals: {{constant: 10/s}}, requests: 10{rest}}}}}\n\
         expect: [requests: {{success: \"100%\"}}]\n"
    );
    let file = folder.write("outside.yaml", &text);
    let done = graygate(&["validate", &file]);
    assert_eq!(done.code, Some(2), "{}{}", done.out, done.err);
    done.out + &done.err
}

const VERSIONS: &str = "    versions: {v1: {role: stable, model: a, weight: 9}, v2: {role: canary, model: b, weight: 1}}\n";

#[test]
fn mistakes_are_told() {
    let live = "engine: live";
    let launch = "    launch: {command: [gateway]}";
    let fine = format!("{VERSIONS}{launch}");
    let with = |more: &str| format!("{VERSIONS}    launch: {{command: [gateway], {more}}}");
    for (head, external, message) in [
        ("", fine.clone(), "the engine has no real time"),
        ("engine: virtual", fine.clone(), "engine: live"),
        (live, VERSIONS.to_owned(), "either started or there"),
        (
            live,
            format!("{fine}\n    url: \"http://127.0.0.1:1/v1\""),
            "either started or there",
        ),
        (live, launch.to_owned(), "`versions` is missing"),
        (
            live,
            format!("{VERSIONS}    url: \"http://example.com:80/v1\""),
            "a gateway on this machine",
        ),
        (
            live,
            format!("{VERSIONS}    url: \"http://127.0.0.1:4000/v1\""),
            "`v1` has no port",
        ),
        (
            live,
            format!("{VERSIONS}    launch: {{command: []}}"),
            "is not a command",
        ),
        (
            live,
            format!("{VERSIONS}    launch: {{command: [\"{{{{prot}}}}\"]}}"),
            "nobody knows what `{{prot}}` is",
        ),
        (
            live,
            with("env: {A: \"{{upstream.v3.url}}\"}"),
            "nobody knows what `{{upstream.v3.url}}` is",
        ),
        (live, with("files: {../x: y}"), "is not the name of a file"),
        (
            live,
            with("files: {x: no-such-file}"),
            "no-such-file: cannot read",
        ),
        (live, with("ready: {http: health}"), "is not a path"),
        (live, with("ready: soon"), "is not a sign of readiness"),
        (live, with("redy: tcp"), "redy"),
        (
            live,
            fine.replace("weight: 9", "endpoint: x, weight: 9"),
            "`endpoint` is no matter of",
        ),
        (live, fine.replace("weight: 9}", "}"), "`weight` is missing"),
        (
            live,
            fine.replace("9", "0").replace("1}", "0}"),
            "the weights are all 0",
        ),
        (
            "engine: live\nupstreams: {v1: real, v2: {mock: {latency: 1ms}}}\nbudget: {tokens: 1}",
            fine.clone(),
            "before mocks only",
        ),
        (
            "engine: live\nfaults: [{on: v2, kind: tls_failure}]",
            fine.clone(),
            "no handshake can fail",
        ),
        (
            "engine: live\nrequires: {programs: [a/b], env: [sk-x]}",
            fine.clone(),
            "the name of a variable",
        ),
        (
            "engine: live\nrequires: {program: [a]}",
            fine.clone(),
            "program",
        ),
    ] {
        let told = mistakes(head, &external, "");
        assert!(told.contains(message), "{message}:\n{told}");
    }
}

/// An admin API that takes no orders to roll back.
const ADMIN: &str =
    "\n    admin: {url: \"http://127.0.0.1:{{admin_port}}\", set_weights: {path: /w}}";

#[test]
fn mistakes_in_orders_are_told() {
    let launch = "    launch: {command: [gateway]}";
    let fine = format!("{VERSIONS}{launch}{ADMIN}");
    let admin = |text: &str| format!("{VERSIONS}{launch}\n    admin: {{{text}}}");
    let there = |admin: &str| {
        let ports = VERSIONS
            .replace("9}", "9, port: 1}")
            .replace("1}}", "1, port: 2}}");
        format!("{ports}    url: \"http://127.0.0.1:4000/v1\"\n    admin: {{{admin}}}")
    };
    let path = "rollback: {path: /x}";
    let url = "url: \"http://127.0.0.1:{{admin_port}}\"";
    for (orders, external, message) in [
        ("[{at: 1s}]", fine.clone(), "an order asks for one thing"),
        (
            "[{at: 1s, rollback: true, set_weights: {v2: 1%}}]",
            fine.clone(),
            "an order asks for one thing",
        ),
        (
            "[{rollback: true}]",
            fine.clone(),
            "`at` is missing in an order",
        ),
        (
            "[{at: 1s, rollback: false}]",
            fine.clone(),
            "`false` is not an order",
        ),
        (
            "[{at: 1s, rollback: true}]",
            fine.clone(),
            "nobody says how the gateway is told to `rollback`",
        ),
        (
            "[{at: 1s, set_weights: {v2: 50%}}]",
            admin(&format!("{url}, {path}")),
            "admin: {url: …, set_weights: {path: …, body: …}}",
        ),
        (
            "[{at: 1s, set_weights: {v3: 50%}}]",
            fine.clone(),
            "there is no version `v3`",
        ),
        (
            "[{at: 1s, set_weights: {v1: 60%, v2: 50%}}]",
            fine.clone(),
            "shares that are 100% together",
        ),
        (
            "[{at: 1s, set_weights: {v1: 40%, v2: 50%}}]",
            fine.clone(),
            "shares that are 100% together",
        ),
        ("[]", admin(url), "nobody is told how an order is given"),
        ("[]", admin(path), "`url` is missing"),
        (
            "[]",
            admin(&format!("url: \"http://10.0.0.1:80\", {path}")),
            "is not a URL of an API on this machine",
        ),
        (
            "[]",
            admin(&format!("url: \"http://127.0.0.1:80@example.com\", {path}")),
            "is not a URL of an API on this machine",
        ),
        (
            "[]",
            admin(&format!(
                "{url}, rollback: {{path: \"/{{{{weight.v2}}}}\"}}"
            )),
            "nobody knows what `{{weight.v2}}` is",
        ),
        (
            "[]",
            admin(&format!(
                "{url}, set_weights: {{path: \"/{{{{weight.v3}}}}\"}}"
            )),
            "nobody knows what `{{weight.v3}}` is",
        ),
        (
            "[]",
            admin(&format!("{url}, rollback: {{path: x, method: SEND}}")),
            "is not a method",
        ),
        (
            "[]",
            admin(&format!("{url}, rollback: {{path: x}}")),
            "is not a path",
        ),
        (
            "[]",
            admin(&format!("{url}, headers: {{\"a b\": c}}, {path}")),
            "is not the name of a header",
        ),
        (
            "[]",
            there(&format!("{url}, {path}")),
            "nobody knows what `{{admin_port}}` is",
        ),
    ] {
        let told = mistakes(&format!("engine: live\norders: {orders}"), &external, "");
        assert!(told.contains(message), "{message}:\n{told}");
    }
}

#[test]
fn the_built_in_router_takes_no_orders() {
    let folder = Folder::new();
    let text = "name: inside\nrouter: {versions: {v1: {role: stable, model: a}, v2: {role: canary, model: b}}, \
                split: {weights: {v1: 9, v2: 1}}}\norders: [{at: 1s, rollback: true}]\n\
                traffic: {synthetic: {arrivals: {constant: 10/s}, requests: 10}}\n\
                expect: [requests: {success: \"100%\"}]\n";
    let file = folder.write("inside.yaml", text);
    let done = graygate(&["validate", &file]);
    let told = done.out + &done.err;
    assert_eq!(done.code, Some(2), "{told}");
    assert!(
        told.contains("orders are given to another gateway"),
        "{told}"
    );
    assert!(told.contains("inside.yaml:3:"), "{told}");
}

#[test]
fn a_rollback_that_only_ledgers_show_has_no_reason() {
    let folder = Folder::new();
    let text = format!(
        "name: outside\nengine: live\nrouter:\n  external:\n{VERSIONS}    launch: {{command: [gateway]}}\n    rolls_back: true\n\
         traffic: {{synthetic: {{arrivals: {{constant: 10/s}}, requests: 10}}}}\nexpect:\n  - rollback: {{reason: error_rate}}\n"
    );
    let done = graygate(&["validate", &folder.write("outside.yaml", &text)]);
    assert_eq!(done.code, Some(2));
    insta::assert_snapshot!(folder.anonymous(&(done.out + &done.err)));
    let shut = text.replace("{reason: error_rate}", "{}").replace(
        "engine: live",
        "engine: live\nfaults: [{on: v2, kind: refused}]",
    );
    let done = graygate(&["validate", &folder.write("shut.yaml", &shut)]);
    let told = done.out + &done.err;
    assert_eq!(done.code, Some(2), "{told}");
    assert!(
        told.contains("`refused` keeps everybody out of the canary"),
        "{told}"
    );
}

#[test]
fn nobody_can_force_a_request_of_another_gateway() {
    let fine = format!("{VERSIONS}    launch: {{command: [gateway]}}");
    let told = mistakes("engine: live", &fine, ", forced: {v2: 10%}");
    assert!(told.contains("nobody can force its requests"), "{told}");
}
