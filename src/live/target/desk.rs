//! Gives orders to a gateway by its own admin API, at their times, and tells what came of them.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, redirect};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::config::redact::redact;
use crate::experiment::external::admin::{Admin, Call, Command, Order, percents};
use crate::experiment::external::{self, Slot};
use crate::id::PerVersion;
use crate::live::StartError;
use crate::live::clock::Clock;
use crate::live::outbox::Outbox;
use crate::live::target::trouble;
use crate::observe::event::What;
use crate::observe::orders::{OrderEnd, OrderFacts, OrderKind};
use crate::router::config::RouterConfig;

/// So much of an answer is read.
const MOST_BYTES: usize = 4_096;
/// And so much of it is shown.
const MOST_SHOWN: usize = 200;

/// Whoever speaks to a gateway's admin API.
pub(in crate::live) struct Desk {
    client: Client,
    admin: Admin,
    headers: HeaderMap,
    /// The names of the versions.
    names: Vec<String>,
    /// What is never shown, wherever it comes from.
    secrets: Vec<String>,
}

impl Desk {
    /// A desk before this API, whose templates `fill` fills as far as the run is known.
    ///
    /// # Errors
    /// When a header cannot be sent, or there can be no client.
    pub(super) fn new(
        admin: &Admin,
        names: &[&str],
        fill: impl Fn(&str) -> String,
    ) -> Result<Self, StartError> {
        // The client takes the process's provider; another one that is installed is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .timeout(admin.within)
            // Orders are rare: the gateway may have closed what stayed open since the last one.
            .pool_max_idle_per_host(0)
            .build()
            .map_err(|e| trouble(format!("no orders can be given to the gateway: {e}")))?;
        let filled = |call: &Call| Call {
            method: call.method,
            path: fill(&call.path),
            body: call.body.as_deref().map(&fill),
        };
        let values = admin
            .headers
            .iter()
            .map(|(name, value)| (name, fill(value)));
        let values: Vec<(&String, String)> = values.collect();
        Ok(Self {
            client,
            headers: headers(&values)?,
            admin: Admin {
                url: fill(&admin.url),
                headers: Vec::new(),
                set_weights: admin.set_weights.as_ref().map(filled),
                rollback: admin.rollback.as_ref().map(filled),
                within: admin.within,
            },
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            secrets: values.iter().flat_map(|(_, v)| secrets(v)).collect(),
        })
    }

    /// Gives an order, and waits for the answer.
    async fn give(&self, command: &Command) -> Result<(u16, String), &'static str> {
        let (call, shares) = match command {
            Command::SetWeights(shares) => (&self.admin.set_weights, Some(shares)),
            Command::Rollback => (&self.admin.rollback, None),
        };
        let Some(call) = call else {
            return Err("nobody says how the gateway is told this");
        };
        let method = Method::from_bytes(call.method.as_bytes()).unwrap_or(Method::POST);
        let url = format!("{}{}", self.admin.url, self.weighed(&call.path, shares));
        let mut request = self
            .client
            .request(method, url)
            .headers(self.headers.clone());
        if let Some(body) = &call.body {
            if !self.headers.contains_key(CONTENT_TYPE) {
                request = request.header(CONTENT_TYPE, "application/json");
            }
            request = request.body(self.weighed(body, shares));
        }
        let mut answer = request.send().await.map_err(|error| said(&error))?;
        let mut text = Vec::new();
        while text.len() < MOST_BYTES
            && let Some(chunk) = answer.chunk().await.map_err(|error| said(&error))?
        {
            text.extend_from_slice(&chunk);
        }
        Ok((answer.status().as_u16(), self.shown(&text)))
    }

    /// A text with the shares of an order in it.
    fn weighed(&self, text: &str, shares: Option<&PerVersion<f64>>) -> String {
        external::fill(text, |slot| match slot {
            Slot::Weight(version) => {
                let mut all = self.names.iter().zip(shares?.values());
                let (_, share) = all.find(|(name, _)| *name == version)?;
                Some(percents(*share))
            }
            _ => None,
        })
    }

    /// The beginning of an answer in one line, without keys.
    fn shown(&self, answer: &[u8]) -> String {
        let answer = &answer[..answer.len().min(MOST_BYTES)];
        let mut text = String::from_utf8_lossy(answer).into_owned();
        for secret in &self.secrets {
            text = text.replace(secret.as_str(), "***");
        }
        let words: Vec<&str> = text.split_whitespace().collect();
        redact(&words.join(" ")).chars().take(MOST_SHOWN).collect()
    }
}

fn headers(values: &[(&String, String)]) -> Result<HeaderMap, StartError> {
    let mut headers = HeaderMap::new();
    for (name, value) in values {
        let wrong = || trouble(format!("the header `{name}` of an order cannot be sent"));
        let known: HeaderName = name.parse().map_err(|_| wrong())?;
        let mut value = HeaderValue::from_str(value).map_err(|_| wrong())?;
        value.set_sensitive(true);
        headers.insert(known, value);
    }
    Ok(headers)
}

/// The parts of a value that may be a secret: short words are none, and names of types neither.
pub(super) fn secrets(value: &str) -> Vec<String> {
    let is_type = |word: &str| {
        ["application/", "text/"]
            .iter()
            .any(|kind| word.starts_with(kind))
    };
    let is_secret = |word: &&str| word.len() >= 8 && !is_type(word);
    let words = value.split_whitespace().filter(is_secret);
    words.map(str::to_owned).collect()
}

/// What went wrong, without the URL.
fn said(error: &reqwest::Error) -> &'static str {
    match error {
        error if error.is_timeout() => "there was no answer",
        error if error.is_connect() => "no connection could be had",
        _ => "the connection broke",
    }
}

