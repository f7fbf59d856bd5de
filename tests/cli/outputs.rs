//! What a run writes: files, JSON, JUnit, annotations.

use serde_json::Value;

use crate::support::{FAILS, Folder, INCONCLUSIVE, PASSES, graygate, scenario};

fn run(folder: &Folder, paths: &[&str], more: &[&str]) -> crate::support::Done {
    let out = folder.path().join("reports").display().to_string();
    let mut args = vec!["run"];
    args.extend(paths);
    args.extend(["--out", &out]);
    args.extend(more);
    graygate(&args)
}

fn read(folder: &Folder, path: &str) -> String {
    std::fs::read_to_string(folder.path().join("reports").join(path)).expect(path)
}

const RUN: &str = "canary-401-falls-back-and-rolls-back/virtual-seed7";

#[test]
fn the_files_of_a_run_look_like_this() {
    let folder = Folder::new();
    let file = "scenarios/canary-401-falls-back-and-rolls-back.yaml";
    let done = run(&folder, &[file], &[]);
    assert_eq!(done.code, Some(0));
    insta::assert_snapshot!("pretty", folder.anonymous(&done.out));
    // The fingerprints change with every word of a scenario; they are tested by themselves.
    let summary = read(&folder, &format!("{RUN}/summary.json"));
    let mut summary: Value = serde_json::from_str(&summary).unwrap();
    for hash in ["scenario_sha256", "router_sha256"] {
        assert_eq!(summary[hash].as_str().map(str::len), Some(64));
        summary[hash] = "…".into();
    }
    insta::assert_snapshot!("summary", format!("{summary:#}"));
    let report = read(&folder, &format!("{RUN}/report.md"));
    let report: Vec<&str> = report.lines().filter(|l| !l.contains("router `")).collect();
    insta::assert_snapshot!("report", report.join("\n"));
    let head = |name: &str, n: usize| {
        let text = read(&folder, &format!("{RUN}/{name}"));
        text.lines().take(n).collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!("requests", head("requests.csv", 5));
    insta::assert_snapshot!("attempts", head("attempts.csv", 5));
    insta::assert_snapshot!("timeline", head("timeline.csv", 7));
    let events = read(&folder, &format!("{RUN}/events.jsonl"));
    let first: Value = serde_json::from_str(events.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&first["event"], &first["seed"], &first["engine"]),
        (&"run".into(), &7.into(), &"virtual".into())
    );
    assert_eq!(first["router_sha256"].as_str().map(str::len), Some(64));
    let rare = events.lines().skip(1);
    let rare = rare.filter(|l| !l.contains("\"judged\""));
    insta::assert_snapshot!("events", rare.collect::<Vec<_>>().join("\n"));
}

/// Every figure of the CSV files adds up to the summary.
#[test]
fn the_files_agree_with_each_other() {
    let folder = Folder::new();
    let file = "scenarios/canary-401-falls-back-and-rolls-back.yaml";
    run(&folder, &[file], &[]);
    let summary: Value =
        serde_json::from_str(&read(&folder, &format!("{RUN}/summary.json"))).unwrap();
    let table = |name: &str| {
        let text = read(&folder, &format!("{RUN}/{name}"));
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let header = reader.headers().unwrap().clone();
        let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        move |column: &str| -> Vec<String> {
            let at = header.iter().position(|h| h == column).expect(column);
            rows.iter().map(|r| r[at].to_owned()).collect()
        }
    };
    let count = |values: &[String], wanted: &str| values.iter().filter(|v| *v == wanted).count();
    let requests = table("requests.csv");
    let sent = summary["requests"]["sent"].as_u64().unwrap() as usize;
    assert_eq!(requests("key").len(), sent);
    assert_eq!(
        count(&requests("served_by"), "v1") as u64,
        summary["versions"]["v1"]["served"].as_u64().unwrap()
    );
    assert_eq!(
        count(&requests("rescued_from"), "v2") as u64,
        summary["requests"]["rescued"].as_u64().unwrap()
    );
    let attempts = table("attempts.csv");
    let at_canary = count(&attempts("version"), "v2") as u64;
    assert_eq!(
        at_canary,
        summary["versions"]["v2"]["attempts"].as_u64().unwrap()
    );
    assert_eq!(
        count(&attempts("fault"), "unauthorized"),
        count(&attempts("outcome"), "unauthorized")
    );
    let timeline = table("timeline.csv");
    let sum = |version: &str, column: &str| -> u64 {
        let versions = timeline("version");
        let values = timeline(column);
        versions
            .iter()
            .zip(values)
            .filter(|(v, _)| *v == version)
            .map(|(_, n)| n.parse::<u64>().unwrap())
            .sum()
    };
    assert_eq!(sum("all", "requests"), sent as u64);
    assert_eq!(sum("v2", "attempts"), at_canary);
    assert_eq!(
        sum("v1", "served") + sum("v2", "served"),
        sum("all", "successes")
    );
}

