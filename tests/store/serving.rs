//! The real binary: what it does when it starts again, and when nothing can be kept.

use std::process::Command;

use graygate::live::store::{Place, State};
use graygate::router::deployment::Deployment;
use graygate::router::ramp::Phase;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::gateway::{Gateway, Stand, wait_for};

impl Stand {
    /// What is kept, once nobody uses the file any more.
    pub(crate) fn kept(&self) -> Deployment {
        let state = State::at(Place::File(self.state()));
        state.open().unwrap().expect("a release")
    }

    /// Asks until the canary is rolled back and that is written.
    fn roll_back(&self, gateway: &Gateway) {
        wait_for(|| {
            let _ = self.ask(gateway);
            gateway
                .log()
                .contains("rolled back from v2 to v1")
                .then_some(())
        });
    }
}

#[test]
fn a_rollback_survives_a_restart_and_another_file_is_another_release() {
    let stand = Stand::new(500);
    let router = stand.router("");
    let gateway = stand.serve(&router);
    stand.roll_back(&gateway);
    // SIGINT: what was to be written is written.
    gateway.stop();
    let kept = stand.kept();
    assert_eq!((kept.phase, kept.release), (Phase::RolledBack, 1));

    let gateway = stand.serve(&router);
    for _ in 0..4 {
        assert_eq!(stand.ask(&gateway).as_deref(), Some("v1"));
    }
    assert!(!gateway.log().contains("rolled back from"), "it is no news");
    gateway.stop();
    assert_eq!(stand.kept().rollback, kept.rollback);
    assert_eq!(
        (stand.kept().salt, kept.salt),
        (1, 1),
        "callers keep their places"
    );

    let gateway = stand.serve(&stand.router("timeouts: {attempt: 7s, request: 30s}"));
    stand.roll_back(&gateway);
    gateway.stop();
    assert_eq!(stand.kept().release, 2);
}

#[test]
fn a_restart_resumes_the_step_with_the_time_it_was_held() {
    let stand = Stand::new(200);
    let steps = "ramp: {steps: [{name: a, weight: 10%, hold: 1h}, {name: b, weight: 100%}]}";
    let router = stand.router(steps);
    let gateway = stand.serve(&router);
    stand.ask(&gateway).expect("an answer");
    gateway.stop();
    // As if an hour but a minute had passed.
    let state = State::at(Place::File(stand.state()));
    let mut kept = state.open().unwrap().expect("a release");
    assert_eq!((kept.step, kept.share()), (0, 0.1));
    kept.held = std::time::Duration::from_secs(3_540);
    let change = graygate::router::deployment::Change {
        deployment: kept.clone(),
        checkpoints: None,
        entry: None,
        rollback: None,
    };
    state.commit(&change).unwrap();
    drop(state);
    let gateway = stand.serve(&router);
    stand.ask(&gateway).expect("an answer");
    gateway.stop();
    let again = stand.kept();
    assert!(
        again.held >= kept.held && again.step == 0,
        "{:?}",
        again.held
    );
    assert_eq!((again.salt, again.revision), (kept.salt, kept.revision));
}

#[test]
fn without_its_state_it_serves_with_stable_alone_until_it_has_it() {
    let stand = Stand::new(200);
    let router = stand.router("");
    let first = stand.serve(&router);
    let second = stand.serve(&router);
    second.wait_for_log("another process is using it");
    assert!(second.log().contains("state.db"), "{}", second.log());
    assert!(second.log().contains("hint: stop the other gateway"));
    for _ in 0..3 {
        assert_eq!(stand.ask(&second).as_deref(), Some("v1"));
        assert_eq!(stand.ask(&first).as_deref(), Some("v2"));
    }
    first.stop();
    second.wait_for_log("the state file can be used again");
    wait_for(|| (stand.ask(&second).as_deref() == Some("v2")).then_some(()));
    assert_eq!(
        second.log().matches("another process is using it").count(),
        1
    );
}

