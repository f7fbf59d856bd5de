//! Streams that an upstream spoils, without anybody's doing.

use graygate::verdict::result::Status;

use crate::support::{gate, virtual_run, written};

/// An upstream that says a thing twice is found out as well, though no gateway can know.
#[test]
fn a_chunk_that_comes_twice_is_caught_whoever_sent_it() {
    let text = "
name: twice
seed: 5
duration: 20s
router: ../fixtures/routers/gray-30-fast.yaml
upstreams:
  v1: {mock: {first_token: 50ms, tokens_per_second: 100, output_tokens: 20}}
  v2: {mock: {like: v1}}
traffic: {synthetic: {arrivals: {constant: 20/s}, stream: 100%}}
faults: [{on: v2, kind: stream_duplicate, share: 10%}]
expect: [stream, attribution]
";
    let output = virtual_run(&written("twice", text));
    let stream = gate(&output, "stream");
    let mut failed = stream.checks.iter().filter(|c| c.status == Status::Fail);
    assert!(
        failed.any(|c| c.condition.contains("nothing comes twice")),
        "{stream:#?}"
    );
    assert_eq!(gate(&output, "attribution").status, Status::Pass);
}
