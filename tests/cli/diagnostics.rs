//! Mistakes in files: all at once, each with its place, the line, the expected form and a hint.

use std::process::Command;

use crate::support::{Folder, PASSES, command, done, graygate, scenario};

#[test]
fn every_mistake_of_a_scenario_at_once() {
    let folder = Folder::new();
    let file = folder.write(
        "mistakes.yaml",
        r#"nmae: a scenario with many mistakes
seed: minus one
duration: 10
engine: vitrual
router: no-such-router.yaml
upstreams:
  v1: {mock: {latency: {lognormal: {median: 40ms, p99: 20ms}}}}
traffic:
  synthetic: {arrivals: {posson: 50/s}, prompts: no-such-prompts.jsonl, users: {premium: 110%}}
faults:
  - {at: 2m, on: v2, kind: unauthorised, share: 30}
expect:
  - splt: {v2: 10%}
"#,
    );
    let done = graygate(&["validate", &file]);
    assert_eq!(done.code, Some(2));
    insta::assert_snapshot!(folder.anonymous(&done.err));
}

#[test]
fn mistakes_of_faults() {
    let folder = Folder::new();
    let file = folder.write(
        "mistakes.yaml",
        r#"name: mistakes
duration: 10s
router: FIXTURES/routers/gray-10.yaml
traffic: {synthetic: {arrivals: {poisson: 50/s}}}
faults:
  - {on: v2, kind: forbidden, status: 401}
  - {on: v2, kind: bad_request, status: 404}
  - {on: v2, kind: content_filter, status: 300}
  - {on: v2, kind: overloaded, status: 500, retry_after: 1500ms}
  - {on: v2, kind: rate_limit, retry_after: {date: 9000h}}
  - {on: v2, kind: rate_limited, retry_after: {ms: 0.5ms, body: 1s}}
  - {on: v2, kind: redirect, status: 200}
  - {on: v2, kind: schema_drift, shape: rapped}
  - {on: v2, kind: slow_body}
  - {on: v2, kind: refused, share: 50%}
  - {at: 5s, on: v2, kind: tls_failure}
  - {on: v2, kind: reset, correlated: true}
  - {on: v2, kind: reset, share: 0%}
  - {on: v2, kind: reset, flapping: {on: 10s, off: 0s}}
  - {on: v2, kind: reset, ramp: {from: 0%, to: 50%}}
  - {on: v2, kind: reset, for: 5s, share: 10%, ramp: {from: 0%, to: 50%}}
  - {on: v2, kind: reset, bursts: {mean: 2s}}
  - {on: v2, kind: reset, bursts: {mean: 2s, gap: 3s}, flapping: {on: 1s, off: 1s}}
  - {on: v2, kind: cut, status: 200}
expect:
  - contract: {drift: none, version: v3, drifts: "0"}
"#,
    );
    let done = graygate(&["validate", &file]);
    assert_eq!(done.code, Some(2));
    insta::assert_snapshot!(folder.anonymous(&done.err));
}

#[test]
fn mistakes_that_depend_on_the_router() {
    let folder = Folder::new();
    let file = folder.write(
        "mistakes.yaml",
        r#"name: mistakes
duration: 10s
router: FIXTURES/routers/gray-10.yaml
upstreams:
  v1: {mock: {like: v2}}
  v2: {mock: {like: v1, latncy_factor: 2}}
traffic:
  synthetic: {arrivals: {stages: [{poisson: 5/s}, {for: 10s}]}, stream: 50%}
faults:
  - {on: v3, kind: rate_limited, delay: 2s}
  - {on: v2, kind: slow}
expect:
  - split: {v2: 10%, tolerance: 3%}
  - fallback: {succeeds: 100}
  - rollback: {reason: error_rat, within: soon}
  - requests: {version: v9, p99: "500ms 99%", unauthorised: "0%"}
  - requests: {}
"#,
    );
    let done = graygate(&["validate", &file]);
    assert_eq!(done.code, Some(2));
    insta::assert_snapshot!(folder.anonymous(&done.err));
}

