use forebay_loopback_s3::{Action, Fault, LoopbackS3};
use object_store::http::HttpBuilder;
use object_store::memory::InMemory;
use object_store::{ClientOptions, ObjectStoreExt, PutPayload, RetryConfig};

use super::*;
use crate::origin::conformance::{self, OBJECTS, content, every, read};
use crate::origin::install_crypto_provider;

async fn in_memory(prefix: &str) -> Remote {
    let store = InMemory::new();
    for (key, size) in OBJECTS {
        let path = Path::parse(format!("{prefix}{key}")).unwrap();
        store
            .put(&path, PutPayload::from(content(size)))
            .await
            .unwrap();
    }
    Remote {
        identity: "memory://test".to_owned(),
        store: Arc::new(store),
        lister: Lister::ByDirectory,
        prefix: prefix.to_owned(),
    }
}

#[tokio::test]
async fn a_store_conforms() {
    conformance::run(&in_memory("").await).await;
    conformance::run(&in_memory("some/prefix/").await).await;
}

#[tokio::test]
async fn a_key_outside_of_the_normal_form_is_refused_and_not_rewritten() {
    let origin = in_memory("").await;
    let mut object = every(&origin, Depth::All).await.swap_remove(0);
    for key in [
        &b"/a.txt"[..],
        b"a.txt/",
        b"dir//b.bin",
        b"dir/../a.txt",
        b"\xff",
    ] {
        object.key = key.to_vec();
        let error = read(&origin, &object, ByteRange::new(0, 1))
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Protocol { .. }), "{error}");
    }
}

/// A web server that knows nothing of WebDAV: S3 on loopback, without credentials.
fn over_http(server: &str) -> Remote {
    install_crypto_provider();
    let store = HttpBuilder::new()
        .with_url(format!("{server}/data"))
        .with_client_options(ClientOptions::new().with_allow_http(true))
        .with_retry(RetryConfig {
            max_retries: 0,
            ..RetryConfig::default()
        })
        .build()
        .unwrap();
    let (identity, prefix) = ("http://test/data".to_owned(), String::new());
    Remote {
        identity,
        store: Arc::new(store),
        lister: Lister::ByDirectory,
        prefix,
    }
}

#[tokio::test]
async fn each_status_of_a_server_is_one_error() {
    let server = LoopbackS3::builder().start().unwrap();
    let etag = forebay_core::ETag::new(format!("\"{}\"", server.put("data", "k", "0123456789")));
    let origin = over_http(&server.endpoint());
    let object = PinnedObject {
        key: b"k",
        size: 10,
        etag: &etag,
    };
    let range = ByteRange::new(2, 5);
    let what = || "http://test/data/k".to_owned();
    let forbidden = |reason: &str| Error::Forbidden {
        what: what(),
        reason: reason.into(),
    };
    for (status, expected) in [
        (401, forbidden("401")),
        (403, forbidden("403")),
        (404, Error::NotFound { what: what() }),
        (412, Error::Changed { what: what() }),
        (416, Error::OutOfRange { what: what() }),
        (
            429,
            Error::Throttled {
                what: what(),
                after: None,
            },
        ),
        (
            500,
            Error::Server {
                what: what(),
                status: 500,
            },
        ),
        (
            503,
            Error::Server {
                what: what(),
                status: 503,
            },
        ),
    ] {
        server
            .faults()
            .push(Fault::new(Action::status(status, "Code")));
        assert_eq!(origin.read(object, range).await.err(), Some(expected));
    }
    server.faults().push(Fault::new(Action::Disconnect));
    let error = origin.read(object, range).await.err().unwrap();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    let body = origin.read(object, range).await.unwrap();
    assert_eq!(body.try_collect::<Vec<_>>().await.unwrap().concat(), b"234");
}

#[tokio::test]
async fn a_server_that_cannot_list_is_said_to() {
    let server = LoopbackS3::builder().start().unwrap();
    let origin = over_http(&server.endpoint());
    let first = PageRequest {
        prefix: b"",
        depth: Depth::One,
        after: None,
    };
    let error = origin.list(first).await.unwrap_err();
    assert!(error.to_string().contains("needs WebDAV"), "{error}");
}
