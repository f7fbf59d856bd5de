//! Who may choose a version by a header, and what becomes of those who may not.

use std::sync::RwLockReadGuard;

use crate::process::{KEYS, Server, client};
use crate::support::in_company;

const QA_KEY: &str = "qa-0123456789abcdef";

/// A gateway that lets the tier `internal` and whoever shows a key choose.
struct Stand {
    gateway: Server,
    _mocks: [Server; 2],
    folder: tempfile::TempDir,
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
    _company: RwLockReadGuard<'static, ()>,
}

/// What a caller is told.
#[derive(Debug, PartialEq)]
struct Told {
    status: u16,
    version: String,
    choice: Option<String>,
}

fn told(version: &str, choice: Option<&str>) -> Told {
    Told {
        status: 200,
        version: version.to_owned(),
        choice: choice.map(str::to_owned),
    }
}

impl Stand {
    fn new(canary_faults: &[&str]) -> Self {
        let company = in_company();
        let mock = |model, faults: &[&str]| {
            let mut args = vec!["mock", "--model", model, "--profile", "latency: 2ms"];
            faults
                .iter()
                .for_each(|fault| args.extend(["--fault", *fault]));
            Server::start(&args, &[])
        };
        let mocks = [mock("gpt-4.1", &[]), mock("gpt-4.1-new", canary_faults)];
        let folder = tempfile::tempdir().unwrap();
        let router = folder.path().join("router.yaml");
        let [stable, canary] = mocks.each_ref().map(|mock| &mock.base);
        let text = format!(
            "versions:
  v1: {{role: stable, model: gpt-4.1, endpoint: \"{stable}\", api_key_env: STABLE_API_KEY}}
  v2: {{role: canary, model: gpt-4.1-new, endpoint: \"{canary}\", api_key_env: CANARY_API_KEY, features: [streaming]}}
overrides: {{header: x-test-version, tiers: [internal], keys: [QA_API_KEY]}}
split: {{weights: {{v1: 50, v2: 50}}}}
judge: {{literal: {{min_requests: 5, every: 50ms, rollback: {{error_rate: \"> 5%\"}}}}}}
"
        );
        std::fs::write(&router, text).unwrap();
        Self {
            gateway: start(&router.display().to_string()),
            folder,
            client: client(),
            runtime: tokio::runtime::Runtime::new().unwrap(),
            _mocks: mocks,
            _company: company,
        }
    }

    fn ask(&self, headers: &[(&str, &str)]) -> Told {
        self.ask_for(r#"{"model": "gpt-4.1"}"#, headers)
    }

    fn ask_for(&self, body: &'static str, headers: &[(&str, &str)]) -> Told {
        let url = format!("{}/chat/completions", self.gateway.base);
        let mut request = self.client.post(url).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.runtime.block_on(request.send()).expect("an answer");
        let header = |name| Some(response.headers().get(name)?.to_str().unwrap().to_owned());
        Told {
            status: response.status().as_u16(),
            version: header("x-version").unwrap_or_default(),
            choice: header("x-override"),
        }
    }

    /// The same gateway once more, from the beginning.
    fn restart(&mut self) {
        let router = self.folder.path().join("router.yaml");
        self.gateway = start(&router.display().to_string());
    }
}

fn start(router: &str) -> Server {
    let mut keys = KEYS.to_vec();
    keys.push(("QA_API_KEY", QA_KEY));
    Server::start(&["serve", router, "--seed", "7"], &keys)
}

const INTERNAL: (&str, &str) = ("x-user-tier", "internal");
const V1: (&str, &str) = ("x-test-version", "v1");
const V2: (&str, &str) = ("x-test-version", "v2");

#[test]
fn those_who_may_get_the_version_that_they_choose() {
    let stand = Stand::new(&[]);
    let key = format!("Bearer {QA_KEY}");
    for way in [INTERNAL, ("authorization", key.as_str())] {
        for _ in 0..8 {
            assert_eq!(stand.ask(&[way, V2]), told("v2", Some("honoured")));
            assert_eq!(stand.ask(&[way, V1]), told("v1", Some("honoured")));
        }
        let unknown = stand.ask(&[way, ("x-test-version", "v3")]);
        assert_eq!(unknown, told("v1", Some("refused")));
        assert_eq!(stand.ask(&[way]).choice, None, "nothing was chosen");
    }
    // What the canary cannot do is not asked of it.
    let tools =
        r#"{"model": "gpt-4.1", "tools": [{"type": "function", "function": {"name": "f"}}]}"#;
    let refused = stand.ask_for(tools, &[INTERNAL, V2]);
    assert_eq!(refused, told("v1", Some("refused")));
    for _ in 0..12 {
        assert_eq!(stand.ask_for(tools, &[]), told("v1", None));
    }
    assert!(!stand.gateway.log().contains(QA_KEY));
}

/// The very same split as without the header, request by request.
#[test]
fn a_choice_of_those_who_may_not_changes_nothing() {
    let mut stand = Stand::new(&[]);
    let plain: Vec<Told> = (0..40).map(|_| stand.ask(&[])).collect();
    assert!(plain.iter().any(|t| t.version == "v1") && plain.iter().any(|t| t.version == "v2"));
    let spoofs: [&[(&str, &str)]; 5] = [
        // The harness's own, which exists in its runs alone.
        &[("x-graygate-forced", "v2")],
        &[V2],
        &[V2, ("x-user-tier", "free")],
        &[V2, ("authorization", "Bearer qa-0123456789abcde")],
        &[V2, ("authorization", "Basic qa-0123456789abcdef")],
    ];
    stand.restart();
    let spoofed: Vec<Told> = (0..40).map(|i| stand.ask(spoofs[i % 5])).collect();
    assert_eq!(spoofed, plain);
}

#[test]
fn after_a_rollback_nobody_gets_the_canary_and_is_told_so() {
    let stand = Stand::new(&["kind: server_error"]);
    let key = format!("Bearer {QA_KEY}");
    let by_key = ("authorization", key.as_str());
    let first = stand.ask(&[by_key, V2]);
    assert_eq!(
        first,
        told("v1", Some("honoured")),
        "it was tried, and fell back"
    );
    for _ in 0..200 {
        stand.ask(&[by_key, V2]);
        if stand.gateway.log().contains("rolled") {
            break;
        }
    }
    for _ in 0..20 {
        assert_eq!(stand.ask(&[by_key, V2]), told("v1", Some("refused")));
        assert_eq!(stand.ask(&[INTERNAL, V2]), told("v1", Some("refused")));
        assert_eq!(stand.ask(&[V2]), told("v1", None));
        assert_eq!(stand.ask(&[]), told("v1", None));
    }
}

#[test]
fn a_key_that_is_not_there_or_can_be_guessed_is_found_at_the_start() {
    let _company = in_company();
    let folder = tempfile::tempdir().unwrap();
    let more = "overrides: {keys: [GRAYGATE_TEST_QA_KEY]}";
    let base = "http://127.0.0.1:9/v1";
    let router = crate::process::router_file(folder.path(), base, base, more);
    let (code, said) = crate::process::refused(&["serve", &router], &KEYS);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("GRAYGATE_TEST_QA_KEY is not set"), "{said}");
    let mut keys = KEYS.to_vec();
    keys.push(("GRAYGATE_TEST_QA_KEY", "letmein"));
    let (code, said) = crate::process::refused(&["serve", &router], &keys);
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("can be guessed") && !said.contains("letmein"),
        "{said}"
    );
}