#[test]
fn what_was_rolled_back_stays_so_when_the_state_is_found_late() {
    let stand = Stand::new(500);
    let router = stand.router("");
    let first = stand.serve(&router);
    stand.roll_back(&first);
    let second = stand.serve(&router);
    first.stop();
    second.wait_for_log("the state file can be used again");
    for _ in 0..4 {
        assert_eq!(stand.ask(&second).as_deref(), Some("v1"));
    }
    second.stop();
    let state = State::at(Place::File(stand.state()));
    assert_eq!(state.open().unwrap().unwrap().phase, Phase::RolledBack);
    assert_eq!(
        state.rollbacks().unwrap().len(),
        1,
        "once, by whoever saw it"
    );
}

#[test]
fn a_file_that_is_no_state_is_named_and_left_alone() {
    let stand = Stand::new(200);
    std::fs::write(stand.state(), "no database. ".repeat(500)).unwrap();
    let gateway = stand.serve(&stand.router(""));
    gateway.wait_for_log("it is no state file of graygate");
    assert_eq!(stand.ask(&gateway).as_deref(), Some("v1"));
}

/// Rolls back by the admin API; it may never answer.
fn ask_for_a_rollback(stand: &Stand, gateway: &Gateway) {
    let url = format!("{}/v1/deployment/rollback", gateway.admin());
    let asked = reqwest::Client::new()
        .post(url)
        .body(r#"{"reason": "people complain"}"#)
        .timeout(std::time::Duration::from_secs(2));
    let _ = stand.runtime.block_on(async { asked.send().await });
}

#[test]
fn after_a_clean_end_one_file_holds_everything() {
    let stand = Stand::new(500);
    let gateway = stand.serve(&stand.router(""));
    stand.roll_back(&gateway);
    assert_eq!(gateway.stop().0, Some(0));
    let elsewhere = stand.folder.path().join("copy.db");
    std::fs::copy(stand.state(), &elsewhere).unwrap();
    let state = State::at(Place::File(elsewhere));
    let kept = state.open().unwrap().expect("a release");
    assert_eq!(kept.phase, Phase::RolledBack);
    assert!(!stand.folder.path().join("state.db-wal").exists());
}

#[test]
fn a_rollback_that_was_never_kept_is_no_clean_end() {
    let stand = Stand::new(200);
    std::fs::write(stand.state(), "no database. ".repeat(500)).unwrap();
    let gateway = stand.serve(&stand.router(""));
    gateway.wait_for_log("it is no state file of graygate");
    ask_for_a_rollback(&stand, &gateway);
    let (code, log) = gateway.stop();
    assert_eq!(code, Some(5), "{log}");
    assert!(
        log.contains("a rollback that was asked for meanwhile is lost"),
        "{log}"
    );
}

#[test]
fn a_rollback_after_the_state_was_deleted_is_written_at_the_end() {
    let stand = Stand::new(200);
    let gateway = stand.serve(&stand.router(""));
    assert_eq!(stand.ask(&gateway).as_deref(), Some("v2"));
    std::fs::remove_file(stand.state()).unwrap();
    ask_for_a_rollback(&stand, &gateway);
    let (code, log) = gateway.stop();
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(stand.kept().phase, Phase::RolledBack);
}

#[test]
fn a_rollback_that_cannot_be_written_at_the_end_either_is_named() {
    let stand = Stand::new(200);
    let gateway = stand.serve(&stand.router(""));
    assert_eq!(stand.ask(&gateway).as_deref(), Some("v2"));
    std::fs::remove_file(stand.state()).unwrap();
    // A folder in its place cannot be made a file of.
    std::fs::create_dir(stand.state()).unwrap();
    ask_for_a_rollback(&stand, &gateway);
    let (code, log) = gateway.stop();
    assert_eq!(code, Some(5), "{log}");
    assert!(
        log.contains("the rollback rb-v2-") && log.contains("is lost"),
        "{log}"
    );
}

#[test]
fn a_gateway_that_does_not_know_what_was_kept_says_that_it_is_degraded() {
    let stand = Stand::new(200);
    let first = stand.serve(&stand.router(""));
    let second = stand.serve(&stand.router(""));
    let readiness = || {
        let url = format!("{}/readyz", second.admin());
        let asked = async { reqwest::get(url).await.unwrap().text().await.unwrap() };
        stand.runtime.block_on(asked)
    };
    wait_for(|| readiness().contains("store_failed").then_some(()));
    assert!(readiness().contains("degraded"));
    first.stop();
    wait_for(|| (!readiness().contains("degraded")).then_some(()));
}

#[test]
fn a_folder_that_does_not_exist_is_plain_usage() {
    let stand = Stand::new(200);
    let missing = stand.folder.path().join("nowhere/state.db");
    let done = Command::new(env!("CARGO_BIN_EXE_graygate"))
        .args([
            "serve",
            &stand.router(""),
            "--listen",
            "127.0.0.1:0",
            "--admin",
            "none",
            "--state",
        ])
        .arg(&missing)
        .env("STABLE_API_KEY", "sk-stable-0123456789abcdef0123456789")
        .env("CANARY_API_KEY", "sk-canary-0123456789abcdef0123456789")
        .output()
        .unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(5), "{said}");
    assert!(
        said.contains("there is no folder for the state file"),
        "{said}"
    );
    assert!(said.contains("= hint: make it first"), "{said}");
}

