//! The servers under test do what the other tests take for granted.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use forebay_tests::{Ceph, Endpoint, S3Client, SeaweedFs, odd_keys};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt};

const BUCKET: &str = "servers";

/// What became of the odd keys on a server: those that do not come back, and why.
fn bent_keys(endpoint: &Endpoint) -> BTreeMap<&'static str, String> {
    let client = S3Client::new(endpoint);
    client.create_bucket(BUCKET);
    let content = |key: &str| format!("the content of {key:?}").into_bytes();
    let mut bent = BTreeMap::new();
    for (oddity, key) in odd_keys() {
        let put = client.try_put(BUCKET, &key, &content(&key));
        if put.status != 200 {
            bent.insert(oddity, format!("put: {}", put.status));
        }
    }
    let listed = client.list(BUCKET, "");
    for (oddity, key) in odd_keys() {
        let got = client.get(BUCKET, &key, &[]);
        if got.status != 200 || got.body != content(&key) {
            bent.entry(oddity)
                .or_insert_with(|| format!("get: {}", got.status));
        } else if !listed.iter().any(|object| object.key == key) {
            bent.entry(oddity)
                .or_insert_with(|| "not listed under its name".to_owned());
        }
    }
    // Of several, the last: one name is enough to tell.
    let strange = listed
        .iter()
        .filter(|object| odd_keys().iter().all(|(_, key)| *key != object.key));
    for object in strange {
        bent.insert("listed, but never put", object.key.clone());
    }
    bent
}

/// Puts, lists and gets through `object_store`, with ranges and conditions.
fn reads_are_pinned_to_a_version(endpoint: &Endpoint) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(pinned_reads(endpoint));
}

async fn pinned_reads(endpoint: &Endpoint) {
    let bucket = "pinned";
    S3Client::new(endpoint).create_bucket(bucket);
    let store = endpoint.object_store(bucket);
    let path = Path::from("dir/object");
    store.put(&path, vec![b'a'; 100_000].into()).await.unwrap();
    let listed: Vec<_> = store.list(Some(&"dir".into())).try_collect().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((&listed[0].location, listed[0].size), (&path, 100_000));
    let pinned = GetOptions {
        if_match: listed[0].e_tag.clone(),
        range: Some(GetRange::Bounded(70_000..80_000)),
        ..Default::default()
    };
    let got = store.get_opts(&path, pinned.clone()).await.unwrap();
    assert_eq!(
        (got.range.clone(), got.meta.size),
        (70_000..80_000, 100_000)
    );
    assert_eq!(got.bytes().await.unwrap(), vec![b'a'; 10_000]);
    store.put(&path, vec![b'b'; 100_000].into()).await.unwrap();
    let overwritten = store.get_opts(&path, pinned).await;
    assert!(
        matches!(overwritten, Err(Error::Precondition { .. })),
        "{overwritten:?}"
    );
    store.delete(&path).await.unwrap();
    assert!(matches!(
        store.get(&path).await,
        Err(Error::NotFound { .. })
    ));
}

#[test]
fn loopback_keeps_every_key_and_pins_reads() {
    let (_server, endpoint) = Endpoint::loopback();
    assert_eq!(bent_keys(&endpoint), BTreeMap::new());
    reads_are_pinned_to_a_version(&endpoint);
}

#[test]
fn ceph_keeps_every_key_and_pins_reads() {
    let ceph = Ceph::start(64 << 20);
    assert_eq!(bent_keys(ceph.endpoint()), BTreeMap::new());
    reads_are_pinned_to_a_version(ceph.endpoint());
}

/// Why the tests of odd keys run against the other two: SeaweedFS keeps objects as files
/// of a tree. It refuses `.` and `..` and long names, folds slashes, turns a backslash
/// into a slash, and drops the content of a key that ends in a slash.
#[test]
fn seaweedfs_pins_reads_and_bends_keys_that_are_no_paths() {
    let seaweedfs = SeaweedFs::start(64 << 20);
    let bent = bent_keys(seaweedfs.endpoint());
    let oddities: Vec<_> = bent.keys().copied().collect();
    let expected = [
        "a backslash",
        "a name of more than 255 bytes",
        "a part that is a dot",
        "a part that is two dots",
        "a slash at the end",
        "a slash in front",
        "an empty part",
        "listed, but never put",
        "only a dot",
        "only a slash",
        "the longest key",
        "two dots in front",
    ];
    assert_eq!(oddities, expected, "{bent:#?}");
    reads_are_pinned_to_a_version(seaweedfs.endpoint());
}
