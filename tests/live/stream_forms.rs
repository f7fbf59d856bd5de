//! Streams as servers really write them, through `graygate serve`: several events in one piece, one event in
//! several, names and counts that are not OpenAI's.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use crate::streams::{BEGINNING, HEAD, LIMITS, PATIENCE, Stand, upstream};
use crate::support::in_company;

/// A chunk with this delta and the rest of its choice.
fn chunk(delta: &str, finish: &str) -> String {
    format!(
        "data: {{\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-4.1-new\",\
         \"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}]}}\n\n"
    )
}

fn text(content: &str) -> String {
    chunk(&format!("{{\"content\":\"{content}\"}}"), "null")
}

fn end() -> String {
    chunk("{}", "\"stop\"") + "data: [DONE]\n\n"
}

/// A moment in which nothing is written.
fn pause(time: Duration) {
    let (_tell, told) = channel::<()>();
    let _ = told.recv_timeout(time);
}

/// A short stream.
fn whole() -> String {
    chunk("{\"role\":\"assistant\"}", "null") + &text("Hello") + &text(" wörld") + &end()
}

/// A gateway before an upstream that does this.
fn stand(script: impl Fn(&mut TcpStream) + Send + 'static, more: &str) -> Stand {
    let base = upstream(script);
    let folder = tempfile::tempdir().unwrap();
    Stand::before(folder, [&base, &base], Vec::new(), more)
}

/// What a caller reads of an upstream that writes this, at once.
fn read_of(written: String) -> String {
    let stand = stand(
        move |stream| stream.write_all(written.as_bytes()).unwrap(),
        "",
    );
    stand.ask().rest()
}

#[test]
fn a_whole_stream_in_one_piece_is_read_to_its_end() {
    let _company = in_company();
    let body = whole();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n";
    let (n, hex) = (body.len(), format!("{:x}", body.len()));
    for written in [
        format!("{HEAD}{body}"),
        format!("{head}content-length: {n}\r\n\r\n{body}"),
        format!("{head}transfer-encoding: chunked\r\n\r\n{hex}\r\n{body}\r\n0\r\n\r\n"),
    ] {
        assert_eq!(read_of(written.clone()), body, "{written}");
    }
}

/// The end of the stream has come, and that of the body never does.
#[test]
fn a_stream_ends_with_its_last_event_and_not_with_its_connection() {
    let _company = in_company();
    let (over, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let body = whole();
    let hex = format!("{:x}", body.len());
    let written = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n{hex}\r\n{body}\r\n"
    );
    let script = move |stream: &mut TcpStream| {
        stream.write_all(written.as_bytes()).unwrap();
        let _ = wait.lock().unwrap().recv_timeout(PATIENCE);
    };
    let stand = stand(script, "");
    assert_eq!(stand.ask().rest(), body);
    drop(over);
}

/// The upstream says nothing more before the client has all that was said.
#[test]
fn events_that_come_with_the_first_token_are_passed_on_at_once() {
    let _company = in_company();
    let (tell, told) = channel::<()>();
    let told = Mutex::new(told);
    let beginning = format!("{BEGINNING}{}{}", text("two"), text("three"));
    let written = format!("{HEAD}{beginning}");
    let script = move |stream: &mut TcpStream| {
        stream.write_all(written.as_bytes()).unwrap();
        let has_it = told.lock().unwrap().recv_timeout(PATIENCE);
        has_it.expect("the client has the third token before the upstream goes on");
        stream.write_all(end().as_bytes()).unwrap();
    };
    let stand = stand(script, "");
    let mut stream = stand.ask();
    stream.until("three");
    tell.send(()).unwrap();
    assert_eq!(stream.rest(), format!("{beginning}{}", end()));
}

#[test]
fn an_event_may_come_in_pieces_that_end_within_a_character() {
    let _company = in_company();
    let body = whole();
    let bytes = [HEAD.as_bytes(), body.as_bytes()].concat();
    let odd = 1 + bytes.iter().position(|byte| *byte == 0xc3).unwrap();
    let script = move |stream: &mut TcpStream| {
        let (one, two) = bytes.split_at(odd);
        stream.write_all(one).unwrap();
        pause(Duration::from_millis(30));
        stream.write_all(two).unwrap();
    };
    assert_eq!(stand(script, "").ask().rest(), body);
}

