//! A program that has the gateway inside of it forces versions; its callers cannot.

use std::sync::Arc;

use graygate::id::{PerVersion, Seed};
use graygate::live;
use graygate::live::clock::Clock;
use graygate::live::gateway::driver::Driver;
use graygate::live::gateway::server::{Forcing, Gateway};
use graygate::live::gateway::{Endpoint, FindChoosers, FindEndpoints, GatewayConfig};
use graygate::live::http::client::Trust;
use graygate::live::http::server::Limits;
use graygate::live::outbox::outbox;
use graygate::protocol::chat;
use graygate::router::gray::GrayRouter;
use graygate::time::Timestamp;

use crate::process::{Server, client};
use crate::support::{in_company, written};

const SCENARIO: &str = "
name: forced
duration: 1s
router:
  versions:
    v1: {role: stable, model: gpt-4.1, api_key_env: A}
    v2: {role: canary, model: gpt-4.1-new, api_key_env: B}
  split: {weights: {v1: 1, v2: 0}}
  judge: off
traffic: {synthetic: {arrivals: {constant: 1/s}}}
expect: [attribution]
";

/// A gateway that sends nobody to the canary but those whose session is a tester's; returns its address.
async fn gateway(mocks: &[Server; 2]) -> String {
    let router = written("forced", SCENARIO).experiment.router;
    let core = GrayRouter::new(router.clone(), Seed(1), Timestamp::ZERO);
    let (outbox, _inbox) = outbox();
    let clock = Clock::starting_now();
    let driver = Driver::new(Box::new(core), router.clone(), clock, outbox, false);
    let endpoints: Vec<Endpoint> = mocks.iter().map(endpoint).collect();
    let config = GatewayConfig {
        endpoints: FindEndpoints::fixed(PerVersion::from_fn(2, |v| endpoints[v.index()].clone())),
        choosers: FindChoosers::nobody(),
        router,
        is_harness: false,
        forward: chat::forward,
        limits: Limits::default(),
        trust: Trust::nobody(),
    };
    let forcing: Forcing = Box::new(|router, headers| {
        let session = headers.get("x-session")?;
        (session == "tester").then(|| router.version_named("v2"))?
    });
    let listener = live::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let gateway: Arc<Gateway> = Gateway::with_forcing(config, driver, Some(forcing));
    tokio::spawn(gateway.serve(listener));
    format!("http://{address}/v1/chat/completions")
}

fn endpoint(mock: &Server) -> Endpoint {
    Endpoint {
        base: mock.base.clone(),
        api_key: None,
    }
}

#[test]
fn the_embedder_forces_versions_and_its_callers_do_not() {
    let _company = in_company();
    let mock = |model| {
        let args = ["mock", "--model", model, "--profile", "latency: 2ms"];
        Server::start(&args, &[])
    };
    let mocks = [mock("gpt-4.1"), mock("gpt-4.1-new")];
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let url = gateway(&mocks).await;
        for (header, version) in [
            (("x-session", "tester"), "v2"),
            (("x-session", "somebody"), "v1"),
            (("x-graygate-forced", "v2"), "v1"),
        ] {
            let request = client().post(&url).body(r#"{"model": "gpt-4.1"}"#);
            let response = request.header(header.0, header.1).send().await.unwrap();
            assert_eq!(response.status(), 200);
            assert_eq!(response.headers()["x-version"], version, "{header:?}");
        }
    });
}
