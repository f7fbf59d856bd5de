//! A store that fails, and a model that is missing: the canary is closed, and that is said.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use graygate::id::Seed;
use graygate::live::admin::records::{self, MemoryRecords};
use graygate::live::admin::tally::{Counter, SharedTally};
use graygate::live::admin::{Admin, AdminConfig};
use graygate::live::clock::Clock;
use graygate::live::gateway::driver::Driver;
use graygate::live::http::drain::Drain;
use graygate::live::outbox::outbox;
use graygate::router::control::Order;
use graygate::router::gray::GrayRouter;
use graygate::router::io::Input;
use graygate::time::Timestamp;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::{in_company, shipped};

/// An admin API whose store does as it is told, without a gateway.
struct Desk {
    base: String,
    driver: Arc<Driver>,
    drain: Arc<Drain>,
    is_over: Arc<AtomicBool>,
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

impl Desk {
    async fn new(store_works: bool) -> Self {
        let router = shipped("healthy-canary").experiment.router;
        let (outbox, inbox) = outbox();
        let clock = Clock::starting_now();
        let core = Box::new(GrayRouter::new(router.clone(), Seed(1), Timestamp::ZERO));
        let (sender, changes) = records::way();
        let driver = Driver::with_store(core, router.clone(), clock, outbox, false, Some(sender));
        let kept = MemoryRecords::default();
        let records = kept.clone();
        let weak = Arc::downgrade(&driver);
        std::thread::spawn(move || match store_works {
            true => kept.keep_all(&changes, &weak),
            false => {
                while let (Ok((op, _)), Some(driver)) = (changes.recv(), weak.upgrade()) {
                    driver.input([Input::Persisted { op, ok: false }]);
                }
            }
        });
        let tally = SharedTally::new(&router);
        let mut counter = Counter::new(tally.clone(), driver.clone());
        let is_over = Arc::new(AtomicBool::new(false));
        let over = is_over.clone();
        std::thread::spawn(move || {
            inbox.record(clock, &mut counter, || over.load(Ordering::Relaxed));
        });
        let drain = Arc::new(Drain::default());
        let config = AdminConfig {
            token: None,
            unix_zero: 0,
            check: Box::new(|_, _| {}),
            records: Arc::new(records),
            tally,
            drain: drain.clone(),
            unheard: Arc::default(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(Admin::new(driver.clone(), config).serve(listener));
        Self {
            base,
            driver,
            drain,
            is_over,
        }
    }

    async fn ask(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().no_proxy().build().unwrap();
        let method = method.parse().unwrap();
        let request = client.request(method, format!("{}{path}", self.base));
        let response = request.body(body.to_string()).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    async fn ready(&self) -> (u16, Value) {
        self.ask("GET", "/readyz", json!({})).await
    }

    /// Waits until it is degraded for this reason.
    async fn degraded(&self, reason: &str) {
        let degraded = json!({"status": "degraded", "reasons": [reason]});
        self.until((200, degraded)).await;
    }

    /// Waits until it says this of its readiness.
    async fn until(&self, expected: (u16, Value)) {
        tokio::time::timeout(std::time::Duration::from_secs(30), async {
            while self.ready().await != expected {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        })
        .await
        .expect("what it should say in the end");
    }
}

fn in_runtime(test: impl Future<Output = ()>) {
    let _company = in_company();
    tokio::runtime::Runtime::new().unwrap().block_on(test);
}

#[test]
fn a_missing_model_degrades_until_somebody_resumes() {
    in_runtime(missing_model());
}

async fn missing_model() {
    let desk = Desk::new(true).await;
    let ready = (200, json!({"status": "ready", "reasons": []}));
    assert_eq!(desk.ready().await, ready);
    desk.driver.order(None, Order::Withhold).await.unwrap();
    desk.degraded("model_missing").await;
    let (_, release) = desk.ask("GET", "/v1/deployment", json!({})).await;
    assert_eq!(
        (&release["canary_closed"], &release["canary_share"]),
        (&json!("model_missing"), &json!(0.0))
    );
    let (status, resumed) = desk.ask("POST", "/v1/deployment/resume", json!({})).await;
    assert_eq!(status, 200);
    assert_eq!(
        resumed["canary_closed"],
        json!(null),
        "at once, and not when it has been counted"
    );
    desk.until(ready).await;
    desk.drain.begin();
    assert_eq!(desk.ready().await.0, 503);
}

#[test]
fn a_store_that_fails_closes_the_canary_and_delays_no_rollback() {
    in_runtime(failing_store());
}

async fn failing_store() {
    let desk = Desk::new(false).await;
    let (status, answer) = desk
        .ask("POST", "/v1/deployment/checkpoints", json!({}))
        .await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (503, &json!("store_failed"))
    );
    desk.degraded("store_failed").await;
    let why = json!({"reason": "now"});
    let (status, answer) = desk.ask("POST", "/v1/deployment/rollback", why).await;
    assert_eq!(status, 202, "{answer:#}");
    assert_eq!(
        (&answer["phase"], &answer["kept"]),
        (&json!("rolled_back"), &json!(false))
    );
}