#[test]
fn a_stream_that_goes_on_as_another_one_ends_there_with_an_error() {
    let _company = in_company();
    let other = (text("two") + &end()).replace("c1", "c2");
    let model = (text("two") + &end()).replace("gpt-4.1-new", "zzz");
    for rest in [other, model] {
        let read = read_of(format!("{HEAD}{BEGINNING}{rest}"));
        assert!(read.starts_with(BEGINNING), "{read}");
        assert!(read.contains("upstream_malformed"), "{read}");
        assert!(!read.contains("[DONE]") && !read.contains("two"), "{read}");
    }
}

#[test]
fn a_usage_that_counts_nothing_spoils_no_answer() {
    let _company = in_company();
    for usage in [
        "{}",
        "{\"total_tokens\":12}",
        "{\"consumed\":12}",
        "{\"prompt_tokens\":\"4\",\"completion_tokens\":-1}",
        "[]",
        "7",
    ] {
        let chunk = format!(
            "data: {{\"id\":\"c1\",\"model\":\"gpt-4.1-new\",\"choices\":[],\"usage\":{usage}}}\n\n"
        );
        let body = text("Hello") + &chunk + &end();
        assert_eq!(read_of(format!("{HEAD}{body}")), body);
    }
}

/// The upstream does not answer before the client has seen it think.
#[test]
fn thoughts_are_passed_on_as_tokens_by_either_name() {
    let _company = in_company();
    for name in ["reasoning", "reasoning_content"] {
        let (tell, told) = channel::<()>();
        let told = Mutex::new(told);
        let thought = chunk(&format!("{{\"{name}\":\"hm\"}}"), "null");
        let written = format!("{HEAD}{thought}");
        let script = move |stream: &mut TcpStream| {
            stream.write_all(written.as_bytes()).unwrap();
            let has_it = told.lock().unwrap().recv_timeout(PATIENCE);
            has_it.expect("the client sees the thought before the answer");
            stream.write_all((text("so") + &end()).as_bytes()).unwrap();
        };
        let stand = stand(script, LIMITS);
        let mut stream = stand.ask();
        stream.until("hm");
        tell.send(()).unwrap();
        assert_eq!(stream.rest(), thought + &text("so") + &end());
    }
}

/// The connection is alive, and the model is not.
#[test]
fn comments_alone_keep_no_stream_alive() {
    let _company = in_company();
    let written = format!("{HEAD}{BEGINNING}");
    let script = move |stream: &mut TcpStream| {
        stream.write_all(written.as_bytes()).unwrap();
        // Until the gateway hangs up, and for a while at most.
        for _ in 0..300 {
            if stream.write_all(b": ping\n\n").is_err() {
                return;
            }
            pause(Duration::from_millis(20));
        }
        let _ = stream.write_all(end().as_bytes());
    };
    let read = stand(script, LIMITS).ask().rest();
    assert!(read.contains("upstream_timeout"), "{read}");
    assert!(!read.contains("[DONE]"), "{read}");
}

#[test]
fn chunks_in_another_shape_are_put_into_openais() {
    let _company = in_company();
    let inside = |event: String| {
        let chunk = event.trim().trim_start_matches("data: ");
        format!("data: {{\"code\":0,\"data\":{chunk}}}\n\n")
    };
    let counts = |usage: &str| {
        format!(
            "data: {{\"id\":\"c1\",\"model\":\"gpt-4.1-new\",\"choices\":[],\"usage\":{usage}}}\n\n"
        )
    };
    let finish = chunk("{}", "\"stop\"");
    let done = "data: [DONE]\n\n";
    let sent = [
        inside(text("Hello")),
        text("wörld"),
        inside(finish.clone()),
        counts("{\"tokens_consumed\":12}"),
        done.to_owned(),
    ];
    let expected = [
        text("Hello"),
        text("wörld"),
        finish,
        counts("{\"total_tokens\":12}"),
        done.to_owned(),
    ];
    assert_eq!(read_of(HEAD.to_owned() + &sent.concat()), expected.concat());
}