#[test]
fn plots_are_complete_pictures() {
    let folder = Folder::new();
    run(
        &folder,
        &["scenarios/canary-401-falls-back-and-rolls-back.yaml"],
        &[],
    );
    for (name, words) in [
        ("split.svg", ["share of the canary", "intended"]),
        ("latency.svg", ["v1 p99", "latency (ms)"]),
        (
            "errors.svg",
            ["answered by fallback", "failed attempts at v2"],
        ),
    ] {
        let svg = read(&folder, &format!("{RUN}/{name}"));
        assert!(svg.starts_with("<svg width=\"800\""), "{name}");
        for word in words
            .into_iter()
            .chain(["fault: unauthorized", "rollback at 2m 07s", "(min)"])
        {
            assert!(svg.contains(word), "{name} does not say `{word}`");
        }
        assert!(!svg.contains("NaN"), "{name}");
    }
}

#[test]
fn json_is_a_list_of_summaries() {
    let folder = Folder::new();
    let good = folder.write("good.yaml", &scenario(PASSES));
    let bad = folder.write("bad.yaml", &scenario(FAILS));
    let done = run(&folder, &[&good, &bad], &["--format", "json"]);
    assert_eq!(done.code, Some(1));
    let list: Vec<Value> = serde_json::from_str(&done.out).expect("JSON and nothing else");
    assert_eq!(list.len(), 2);
    assert_eq!(
        (&list[0]["status"], &list[1]["status"]),
        (&"pass".into(), &"fail".into())
    );
    assert!(list.iter().all(|s| s["format"] == "graygate.summary/1"));
}

#[test]
fn github_gets_annotations() {
    let folder = Folder::new();
    let bad = folder.write("bad.yaml", &scenario(FAILS));
    let done = run(&folder, &[&bad], &["--format", "github"]);
    let line = done
        .out
        .lines()
        .find(|l| l.starts_with("::"))
        .expect("an annotation");
    assert_eq!(
        line,
        "::error title=bad%3A requests fail::count <= 3: 100 requests"
    );
}

/// Does every `&` of an XML file begin a reference, so that nothing of a name was taken for markup?
fn is_escaped(xml: &str) -> bool {
    let known = ["&amp;", "&lt;", "&gt;", "&quot;", "&apos;", "&#"];
    let mut ands = xml.match_indices('&');
    ands.all(|(at, _)| known.iter().any(|k| xml[at..].starts_with(k)))
}

