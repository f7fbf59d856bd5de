//! The faulty chat upstream as a wiremock responder, mounted the way anybody would in their own tests.

use std::time::Duration;

use graygate::fault::kind::FaultKind;
use graygate::live::mock::wiremock::FaultyChat;
use serde_json::{Value, json};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer};

use crate::process::client;

fn question(model: &str) -> String {
    json!({"model": model, "messages": [{"role": "user", "content": "one two"}]}).to_string()
}

async fn mounted(chat: FaultyChat) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/v1/chat/completions"))
        .respond_with(chat)
        .mount(&server)
        .await;
    server
}

async fn ask(server: &MockServer, key: u64, body: String) -> (u16, Option<String>, Value) {
    let request = client()
        .post(format!("{}/v1/chat/completions", server.uri()))
        .header("x-graygate-key", key)
        .body(body);
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    let wait = response.headers().get("retry-after").cloned();
    let wait = wait.map(|v| v.to_str().unwrap().to_owned());
    (status, wait, response.json().await.expect("JSON"))
}

#[tokio::test]
async fn it_answers_like_a_model() {
    let server = mounted(FaultyChat::new("m").latency(Duration::from_millis(1))).await;
    let (status, _, body) = ask(&server, 1, question("m")).await;
    assert_eq!(status, 200);
    assert_eq!(body["usage"]["prompt_tokens"], 2);
    assert_eq!(body["choices"][0]["finish_reason"], "stop");
    let (status, _, body) = ask(&server, 1, question("another")).await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (404, &json!("model_not_found"))
    );
    let (status, ..) = ask(&server, 1, "no json".to_owned()).await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn it_fails_the_share_it_is_told_and_the_same_requests_every_time() {
    let fault = FaultKind::RateLimited {
        retry_after: Some(Duration::from_secs(3).into()),
    };
    let chat = || {
        FaultyChat::new("m")
            .latency(Duration::ZERO)
            .seed(5)
            .fault(fault, 0.5)
    };
    let statuses = async || {
        let server = mounted(chat()).await;
        let mut found = Vec::new();
        for key in 0..60 {
            let (status, wait, body) = ask(&server, key, question("m")).await;
            if status == 429 {
                assert_eq!(wait.as_deref(), Some("3"));
                assert_eq!(body["error"]["code"], "rate_limit_exceeded");
            }
            found.push(status);
        }
        found
    };
    let first = statuses().await;
    let limited = first.iter().filter(|s| **s == 429).count();
    assert!((15..=45).contains(&limited), "{limited} of 60");
    assert_eq!(first, statuses().await);
}