/// No file may grow: the same as a full disk, but that the system calls it otherwise.
#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_takes_nothing_closes_the_canary_until_it_does() {
    let stand = Stand::new(200);
    let steps = "ramp: {steps: [{name: a, weight: 50%, hold: 1h}, {name: b, weight: 100%}]}";
    let gateway = stand.serve(&stand.router(steps));
    assert_eq!(stand.ask(&gateway).as_deref(), Some("v2"));
    let pid = Pid::from_raw(i32::try_from(gateway.pid()).unwrap());
    let limit = |current| {
        let limit = Rlimit {
            current,
            maximum: None,
        };
        prlimit(pid, Resource::Fsize, limit).unwrap();
    };
    limit(Some(1));
    // The time held is written every ten seconds.
    gateway.wait_for_log("cannot be used");
    wait_for(|| (stand.ask(&gateway).as_deref() == Some("v1")).then_some(()));
    limit(None);
    gateway.wait_for_log("the state file can be used again");
    wait_for(|| (stand.ask(&gateway).as_deref() == Some("v2")).then_some(()));
    assert_eq!(gateway.log().matches("cannot be used").count(), 1);
}

/// A small file system of its own; none, said aloud, where it cannot be mounted.
#[cfg(target_os = "linux")]
struct Disk(tempfile::TempDir);

#[cfg(target_os = "linux")]
impl Disk {
    fn mounted() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=600k", "none"])
            .arg(folder.path())
            .output();
        if mount.is_ok_and(|done| done.status.success()) {
            return Some(Self(folder));
        }
        eprintln!("SKIPPED: no file system can be mounted here");
        None
    }

    fn filler(&self) -> std::path::PathBuf {
        self.0.path().join("filler")
    }

    fn fill(&self) {
        use std::io::Write;
        let mut file = std::fs::File::create(self.filler()).unwrap();
        while file.write_all(&[0; 512]).is_ok() {}
    }
}