/// A gate that passes whatever the router does is a mistake.
#[test]
fn a_tolerance_that_shows_nothing_is_refused() {
    let folder = Folder::new();
    for (split, said) in [
        ("v2: 10%, tolerance: 10pp", "a tolerance below 10pp"),
        ("v2: 10%, tolerance: 100pp", "a tolerance below 10pp"),
        ("v1: 90%, tolerance: 12pp", "a tolerance below 10pp"),
        ("v1: 70%, tolerance: 30pp", "a tolerance below 30pp"),
        ("v2: 0%, tolerance: 99pp", "a tolerance below 50pp"),
        ("v1: 100%, tolerance: 50pp", "a tolerance below 50pp"),
        ("v1: 100%", "a share of 100% has no default tolerance"),
        ("v2: 0%", "a share of 0% has no default tolerance"),
        ("v1: 90%, tolerance: 9pp", ""),
        ("v1: 90%", ""),
        ("v1: 100%, tolerance: 1pp", ""),
    ] {
        let text = format!(
            "name: wide\nduration: 10s\nrouter: FIXTURES/routers/gray-10.yaml\ntraffic: \
             {{synthetic: {{arrivals: {{poisson: 5/s}}}}}}\nexpect:\n  - split: {{{split}}}\n"
        );
        let file = folder.write("wide.yaml", &text);
        let done = graygate(&["validate", &file]);
        let code = if said.is_empty() { 0 } else { 2 };
        assert_eq!(done.code, Some(code), "{split}: {}", done.err);
        assert!(done.err.contains(said), "{split}: {}", done.err);
    }
}

/// Its default is a part of what is missing to everything: where the canary gets nothing, stable has no 90 %.
#[test]
fn a_share_of_stable_is_as_strict_as_that_of_the_canary() {
    let folder = Folder::new();
    let text = "name: none
duration: 60s
router:
  versions:
    v1: {role: stable, model: a, api_key_env: A_KEY}
    v2: {role: canary, model: b, api_key_env: B_KEY}
  split: {weights: {v1: 100, v2: 0}}
  judge: off
traffic: {synthetic: {arrivals: {poisson: 200/s}}}
expect:
  - split: {v1: 90%}
";
    let file = folder.write("none.yaml", text);
    let out = folder.path().join("reports").display().to_string();
    let done = graygate(&["run", &file, "--out", &out, "--format", "json", "--quiet"]);
    let summary: serde_json::Value = serde_json::from_str(&done.out).expect("JSON");
    let gates = summary[0]["gates"].as_array().expect("gates");
    let split = gates.iter().find(|gate| gate["name"] == "split");
    assert_eq!(split.expect("the gate")["status"], "fail", "{summary:#}");
}

#[test]
fn every_mistake_of_a_router_file_at_once() {
    let folder = Folder::new();
    let file = folder.write(
        "router.yaml",
        r#"versions:
  v1: {role: stable, model: a, api_key_env: sk-0123456789abcdef0123456789}
  v2: {role: canary, model: b, endpoint: "https://me:hunter2@example.test/v1"}
routes:
  - {when: {tier: premium}, to: v3}
  - {when: {header: {"x version": v2}}, to: v2}
split: {weights: {v1: 90, v2: ten}, stiky: user}
retry: {max_retries: 1000, factor: 0.5}
timeouts: {attempt: 30s, request: 10s}
fallback: imediately
judge: {literal: {window: 1ms, min_requests: 0, rollback: {error_rate: "< 5%"}}}
"#,
    );
    let done = graygate(&["validate", &file]);
    assert_eq!(done.code, Some(2));
    let shown = folder.anonymous(&done.err);
    assert!(
        !shown.contains("hunter2") && !shown.contains("0123456789abcdef"),
        "{shown}"
    );
    insta::assert_snapshot!(shown);
}

