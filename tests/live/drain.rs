//! The end of `graygate serve`: who is under way is served, who comes is sent away, and patience ends.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering;

use serde_json::Value;

use crate::process::wait_for;
use crate::support::in_company;
use crate::tls::Front;
use crate::upstream::{A_WHILE, Manner};

fn holding(args: &[&str]) -> Front {
    let manner = Manner {
        holds: true,
        ..Manner::default()
    };
    Front::new(manner, args)
}

impl Front {
    /// Waits until it says this.
    fn says(&self, what: &str) {
        wait_for(|| self.gateway.log().contains(what).then_some(()));
    }
}

#[test]
fn requests_under_way_are_answered_and_new_ones_are_sent_away() {
    let _company = in_company();
    let front = holding(&[]);
    // A connection that is open and idle.
    let mut idle = TcpStream::connect(front.gateway.address()).unwrap();
    let ask = b"GET /v1/models HTTP/1.1\r\nhost: here\r\n\r\n";
    idle.write_all(ask).unwrap();
    assert!(idle.read(&mut [0; 4_096]).unwrap() > 0);
    let under_way = front.chat();
    front.taken(1);
    front.gateway.signal("TERM");
    front.says("shutting down");
    assert_eq!(idle.read(&mut [0; 64]).unwrap(), 0, "it is closed");

    let answer = front.runtime.block_on(front.chat()).unwrap().unwrap();
    assert_eq!(answer.status(), 503);
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(
        (header("retry-after"), header("connection")),
        ("1".into(), "close".into())
    );
    let body: Value = front.runtime.block_on(answer.json()).unwrap();
    assert_eq!(body["error"]["code"], "shutting_down");
    assert_eq!(front.upstream.seen.chats.load(Ordering::SeqCst), 1);

    std::thread::park_timeout(A_WHILE);
    assert!(!under_way.is_finished(), "nobody is cut off");
    front.upstream.seen.let_go(1);
    let answer = front.runtime.block_on(under_way).unwrap().unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["connection"]),
        (200, &"close".parse().unwrap())
    );
    let (code, log) = front.gateway.wait();
    assert_eq!(code, Some(0), "{log}");
    assert!(
        log.contains("every request under way was answered"),
        "{log}"
    );
}

#[test]
fn patience_ends_and_says_how_many_it_cost() {
    let _company = in_company();
    let front = holding(&["--drain", "200ms"]);
    let under_way = [front.chat(), front.chat()];
    front.taken(2);
    front.gateway.signal("TERM");
    for chat in under_way {
        assert!(front.runtime.block_on(chat).unwrap().is_err(), "cut off");
    }
    let (code, log) = front.gateway.wait();
    assert_eq!(code, Some(130), "{log}");
    assert!(
        log.contains("200ms are over: 2 requests were cut off"),
        "{log}"
    );
    let seen = &front.upstream.seen;
    wait_for(|| (seen.gone.load(Ordering::SeqCst) == 2).then_some(()));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let _company = in_company();
    let front = holding(&["--drain", "1h"]);
    let under_way = front.chat();
    front.taken(1);
    front.gateway.signal("TERM");
    front.says("shutting down");
    front.gateway.signal("INT");
    let (code, log) = front.gateway.wait();
    assert_eq!(code, Some(130), "{log}");
    assert!(log.contains("a second signal came: 1 request"), "{log}");
    assert!(front.runtime.block_on(under_way).unwrap().is_err());
}

#[test]
fn with_nobody_under_way_it_ends_at_once() {
    let _company = in_company();
    for signal in ["TERM", "INT"] {
        let front = Front::new(Manner::default(), &["--drain", "1h"]);
        assert_eq!(front.status(), 200);
        front.gateway.signal(signal);
        let (code, log) = front.gateway.wait();
        assert_eq!(code, Some(0), "{log}");
    }
}
