//! The server as a client sees it, over plain sockets: no library in between that would
//! tidy a path, retry a request or complete a body.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use forebay_loopback_s3::{Action, Fault, LoopbackS3, Operation, synthetic};

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let line = |line: &&str| line.to_ascii_lowercase().starts_with(&format!("{name}:"));
        let line = self.head.lines().find(line)?;
        Some(line[name.len() + 1..].trim())
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// Sends one request and reads until the server closes the connection.
fn request(server: &LoopbackS3, line: &str, headers: &[&str]) -> io::Result<Answer> {
    let endpoint = server.endpoint();
    let address = endpoint.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut head = format!("{line} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let end = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .ok_or(io::ErrorKind::UnexpectedEof)?;
    let body = bytes.split_off(end + 4);
    let head = String::from_utf8(bytes).unwrap();
    let status = head[9..12].parse().unwrap();
    Ok(Answer { status, head, body })
}

fn get(server: &LoopbackS3, path: &str, headers: &[&str]) -> Answer {
    request(server, &format!("GET {path}"), headers).unwrap()
}

fn server() -> LoopbackS3 {
    LoopbackS3::builder().start().unwrap()
}

#[test]
fn a_key_is_what_the_path_says_byte_for_byte() {
    let server = server();
    for (key, path) in [
        ("/a", "//a"),
        ("/", "//"),
        ("a//b", "/a//b"),
        ("a/./b", "/a/./b"),
        ("../a", "/../a"),
        ("..", "/.."),
        ("a/", "/a/"),
        ("a\\b", "/a%5Cb"),
        ("a\nb\r", "/a%0Ab%0D"),
        ("a b+c%2F", "/a%20b%2Bc%252F"),
        ("é\u{1}?#&<>", "/%C3%A9%01%3F%23%26%3C%3E"),
    ] {
        server.put("bucket", key, key.to_owned());
        assert_eq!(get(&server, &format!("/bucket{path}"), &[]).text(), key);
    }
    let long = "k".repeat(1024);
    server.put("bucket", &long, "long");
    assert_eq!(get(&server, &format!("/bucket/{long}"), &[]).text(), "long");
    let answer = get(&server, &format!("/bucket/{long}k"), &[]);
    assert!(answer.text().contains("KeyTooLong"));
    assert_eq!(get(&server, "/bucket/%FF", &[]).status, 400);
}

#[test]
fn a_range_of_a_5_tb_object_is_read_at_once() {
    let server = server();
    let size = 5 << 40;
    let etag = server.put_synthetic("bucket", "large", size, 3);
    let answer = get(&server, "/bucket/large", &["range: bytes=-100"]);
    assert_eq!(answer.status, 206);
    let content_range = format!("bytes {}-{}/{size}", size - 100, size - 1);
    assert_eq!(answer.header("content-range"), Some(&*content_range));
    assert_eq!(answer.header("etag"), Some(&*format!("\"{etag}\"")));
    let mut expected = [0; 100];
    synthetic::fill(3, size - 100, &mut expected);
    assert_eq!(answer.body, expected);
    let head = request(&server, "HEAD /bucket/large", &[]).unwrap();
    assert_eq!(head.header("content-length"), Some(&*size.to_string()));
    let beyond = get(
        &server,
        "/bucket/large",
        &[&format!("range: bytes={size}-")],
    );
    assert_eq!(beyond.status, 416);
}

#[test]
fn a_read_of_an_overwritten_object_fails_its_precondition() {
    let server = server();
    let first = server.put("bucket", "key", "first");
    let matching = format!("if-match: \"{first}\"");
    assert_eq!(get(&server, "/bucket/key", &[&matching]).text(), "first");
    let unchanged = format!("if-none-match: \"{first}\"");
    assert_eq!(get(&server, "/bucket/key", &[&unchanged]).status, 304);
    server.put("bucket", "key", "other");
    assert_eq!(get(&server, "/bucket/key", &[&matching]).status, 412);
    assert!(server.remove("bucket", "key"));
    assert_eq!(get(&server, "/bucket/key", &[&matching]).status, 404);
}

#[test]
fn a_listing_carries_any_key_in_url_encoding() {
    let server = server();
    for key in ["a b", "a\n\u{1}", "d/e", "d/f"] {
        server.put("bucket", key, "");
    }
    let answer = get(
        &server,
        "/bucket?list-type=2&encoding-type=url&delimiter=%2F",
        &[],
    );
    let text = answer.text();
    assert!(
        text.contains("<Key>a+b</Key>") && text.contains("<Key>a%0A%01</Key>"),
        "{text}"
    );
    assert!(
        text.contains("<CommonPrefixes><Prefix>d/</Prefix></CommonPrefixes>"),
        "{text}"
    );
    assert!(text.contains("<KeyCount>3</KeyCount>"), "{text}");
    let missing = get(&server, "/nothing?list-type=2", &[]);
    assert!(missing.text().contains("NoSuchBucket"));
}

#[test]
fn a_truncated_body_declares_all_and_sends_a_part() {
    let server = server();
    server.put_synthetic("bucket", "key", 1 << 20, 1);
    server
        .faults()
        .push(Fault::new(Action::TruncateAfter(1000)).on(Operation::GetObject));
    let answer = get(&server, "/bucket/key", &[]);
    assert_eq!(answer.header("content-length"), Some("1048576"));
    assert_eq!(answer.body.len(), 1000);
    assert_eq!(get(&server, "/bucket/key", &[]).body.len(), 1 << 20);
    let stats = server.stats();
    assert_eq!(stats.object_bytes_sent, 1000 + (1 << 20));
    assert_eq!(stats.count(Operation::GetObject), 2);
}

#[test]
fn faults_answer_delay_and_disconnect_as_scripted() {
    let server = server();
    server.put("bucket", "key", "content");
    server
        .faults()
        .push(Fault::new(Action::status(503, "SlowDown")).key("key"));
    server
        .faults()
        .push(Fault::new(Action::Disconnect).key("key"));
    server
        .faults()
        .push(Fault::new(Action::Delay(Duration::from_millis(50))).key("key"));
    let slow_down = get(&server, "/bucket/key", &[]);
    assert_eq!(slow_down.status, 503);
    assert!(slow_down.text().contains("<Code>SlowDown</Code>"));
    assert!(request(&server, "GET /bucket/key", &[]).is_err());
    let start = Instant::now();
    assert_eq!(get(&server, "/bucket/key", &[]).text(), "content");
    assert!(start.elapsed() >= Duration::from_millis(50));
    assert_eq!(server.faults().pending(), 0);
}

#[test]
fn a_paused_server_refuses_connections_and_comes_back_with_its_objects() {
    let server = server();
    server.put("bucket", "key", "content");
    for _ in 0..3 {
        server.pause();
        let refused = request(&server, "GET /bucket/key", &[])
            .map(|_| ())
            .unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        server.resume().unwrap();
        assert_eq!(get(&server, "/bucket/key", &[]).text(), "content");
    }
    server.stop();
}

#[test]
fn a_pause_breaks_a_body_that_is_under_way() {
    let server = server();
    server.put("bucket", "key", vec![0; 1000]);
    server
        .faults()
        .push(Fault::new(Action::StallAfter(10, Duration::from_secs(60))));
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| get(&server, "/bucket/key", &[]));
        while server.stats().object_bytes_sent == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        server.pause();
        assert_eq!(reader.join().unwrap().body.len(), 10);
    });
}

#[test]
fn a_server_with_credentials_refuses_a_request_without_signature() {
    let server = LoopbackS3::builder()
        .credentials("key", "secret")
        .start()
        .unwrap();
    server.put("bucket", "key", "content");
    let answer = get(&server, "/bucket/key", &[]);
    assert_eq!(answer.status, 403);
    assert!(answer.text().contains("AccessDenied"));
}