#[test]
fn what_could_only_end_one_way_is_refused() {
    let folder = Folder::new();
    let gates = "  - rollback: {reason: error_rate}
  - no_rollback
  - after_rollback: {canary_requests: \"0\"}
  - split: {v2: 30%, confidence: 10%}";
    let router = "router:
  versions:
    v1: {role: stable, model: a}
    v2: {role: canary, model: b}
  split: {weights: {v1: 7, v2: 3}}
  judge: JUDGE";
    let text = scenario(gates)
        .replace("router: FIXTURES/routers/gray-30-fast.yaml", router)
        .replace(
            "v2: {mock: {latency: 5ms}}",
            "v2: {mock: {like: v1, server: wiremock}}",
        )
        .replace("expect:", "faults:\n  - {on: v2, kind: reset}\nexpect:");
    let file = folder.write("off.yaml", &text.replace("JUDGE", "off"));
    let done = graygate(&["validate", &file]);
    assert_eq!(done.code, Some(2));
    insta::assert_snapshot!(folder.anonymous(&done.err));
    let alerts = "{literal: {alert: {error_rate: \"> 5%\"}}}";
    let file = folder.write("alerts.yaml", &text.replace("JUDGE", alerts));
    let done = graygate(&["validate", &file]);
    let said = done
        .err
        .matches("has no threshold under `rollback`")
        .count();
    assert_eq!(said, 3, "{}", done.err);
    let acts = text.replace("JUDGE", "{literal: {rollback: {error_rate: \"> 5%\"}}}");
    let acts = acts
        .replace("server: wiremock", "server: native")
        .replace("10%", "99%");
    let file = folder.write("acts.yaml", &acts);
    assert_eq!(graygate(&["validate", &file]).code, Some(0));
}

/// What a router looks at is written down; what is written down must not be a secret.
#[test]
fn headers_that_carry_credentials_are_refused() {
    let folder = Folder::new();
    for (header, code) in [
        ("Authorization", 2),
        ("x-api-key", 2),
        ("API-Key", 2),
        ("cookie", 2),
        ("proxy-authorization", 2),
        ("x-test-version", 0),
    ] {
        for place in [
            format!(
                "routes: [{{when: {{header: {{{header}: hunter2}}}}, to: v2}}]\nsplit: {{weights: {{v1: 9, v2: 1}}}}"
            ),
            format!("split: {{weights: {{v1: 9, v2: 1}}, sticky: {{header: {header}}}}}"),
        ] {
            let file = folder.write(
                "router.yaml",
                &format!("versions:\n  v1: {{role: stable, model: a}}\n  v2: {{role: canary, model: b}}\n{place}\n"),
            );
            let done = graygate(&["validate", &file]);
            assert_eq!(done.code, Some(code), "{header}: {}", done.err);
            assert_eq!(done.err.contains("carries credentials"), code == 2);
            assert!(!done.err.contains("hunter2"), "{}", done.err);
        }
    }
}

#[test]
fn a_key_that_no_header_can_carry_is_refused_and_not_shown() {
    let folder = Folder::new();
    let file = folder.write(
        "router.yaml",
        "versions:
  v1: {role: stable, model: a, endpoint: 'http://127.0.0.1:9/v1', api_key_env: GRAYGATE_TEST_KEY}
  v2: {role: canary, model: b, endpoint: 'http://127.0.0.1:9/v1'}
split: {weights: {v1: 9, v2: 1}}",
    );
    for key in [
        "hunter2\nhunter2",
        "hunter2 hunter2",
        "hunter2\u{1b}",
        "hünter2",
    ] {
        let mut command = command(&["serve", &file, "--state", "none", "--listen", "127.0.0.1:0"]);
        let output = command.env("GRAYGATE_TEST_KEY", key).output().unwrap();
        let done = done(output);
        assert_eq!(done.code, Some(2), "{}", done.err);
        assert!(
            done.err.contains("in GRAYGATE_TEST_KEY holds"),
            "{}",
            done.err
        );
        assert!(!done.err.contains("nter2"), "{}", done.err);
    }
}

#[test]
fn a_bare_comparison_is_explained() {
    let folder = Folder::new();
    let text = scenario("  - requests: {success: >= 99.9%}");
    let file = folder.write("bare.yaml", &text);
    let done = graygate(&["run", &file]);
    assert_eq!(done.code, Some(2));
    insta::assert_snapshot!(folder.anonymous(&done.err));
}

#[test]
fn mistakes_of_several_files_at_once() {
    let folder = Folder::new();
    let one = folder.write("one.yaml", "name: one\nwhat: is this\n");
    let two = folder.write("two.yaml", "- a list\n");
    let done = graygate(&["run", &one, &two, "no-such.yaml"]);
    assert_eq!(done.code, Some(2));
    for expected in ["one.yaml:2:1", "two.yaml:1:1", "no-such.yaml"] {
        assert!(done.err.contains(expected), "{}", done.err);
    }
}

#[test]
fn two_scenarios_of_one_name_are_refused() {
    let (here, there) = (Folder::new(), Folder::new());
    let one = here.write("same.yaml", &scenario(PASSES));
    let two = there.write("same.yaml", &scenario(PASSES));
    let done = graygate(&["run", &one, &two]);
    assert_eq!(done.code, Some(2));
    assert!(done.err.contains("has the same file name"), "{}", done.err);
}

#[test]
fn prompts_are_checked_line_by_line() {
    let folder = Folder::new();
    folder.write(
        "prompts.jsonl",
        "{\"prompt\": \"fine\"}\n{\"prompt\": 7}\n\nnonsense\n",
    );
    let text = scenario(PASSES).replace("100/s}}", "100/s}, prompts: prompts.jsonl}");
    let file = folder.write("prompts.yaml", &text);
    let done = graygate(&["run", &file]);
    assert_eq!(done.code, Some(2));
    let shown = folder.anonymous(&done.err);
    assert!(shown.contains("prompts.jsonl:2:1"), "{shown}");
    assert!(shown.contains("prompts.jsonl:4:1"), "{shown}");
    // The wrong file altogether is not read to its end.
    folder.write("prompts.jsonl", &"nonsense\n".repeat(1_000_000));
    let done = graygate(&["run", &file]);
    assert_eq!(done.code, Some(2));
    assert!(
        done.err.ends_with("… and 950 more mistakes\n\n"),
        "{}",
        done.err
    );
}

#[test]
fn everything_shipped_is_valid_without_a_warning() {
    let root = env!("CARGO_MANIFEST_DIR");
    for folder in ["scenarios", "fixtures/routers"] {
        for entry in std::fs::read_dir(format!("{root}/{folder}")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "yaml") {
                let done = graygate(&["validate", path.to_str().unwrap()]);
                assert_eq!(
                    (done.code, done.err.as_str()),
                    (Some(0), ""),
                    "{}",
                    path.display()
                );
            }
        }
    }
}

