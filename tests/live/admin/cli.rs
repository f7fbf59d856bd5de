//! `graygate admin` against a real gateway.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::admin::{Stand, TOKEN};

struct Done {
    code: Option<i32>,
    out: String,
    err: String,
}

fn admin_at(url: &str, token: &str, args: &[&str]) -> Done {
    let mut command = Command::new(env!("CARGO_BIN_EXE_graygate"));
    command.args(["admin", "--url", url]).args(args);
    // A proxy between an operator and a gateway would see the token.
    command
        .env("http_proxy", "http://127.0.0.1:9")
        .env("GRAYGATE_ADMIN_TOKEN", token);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Done {
        code: output.status.code(),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

#[test]
fn a_release_is_seen_through_from_the_command_line() {
    let stand = Stand::new(&[], "");
    let admin = |args: &[&str]| admin_at(&stand.admin, TOKEN, args);
    let done = |args: &[&str]| {
        let done = admin(args);
        assert_eq!(done.code, Some(0), "{args:?}: {}{}", done.out, done.err);
        done.out
    };
    assert!(done(&["status"]).starts_with("phase       progressing\nrevision    1\n"));
    assert!(done(&["weights", "v1=75", "v2=25"]).contains("shares      v1=75 % v2=25 %"));
    let stale = admin(&["weights", "v1=1", "v2=1", "--revision", "1"]);
    assert_eq!(stale.code, Some(1), "{}", stale.err);
    assert!(stale.err.contains("the revision is 2 now"), "{}", stale.err);
    assert!(done(&["checkpoints", "create", "good"]).contains("cp-1  manual"));
    assert!(done(&["checkpoints"]).contains("good"));
    assert!(done(&["config", "get"]).contains("\"sha256\""));

    let file = stand
        .folder
        .path()
        .join("router.yaml")
        .display()
        .to_string();
    std::fs::write(
        &file,
        format!("{}\nretry: {{max_retries: 1}}\n", stand.router()),
    )
    .unwrap();
    let json = done(&["config", "put", &file, "--format", "json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["revision"], 3);
    let shown = stand.folder.path().join("shown.json");
    std::fs::write(&shown, done(&["config", "get"])).unwrap();
    let unchanged = admin(&["config", "put", &shown.display().to_string()]);
    assert!(unchanged.err.contains("409 unchanged"), "{}", unchanged.err);
    let broken = stand.folder.path().join("broken.yaml");
    std::fs::write(&broken, "versions: 1\nsplit: 2\n").unwrap();
    let refused = admin(&["config", "put", &broken.display().to_string()]);
    assert_eq!(refused.code, Some(2), "{}", refused.err);
    assert!(
        refused.err.contains("body:1:") && refused.err.contains("body:2:"),
        "{}",
        refused.err
    );

    assert!(done(&["stats"]).contains("VERSION  GIVEN  SHARE  SERVED  COST"));
    assert_eq!(done(&["errors"]), "none\n");
    assert_eq!(done(&["rollbacks"]), "none\n");
    assert_eq!(admin(&["pause"]).code, Some(1));
    let closed = done(&["instant-rollback", "--reason", "answers in Latin"]);
    assert!(closed.contains("(by_hand: answers in Latin)"), "{closed}");
    assert!(done(&["rollbacks"]).contains("answers in Latin"));
    assert!(done(&["history", "--limit", "2"]).contains("rolled_back"));
    let over = admin(&["promote"]);
    assert_eq!(over.code, Some(1));
    assert!(over.err.contains("409 rolled_back"), "{}", over.err);
    assert!(done(&["status"]).contains("closed      rolled_back"));
    let same = admin(&["config", "put", &file]);
    assert_eq!(same.code, Some(1));
    assert!(same.err.contains("config put --again"), "{}", same.err);
    done(&["config", "put", &file, "--again"]);
    assert!(done(&["status"]).starts_with("phase       progressing"));
}

#[test]
fn exit_codes_tell_refusals_from_mistakes_from_silence() {
    let stand = Stand::new(&[], "");
    let stranger = admin_at(&stand.admin, "token-of-somebody-else", &["status"]);
    assert_eq!(stranger.code, Some(1));
    assert!(
        stranger.err.contains("GRAYGATE_ADMIN_TOKEN"),
        "{}",
        stranger.err
    );
    assert!(!stranger.err.contains("somebody-else"), "{}", stranger.err);
    for (url, args, code) in [
        ("http://127.0.0.1:9", &["status"][..], 5),
        (
            stand.gateway.base.trim_end_matches("/v1"),
            &["config", "put", "/dev/null/x"],
            2,
        ),
        (&stand.mocks[0].base, &["stats"], 1),
        ("ftp://127.0.0.1", &["status"], 2),
        ("http://me:hunter2@127.0.0.1", &["status"], 2),
        (&stand.admin, &["weights", "v1"], 2),
        (&stand.admin, &["weights", "v1=-1"], 2),
        (&stand.admin, &["weights", "v9=1"], 1),
        (&stand.admin, &["checkpoints", "restore", "../x"], 2),
        (&stand.admin, &["dance"], 2),
    ] {
        let done = admin_at(url, TOKEN, args);
        assert_eq!(done.code, Some(code), "{url} {args:?}: {}", done.err);
        assert!(!done.err.contains("hunter2"), "{}", done.err);
    }
}
