//! The sequential judge behind real sockets: whom it listens to, and when it holds its peace.

use std::path::Path;

use serde_json::json;

use crate::process::{KEYS, Server, client, wait_for};
use crate::support::in_company;

/// A gateway with the sequential judge between callers and two mocks.
struct Stand {
    gateway: Server,
    _mocks: [Server; 2],
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

impl Stand {
    fn new(folder: &Path, faults: [&[&str]; 2]) -> Self {
        let mocks = [("gpt-4.1", faults[0]), ("gpt-4.1-new", faults[1])].map(|(model, faults)| {
            let mut args = vec!["mock", "--model", model, "--profile", "latency: 2ms"];
            faults.iter().for_each(|f| args.extend(["--fault", *f]));
            Server::start(&args, &[])
        });
        let [stable, canary] = mocks.each_ref().map(|mock| &mock.base);
        let path = folder.join("router.yaml");
        let text = format!(
            "versions:
  v1: {{role: stable, model: gpt-4.1, endpoint: \"{stable}\", api_key_env: STABLE_API_KEY}}
  v2: {{role: canary, model: gpt-4.1-new, endpoint: \"{canary}\", api_key_env: CANARY_API_KEY}}
routes:
  - {{when: {{tier: premium}}, to: v2}}
split: {{weights: {{v1: 50, v2: 50}}}}
retry: {{max_retries: 0}}
judge: {{sequential: {{every: 1s, slow: off}}}}
"
        );
        std::fs::write(&path, text).unwrap();
        Self {
            gateway: Server::start(&["serve", &path.display().to_string()], &KEYS),
            _mocks: mocks,
            client: client(),
            runtime: tokio::runtime::Runtime::new().unwrap(),
        }
    }

    /// A failing canary is open as long as stable is asked in its place.
    fn is_rescued(&self, tier: &str) -> bool {
        let url = format!("{}/chat/completions", self.gateway.base);
        let body = json!({"model": "gpt-4.1", "messages": []}).to_string();
        let request = self.client.post(url).header("x-user-tier", tier);
        let sent = request.body(body).send();
        let answer = self.runtime.block_on(sent).expect("an answer");
        answer.headers()["x-fallback"] == "true"
    }

    fn has_said(&self, words: &str) -> bool {
        self.gateway.log().contains(words)
    }
}

/// The canary fails everybody. Those whom a rule sends there are no evidence; those whom chance sends
/// there are.
#[test]
fn only_those_whom_chance_sends_to_the_canary_are_evidence() {
    let _company = in_company();
    let folder = tempfile::tempdir().unwrap();
    let stand = Stand::new(folder.path(), [&[], &["kind: unauthorized"]]);
    assert!((0..60).all(|_| stand.is_rescued("premium")));
    wait_for(|| {
        stand.is_rescued("free");
        stand
            .has_said("rolled back from v2 to v1: the evidence on error ")
            .then_some(())
    });
}

/// Both versions fail everybody: that is no matter of the canary's.
#[test]
fn an_outage_of_both_holds_and_rolls_nothing_back() {
    let _company = in_company();
    let folder = tempfile::tempdir().unwrap();
    let fault: &[&str] = &["kind: server_error"];
    let stand = Stand::new(folder.path(), [fault, fault]);
    wait_for(|| {
        stand.is_rescued("free");
        let holds = stand.has_said("the judge holds") && stand.has_said("shared_outage");
        holds.then_some(())
    });
    assert!((0..60).all(|_| stand.is_rescued("premium")));
    assert!(!stand.has_said("rolled back"), "{}", stand.gateway.log());
}
