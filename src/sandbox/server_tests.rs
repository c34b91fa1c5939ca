//! What a partner sees on the wire.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::bench::NOON;
use super::{Faults, Sandbox, Settings};

static CLOCK: AtomicI64 = AtomicI64::new(NOON);

async fn sandbox(faults: Faults) -> Sandbox {
    let settings = Settings {
        listen: "127.0.0.1:0".parse().unwrap(),
        seed: 1,
        faults,
        client_id: "partner".to_owned(),
        client_secret: "s3cret".to_owned(),
        service: "acme".to_owned(),
        clock: || CLOCK.load(Ordering::Relaxed),
    };
    Sandbox::start(settings).await.unwrap()
}

async fn write(stream: &TcpStream, text: &str) {
    let mut left = text.as_bytes();
    while !left.is_empty() {
        stream.writable().await.unwrap();
        if let Ok(count) = stream.try_write(left) {
            left = &left[count..];
        }
    }
}

/// Reads until `end` says it is enough, or the server closes.
async fn read(stream: &TcpStream, end: impl Fn(&str) -> bool) -> String {
    let mut all = Vec::new();
    let reading = async {
        loop {
            stream.readable().await.unwrap();
            let mut part = [0; 4096];
            match stream.try_read(&mut part) {
                Ok(0) => break,
                Ok(count) => all.extend_from_slice(&part[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
            if end(&String::from_utf8_lossy(&all)) {
                break;
            }
        }
    };
    let finished = timeout(Duration::from_secs(60), reading).await;
    finished.expect("the server neither answers nor closes");
    String::from_utf8(all).unwrap()
}

async fn connect(sandbox: &Sandbox) -> TcpStream {
    TcpStream::connect(sandbox.address()).await.unwrap()
}

fn token_request(headers: &str) -> String {
    let form = "grant_type=client_credentials&client_id=partner&client_secret=s3cret";
    let length = form.len();
    format!("POST /token HTTP/1.1\r\nhost: x\r\n{headers}content-length: {length}\r\n\r\n{form}")
}

#[tokio::test]
async fn connections_are_kept_alive_and_answers_dated_by_the_clock() {
    let sandbox = sandbox(Faults::default()).await;
    assert!(sandbox.url().starts_with("http://127.0.0.1:"));
    let stream = connect(&sandbox).await;
    for _ in 0..2 {
        write(&stream, &token_request("")).await;
        let answer = read(&stream, |text| text.ends_with('}')).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"));
        assert_eq!(answer.matches("date: ").count(), 1);
        assert!(answer.contains("date: Sun, 01 Mar 2026 12:00:00 GMT"));
    }
    let world = sandbox.world();
    let truth = world.lock().unwrap().truth(NOON);
    assert_eq!(truth.tokens_issued, 2);
    sandbox.stop().await;
    assert_eq!(read(&stream, |_| false).await, "");
}

#[tokio::test]
async fn a_lost_answer_is_not_a_byte() {
    let sandbox = sandbox(Faults::default()).await;
    let stream = connect(&sandbox).await;
    write(&stream, &token_request("x-sandbox-fate: lost-before\r\n")).await;
    assert_eq!(read(&stream, |_| false).await, "");
}

#[tokio::test]
async fn a_hanging_answer_closes_after_a_while() {
    let hanging = Faults { hang_ms: 30, ..Faults::default() };
    let sandbox = sandbox(hanging).await;
    let stream = connect(&sandbox).await;
    write(&stream, &token_request("x-sandbox-fate: hang-before\r\n")).await;
    assert_eq!(read(&stream, |_| false).await, "");
}

#[tokio::test]
async fn a_cut_answer_has_less_body_than_it_promises() {
    let sandbox = sandbox(Faults::default()).await;
    let stream = connect(&sandbox).await;
    write(&stream, &token_request("x-sandbox-fate: cut\r\n")).await;
    let answer = read(&stream, |_| false).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.unwrap().parse().unwrap();
    assert_eq!(body.len(), length / 2);
    assert!(body.starts_with('{'));
}

#[tokio::test]
async fn bodies_are_limited_to_a_mebibyte() {
    let sandbox = sandbox(Faults::default()).await;
    let stream = connect(&sandbox).await;
    let head = "POST /token HTTP/1.1\r\nhost: x\r\ncontent-length: 2000000\r\n\r\n";
    write(&stream, head).await;
    let answer = read(&stream, |text| text.ends_with('}')).await;
    assert!(answer.starts_with("HTTP/1.1 413"));
}

#[tokio::test]
async fn settings_that_make_no_sense_are_refused() {
    let settings = Settings {
        listen: "127.0.0.1:0".parse().unwrap(),
        seed: 1,
        faults: Faults { late: 2.0, ..Faults::default() },
        client_id: String::new(),
        client_secret: String::new(),
        service: String::new(),
        clock: || 0,
    };
    assert!(Sandbox::start(settings).await.is_err());
}
