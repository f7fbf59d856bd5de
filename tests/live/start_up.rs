//! What `graygate serve` looks at before callers come: keys, and the models of its upstreams.

use std::path::Path;
use std::sync::atomic::Ordering;

use serde_json::json;

use crate::process::{KEYS, Server, client, refused, router_file, wait_for};
use crate::support::in_company;
use crate::upstream::{Manner, Upstream, listing};

fn models(status: u16, list: String) -> Upstream {
    Upstream::start(Manner {
        models: (status, list),
        ..Manner::default()
    })
}

fn router(folder: &Path, stable: &Upstream, canary: &Upstream) -> String {
    router_file(folder, &stable.base, &canary.base, "")
}

/// Which version answers a caller that the rules send to the canary.
fn premium_is_served_by(gateway: &Server) -> String {
    let url = format!("{}/chat/completions", gateway.base);
    let body = json!({"model": "gpt-4.1", "messages": []}).to_string();
    let request = client().post(url).header("x-user-tier", "premium");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let answer = runtime.block_on(request.body(body).send()).unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["x-attempts"], "1");
    answer.headers()["x-version"].to_str().unwrap().to_owned()
}

#[test]
fn a_stable_model_that_is_missing_is_refused() {
    let _company = in_company();
    let folder = tempfile::tempdir().unwrap();
    let stable = models(200, listing(&["gpt-4", "gpt-4.1-mini"]));
    let canary = Upstream::start(Manner::default());
    let router = router(folder.path(), &stable, &canary);
    let (code, said) = refused(&["serve", &router], &KEYS);
    assert_eq!(code, Some(5), "{said}");
    assert!(
        said.contains("does not serve the model `gpt-4.1`: it lists gpt-4, gpt-4.1-mini"),
        "{said}"
    );
    assert!(said.contains("correct the version's model"), "{said}");
}

#[test]
fn a_stable_upstream_that_refuses_the_key_is_refused() {
    let _company = in_company();
    let folder = tempfile::tempdir().unwrap();
    let stable = models(401, "{}".to_owned());
    let router = router(folder.path(), &stable, &stable);
    let (code, said) = refused(&["serve", &router], &KEYS);
    assert_eq!(code, Some(5), "{said}");
    assert!(
        said.contains("refuses the key in STABLE_API_KEY (401)"),
        "{said}"
    );
}

#[test]
fn a_canary_that_is_missing_gets_no_traffic_and_is_looked_for() {
    let _company = in_company();
    let folder = tempfile::tempdir().unwrap();
    let stable = Upstream::start(Manner::default());
    let canary = models(200, listing(&["gpt-4.1"]));
    let router = router(folder.path(), &stable, &canary);
    let gateway = Server::start(&["serve", &router, "--probe-every", "20ms"], &KEYS);
    let log = gateway.log();
    assert!(
        log.contains("ERROR the canary `v2` gets no traffic"),
        "{log}"
    );
    assert!(log.contains("share=0"), "{log}");
    assert_eq!(premium_is_served_by(&gateway), "v1");
    wait_for(|| (canary.seen.lists.load(Ordering::SeqCst) >= 3).then_some(()));
    canary.seen.list(&["gpt-4.1-new"]);
    wait_for(|| {
        gateway
            .log()
            .contains("is there now and still gets no traffic")
            .then_some(())
    });
    assert_eq!(premium_is_served_by(&gateway), "v1", "a person decides");
    assert_eq!(canary.seen.chats.load(Ordering::SeqCst), 0);
    assert_eq!(gateway.stop(), Some(0));
}

#[test]
fn a_canary_that_is_not_there_or_refuses_its_key_gets_no_traffic_either() {
    let _company = in_company();
    let stable = Upstream::start(Manner::default());
    let refuses = models(401, String::new());
    let nobody = "http://127.0.0.1:9/v1".to_owned();
    let cases = [
        (&nobody, "cannot reach"),
        (&refuses.base, "refuses the key in CANARY_API_KEY"),
    ];
    for (canary, why) in cases {
        let folder = tempfile::tempdir().unwrap();
        let router = router_file(folder.path(), &stable.base, canary, "");
        let gateway = Server::start(&["serve", &router], &KEYS);
        assert!(gateway.log().contains(why), "{}", gateway.log());
        assert_eq!(premium_is_served_by(&gateway), "v1");
    }
}

