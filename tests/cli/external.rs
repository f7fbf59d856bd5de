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

#[test]
fn nobody_can_force_a_request_of_another_gateway() {
    let fine = format!("{VERSIONS}    launch: {{command: [gateway]}}");
    let told = mistakes("engine: live", &fine, ", forced: {v2: 10%}");
    assert!(told.contains("nobody can force its requests"), "{told}");
}