/// Bombs, huge files and lines without end, in an address space of 300 MB.
#[test]
fn monstrous_files_are_refused_without_eating_memory() {
    let folder = Folder::new();
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..30 {
        let previous = vec![format!("*a{}", i - 1); 10].join(", ");
        bomb += &format!("a{i}: &a{i} [{previous}]\n");
    }
    let bomb = folder.write("bomb.yaml", &bomb);
    let long = format!(
        "a: &a {}\nb: [{}]\n",
        "x".repeat(900_000),
        "*a, ".repeat(19_000)
    );
    let long = folder.write("long.yaml", &long);
    // A megabyte in one line, with a mistake every few characters.
    let keys: Vec<String> = (0..9_500).map(|i| format!("k{i:0>90}: x")).collect();
    let wrong = folder.write("wrong.yaml", &format!("{{{}}}", keys.join(", ")));
    let word = folder.write("word.yaml", &format!("{}: x\n", "seed".repeat(200_000)));
    let deep = folder.write("deep.yaml", &"[".repeat(500_000));
    let huge = folder.write("huge.yaml", "name: x\n");
    let endless = folder.write("endless.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\r\n");
    for file in [&huge, &endless] {
        // A gigabyte without a line end; sparse, so that it takes no room.
        let file = std::fs::OpenOptions::new().write(true).open(file).unwrap();
        file.set_len(1 << 30).unwrap();
    }
    let router = "fixtures/routers/gray-10.yaml";
    for args in [
        format!("run {bomb}"),
        format!("run {long}"),
        format!("run {word}"),
        format!("run {deep}"),
        format!("run {huge}"),
        format!("replay {endless} --router {router}"),
        format!("replay {huge} --router {router}"),
    ] {
        let program = env!("CARGO_BIN_EXE_graygate");
        let output = Command::new("sh")
            .args(["-c", &format!("ulimit -v 300000; exec {program} {args}")])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args}: {said}");
        assert!(said.len() < 4_000, "{args}: {} bytes of errors", said.len());
    }
    let done = graygate(&["validate", &wrong]);
    assert_eq!(done.code, Some(2));
    assert!(
        done.err.ends_with("… and 8504 more mistakes\n\n"),
        "{}",
        done.err.len()
    );
    assert!(done.err.len() < 2_000_000, "{}", done.err.len());
}