/// Many servers have no such list, some have one that says nothing: the requests will tell.
#[test]
fn upstreams_that_do_not_say_what_they_serve_are_let_through() {
    let _company = in_company();
    for (status, list) in [
        (404, ""),
        (501, ""),
        (403, ""),
        (500, ""),
        (302, ""),
        (200, "<html>"),
        (200, "{\"data\": [{\"id\": \"a\"}], \"has_more\": true}"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let upstream = models(status, list.to_owned());
        let router = router(folder.path(), &upstream, &upstream);
        let gateway = Server::start(&["serve", &router], &KEYS);
        assert_eq!(
            gateway.log().matches("WARN").count(),
            2,
            "{}",
            gateway.log()
        );
        assert_eq!(premium_is_served_by(&gateway), "v2");
    }
}

/// Requests take no proxy, so that asking through one would tell of other ways than theirs.
#[test]
fn a_proxy_of_the_machine_is_not_asked() {
    let _company = in_company();
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start(Manner::default());
    let router = router(folder.path(), &upstream, &upstream);
    let mut environment = KEYS.to_vec();
    let proxies = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];
    environment.extend(proxies.map(|name| (name, "http://127.0.0.1:9")));
    let gateway = Server::start(&["serve", &router], &environment);
    assert!(!gateway.log().contains("WARN"), "{}", gateway.log());
    assert_eq!(premium_is_served_by(&gateway), "v2");
}

#[test]
fn keys_come_from_a_file_and_the_environment_wins() {
    let _company = in_company();
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let mock = Server::start(&["mock", "--profile", "latency: 2ms"], &[]);
    let router = router_file(folder.path(), &mock.base, &mock.base, "");
    let beside = folder.path().join(".env");
    let [(_, stable_key), (_, canary_key)] = KEYS;
    let both =
        format!("# keys\nexport STABLE_API_KEY=\" {stable_key} \"\nCANARY_API_KEY={canary_key}\n");
    let serve = |folder: &Path, env: &[(&str, &str)]| {
        Server::start_in(folder, &["serve", &router], env).stop()
    };
    std::fs::write(&beside, &both).unwrap();
    assert_eq!(
        serve(elsewhere.path(), &[]),
        Some(0),
        "beside the router file"
    );
    std::fs::remove_file(&beside).unwrap();
    std::fs::write(elsewhere.path().join(".env"), &both).unwrap();
    assert_eq!(
        serve(elsewhere.path(), &[]),
        Some(0),
        "in the working directory"
    );
    std::fs::write(&beside, "STABLE_API_KEY=bad\nCANARY_API_KEY=worse").unwrap();
    assert_eq!(
        serve(elsewhere.path(), &KEYS),
        Some(0),
        "the environment wins"
    );
    // And the file beside the router wins over the other.
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_graygate"));
    command
        .args(["serve", &router])
        .current_dir(elsewhere.path());
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("the key in STABLE_API_KEY does not begin with hs_ or sk-"),
        "{said}"
    );
    assert!(!said.contains("worse"), "{said}");
}

#[test]
fn a_line_that_makes_no_sense_is_told_by_its_number_alone() {
    let _company = in_company();
    let folder = tempfile::tempdir().unwrap();
    let router = router_file(
        folder.path(),
        "http://127.0.0.1:9/v1",
        "http://127.0.0.1:9/v1",
        "",
    );
    let text = "STABLE_API_KEY=sk-stable-0123456789abcdef\n\nCANARY hunter2hunter2\n";
    std::fs::write(folder.path().join(".env"), text).unwrap();
    let (code, said) = refused(&["serve", &router], &[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains(".env:3:1"), "{said}");
    assert!(
        said.contains("the variable CANARY_API_KEY is not set"),
        "{said}"
    );
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn other_keys_are_taken_only_when_they_are_allowed() {
    let _company = in_company();
    let folder = tempfile::tempdir().unwrap();
    let mock = Server::start(&["mock", "--profile", "latency: 2ms"], &[]);
    let router = router_file(folder.path(), &mock.base, &mock.base, "");
    let keys = [
        ("STABLE_API_KEY", "AIzaSy-0123456789abcdef"),
        ("CANARY_API_KEY", "sk-tiny"),
    ];
    let (code, said) = refused(&["serve", &router], &keys);
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("in STABLE_API_KEY does not begin with"),
        "{said}"
    );
    assert!(
        said.contains("in CANARY_API_KEY has 7 characters"),
        "{said}"
    );
    assert!(!said.contains("AIza") && !said.contains("tiny"), "{said}");
    let gateway = Server::start(&["serve", &router, "--any-key-format"], &keys);
    assert_eq!(gateway.stop(), Some(0));
}
