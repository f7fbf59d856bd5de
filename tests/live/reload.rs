//! Another configuration while `graygate serve` serves: SIGHUP, and a router file that changes.

use std::sync::RwLockReadGuard;

use serde_json::json;

use crate::process::{KEYS, Server, client, router_file, wait_for};
use crate::support::in_company;

/// A gateway before two mocks, with its router file.
struct Desk {
    folder: tempfile::TempDir,
    gateway: Server,
    mocks: [Server; 2],
    runtime: tokio::runtime::Runtime,
    _company: RwLockReadGuard<'static, ()>,
}

impl Desk {
    fn new() -> Self {
        let company = in_company();
        let folder = tempfile::tempdir().unwrap();
        let mock = |model| {
            let profile = "latency: 5ms, output_tokens: 3";
            Server::start(&["mock", "--model", model, "--profile", profile], &[])
        };
        let mocks = [mock("gpt-4.1"), mock("gpt-4.1-new")];
        let router = router_file(folder.path(), &mocks[0].base, &mocks[1].base, "");
        let gateway = Server::start(&["serve", &router], &KEYS);
        Self {
            folder,
            gateway,
            mocks,
            runtime: tokio::runtime::Runtime::new().unwrap(),
            _company: company,
        }
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("router.yaml")
    }

    /// Rewrites the router file, all at once as editors do.
    fn edit(&self, change: impl FnOnce(String) -> String) {
        let text = std::fs::read_to_string(self.path()).unwrap();
        let draft = self.folder.path().join("draft");
        std::fs::write(&draft, change(text)).unwrap();
        std::fs::rename(draft, self.path()).unwrap();
    }

    /// Who answers a request.
    fn served_by(&self) -> String {
        let url = format!("{}/chat/completions", self.gateway.base);
        let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
        self.runtime.block_on(async {
            let response = client().post(url).json(&body).send().await.unwrap();
            assert_eq!(response.status(), 200);
            response.headers()["x-version"].to_str().unwrap().to_owned()
        })
    }

    fn says(&self, words: &str) {
        wait_for(|| self.gateway.log().contains(words).then_some(()));
    }
}

fn all_to_the_canary(text: String) -> String {
    text.replace("{v1: 100, v2: 0}", "{v1: 0, v2: 100}")
}

#[test]
fn a_file_that_changes_is_another_release() {
    let desk = Desk::new();
    assert_eq!(desk.served_by(), "v1");
    desk.edit(all_to_the_canary);
    wait_for(|| (desk.served_by() == "v2").then_some(()));
    desk.says("the router file was read");
}

/// Models and addresses as well: the canary's place is taken by stable's own upstream.
#[test]
fn other_upstreams_are_asked_from_then_on() {
    let desk = Desk::new();
    let [stable, canary] = [&desk.mocks[0].base, &desk.mocks[1].base];
    desk.edit(|text| {
        let text = all_to_the_canary(text).replace("model: gpt-4.1-new", "model: gpt-4.1");
        text.replace(canary.as_str(), stable)
    });
    // The stable upstream knows its own model only: a request for it, answered as v2, shows both.
    wait_for(|| (desk.served_by() == "v2").then_some(()));
}

/// An upstream that changes the router file while the gateway asks it for its models: after the file
/// was read, before anybody is served.
#[test]
fn a_file_that_changes_while_the_gateway_starts_is_not_missed() {
    let _company = in_company();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("router.yaml");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let upstream = runtime.block_on(wiremock::MockServer::start());
    let edited = path.clone();
    let meddle = move |_: &wiremock::Request| {
        let text = std::fs::read_to_string(&edited).unwrap();
        std::fs::write(&edited, all_to_the_canary(text)).unwrap();
        let list = json!({"data": [{"id": "gpt-4.1"}, {"id": "gpt-4.1-new"}]});
        wiremock::ResponseTemplate::new(200).set_body_json(list)
    };
    let models = wiremock::Mock::given(wiremock::matchers::any()).respond_with(meddle);
    runtime.block_on(models.mount(&upstream));
    let base = format!("{}/v1", upstream.uri());
    let router = router_file(folder.path(), &base, &base, "");
    let gateway = Server::start(&["serve", &router], &KEYS);
    wait_for(|| {
        let log = gateway.log();
        log.contains("the router file was read").then_some(())
    });
    assert_eq!(gateway.stop(), Some(0));
}

#[test]
fn a_file_with_mistakes_changes_nothing_and_says_why() {
    let desk = Desk::new();
    desk.edit(|text| all_to_the_canary(text).replace("split:", "splitt:"));
    desk.says("the old configuration stays in force");
    desk.says("splitt");
    assert_eq!(desk.served_by(), "v1");
    // Mended, it counts.
    desk.edit(|text| text.replace("splitt:", "split:"));
    wait_for(|| (desk.served_by() == "v2").then_some(()));
}

#[test]
fn a_hangup_reads_the_file_again_and_ends_nothing() {
    let desk = Desk::new();
    desk.gateway.signal("HUP");
    desk.says("the router file says nothing new");
    assert_eq!(desk.served_by(), "v1");
    desk.gateway.signal("TERM");
    let (code, log) = desk.gateway.wait();
    assert_eq!(code, Some(0), "{log}");
}