#[test]
fn a_file_that_is_not_there_is_looked_for_where_its_name_says() {
    let folder = Folder::new();
    let done = graygate(&["serve", "nofile.yaml"]);
    assert_eq!(done.code, Some(2));
    assert!(done.err.contains("--> nofile.yaml"), "{}", done.err);
    let hint = "relative to the folder that graygate was started in";
    assert!(done.err.contains(hint), "{}", done.err);
    assert!(!done.err.contains("paths in a file"), "{}", done.err);
    // Named by a file, it is that file's folder that counts.
    let file = folder.write("gray.yaml", "versions: {}\nprices: no-such-prices.yaml\n");
    let done = graygate(&["serve", &file]);
    assert!(done.err.contains("no-such-prices.yaml"), "{}", done.err);
    assert!(!done.err.contains(hint), "{}", done.err);
}

#[test]
fn mistakes_in_gates_about_load_and_callers() {
    let folder = Folder::new();
    for (gate, message) in [
        ("retries", "nothing is expected of the retries"),
        ("retries: {amplification: \"<= 20%\"}", "`<= 20%` is not"),
        ("rate_limit: {v2: 60}", "`window` is missing"),
        (
            "rate_limit: {window: 60s}",
            "no version's limit is expected",
        ),
        ("rate_limit: {v3: 60, window: 60s}", "unknown key `v3`"),
        (
            "stickiness: {by: {header: cookie}}",
            "say nothing of themselves",
        ),
        ("stickiness: {moved: 0%}", "`0%` is not"),
        ("notification", "the router has nobody to tell"),
        ("ramp: {stays_at: few}", "the router has no ramp"),
    ] {
        let file = folder.write("gate.yaml", &scenario(&format!("  - {gate}")));
        let done = graygate(&["validate", &file]);
        assert_eq!(done.code, Some(2), "{gate}");
        assert!(done.err.contains(message), "{gate}: {}", done.err);
    }
}

/// A ramp stays at a step that it has, and is not late for it.
#[test]
fn mistakes_in_where_a_ramp_stays() {
    let folder = Folder::new();
    let shipped = std::fs::read_to_string("scenarios/no-data-holds-the-ramp.yaml");
    let text = shipped.expect("a scenario");
    for (gate, message) in [
        ("{stays_at: minority}", "the ramp has no step of this name"),
        ("{stays_at: few, within: 1m}", "unknown key `within`"),
        ("{stays_at: few, reaches: half}", "unknown key `reaches`"),
        ("{}", "`reaches` is missing"),
    ] {
        let file = folder.write("stays.yaml", &text.replace("{stays_at: few}", gate));
        let done = graygate(&["validate", &file]);
        assert_eq!(done.code, Some(2), "{gate}");
        assert!(done.err.contains(message), "{gate}: {}", done.err);
    }
}

/// Callers without names cannot be told apart: that is known before the run.
#[test]
fn too_few_callers_for_stickiness_are_warned_of() {
    let folder = Folder::new();
    let text = scenario("  - stickiness: {min_n: 50}");
    for (users, named) in [
        ("", "and 0 can be told apart"),
        ("users: {count: 49}, ", "and 49 can"),
    ] {
        let text = text.replace("synthetic: {", &format!("synthetic: {{{users}"));
        let file = folder.write("callers.yaml", &text);
        let done = graygate(&["validate", &file]);
        assert_eq!(done.code, Some(0), "{}", done.err);
        assert!(done.err.contains(named), "{}", done.err);
    }
    let text = text.replace("synthetic: {", "synthetic: {users: {count: 50}, ");
    let file = folder.write("callers.yaml", &text);
    assert_eq!(graygate(&["validate", &file]).err, "");
}