/// Orders that are given at their times.
pub(in crate::live) struct Giving {
    tasks: JoinSet<()>,
    is_over: watch::Sender<bool>,
}

impl Giving {
    /// Gives these orders by this desk, each at its time, and tells of them.
    pub(in crate::live) fn begin(
        desk: &Arc<Desk>,
        orders: &[Order],
        router: &RouterConfig,
        (clock, outbox): (Clock, &Outbox),
    ) -> Self {
        let (is_over, over) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for (number, order) in (1..).zip(orders) {
            let facts = OrderFacts {
                number,
                kind: OrderKind::for_share(order.what.share_of(router.canary)),
            };
            let (desk, order) = (desk.clone(), order.clone());
            let (outbox, mut over) = (outbox.clone(), over.clone());
            tasks.spawn(async move {
                let is_due = tokio::select! {
                    biased;
                    _ = over.wait_for(|is_over| *is_over) => false,
                    () = clock.sleep_until(order.at) => true,
                };
                if is_due {
                    desk.tell(facts, &order.what, clock, &outbox).await;
                }
            });
        }
        Self { tasks, is_over }
    }

    /// Waits for the answers to what was given. What would be given later is not any more.
    pub(in crate::live) async fn finish(mut self) {
        let _ = self.is_over.send(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

impl Desk {
    async fn tell(&self, order: OrderFacts, command: &Command, clock: Clock, outbox: &Outbox) {
        let began = clock.now();
        outbox.send(began, What::Ordered(order));
        let (status, answer) = match self.give(command).await {
            Ok((status, answer)) => (Some(status), answer),
            Err(what) => (None, what.to_owned()),
        };
        let now = clock.now();
        let took: Duration = now.since(began);
        let end = OrderEnd {
            order,
            status,
            took,
            answer,
        };
        outbox.send(now, What::OrderEnded(end));
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use ::wiremock::matchers::{body_string, header, method, path, query_param};
    use ::wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;

    fn admin(url: &str) -> Admin {
        let call = |method, path: &str, body: Option<&str>| Call {
            method,
            path: path.to_owned(),
            body: body.map(str::to_owned),
        };
        Admin {
            url: url.to_owned(),
            headers: vec![("authorization".to_owned(), "Bearer {{key}}".to_owned())],
            set_weights: Some(call(
                "PUT",
                "/weights?v2={{weight.v2}}",
                Some("{{weight.v1}}"),
            )),
            rollback: Some(call("POST", "/close", None)),
            within: Duration::from_millis(300),
        }
    }

    fn desk(url: &str) -> Desk {
        let fill = |text: &str| text.replace("{{key}}", "a-word-nobody-knows");
        Desk::new(&admin(url), &["v1", "v2"], fill).expect("a desk")
    }

    #[tokio::test]
    async fn an_order_is_told_as_the_scenario_says() {
        let server = MockServer::start().await;
        Mock::given(method("PUT"))
            .and(path("/weights"))
            .and(query_param("v2", "12.5"))
            .and(body_string("87.5"))
            .and(header("authorization", "Bearer a-word-nobody-knows"))
            .and(header("content-type", "application/json"))
            .respond_with(ResponseTemplate::new(201).set_body_string("fine,\n  done"))
            .mount(&server)
            .await;
        let shares: PerVersion<f64> = [0.875, 0.125].into_iter().collect();
        let done = desk(&server.uri()).give(&Command::SetWeights(shares)).await;
        assert_eq!(done, Ok((201, "fine, done".to_owned())));
    }

    #[tokio::test]
    async fn what_is_shown_of_an_answer_is_short_and_bears_no_key() {
        let server = MockServer::start().await;
        let text = format!(
            "no a-word-nobody-knows, sk-abcdefgh0123456789 {}",
            "x".repeat(9_000)
        );
        let answer = ResponseTemplate::new(403).set_body_string(text);
        Mock::given(path("/close"))
            .respond_with(answer)
            .mount(&server)
            .await;
        let (status, answer) = desk(&server.uri()).give(&Command::Rollback).await.unwrap();
        assert_eq!((status, answer.len()), (403, MOST_SHOWN));
        assert!(answer.starts_with("no ***, sk-*** xxx"), "{answer}");
    }

    #[test]
    fn words_that_may_be_secret_are_known() {
        let value = "Bearer dGhlIGtl/eSBvZiBt+eQ== application/json short";
        assert_eq!(secrets(value), ["dGhlIGtl/eSBvZiBt+eQ=="]);
    }

    /// A gateway that closes what is idle may do so while an order is on its way there.
    #[tokio::test]
    async fn every_order_has_a_connection_of_its_own() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let mut kept = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 4_096];
                assert!(stream.read(&mut request).await.unwrap() > 0);
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                stream.write_all(answer).await.unwrap();
                // Open, and nobody listens there any more.
                kept.push(stream);
            }
        });
        let desk = desk(&url);
        for _ in 0..2 {
            let done = desk.give(&Command::Rollback).await;
            assert_eq!(done, Ok((200, "ok".to_owned())));
        }
    }

    #[tokio::test]
    async fn nobody_waits_for_ever() {
        let server = MockServer::start().await;
        let answer = ResponseTemplate::new(200).set_delay(Duration::from_secs(60));
        Mock::given(path("/close"))
            .respond_with(answer)
            .mount(&server)
            .await;
        let done = desk(&server.uri()).give(&Command::Rollback).await;
        assert_eq!(done, Err("there was no answer"));
        let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = nowhere.local_addr().unwrap();
        drop(nowhere);
        let done = desk(&format!("http://{address}"))
            .give(&Command::Rollback)
            .await;
        assert_eq!(done, Err("no connection could be had"));
    }
}