#[cfg(target_os = "linux")]
impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_closes_the_canary_until_there_is_room() {
    let Some(disk) = Disk::mounted() else {
        return;
    };
    let stand = Stand::new(200);
    let steps = "ramp: {steps: [{name: a, weight: 50%, hold: 1h}, {name: b, weight: 100%}]}";
    let state = disk.0.path().join("state.db");
    let gateway = Gateway::start(&stand.router(steps), &state, &[]);
    assert_eq!(stand.ask(&gateway).as_deref(), Some("v2"));
    disk.fill();
    gateway.wait_for_log("the disk is full");
    gateway.wait_for_log("hint: make room");
    wait_for(|| (stand.ask(&gateway).as_deref() == Some("v1")).then_some(()));
    std::fs::remove_file(disk.filler()).unwrap();
    gateway.wait_for_log("the state file can be used again");
    wait_for(|| (stand.ask(&gateway).as_deref() == Some("v2")).then_some(()));
    assert_eq!(gateway.log().matches("the disk is full").count(), 1);
}

#[test]
fn a_webhook_whose_address_is_in_a_dot_env_file_is_told() {
    let stand = Stand::new(500);
    let hook = stand.runtime.block_on(async {
        let hook = MockServer::start().await;
        let taken = ResponseTemplate::new(200);
        Mock::given(any()).respond_with(taken).mount(&hook).await;
        hook
    });
    let text = format!("DOT_HOOK_URL={}/here\n", hook.uri());
    std::fs::write(stand.folder.path().join(".env"), text).unwrap();
    let gateway = stand.serve(&stand.router("rollback: {webhooks: [DOT_HOOK_URL]}"));
    stand.roll_back(&gateway);
    gateway.wait_for_log("webhook DOT_HOOK_URL was told of rollback");
}

#[test]
fn receivers_without_an_address_are_mistakes_of_the_router_file() {
    let stand = Stand::new(200);
    let dotenv = "NO_URL=t0ps3cret\n";
    std::fs::write(stand.folder.path().join(".env"), dotenv).unwrap();
    let router = stand.router("rollback: {webhooks: [UNSET_HOOK], peers: [NO_URL]}");
    let mut serve = Command::new(env!("CARGO_BIN_EXE_graygate"));
    serve.args([
        "serve",
        &router,
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "none",
    ]);
    let keys = ["STABLE_API_KEY", "CANARY_API_KEY"];
    let serve = serve.envs(keys.map(|key| (key, "sk-0123456789abcdef0123456789")));
    let done = serve.output().unwrap();
    let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    assert_eq!(done.status.code(), Some(2), "{said}");
    assert!(said.contains("rollback.webhooks: the variable UNSET_HOOK is not set"));
    assert!(said.contains("rollback.peers: the variable NO_URL holds no http:// or https:// URL"));
    assert!(!said.contains("t0ps3cret"), "{said}");
}

#[test]
fn a_webhook_whose_address_is_a_secret_is_told_once_across_restarts() {
    let stand = Stand::new(500);
    let hook = stand.runtime.block_on(async {
        let hook = MockServer::start().await;
        let taken = ResponseTemplate::new(200);
        Mock::given(any()).respond_with(taken).mount(&hook).await;
        hook
    });
    let router = stand.router("rollback: {webhooks: [HOOK_URL]}");
    let secret = format!("{}/services/t0ps3cret", hook.uri());
    let requests = || {
        stand
            .runtime
            .block_on(async { hook.received_requests().await.unwrap() })
    };
    let mut ids = Vec::new();
    for _ in 0..2 {
        let gateway = Gateway::start(&router, &stand.state(), &[("HOOK_URL", &secret)]);
        if ids.is_empty() {
            stand.roll_back(&gateway);
            gateway.wait_for_log("webhook HOOK_URL was told of rollback");
        }
        ids = requests()
            .iter()
            .map(|r| r.headers["idempotency-key"].clone())
            .collect();
        assert!(!gateway.log().contains("t0ps3cret"), "{}", gateway.log());
        gateway.stop();
    }
    assert_eq!(ids.len(), 1);
    assert_eq!(ids[0].to_str().unwrap(), stand.kept().rollback.unwrap().id);
    assert_eq!(requests()[0].url.path(), "/services/t0ps3cret");
}