#[test]
fn mistakes_in_what_is_forced() {
    let folder = Folder::new();
    for (forced, message) in [
        ("{v3: 2%}", "there is no version `v3`"),
        ("{v2: 2}", "a share"),
        ("2%", "is not a mapping of shares"),
        (
            "{v1: 60%, v2: 41%}",
            "more than all requests would be forced",
        ),
    ] {
        let text =
            scenario(PASSES).replace("synthetic: {", &format!("synthetic: {{forced: {forced}, "));
        assert!(text.contains("forced"), "{text}");
        let file = folder.write("forced.yaml", &text);
        let done = graygate(&["validate", &file]);
        assert_eq!(done.code, Some(2), "{forced}");
        assert!(done.err.contains(message), "{forced}: {}", done.err);
    }
}

#[test]
fn what_real_upstreams_lack_is_told() {
    let folder = Folder::new();
    let said = |upstreams: &str, more: &str, version: &str| {
        let text = format!(
            "name: real
duration: 10s
router:
  versions:
    v1: {{role: stable, model: a{version}}}
    v2: {{role: canary, model: b}}
  split: {{weights: {{v1: 90, v2: 10}}}}
upstreams: {upstreams}
{more}
traffic: {{synthetic: {{arrivals: {{poisson: 5/s}}}}}}
expect: [attribution]
"
        );
        let file = folder.write("real.yaml", &text);
        graygate(&["validate", &file])
    };
    let v2 = "v2: {mock: {latency: 20ms}}";
    let there = ", endpoint: \"http://127.0.0.1:8000/v1\", price: {flat: $1}";
    let fine = said(
        &format!("{{v1: real, {v2}}}"),
        "engine: live\nbudget: {money: $1}",
        there,
    );
    assert_eq!(fine.code, Some(0), "{}", fine.err);
    let all = said(&format!("{{v1: real, {v2}}}"), "budget: {money: $1}", "");
    assert_eq!(all.code, Some(2));
    for message in [
        "`v1` is real, and has no endpoint",
        "`v1` is real and has no price",
        "the engine has no real time",
    ] {
        assert!(all.err.contains(message), "{message}: {}", all.err);
    }
    for (upstreams, more, message) in [
        ("v1: real", "engine: live", "there is no budget"),
        (
            "v1: {mock: {latency: 1s}}",
            "budget: {tokens: 5}",
            "no upstream that is real",
        ),
        (
            "v1: real",
            "engine: live\nbudget: {}",
            "a budget limits something",
        ),
        (
            "v1: real",
            "engine: live\nbudget: {money: 1}",
            "an amount in dollars",
        ),
        ("v1: {real: {concurrency: 0}}", "engine: live", "at least 1"),
        (
            "v1: {real: {concurrency: 10001}}",
            "engine: live",
            "1 to 10000",
        ),
        ("v1: {real: {rate: 0/s}}", "engine: live", "a rate above 0"),
        (
            "v1: {real: {limit_field: n}}",
            "engine: live",
            "max_completion_tokens",
        ),
        (
            "v1: {real: {latency: 1s}}",
            "engine: live",
            "unknown key `latency`",
        ),
        ("v1: {mock: {like: v2}}", "engine: live", "must name a mock"),
    ] {
        let v2 = if message.contains("a mock") {
            "v2: real"
        } else {
            v2
        };
        let done = said(&format!("{{{upstreams}, {v2}}}"), more, there);
        assert_eq!(done.code, Some(2), "{upstreams} {more}");
        assert!(
            done.err.contains(message),
            "{upstreams} {more}: {}",
            done.err
        );
    }
}

#[test]
fn a_picture_for_a_real_upstream_is_refused() {
    let folder = Folder::new();
    let picture = r#"{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x"}}]}]}"#;
    folder.write("prompts.jsonl", picture);
    let file = folder.write(
        "real.yaml",
        "name: real
engine: live
duration: 10s
router:
  versions:
    v1: {role: stable, model: a, endpoint: \"http://127.0.0.1:8000/v1\"}
    v2: {role: canary, model: b}
  split: {weights: {v1: 90, v2: 10}}
upstreams: {v1: real, v2: {mock: {latency: 20ms}}}
budget: {tokens: 1000}
traffic: {synthetic: {arrivals: {poisson: 5/s}, prompts: prompts.jsonl}}
expect: [attribution]
",
    );
    let done = graygate(&["validate", &file]);
    assert_eq!(done.code, Some(2));
    let message = "prompts have parts that are no text";
    assert!(done.err.contains(message), "{}", done.err);
}
