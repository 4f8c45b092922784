//! What a person is told who made a mistake.

use std::time::{Duration, Instant};

use forebay_loopback_s3::{Action, Fault};

use super::{KEY, SECRET, Server, hasty};

#[tokio::test]
async fn mistakes_are_found_at_mount_time_in_one_line_with_the_next_step() {
    let server = Server::new();
    server.s3.put("data", "p/k", "x");
    assert_eq!(server.probe("s3://data/p").await, Ok(()));
    let begun = Instant::now();
    for (url, words) in [
        ("s3://nobucket/p", "s3://nobucket/p: no such bucket"),
        (
            "s3://data/q",
            "s3://data/q: nothing is below it; check the prefix",
        ),
        ("s3://data/p/k", "name the directory that holds it"),
    ] {
        let message = server.probe(url).await.unwrap_err().to_string();
        assert!(
            message.contains(words) && !message.contains('\n'),
            "{message}"
        );
    }
    let wrong = Server::with_keys([("AWS_ACCESS_KEY_ID", KEY), ("AWS_SECRET_ACCESS_KEY", "no")]);
    let message = wrong.probe("s3://data/p").await.unwrap_err().to_string();
    assert!(
        message.contains("no access: SignatureDoesNotMatch"),
        "{message}"
    );
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_found_in_time() {
    let server = Server::new();
    server.s3.pause();
    let begun = Instant::now();
    let message = server.probe("s3://data/p").await.unwrap_err().to_string();
    assert!(
        message.contains("no answer; check the network and the endpoint"),
        "{message}"
    );
    assert!(
        message.contains("127.0.0.1") && message.contains("refused"),
        "{message}"
    );
    assert!(
        begun.elapsed() < Duration::from_secs(12),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn without_credentials_the_three_ways_are_named() {
    // Nobody listens there: as on a machine without a metadata service.
    let server = Server::with_keys([("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")]);
    let message = server.probe("s3://data/p").await.unwrap_err().to_string();
    for way in ["AWS_ACCESS_KEY_ID", "AWS_PROFILE", "--anonymous"] {
        assert!(message.contains(way), "{message}");
    }
}

#[tokio::test]
async fn no_message_and_no_debug_output_has_a_secret() {
    let token = "t0ken";
    let variables = [
        ("AWS_ACCESS_KEY_ID", KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
        ("AWS_SESSION_TOKEN", token),
    ];
    let server = Server::with_keys(variables);
    server.s3.put("data", "k", "x");
    let config = hasty();
    let origin = server.open("s3://data", &config);
    let mut shown = format!(
        "{origin:?} {config:?} {:?} {}",
        server.environment,
        origin.identity()
    );
    for status in [400, 403, 500] {
        server
            .s3
            .faults()
            .push(Fault::new(Action::status(status, "Code")).always());
        let error = server.probe("s3://data").await.unwrap_err();
        server.s3.faults().clear();
        shown += &format!("{error} {error:?}");
    }
    assert!(!shown.contains(SECRET) && !shown.contains(token), "{shown}");
}
