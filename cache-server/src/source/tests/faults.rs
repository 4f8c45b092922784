//! What becomes of a read when the server misbehaves.

use std::time::{Duration, Instant};

use forebay_core::{ByteRange, ErrorKind};
use forebay_loopback_s3::{Action, Fault, Operation};

use super::{Server, hasty};
use crate::origin::conformance::{content, every, read};
use crate::origin::{Depth, Error as OriginError, ListedObject};
use crate::source::OriginConfig;

/// A scripted fault at the server, and what becomes of a read of bytes 100..900 of an
/// object of 1,000 bytes: the error, or `None` if it succeeds after all.
struct Case {
    action: Action,
    always: bool,
    error: Option<(ErrorKind, i32, &'static str)>,
    retried: bool,
}

fn cases() -> Vec<Case> {
    const EACCES: i32 = 13;
    const ESTALE: i32 = 116;
    const EIO: i32 = 5;
    let at_once = |status, code: &str, kind, errno, words| Case {
        action: Action::status(status, code),
        always: true,
        error: Some((kind, errno, words)),
        retried: false,
    };
    let passes = |action| Case {
        action,
        always: false,
        error: None,
        retried: true,
    };
    let stays = |action, words| Case {
        action,
        always: true,
        error: Some((ErrorKind::TimedOut, EIO, words)),
        retried: true,
    };
    use ErrorKind::{PermissionDenied, Stale};
    vec![
        at_once(
            403,
            "AccessDenied",
            PermissionDenied,
            EACCES,
            "refuses access to s3://data",
        ),
        at_once(401, "", PermissionDenied, EACCES, "refuses access"),
        at_once(
            400,
            "ExpiredToken",
            PermissionDenied,
            EACCES,
            "ExpiredToken",
        ),
        at_once(
            404,
            "NoSuchKey",
            Stale,
            ESTALE,
            "/k does not exist at the origin",
        ),
        at_once(
            412,
            "PreconditionFailed",
            Stale,
            ESTALE,
            "/k was overwritten",
        ),
        at_once(
            416,
            "InvalidRange",
            Stale,
            ESTALE,
            "/k is shorter at the origin",
        ),
        at_once(
            418,
            "Teapot",
            ErrorKind::Internal,
            EIO,
            "the origin answered Teapot (418)",
        ),
        passes(Action::status(429, "TooManyRequests")),
        passes(Action::status(500, "InternalError")),
        passes(Action::status(503, "SlowDown")),
        passes(Action::Disconnect),
        passes(Action::TruncateAfter(300)),
        passes(Action::StallAfter(300, Duration::from_secs(5))),
        passes(Action::Delay(Duration::from_secs(5))),
        stays(
            Action::status(429, "TooManyRequests"),
            "asks to slow down reading",
        ),
        stays(Action::status(500, "InternalError"), "answered 500"),
        stays(Action::status(503, "SlowDown"), "asks to slow down"),
        stays(Action::Disconnect, "cannot be reached"),
        stays(Action::Delay(Duration::from_secs(5)), "nothing came for"),
    ]
}

#[tokio::test]
async fn each_fault_of_a_server_has_its_kind_errno_and_words() {
    let server = Server::new();
    server.s3.put("data", "k", content(1000));
    let config = hasty();
    let origin = server.open("s3://data", &config);
    let object = every(&*origin, Depth::All).await.remove(0);
    for Case {
        action,
        always,
        error,
        retried,
    } in cases()
    {
        let before = config.stats.requests();
        let fault = Fault::new(action.clone()).on(Operation::GetObject);
        server
            .s3
            .faults()
            .push(if always { fault.always() } else { fault });
        let result = read(&*origin, &object, ByteRange::new(100, 900)).await;
        server.s3.faults().clear();
        match (result, error) {
            (Ok(bytes), None) => assert_eq!(bytes, content(1000)[100..900], "{action:?}"),
            (Err(got), Some((kind, errno, words))) => {
                assert_eq!(
                    (got.kind(), got.kind().errno()),
                    (kind, errno),
                    "{action:?}: {got}"
                );
                assert!(got.to_string().contains(words), "{action:?}: {got}");
            }
            (result, _) => panic!("{action:?}: {:?}", result.map(|bytes| bytes.len())),
        }
        let requests = config.stats.requests() - before;
        assert_eq!(requests > 1, retried, "{action:?}: {requests} requests");
    }
}

#[tokio::test]
async fn an_object_that_is_overwritten_or_gone_is_stale() {
    let server = Server::new();
    server.s3.put("data", "k", content(1000));
    let origin = server.open("s3://data", &OriginConfig::default());
    let object = every(&*origin, Depth::All).await.remove(0);
    let range = ByteRange::new(0, 1000);
    server.s3.put("data", "k", vec![0; 1000]);
    let error = read(&*origin, &object, range).await.unwrap_err();
    assert!(matches!(error, OriginError::Changed { .. }), "{error}");
    server.s3.remove("data", "k");
    let error = read(&*origin, &object, range).await.unwrap_err();
    assert!(matches!(error, OriginError::NotFound { .. }), "{error}");
    let dots = ListedObject {
        key: b"a/../k".to_vec(),
        ..object
    };
    let error = read(&*origin, &dots, range).await.unwrap_err();
    assert!(matches!(error, OriginError::Protocol { .. }), "{error}");
}

#[tokio::test]
async fn a_slow_body_that_keeps_flowing_is_no_failure() {
    let server = Server::new();
    server.s3.put("data", "k", content(200_000));
    let config = OriginConfig {
        timeout: Duration::from_millis(500),
        ..hasty()
    };
    let origin = server.open("s3://data", &config);
    let object = every(&*origin, Depth::All).await.remove(0);
    let slow = Fault::new(Action::SlowBody(100_000)).on(Operation::GetObject);
    server.s3.faults().push(slow);
    let begun = Instant::now();
    let bytes = read(&*origin, &object, ByteRange::new(0, 200_000))
        .await
        .unwrap();
    assert!(bytes == content(200_000) && begun.elapsed() > config.timeout);
    assert_eq!(config.stats.requests(), 2);
}

#[tokio::test]
async fn an_origin_that_comes_back_is_read_on() {
    let server = Server::new();
    server.s3.put("data", "k", content(1000));
    let config = OriginConfig {
        timeout: Duration::from_secs(20),
        ..hasty()
    };
    let origin = server.open("s3://data", &config);
    let object = every(&*origin, Depth::All).await.remove(0);
    server.s3.pause();
    let reading = read(&*origin, &object, ByteRange::new(0, 1000));
    let returning = async {
        while config.stats.errors(ErrorKind::Unavailable) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        server.s3.resume().unwrap();
    };
    let (bytes, ()) = tokio::join!(reading, returning);
    assert_eq!(bytes.unwrap(), content(1000));
}
