//! The admin API of `graygate serve`, over real sockets.

mod changes;
mod cli;
mod counting;
mod openapi;
mod security;
mod trouble;

use std::sync::RwLockReadGuard;

use reqwest::header::HeaderMap;
use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::process::{Server, router_file, wait_for};
use crate::support::in_company;

pub(crate) const TOKEN: &str = "token-0123456789abcdef-do-not-show";
pub(crate) const STABLE_KEY: &str = "sk-stable-0123456789abcdef0123456789";
pub(crate) const CANARY_KEY: &str = "sk-canary-0123456789abcdef0123456789";

/// A gateway with its admin API between a client and two mocks.
pub(crate) struct Stand {
    folder: tempfile::TempDir,
    gateway: Server,
    mocks: [Server; 2],
    /// `http://127.0.0.1:PORT` of the admin API.
    admin: String,
    client: Client,
    runtime: tokio::runtime::Runtime,
    _company: RwLockReadGuard<'static, ()>,
}

/// An answer of the admin API.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    pub(crate) fn code(&self) -> String {
        let json = self.json();
        json["error"]["code"].as_str().unwrap_or("none").to_owned()
    }
}

impl Stand {
    /// `faults` are the canary's; `more` goes into the router file.
    pub(crate) fn new(faults: &[&str], more: &str) -> Self {
        Self::with(faults, more, &[("GRAYGATE_ADMIN_TOKEN", TOKEN)])
    }

    pub(crate) fn with(faults: &[&str], more: &str, env: &[(&str, &str)]) -> Self {
        let company = in_company();
        let folder = tempfile::tempdir().unwrap();
        let mock = |model, faults: &[&str]| {
            let profile = "latency: 2ms, output_tokens: 3";
            let mut args = vec!["mock", "--model", model, "--profile", profile];
            faults.iter().for_each(|f| args.extend(["--fault", *f]));
            Server::start(&args, &[])
        };
        let mocks = [mock("gpt-4.1", &[]), mock("gpt-4.1-new", faults)];
        let router = router_file(folder.path(), &mocks[0].base, &mocks[1].base, more);
        let mut env = env.to_vec();
        env.push(("STABLE_API_KEY", STABLE_KEY));
        env.push(("CANARY_API_KEY", CANARY_KEY));
        let gateway = Server::start(&["serve", &router], &env);
        Self {
            folder,
            mocks,
            admin: gateway.admin(),
            gateway,
            client: Client::builder().no_proxy().build().unwrap(),
            runtime: tokio::runtime::Runtime::new().unwrap(),
            _company: company,
        }
    }

    /// The text of the router file that is served.
    pub(crate) fn router(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("router.yaml")).unwrap()
    }

    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        let bearer = format!("Bearer {TOKEN}");
        self.ask_with(method, path, body, &[("authorization", &bearer)])
    }

    pub(crate) fn ask_with(
        &self,
        method: &str,
        path: &str,
        body: &str,
        headers: &[(&str, &str)],
    ) -> Answer {
        let sent = self.send(method, path, body, headers);
        self.runtime.block_on(sent)
    }

    /// The same as a future, for many at once.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        body: &str,
        headers: &[(&str, &str)],
    ) -> impl Future<Output = Answer> + Send + 'static {
        let url = format!("{}{path}", self.admin);
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.client.request(method, url).body(body.to_owned());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        async move {
            let response = request.send().await.expect("an answer");
            Answer {
                status: response.status().as_u16(),
                headers: response.headers().clone(),
                text: response.text().await.expect("a body"),
            }
        }
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        let answer = self.ask("GET", path, "");
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer.json()
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, &body.to_string())
    }

    /// The version that answers a caller of this tier.
    pub(crate) fn served_by(&self, tier: &str) -> String {
        let url = format!("{}/chat/completions", self.gateway.base);
        let body = json!({"model": "gpt-4.1", "messages": [{"role": "user", "content": "hello"}]});
        let request = self.client.post(url).header("x-user-tier", tier);
        let request = request.body(body.to_string()).send();
        let response = self.runtime.block_on(request).expect("an answer");
        let version = response.headers().get("x-version").expect("a version");
        version.to_str().unwrap().to_owned()
    }

    /// Waits until the statistics say so: events are counted with a little delay.
    pub(crate) fn wait_for_stats(&self, is_so: impl Fn(&Value) -> bool) -> Value {
        wait_for(|| Some(self.get("/v1/stats")).filter(|stats| is_so(stats)))
    }
}
