//! The official OpenAI client for Python, pointed at the gateway. The script is
//! tests/openai_client/check.py; its environment is made once, under target/.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::process::{KEYS, Server, router_file};
use crate::support::{in_company, project};

/// The version that is tested against.
const OPENAI: &str = "3.54.0";

/// Says that nothing was tested, past the test runner, which keeps what passing tests print to itself.
fn skip(why: &str) {
    let line = format!("SKIPPED: the OpenAI client for Python was not tested: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// Runs a program to its end; what it said when it failed.
fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|e| e.to_string())?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(said(&output.stdout)),
        false => Err(said(&output.stdout) + &said(&output.stderr)),
    }
}

/// A Python that has the client, or why there is none.
fn python() -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("openai-{OPENAI}"));
    let python = folder.join("bin/python");
    let check = format!("import openai; assert openai.__version__ == '{OPENAI}'");
    let is_ready = || run(Command::new(&python).args(["-c", &check]));
    if is_ready().is_err() {
        let venv = ["-m", "venv", "--clear"];
        run(Command::new("python3").args(venv).arg(&folder))?;
        let install = ["-m", "pip", "install", "--quiet", "--no-input"];
        let package = format!("openai=={OPENAI}");
        let pip = &mut Command::new(&python);
        run(pip
            .args(install)
            .args(["--disable-pip-version-check", &package]))?;
        is_ready()?;
    }
    Ok(python)
}

/// A gateway before a mock that does this, whatever is asked of it.
fn gateway(folder: &Path, fault: Option<&str>) -> (Server, Server) {
    let mut args = vec!["mock", "--profile", "latency: 2ms, output_tokens: 3"];
    args.extend(fault.iter().flat_map(|f| ["--fault", f]));
    let mock = Server::start(&args, &[]);
    let canary = Server::start(&["mock", "--model", "gpt-4.1-new"], &[]);
    // Brief only where nothing answers.
    let limit = match fault {
        Some("kind: timeout") => "300ms",
        _ => "20s",
    };
    let more = format!("retry: {{max_retries: 0}}\ntimeouts: {{attempt: {limit}, request: 30s}}");
    let router = router_file(folder, &mock.base, &canary.base, &more);
    let gateway = Server::start(&["serve", &router], &KEYS);
    (gateway, mock)
}

#[test]
fn the_official_client_chats_streams_lists_models_and_gets_typed_errors() {
    let python = match python() {
        Ok(python) => python,
        Err(why) => return skip(&why),
    };
    let _company = in_company();
    let folder = tempfile::tempdir().unwrap();
    let faults = [
        ("healthy", None),
        ("unauthorized", Some("kind: unauthorized")),
        ("model_not_found", Some("kind: model_not_found")),
        ("rate_limited", Some("kind: rate_limited, retry_after: 7s")),
        ("server_error", Some("kind: server_error")),
        ("timeout", Some("kind: timeout")),
        ("stream_cut", Some("kind: stream_cut, after: 2")),
    ];
    let gateways = faults.map(|(name, fault)| {
        // A gateway follows its router file, so each has one of its own.
        let folder = folder.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        (name, gateway(&folder, fault))
    });
    let bases: serde_json::Map<_, _> = gateways
        .iter()
        .map(|(name, (gateway, _))| ((*name).to_owned(), json!(gateway.base)))
        .collect();
    let script = project("tests/openai_client/check.py");
    let bases = serde_json::Value::from(bases).to_string();
    match run(Command::new(python).arg(script).arg(bases)) {
        Ok(said) => assert_eq!(said.matches("ok ").count(), 8, "{said}"),
        Err(said) => panic!("{said}"),
    }
}
