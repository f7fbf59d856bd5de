//! Upstreams over TLS: HTTP/2 where they offer it, HTTP/1.1 where they do not, and nobody whose
//! certificate is not believed.

use std::sync::atomic::Ordering;

use hyper::Version;
use serde_json::json;

use crate::process::{KEYS, Server, client, refused, router_file, wait_for};
use crate::support::in_company;
use crate::upstream::{Manner, Upstream};

/// A gateway before one upstream that both versions share.
pub(crate) struct Front {
    pub(crate) upstream: Upstream,
    pub(crate) gateway: Server,
    _folder: tempfile::TempDir,
    pub(crate) runtime: tokio::runtime::Runtime,
}

impl Front {
    pub(crate) fn new(manner: Manner, args: &[&str]) -> Self {
        let upstream = Upstream::start(manner);
        let folder = tempfile::tempdir().unwrap();
        let more = "retry: {max_retries: 0}";
        let router = router_file(folder.path(), &upstream.base, &upstream.base, more);
        let mut all = vec!["serve", &router];
        all.extend(args);
        let gateway = Server::start(&all, &environment(&upstream));
        Self {
            upstream,
            gateway,
            _folder: folder,
            runtime: tokio::runtime::Runtime::new().unwrap(),
        }
    }

    /// A chat that is on its way.
    pub(crate) fn chat(&self) -> tokio::task::JoinHandle<reqwest::Result<reqwest::Response>> {
        let url = format!("{}/chat/completions", self.gateway.base);
        let body = json!({"model": "gpt-4.1", "messages": []}).to_string();
        self.runtime.spawn(client().post(url).body(body).send())
    }

    /// The status of a chat.
    pub(crate) fn status(&self) -> u16 {
        let answer = self.runtime.block_on(self.chat()).unwrap();
        answer.expect("an answer").status().as_u16()
    }

    /// Waits until the upstream has taken so many chats.
    pub(crate) fn taken(&self, n: usize) {
        wait_for(|| (self.upstream.seen.chats.load(Ordering::SeqCst) >= n).then_some(()));
    }
}

/// The keys, and the certificate if there is one.
fn environment(upstream: &Upstream) -> Vec<(&str, &str)> {
    let mut environment = KEYS.to_vec();
    if let Some(file) = &upstream.certificate {
        environment.push(("SSL_CERT_FILE", file.path().to_str().unwrap()));
    }
    environment
}

fn over_tls(alpn: &'static [&'static str]) -> Manner {
    Manner {
        alpn,
        ..Manner::default()
    }
}

#[test]
fn an_upstream_that_offers_http2_is_spoken_to_over_one_connection() {
    let _company = in_company();
    let front = Front::new(over_tls(&["h2", "http/1.1"]), &[]);
    let before = front.upstream.seen.connections.load(Ordering::SeqCst);
    let chats: Vec<_> = (0..10).map(|_| front.chat()).collect();
    for chat in chats {
        let answer = front.runtime.block_on(chat).unwrap().unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["x-version"], "v1");
    }
    let versions = front.upstream.seen.versions.lock().unwrap().clone();
    assert_eq!(versions, [Version::HTTP_2; 10]);
    assert_eq!(front.status(), 200);
    let seen = &front.upstream.seen;
    let more = seen.connections.load(Ordering::SeqCst) - before;
    // Those that came at once may each have begun to connect.
    assert!(more <= 10, "{more} connections");
}

#[test]
fn an_upstream_without_http2_is_spoken_to_as_ever() {
    let _company = in_company();
    let front = Front::new(over_tls(&["http/1.1"]), &[]);
    let seen = &front.upstream.seen;
    let before = seen.connections.load(Ordering::SeqCst);
    for _ in 0..10 {
        assert_eq!(front.status(), 200);
    }
    assert_eq!(*seen.versions.lock().unwrap(), [Version::HTTP_11; 10]);
    let more = seen.connections.load(Ordering::SeqCst) - before;
    assert!(more < 5, "{more} connections: none is kept");
}

/// The same with and without TLS, with either protocol: what counts is what the upstream sees.
#[test]
fn a_caller_who_hangs_up_is_felt_by_the_upstream_at_once() {
    let _company = in_company();
    let protocols: [&[&str]; 3] = [&[], &["http/1.1"], &["h2"]];
    for alpn in protocols {
        let manner = Manner {
            holds: true,
            ..over_tls(alpn)
        };
        let front = Front::new(manner, &[]);
        let stays = front.chat();
        front.taken(1);
        let leaves = front.chat();
        front.taken(2);
        leaves.abort();
        let seen = &front.upstream.seen;
        wait_for(|| (seen.gone.load(Ordering::SeqCst) == 1).then_some(()));
        // The other request, maybe over the same connection, is none the worse for it.
        seen.let_go(1);
        let answer = front.runtime.block_on(stays).unwrap().unwrap();
        assert_eq!(answer.status(), 200, "{alpn:?}");
        assert_eq!(seen.gone.load(Ordering::SeqCst), 1, "{alpn:?}");
    }
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_refused() {
    let _company = in_company();
    let upstream = Upstream::start(over_tls(&["h2"]));
    let other = Upstream::start(over_tls(&["h2"]));
    let folder = tempfile::tempdir().unwrap();
    let router = router_file(folder.path(), &upstream.base, &upstream.base, "");
    let (code, said) = refused(&["serve", &router], &environment(&other));
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("cannot reach the upstream of `v1`"), "{said}");
    assert!(said.contains("certificate"), "{said}");
    assert_eq!(upstream.seen.lists.load(Ordering::SeqCst), 0);
}

#[test]
fn without_any_certificates_it_is_said_what_to_do() {
    let _company = in_company();
    let folder = tempfile::tempdir().unwrap();
    let router = router_file(
        folder.path(),
        "https://127.0.0.1:9/v1",
        "https://127.0.0.1:9/v1",
        "",
    );
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let mut environment = KEYS.to_vec();
    environment.push(("SSL_CERT_FILE", empty.to_str().unwrap()));
    environment.push(("SSL_CERT_DIR", folder.path().to_str().unwrap()));
    let (code, said) = refused(&["serve", &router], &environment);
    assert_eq!(code, Some(5), "{said}");
    assert!(
        said.contains("cannot load the system's certificates"),
        "{said}"
    );
    assert!(said.contains("ca-certificates"), "{said}");
}
