//! Another gateway as the system under test: `graygate serve` and small shell programs, each a process of its own that
//! `graygate run` starts, watches and stops.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Server, wait_for};
use crate::support::{alone, in_company};

/// What every scenario of these tests ends with.
const REST: &str = "
upstreams:
  v1: {mock: {latency: {constant: 5ms}}}
  v2: {mock: {like: v1}}
traffic:
  synthetic: {arrivals: {constant: 100/s}, requests: 100}
expect:
";

/// `graygate serve` as the gateway.
const SERVE: &str = "    launch:
      command: [\"{{graygate}}\", serve, \"{{dir}}/router.yaml\", --listen, \"127.0.0.1:{{port}}\", --admin, none, --state, none]
      ready: {http: /v1/models, within: 30s}
      files:
        router.yaml: |
          versions:
            v1: {role: stable, model: a, endpoint: \"{{upstream.v1.url}}\"}
            v2: {role: canary, model: b, endpoint: \"{{upstream.v2.url}}\"}
          split: {weights: {v1: 50, v2: 50}}
          judge: off
";

/// A folder with a scenario whose gateway is started, or found, so.
pub(crate) struct Case(TempDir);

impl Case {
    fn new(way: &str, expect: &str) -> Self {
        Self::with_ports(way, ["", ""], expect)
    }

    fn with_ports(way: &str, ports: [&str; 2], expect: &str) -> Self {
        let [v1, v2] = ports;
        let text = format!(
            "name: outside\nengine: live\nrouter:\n  external:\n{way}    versions:
      v1: {{role: stable, model: a, weight: 50{v1}}}
      v2: {{role: canary, model: b, weight: 50{v2}}}
{REST}{expect}\n"
        );
        Self::of(&text)
    }

    /// One with this scenario.
    pub(crate) fn of(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("outside.yaml"), text).unwrap();
        Self(folder)
    }

    /// One whose gateway is a shell that does this.
    fn shell(script: &str, ready: &str) -> Self {
        let way = format!(
            "    launch:\n      command: [sh, \"{{{{dir}}}}/gateway.sh\", \"{{{{graygate}}}}\", \"{{{{port}}}}\"]\n      \
             ready: {ready}\n      files:\n        gateway.sh: |\n          {}\n          \n",
            script.replace('\n', "\n          ")
        );
        Self::new(&way, "  - requests: {success: \"100%\"}")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_graygate"));
        command
            .args(["run", "outside.yaml"])
            .args(args)
            .current_dir(self.0.path())
            // So that its temporary folders can be seen.
            .env("TMPDIR", self.0.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        let _company = in_company();
        self.command(args).output().expect("graygate runs")
    }

    /// Judges the run in `reports/` again, by the gates of its scenario after `change`.
    pub(crate) fn judge_again(&self, change: impl FnOnce(String) -> String) -> Output {
        let folder = self.0.path();
        let text = std::fs::read_to_string(folder.join("outside.yaml")).unwrap();
        // What held requests back is not in a run's files.
        let lines = text.lines().filter(|line| !line.contains("- generator:"));
        let text: String = lines.map(|line| format!("{line}\n")).collect();
        std::fs::write(folder.join("other.yaml"), change(text)).unwrap();
        let runs = std::fs::read_dir(folder.join("reports/outside")).unwrap();
        let run = runs.map(|run| run.unwrap().path()).next().expect("a run");
        Command::new(env!("CARGO_BIN_EXE_graygate"))
            .arg("judge")
            .arg(run)
            .args(["--expect", "other.yaml"])
            .current_dir(folder)
            .output()
            .expect("graygate runs")
    }

    /// Runs it, however the machine disturbs it.
    pub(crate) fn run_once(&self) -> Output {
        self.command(&[]).output().expect("graygate runs")
    }

    /// Runs until the machine does not disturb it.
    fn valid_run(&self) -> Output {
        let _alone = alone();
        for _ in 0..5 {
            let _ = std::fs::remove_dir_all(self.0.path().join("reports"));
            let output = self.command(&[]).output().expect("graygate runs");
            if output.status.code() != Some(4) {
                return output;
            }
        }
        panic!("five invalid runs: is the machine overloaded?");
    }

    /// A file of its one run.
    pub(crate) fn found(&self, name: &str) -> String {
        let runs = self.0.path().join("reports/outside");
        let run = std::fs::read_dir(runs).unwrap().next().unwrap().unwrap();
        std::fs::read_to_string(run.path().join(name)).unwrap()
    }

    pub(crate) fn summary(&self) -> Value {
        serde_json::from_str(&self.found("summary.json")).unwrap()
    }

    /// Nothing of the gateway's is left: no process, no folder.
    fn is_clean(&self) -> bool {
        let names = std::fs::read_dir(self.0.path()).unwrap();
        let mut names = names.map(|file| file.unwrap().file_name().display().to_string());
        !names.any(|name| name.starts_with("graygate-")) && !self.has_process()
    }

    /// Is there a process that speaks of this test's folder?
    fn has_process(&self) -> bool {
        let own = self.0.path().display().to_string() + "/graygate-";
        let processes = std::fs::read_dir("/proc").expect("its processes");
        processes.filter_map(Result::ok).any(|process| {
            let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(&own)
        })
    }
}

pub(crate) fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn signal(child: &Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, signal).expect("it runs");
}

#[test]
fn requests_are_told_apart_by_the_key_that_survives() {
    let expect = "  - split: {v2: 50%, tolerance: 40pp}\n  - requests: {success: \"100%\", count: \"== 100\"}";
    let case = Case::new(SERVE, expect);
    let output = case.valid_run();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let summary = case.summary();
    // A gateway in service takes no key from a caller's header, and passes the body on.
    let join = &summary["join"];
    assert_eq!(
        (&join["key"], &join["survived"]["header"]),
        (&"user".into(), &0.into())
    );
    for key in ["rows", "user", "metadata", "prompt"] {
        assert_eq!(join["survived"][key], 100, "{key}: {join}");
    }
    assert_eq!(join["ledger_rows_without_key"], 0);
    assert!(summary["gateway"].as_str().unwrap().contains("serve"));
    assert!(
        said(&output).contains("requests told apart by user"),
        "{}",
        said(&output)
    );
    assert!(
        case.found("report.md")
            .contains("Tested is another gateway")
    );
    assert!(
        case.found("gateway.log")
            .contains("serving http://127.0.0.1:")
    );
    assert!(case.is_clean());
}

#[test]
fn what_a_gateway_does_wrong_is_found() {
    let way = SERVE.replace("v1: 50, v2: 50", "v1: 90, v2: 10");
    let case = Case::new(&way, "  - split: {v2: 50%, tolerance: 20pp}");
    let output = case.valid_run();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("✗ split"), "{}", said(&output));
}

#[test]
fn what_only_a_router_can_say_of_itself_is_not_supported_and_never_passes() {
    let gates = [
        "attribution",
        "no_rollback",
        "rollback",
        "after_rollback",
        "notification",
        "promotion",
    ];
    let mut expect = "  - requests: {success: \"100%\"}".to_owned();
    gates
        .iter()
        .for_each(|gate| expect += &format!("\n  - {gate}"));
    expect += "\n  - ramp: {reaches: full}\n  - memory: {router: \"< 1MiB\"}";
    let case = Case::new(SERVE, &expect);
    let output = case.valid_run();
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    let summary = case.summary();
    let all = summary["gates"].as_array().unwrap();
    for name in gates.iter().chain(&["ramp", "memory"]) {
        let gate = all.iter().find(|g| g["name"] == *name).expect("the gate");
        assert_eq!(gate["status"], "inconclusive", "{gate}");
        let seen = gate["checks"][0]["seen"].as_str().unwrap();
        assert!(seen.starts_with("not supported: another gateway"), "{seen}");
    }
    // Nobody here knows what another gateway promises.
    assert!(!all.iter().any(|gate| gate["name"] == "policy"));
}

#[test]
fn a_gateway_that_ends_at_once_is_told_of_with_its_last_words() {
    let script = "echo out\necho 'key sk-abcdefgh0123456789 is wrong' >&2\nexit 3";
    let case = Case::shell(script, "tcp");
    let output = case.run(&[]);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(
        said.contains("the gateway ended before it was ready (exit status: 3)"),
        "{said}"
    );
    assert!(said.contains("| key sk-*** is wrong"), "{said}");
    assert!(case.is_clean());
}

/// A gateway that serves, and is gone half a second later.
const SHORT_LIVED: &str = "cat > router.yaml <<END
versions:
  v1: {role: stable, model: a, endpoint: \"{{upstream.v1.url}}\"}
  v2: {role: canary, model: b, endpoint: \"{{upstream.v2.url}}\"}
split: {weights: {v1: 50, v2: 50}}
judge: off
END
\"$1\" serve router.yaml --listen \"127.0.0.1:$2\" --admin none --state none &
sleep 1
kill -9 $!
echo 'I am gone' >&2
exit 7";

#[test]
fn a_gateway_that_ends_during_the_run_makes_it_void() {
    let case = Case::shell(SHORT_LIVED, "tcp");
    let output = case.run(&[]);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(
        said.contains("the gateway ended during the run (exit status: 7)"),
        "{said}"
    );
    assert!(said.contains("| I am gone"), "{said}");
    assert!(case.is_clean());
}

#[test]
fn a_gateway_that_is_never_ready_is_not_waited_for_in_vain() {
    for ready in ["{within: 300ms}", "{http: /, within: 300ms}"] {
        let case = Case::shell("echo waiting >&2\nsleep 600", ready);
        let output = case.run(&[]);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(5), "{said}");
        assert!(
            said.contains("the gateway was not ready within 300 ms"),
            "{said}"
        );
        assert!(said.contains("| waiting"), "{said}");
        assert!(case.is_clean());
    }
}

#[test]
fn a_program_that_does_not_exist_is_named() {
    let case = Case::new(
        "    launch: {command: [no-such-gateway]}\n",
        "  - requests: {success: \"100%\"}",
    );
    let output = case.run(&[]);
    assert_eq!(output.status.code(), Some(5));
    assert!(
        said(&output).contains("`no-such-gateway`: No such file"),
        "{}",
        said(&output)
    );
    assert!(case.is_clean());
}

/// Starts a run, and waits until its gateway is there.
fn begun(case: &Case) -> Child {
    let child = case.command(&[]).spawn().expect("graygate runs");
    wait_for(|| case.has_process().then_some(()));
    child
}

#[test]
fn ctrl_c_ends_the_gateway_with_the_run() {
    let _company = in_company();
    for script in ["sleep 600", "trap '' TERM\nsleep 600 & wait; sleep 600"] {
        let case = Case::shell(script, "tcp");
        let child = begun(&case);
        signal(&child, rustix::process::Signal::INT);
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(130), "{}", said(&output));
        assert!(case.is_clean(), "{script}");
    }
}

#[test]
fn no_gateway_is_left_over_when_graygate_is_killed_or_stops_at_once() {
    use rustix::process::Signal;
    let _company = in_company();
    for signals in [&[Signal::KILL][..], &[Signal::INT, Signal::INT]] {
        let case = Case::shell("trap '' TERM\nsleep 600 & wait; sleep 600", "tcp");
        let child = begun(&case);
        for one in signals {
            signal(&child, *one);
        }
        let output = child.wait_with_output().expect("it ends");
        assert_ne!(output.status.code(), Some(0));
        wait_for(|| case.is_clean().then_some(()));
    }
}

#[test]
fn a_gateway_that_runs_already_is_tested_where_it_is() {
    is_tested_where_it_is("127.0.0.1:0");
    // Not every machine has the other address of its own.
    if std::net::TcpListener::bind("[::1]:0").is_ok() {
        is_tested_where_it_is("[::1]:0");
    }
}

fn is_tested_where_it_is(address: &str) {
    // A gateway asks who is there when it starts.
    let there = ["a", "b"].map(|model| Server::start(&["mock", "--model", model], &[]));
    let ports = [0, 1].map(|n| there[n].address().split(':').nth(1).unwrap().to_owned());
    let folder = tempfile::tempdir().unwrap();
    let router = folder.path().join("router.yaml");
    let [v1, v2] = &ports;
    let text = format!(
        "versions:
  v1: {{role: stable, model: a, endpoint: \"http://127.0.0.1:{v1}/v1\"}}
  v2: {{role: canary, model: b, endpoint: \"http://127.0.0.1:{v2}/v1\"}}
split: {{weights: {{v1: 100, v2: 0}}}}
judge: off
"
    );
    std::fs::write(&router, text).unwrap();
    let serve = ["serve", "--listen", address, router.to_str().unwrap()];
    let server = Server::start_in(Path::new("."), &serve, &[]);
    // Then the run takes their places.
    drop(there);
    let way = format!("    url: \"{}\"\n", server.base);
    let ports = ports.map(|port| format!(", port: {port}"));
    let expect = "  - split: {v1: 100%, tolerance: 30pp}";
    let case = Case::with_ports(&way, [&ports[0], &ports[1]], expect);
    let output = case.valid_run();
    // The canary gets nothing: that alone is no pass.
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    let summary = case.summary();
    assert_eq!(
        summary["requests"]["outcomes"]["success"],
        100,
        "{}",
        said(&output)
    );
    assert_eq!(summary["versions"]["v1"]["served"], 100);
    assert_eq!(summary["gateway"], server.base.as_str());
}

#[test]
fn what_cannot_run_here_is_skipped_and_counted() {
    let case = Case::new(SERVE, "  - requests: {success: \"100%\"}");
    let output = case.run(&["--engine", "virtual"]);
    assert_eq!(output.status.code(), Some(3));
    let reason = "skipped: outside.yaml: another gateway is tested, and virtual time has none";
    assert!(said(&output).contains(reason), "{}", said(&output));
    let output = case.run(&["--engine", "virtual", "--require-all"]);
    assert_eq!(output.status.code(), Some(5));
    let path = case.0.path().join("outside.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let needs = "requires: {programs: [sh, no-such-program], env: [NO_SUCH_VARIABLE]}\n";
    std::fs::write(&path, format!("{needs}{text}")).unwrap();
    let output = case.run(&[]);
    assert_eq!(output.status.code(), Some(3));
    let reason = "the program `no-such-program` is not on the path; the variable `NO_SUCH_VARIABLE` is not set";
    assert!(said(&output).contains(reason), "{}", said(&output));
    assert_eq!(case.run(&["--require-all"]).status.code(), Some(5));
}
