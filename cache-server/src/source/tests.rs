//! Sources against a real S3 protocol: a server on loopback.

use std::time::{Duration, Instant};

use forebay_core::{ByteRange, ErrorKind};
use forebay_loopback_s3::{Action, Fault, LoopbackS3, Operation};

use super::*;
use crate::origin::conformance::{self, OBJECTS, content, every, read};
use crate::origin::{Depth, Error as OriginError, ListedObject};

const KEY: &str = "AKTEST";
const SECRET: &str = "hunter2";

struct Server {
    s3: LoopbackS3,
    environment: Environment,
}

impl Server {
    fn new() -> Self {
        Self::with_keys([
            ("AWS_ACCESS_KEY_ID", KEY),
            ("AWS_SECRET_ACCESS_KEY", SECRET),
        ])
    }

    fn with_keys<const N: usize>(variables: [(&str, &str); N]) -> Self {
        let s3 = LoopbackS3::builder()
            .credentials(KEY, SECRET)
            .start()
            .unwrap();
        s3.create_bucket("data");
        let mut all = vec![("HOME".to_owned(), "/nonexistent".to_owned())];
        all.extend(variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
        Self {
            s3,
            environment: all.into_iter().collect(),
        }
    }

    fn spec(&self, url: &str) -> SourceSpec {
        let endpoint = Some(self.s3.endpoint());
        SourceSpec::parse(
            url,
            Connection {
                endpoint,
                ..Connection::default()
            },
        )
        .unwrap()
    }

    fn open(&self, url: &str, config: &OriginConfig) -> Arc<dyn Origin> {
        let spec = self.spec(url);
        Opener {
            spec: &spec,
            environment: &self.environment,
        }
        .open(config)
        .unwrap()
    }

    async fn probe(&self, url: &str) -> Result<(), Error> {
        let spec = self.spec(url);
        probe::probe(&Opener {
            spec: &spec,
            environment: &self.environment,
        })
        .await
    }
}

/// Limits that make a test of a timeout short.
fn hasty() -> OriginConfig {
    OriginConfig {
        timeout: Duration::from_secs(1),
        stall: Duration::from_millis(200),
        ..OriginConfig::default()
    }
}

#[tokio::test]
async fn a_bucket_conforms() {
    let server = Server::new();
    for (key, size) in OBJECTS {
        server.s3.put("data", key, content(size));
        server
            .s3
            .put("data", &format!("some/prefix/{key}"), content(size));
    }
    // Beside the prefix, not below it.
    server.s3.put("data", "some/prefix2/x", "x");
    conformance::run(&*server.open("s3://data/some/prefix", &OriginConfig::default())).await;
}

#[tokio::test]
async fn odd_keys_keep_every_byte() {
    let server = Server::new();
    let keys = [
        "/leading",
        "a",
        "a/",
        "a/b",
        "a//b",
        "a///",
        "blank ",
        " blank",
        "line\nbreak",
        "back\\slash",
        "per%2Fcent",
        "plus+",
        "q?x=1&y#z",
        "quote'\"<>",
        "tab\t",
        "\u{7f}",
        "日本/語",
        "...",
    ];
    for key in keys {
        server.s3.put("data", key, key.to_owned());
    }
    let origin = server.open("s3://data", &OriginConfig::default());
    let mut wanted: Vec<_> = keys.iter().map(|key| key.as_bytes().to_vec()).collect();
    wanted.sort();
    for depth in [Depth::One, Depth::All] {
        let listed = every(&*origin, depth).await;
        let got: Vec<_> = listed.iter().map(|object| object.key.clone()).collect();
        assert_eq!(got, wanted, "{depth:?}");
        for object in listed {
            let range = ByteRange::new(0, object.size);
            assert_eq!(read(&*origin, &object, range).await.unwrap(), object.key);
        }
    }
}

#[tokio::test]
async fn a_listing_of_many_pages_has_each_key_once() {
    let server = Server::new();
    for file in 0..2345 {
        server.s3.put("data", &format!("d{}/{file}", file % 3), "");
    }
    let origin = server.open("s3://data", &OriginConfig::default());
    for depth in [Depth::One, Depth::All] {
        assert_eq!(every(&*origin, depth).await.len(), 2345);
    }
}

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

#[tokio::test]
async fn an_anonymous_source_is_not_signed() {
    let s3 = LoopbackS3::builder().start().unwrap();
    s3.put("data", "k", "x");
    let endpoint = Some(s3.endpoint());
    let connection = Connection {
        endpoint,
        anonymous: true,
        ..Connection::default()
    };
    let spec = SourceSpec::parse("s3://data", connection).unwrap();
    assert_eq!(spec.probe().await, Ok(()));
}

#[tokio::test]
async fn a_directory_is_a_source() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("file://{}", dir.path().display());
    let spec = SourceSpec::parse(&url, Connection::default()).unwrap();
    assert_eq!(spec.identity().unwrap(), url);
    assert!(matches!(spec.probe().await, Err(Error::Empty { .. })));
    std::fs::write(dir.path().join("f"), "x").unwrap();
    assert_eq!(spec.probe().await, Ok(()));
    let file = SourceSpec::parse(&format!("{url}/f"), Connection::default()).unwrap();
    assert!(file.probe().await.is_err());
    let gone = SourceSpec::parse(&format!("{url}/gone"), Connection::default()).unwrap();
    assert!(matches!(gone.probe().await, Err(Error::NoSuchPlace { .. })));
}
