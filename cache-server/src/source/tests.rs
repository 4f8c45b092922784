//! Sources against a real S3 protocol: a server on loopback.

use std::time::Duration;

use forebay_core::ByteRange;
use forebay_loopback_s3::LoopbackS3;

use super::*;
use crate::origin::Depth;
use crate::origin::conformance::{self, OBJECTS, content, every, read};

mod faults;
mod mistakes;

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
