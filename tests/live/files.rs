//! A machine that has no file descriptors left, as `graygate run` tells of it.
#![cfg(unix)]

use std::process::Command;

use crate::support::in_company;

const SCENARIO: &str = "
name: more streams than files
seed: 1
duration: 500ms
router:
  versions:
    v1: {role: stable, model: a, api_key_env: A}
    v2: {role: canary, model: b, api_key_env: B}
  split: {weights: {v1: 50, v2: 50}}
  judge: off
upstreams:
  v1: {mock: {first_token: 500ms, tokens_per_second: 20, output_tokens: 10}}
  v2: {mock: {like: v1}}
traffic: {synthetic: {arrivals: {constant: 100/s}, stream: 100%}}
expect: [stream]
";

/// Fifty streams at once want two hundred files. That so many are missing is the machine's fault: nobody is
/// told that the router failed.
#[test]
fn a_run_that_is_out_of_files_is_invalid_and_says_why() {
    let _company = in_company();
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("many.yaml"), SCENARIO).expect("a file");
    let run = |files: u32| {
        let graygate = env!("CARGO_BIN_EXE_graygate");
        let line = format!("ulimit -n {files}; exec {graygate} run many.yaml --engine live");
        let output = Command::new("sh")
            .args(["-c", &line])
            .current_dir(folder.path())
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), said)
    };
    let (code, said) = run(110);
    assert_eq!(code, Some(4), "{said}");
    assert!(
        said.contains("every connection has a file descriptor"),
        "{said}"
    );
    let (_, said) = run(400);
    assert!(!said.contains("file descriptor"), "{said}");
}
