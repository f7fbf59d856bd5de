//! Letters about rollbacks: each receiver gets its own once, whatever happens on the way.

use std::sync::Arc;
use std::time::Duration;

use graygate::live::clock::Clock;
use graygate::live::store::delivery::{Delivery, Patience};
use graygate::live::store::mail::Told;
use graygate::live::store::post::Post;
use graygate::live::store::{Place, State};
use graygate::router::deployment::Change;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use wiremock::matchers::{any, path};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use crate::gateway::until;
use crate::{changes, open, roll_back};

const PATIENCE: Patience = Patience {
    base: Duration::from_millis(2),
    longest: Duration::from_millis(20),
    until: Duration::from_secs(86_400),
};

/// Delivers what is in a state; `variables` are of the environment.
fn deliver(
    state: &Arc<State>,
    patience: Patience,
    variables: &[(&'static str, String)],
) -> (JoinHandle<()>, Arc<Notify>) {
    let variables = variables.to_vec();
    let look = move |name: &str| {
        let found = variables.iter().find(|(n, _)| *n == name);
        found.map(|(_, value)| value.clone())
    };
    let post = Post::new(Arc::new(look), "TOKEN").unwrap();
    let delivery = Delivery::new(state.clone(), post, Clock::starting_now(), patience);
    let letters = Arc::new(Notify::new());
    (tokio::spawn(delivery.run(letters.clone())), letters)
}

fn rollback(webhooks: &[&str], peers: &[&str]) -> Change {
    changes(vec![roll_back()], webhooks, peers).remove(0)
}

/// A state in memory with a rollback.
fn state_with(change: &Change) -> Arc<State> {
    let state = Arc::new(State::at(Place::Memory));
    state.open().unwrap();
    state.commit(change).unwrap();
    state
}

fn told(state: &State, change: &Change) -> Told {
    state.told(&change.rollback.as_ref().unwrap().id).unwrap()
}

async fn receiver(answers: impl wiremock::Respond + 'static) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(any())
        .respond_with(answers)
        .mount(&server)
        .await;
    server
}

async fn requests(server: &MockServer) -> Vec<Request> {
    server.received_requests().await.unwrap()
}

/// Answers 500 so many times, then 200.
fn failing(times: usize) -> impl wiremock::Respond {
    let left = std::sync::atomic::AtomicUsize::new(times);
    move |_: &Request| {
        use std::sync::atomic::Ordering::SeqCst;
        let fails = left.fetch_update(SeqCst, SeqCst, |n| n.checked_sub(1));
        ResponseTemplate::new(if fails.is_ok() { 500 } else { 200 })
    }
}

#[tokio::test]
async fn a_receiver_that_fails_twice_gets_it_the_third_time_and_never_again() {
    let hook = receiver(failing(2)).await;
    let change = rollback(&[&hook.uri()], &[]);
    let state = state_with(&change);
    let (_task, letters) = deliver(&state, PATIENCE, &[]);
    until(|| told(&state, &change).webhooks_delivered == 1).await;
    // Nothing is left to do, however often it is asked to look.
    for _ in 0..10 {
        letters.notify_one();
        tokio::task::yield_now().await;
    }
    let letter = &told(&state, &change).letters[0];
    assert_eq!((letter.state.as_str(), letter.attempts), ("delivered", 3));
    assert_eq!(letter.last_error, None);
    assert_eq!(requests(&hook).await.len(), 3);
}

#[tokio::test]
async fn a_webhook_gets_the_record() {
    let hook = receiver(ResponseTemplate::new(204)).await;
    let change = rollback(&[&hook.uri()], &[]);
    let state = state_with(&change);
    let _task = deliver(&state, PATIENCE, &[]);
    until(|| told(&state, &change).webhooks_delivered == 1).await;
    let request = requests(&hook).await.remove(0);
    let record = change.rollback.unwrap();
    assert_eq!(request.method, "POST");
    for name in ["x-graygate-rollback-id", "idempotency-key"] {
        assert_eq!(request.headers[name].to_str().unwrap(), record.id);
    }
    assert_eq!(request.headers["content-type"], "application/json");
    assert!(!request.headers.contains_key("authorization"));
    let body: Value = request.body_json().unwrap();
    let expected = json!({
        "format": "graygate.rollback/1", "id": record.id, "from": "v2", "to": "v1",
        "reason": "by_hand", "words": "people complain", "evidence": null, "unix_ms": null,
        "affected_requests": 0, "revision": 1, "step": null, "restored": null,
        "sha256": record.sha256,
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn a_peer_is_told_to_roll_back_with_the_token() {
    let peer = MockServer::start().await;
    Mock::given(path("/admin/v1/deployment/rollback"))
        .respond_with(ResponseTemplate::new(200))
        .mount(&peer)
        .await;
    let change = rollback(&[], &["PEER"]);
    let state = state_with(&change);
    let variables = [
        ("PEER", format!("{}/admin/", peer.uri())),
        ("TOKEN", "t0ps3cret".to_owned()),
    ];
    let _task = deliver(&state, PATIENCE, &variables);
    until(|| told(&state, &change).peers_acknowledged == 1).await;
    let request = requests(&peer).await.remove(0);
    assert_eq!(request.headers["authorization"], "Bearer t0ps3cret");
    let body: Value = request.body_json().unwrap();
    let id = change.rollback.unwrap().id;
    assert_eq!(body, json!({"id": id, "reason": "people complain"}));
}

#[tokio::test]
async fn one_receiver_does_not_wait_for_another() {
    let slow = ResponseTemplate::new(200).set_delay(Duration::from_secs(60));
    let (hangs, fails) = (receiver(slow).await, receiver(failing(usize::MAX)).await);
    let good = receiver(ResponseTemplate::new(200)).await;
    let change = rollback(&[&hangs.uri(), &fails.uri(), &good.uri()], &[]);
    let state = state_with(&change);
    let _task = deliver(&state, PATIENCE, &[]);
    until(|| told(&state, &change).letters[2].state == "delivered").await;
    until(|| told(&state, &change).letters[1].attempts >= 3).await;
    let letters = told(&state, &change).letters;
    assert_eq!(letters[1].last_error.as_deref(), Some("it answered 500"));
    assert_eq!(
        (letters[0].state.as_str(), letters[1].state.as_str()),
        ("pending", "pending")
    );
    assert_eq!(requests(&good).await.len(), 1);
    assert_eq!(requests(&hangs).await.len(), 1);
}

/// Nobody listens at the rollback; the process ends; the receiver comes up; a new process delivers.
#[tokio::test]
async fn what_was_not_delivered_is_delivered_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.db");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let change = rollback(&["HOOK"], &[]);
    let state = Arc::new(open(&file));
    state.commit(&change).unwrap();
    let (task, _letters) = deliver(&state, PATIENCE, &[("HOOK", nobody.clone())]);
    until(|| told(&state, &change).letters[0].attempts >= 2).await;
    let error = told(&state, &change).letters[0].last_error.clone();
    assert_eq!(error.as_deref(), Some("no connection could be had"));
    task.abort();
    let _ = task.await;
    drop(state);

    let hook = receiver(ResponseTemplate::new(200)).await;
    for _ in 0..2 {
        let state = Arc::new(open(&file));
        let (task, _letters) = deliver(&state, PATIENCE, &[("HOOK", hook.uri())]);
        until(|| told(&state, &change).webhooks_delivered == 1).await;
        task.abort();
        let _ = task.await;
    }
    assert_eq!(
        requests(&hook).await.len(),
        1,
        "once, however often the process starts"
    );
}

#[tokio::test]
async fn a_letter_that_is_too_old_is_given_up_and_says_why_without_secrets() {
    let hook = receiver(ResponseTemplate::new(302).insert_header("location", "/elsewhere")).await;
    let mut change = rollback(&["HOOK", "UNSET"], &[]);
    change.rollback.as_mut().unwrap().unix_ms = Some(1_000);
    let state = state_with(&change);
    let secret = format!("{}/t0ps3cret", hook.uri());
    let _task = deliver(&state, PATIENCE, &[("HOOK", secret)]);
    until(|| {
        told(&state, &change)
            .letters
            .iter()
            .all(|l| l.state == "failed")
    })
    .await;
    let letters = told(&state, &change).letters;
    assert_eq!(
        letters[0].last_error.as_deref(),
        Some("it answered 302"),
        "not followed"
    );
    assert_eq!(
        letters[1].last_error.as_deref(),
        Some("the variable UNSET is not set")
    );
    assert!(!format!("{letters:?}").contains("t0ps3cret"));
    assert_eq!(requests(&hook).await.len(), 1);
}

#[test]
fn waits_double_up_to_five_minutes() {
    let waits: Vec<u64> = (1..=12)
        .map(|n| Patience::default().wait(n).as_secs())
        .collect();
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
    assert_eq!(Patience::default().wait(u64::MAX).as_secs(), 300);
}
