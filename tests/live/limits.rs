//! What callers may take: nobody holds what others need.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::in_company;
use crate::tls::Front;
use crate::upstream::{A_WHILE, Manner};

impl Front {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.gateway.address()).unwrap();
        let give_up = Some(Duration::from_secs(30));
        stream.set_read_timeout(give_up).unwrap();
        stream
    }
}

/// Everything that comes until the connection ends.
fn rest(mut stream: &TcpStream) -> String {
    let mut bytes = Vec::new();
    let end = stream.read_to_end(&mut bytes);
    let is_end = |kind| kind == ErrorKind::ConnectionReset;
    assert!(
        end.is_ok() || end.is_err_and(|e| is_end(e.kind())),
        "it ends"
    );
    String::from_utf8(bytes).unwrap()
}

#[test]
fn headers_that_drip_are_cut_while_others_are_served() {
    let _company = in_company();
    let front = Front::new(Manner::default(), &["--header-timeout", "300ms"]);
    let drips: Vec<_> = (0..20).map(|_| front.connect()).collect();
    let begin = b"POST /v1/chat/completions HTTP/1.1\r\nhost: here\r\n";
    drips.iter().for_each(|mut d| d.write_all(begin).unwrap());
    // Every byte comes in time, and their sum does not.
    for _ in 0..20 {
        drips.iter().for_each(|mut d| drop(d.write_all(b"x")));
        assert_eq!(front.status(), 200, "others are served meanwhile");
        std::thread::park_timeout(Duration::from_millis(25));
    }
    for drip in &drips {
        assert_eq!(rest(drip), "");
    }
    assert_eq!(front.status(), 200);
}

#[test]
fn a_body_that_drips_is_cut_and_told_so() {
    let _company = in_company();
    let front = Front::new(Manner::default(), &["--body-timeout", "200ms"]);
    let mut drip = front.connect();
    let begin = b"POST /v1/chat/completions HTTP/1.1\r\nhost: here\r\ncontent-length: 99\r\n\r\n";
    drip.write_all(begin).unwrap();
    for _ in 0..10 {
        let _ = drip.write_all(b" ");
        std::thread::park_timeout(Duration::from_millis(25));
    }
    let answer = rest(&drip);
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("request_timeout"), "{answer}");
}

#[test]
fn headers_that_are_too_large_or_too_many_are_refused() {
    let _company = in_company();
    let front = Front::new(Manner::default(), &[]);
    let large = format!("x-large: {}\r\n", "y".repeat(70 << 10));
    let many: String = (0..200).map(|i| format!("x-{i}: y\r\n")).collect();
    for headers in [large, many] {
        let mut caller = front.connect();
        let head = format!("GET /v1/models HTTP/1.1\r\nhost: here\r\n{headers}\r\n");
        // It may be refused before it has been sent.
        let _ = caller.write_all(head.as_bytes());
        let answer = rest(&caller);
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
    assert_eq!(front.status(), 200);
}

/// The answer is read by a client that sends all it has before it listens.
#[test]
fn a_body_that_is_too_large_is_refused_in_words_that_arrive() {
    let _company = in_company();
    let front = Front::new(Manner::default(), &[]);
    let mut caller = front.connect();
    let length = 24 << 20;
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: here\r\ncontent-length: {length}\r\n\r\n"
    );
    caller.write_all(head.as_bytes()).unwrap();
    caller.write_all(&vec![b' '; length]).unwrap();
    let answer = rest(&caller);
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("larger than 16 MiB"), "{answer}");
}

#[test]
fn callers_wait_while_every_place_is_taken() {
    let _company = in_company();
    let front = Front::new(Manner::default(), &["--max-connections", "2"]);
    let places = [front.connect(), front.connect()];
    let ask = b"GET /v1/models HTTP/1.1\r\nhost: here\r\n\r\n";
    for mut place in &places {
        place.write_all(ask).unwrap();
        assert!(place.read(&mut [0; 4_096]).unwrap() > 0);
    }
    let mut third = front.connect();
    third.write_all(ask).unwrap();
    third.set_read_timeout(Some(A_WHILE)).unwrap();
    assert!(third.read(&mut [0; 64]).is_err(), "nobody answers");
    let [first, _second] = places;
    drop(first);
    third
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    assert!(
        third.read(&mut [0; 4_096]).unwrap() > 0,
        "now it is its turn"
    );
    assert_eq!(
        front.gateway.log().matches("connections are taken").count(),
        1
    );
}