#[test]
fn odd_names_break_no_file() {
    let folder = Folder::new();
    let text = scenario(FAILS).replace(
        "name: short",
        "name: 'a<b&\"c\" | `d` <script>&lt;'\ndescription: '<img src=x> [l](u) & so'",
    );
    let file = folder.write("a<b&\"c\"'`d`.yaml", &text);
    let junit = folder.path().join("all.xml").display().to_string();
    let done = run(&folder, &[&file], &["--junit", &junit]);
    assert_eq!(done.code, Some(1), "{}", done.err);
    let place = "a_b&_c_'`d`/virtual-seed3";
    let all = std::fs::read_to_string(&junit).unwrap();
    for xml in [all, read(&folder, &format!("{place}/junit.xml"))] {
        assert!(is_escaped(&xml), "{xml}");
        assert!(xml.contains("a_b&amp;_c_"), "{xml}");
        // The command still names the file as it is called.
        assert!(xml.contains("a&lt;b&amp;"), "{xml}");
        assert!(!xml.contains("a<b"), "{xml}");
    }
    for name in ["split.svg", "latency.svg", "errors.svg"] {
        let svg = read(&folder, &format!("{place}/{name}"));
        assert!(is_escaped(&svg), "{name}");
        assert!(svg.contains("a_b&amp;_c_"), "{name}");
    }
    let report = read(&folder, &format!("{place}/report.md"));
    let lines: Vec<&str> = report.lines().collect();
    assert_eq!(lines[0], r#"# FAIL: a\<b\&"c" \| \`d\` \<script\>\&lt;"#);
    assert_eq!(lines[2], r"\<img src=x\> \[l\](u) \& so");
    assert!(
        lines[4].starts_with("`a_b&_c_''d'` on the virtual"),
        "{}",
        lines[4]
    );
    assert!(
        lines[6].starts_with("Run it again, where the file is: `` graygate run '"),
        "{}",
        lines[6]
    );
    assert!(lines[6].ends_with(" ``"), "{}", lines[6]);
}

#[test]
fn plots_of_an_invalid_run_say_so() {
    let folder = Folder::new();
    let gates = format!("{PASSES}\n  - generator: {{dispatch_delay_p99: \"<= 0s\"}}");
    let file = folder.write("late.yaml", &scenario(&gates));
    let done = run(&folder, &[&file], &["--engine", "live"]);
    assert_eq!(done.code, Some(4), "{}", done.out);
    let runs = std::fs::read_dir(folder.path().join("reports/late")).unwrap();
    let place = runs.last().unwrap().unwrap().path();
    for name in ["split.svg", "latency.svg", "errors.svg"] {
        let svg = std::fs::read_to_string(place.join(name)).unwrap();
        assert!(svg.contains("INVALID MEASUREMENT · late"), "{name}");
    }
}

/// Programs that read the list learn of what could not run, and why.
#[test]
fn what_could_not_run_is_in_the_list_and_annotated() {
    let folder = Folder::new();
    let good = folder.write("good.yaml", &scenario(PASSES));
    let wrong = scenario(PASSES).replace("seed: 3", "seed: three");
    let wrong = folder.write("wrong.yaml", &wrong);
    let done = run(&folder, &[&good, &wrong], &["--format", "json"]);
    assert_eq!(done.code, Some(2));
    let list: Vec<Value> = serde_json::from_str(&done.out).expect("JSON and nothing else");
    assert_eq!(list.len(), 1);
    assert_eq!(list[0]["scenario"], "wrong");
    assert_eq!(list[0]["status"], "not_run");
    let mistake = &list[0]["diagnostics"][0];
    assert_eq!(
        (&mistake["line"], &mistake["column"]),
        (&2.into(), &7.into())
    );
    assert_eq!(mistake["message"], "`three` is not a whole number");
    let done = run(&folder, &[&good, &wrong], &["--format", "github"]);
    let line = folder.anonymous(&done.out);
    assert_eq!(
        line,
        "::error file=wrong.yaml,line=2,col=7::`three` is not a whole number; expected a whole \
         number, like 1000\n"
    );
    // A folder of reports that cannot be made is found out when the scenario is about to run.
    let blocked = folder.path().join("reports");
    std::fs::create_dir_all(&blocked).unwrap();
    std::fs::write(blocked.join("good"), "a file stands here").unwrap();
    let done = run(&folder, &[&good], &["--format", "json"]);
    assert_eq!(done.code, Some(5));
    let list: Vec<Value> = serde_json::from_str(&done.out).expect("JSON and nothing else");
    assert_eq!(list[0]["status"], "not_run");
    assert!(list[0]["why"].as_str().unwrap().contains("cannot write"));
    let done = run(&folder, &[&good], &["--format", "github"]);
    assert!(
        done.out
            .starts_with("::error title=good%3A could not run::cannot write"),
        "{}",
        done.out
    );
}

#[test]
fn one_junit_file_for_everything() {
    let folder = Folder::new();
    let good = folder.write("good.yaml", &scenario(PASSES));
    let bad = folder.write("bad.yaml", &scenario(FAILS));
    let thin = folder.write("thin.yaml", &scenario(INCONCLUSIVE));
    // In the folder of the reports, which is not there yet.
    let junit = folder.path().join("reports/all.xml");
    let junit = junit.display().to_string();
    run(&folder, &[&good, &bad, &thin], &["--junit", &junit, "-q"]);
    let xml = std::fs::read_to_string(&junit).unwrap();
    assert!(xml.contains("failures=\"1\" errors=\"1\""), "{xml}");
    assert_eq!(xml.matches("<testsuite ").count(), 3);
    let lines = xml.lines().filter(|l| !l.contains("sha256"));
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"));
}

#[test]
fn quiet_says_only_what_did_not_pass() {
    let folder = Folder::new();
    let good = folder.write("good.yaml", &scenario(PASSES));
    let done = run(&folder, &[&good], &["--quiet"]);
    assert_eq!(
        (done.code, done.out.as_str(), done.err.as_str()),
        (Some(0), "", "")
    );
}

/// No output of any kind holds colours unless a terminal asks for them.
#[test]
fn no_colours_without_a_terminal() {
    let folder = Folder::new();
    let bad = folder.write("bad.yaml", &scenario(FAILS));
    let done = run(&folder, &[&bad], &[]);
    assert!(!done.out.contains('\u{1b}'));
}

/// A canary without a single failure, judged by evidence, whose step needs more requests than it gets.
#[test]
fn evidence_is_told_from_the_first_look_and_what_a_promotion_lacks_in_the_end() {
    let folder = Folder::new();
    folder.write(
        "waits.router.yaml",
        "name: waits
versions:
  v1: {role: stable, model: gpt-4.1, api_key_env: STABLE_API_KEY}
  v2: {role: canary, model: gpt-4.1-new, api_key_env: CANARY_API_KEY}
timeouts: {attempt: 5s, request: 20s}
ramp: {steps: [{name: few, weight: 5%, hold: 1m, limit: 2m}, {name: all, weight: 100%}]}
judge: {sequential: {every: 30s}}
",
    );
    let file = folder.write(
        "waits.yaml",
        "name: waits
seed: 1
duration: 3m
router: waits.router.yaml
upstreams:
  v1: {mock: {latency: 20ms, output_tokens: 40}}
  v2: {mock: {like: v1}}
traffic: {synthetic: {arrivals: {constant: 10/s}}}
expect:
  - ramp: {reaches: all}
",
    );
    let done = run(&folder, &[&file], &[]);
    assert!(
        done.out.contains("the step still lacked: too few requests"),
        "{}{}",
        done.out,
        done.err
    );
    let report = read(&folder, "waits/virtual-seed1/report.md");
    assert!(report.contains("**Not promoted**"), "{report}");
    let events = read(&folder, "waits/virtual-seed1/events.jsonl");
    let events: Vec<Value> = events
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let is_error = |e: &&Value| e["event"] == "judged" && e["measure"] == "error";
    let errors: Vec<&Value> = events.iter().filter(is_error).collect();
    assert_eq!(errors[0]["at_s"], 30.0, "the first look: {:#}", errors[0]);
    assert_eq!(
        (&errors[0]["samples"], &errors[0]["value"]),
        (&0.into(), &0.0.into())
    );
    assert_eq!(
        errors[0]["action"], "rollback",
        "what a violation would cause"
    );
    let last = events
        .iter()
        .rfind(|e| e["event"] == "not_promoted")
        .unwrap();
    let lacks = &last["missing"][0];
    assert_eq!(lacks["code"], "too_few_requests");
    assert_eq!(
        (&lacks["need"], &lacks["unit"]),
        (&271.0.into(), &"requests".into())
    );
}