/// Asks the admin API for something.
fn admin(stand: &Stand, gateway: &Gateway, path: &str, body: Option<Value>) -> (u16, Value) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let url = format!("{}{path}", gateway.admin());
    let client = reqwest::Client::new();
    let request = match body {
        Some(body) => client.post(url).body(body.to_string()),
        None => client.get(url),
    };
    stand.runtime.block_on(async {
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16();
        (status, answer.json().await.expect("JSON"))
    })
}

/// A gateway whose checkpoints cp-1, cp-2 and cp-3 were kept, after somebody changed some of them in the
/// file by these orders to the database.
fn tampered(stand: &Stand, router: &str, orders: &str) -> Gateway {
    let gateway = stand.serve(router);
    for name in ["first", "second", "third"] {
        let made = admin(
            stand,
            &gateway,
            "/v1/deployment/checkpoints",
            Some(json!({"name": name})),
        );
        assert_eq!(made.0, 201, "{}", made.1);
    }
    assert_eq!(gateway.stop().0, Some(0));
    let file = rusqlite::Connection::open(stand.state()).expect("the state file");
    file.execute_batch(orders).expect("it is changed");
    drop(file);
    stand.serve(router)
}

/// One byte of cp-3, and all of cp-2, which is no JSON any more.
const TWO_OF_THREE: &str = "
    UPDATE checkpoints SET config = replace(config, 'gpt-4.1-new', 'gpt-4.1-nex') WHERE id = 'cp-3';
    UPDATE checkpoints SET config = 'no JSON' WHERE id = 'cp-2';";

#[test]
fn a_corrupt_checkpoint_is_shown_refused_and_passed_over() {
    let stand = Stand::new(200);
    let router = stand.router("");
    let gateway = tampered(&stand, &router, TWO_OF_THREE);
    let (_, shown) = admin(&stand, &gateway, "/v1/deployment/checkpoints", None);
    let list = shown["checkpoints"].as_array().expect("a list").iter();
    let intact: Vec<_> = list
        .map(|c| (c["id"].clone(), c["intact"].clone()))
        .collect();
    let expected = [("cp-3", false), ("cp-2", false), ("cp-1", true)];
    assert_eq!(intact, expected.map(|(id, is)| (json!(id), json!(is))));
    for id in ["cp-3", "cp-2"] {
        let path = format!("/v1/deployment/checkpoints/{id}/restore");
        let (status, refused) = admin(&stand, &gateway, &path, Some(json!({})));
        let error = &refused["error"];
        assert_eq!(
            (status, &error["code"]),
            (409, &json!("corrupt_checkpoint"))
        );
        let message = error["message"].as_str().expect("words");
        assert!(message.contains("corrupt"), "{message}");
        assert_eq!(stand.ask(&gateway).as_deref(), Some("v2"), "it serves on");
    }
    let (status, done) = admin(
        &stand,
        &gateway,
        "/v1/deployment/instant-rollback",
        Some(json!({"reason": "people complain"})),
    );
    assert_eq!(status, 200, "{done}");
    assert_eq!(
        done["rollback"]["restored"], "cp-1",
        "the newest that is sound"
    );
    assert_eq!(stand.ask(&gateway).as_deref(), Some("v1"));
}

#[test]
fn without_a_sound_checkpoint_an_instant_rollback_is_refused_and_the_gateway_serves_on() {
    let stand = Stand::new(200);
    let router = stand.router("");
    let all = "UPDATE checkpoints SET config = replace(config, 'gpt-4.1', 'gpt-4.2');";
    let gateway = tampered(&stand, &router, all);
    let path = "/v1/deployment/instant-rollback";
    let (status, refused) = admin(&stand, &gateway, path, Some(json!({})));
    assert_eq!(
        (status, &refused["error"]["code"]),
        (409, &json!("no_checkpoint")),
        "{refused}"
    );
    assert_eq!(stand.ask(&gateway).as_deref(), Some("v2"), "it serves on");
    let (_, present) = admin(&stand, &gateway, "/v1/deployment", None);
    assert_eq!(present["phase"], "progressing");
}
