//! The node's cache over a scripted origin: what readers get, and what the origin is asked.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use forebay_cache_server::fill::FillConfig;
use forebay_cache_server::node::WarmupProgress;
use forebay_cache_server::origin::{Error, Fault};
use forebay_cache_server::prefetch::PrefetchConfig;
use forebay_core::cache::{Availability, Cache};
use forebay_core::manifest::EntryId;
use forebay_core::{ByteRange, ErrorKind};
use tokio_util::sync::CancellationToken;

mod conformance;
mod corruption;
mod fixture;
mod places;
mod random_reads;
mod separate;

use fixture::{MIB, Node, pattern};

fn quick() -> FillConfig {
    FillConfig {
        origin_timeout: Duration::from_millis(500),
        ..FillConfig::default()
    }
}

#[tokio::test]
async fn what_is_read_is_what_was_listed_at_every_offset() {
    let node = Node::start(&[("a", pattern(3 * MIB + 17))]).await;
    for (start, len) in [
        (0, 1),
        (5, 0),
        (MIB - 3, 6),
        (2 * MIB, MIB + 17),
        (3 * MIB + 16, 1),
    ] {
        let range = ByteRange::at(start as u64, len as u64);
        assert_eq!(
            node.read("a", range).await.unwrap(),
            pattern(3 * MIB + 17)[start..start + len]
        );
    }
}

#[tokio::test]
async fn a_hundred_readers_of_one_chunk_ask_the_origin_once() {
    let node = Node::start(&[("a", pattern(MIB))]).await;
    node.origin
        .on_reads([Fault::Delay(Duration::from_millis(50))]);
    let range = ByteRange::at(0, MIB as u64);
    let reads = futures::future::join_all((0..100).map(|_| node.read("a", range))).await;
    assert!(
        reads
            .iter()
            .all(|read| read.as_ref().unwrap() == &pattern(MIB))
    );
    assert_eq!(node.origin.reads().len(), 1);
}

#[tokio::test]
async fn a_reader_that_gives_up_leaves_the_fetch_to_the_others() {
    let node = Node::start(&[("a", pattern(MIB))]).await;
    node.origin
        .on_reads([Fault::Delay(Duration::from_millis(100))]);
    let range = ByteRange::at(0, 10);
    let first = tokio::time::timeout(Duration::from_millis(20), node.read("a", range)).await;
    assert!(first.is_err(), "the first reader was meant to give up");
    assert_eq!(node.read("a", range).await.unwrap(), pattern(MIB)[..10]);
    assert_eq!(node.origin.reads().len(), 1);
}

#[tokio::test]
async fn each_failure_of_the_origin_has_its_class() {
    let what = || "o".to_owned();
    let cases = [
        (Error::NotFound { what: what() }, ErrorKind::Stale),
        (
            Error::Forbidden {
                what: what(),
                reason: "no".into(),
            },
            ErrorKind::PermissionDenied,
        ),
        (Error::Changed { what: what() }, ErrorKind::Stale),
        (Error::OutOfRange { what: what() }, ErrorKind::Stale),
        (
            Error::Throttled {
                what: what(),
                after: None,
            },
            ErrorKind::Throttled,
        ),
        (
            Error::Server {
                what: what(),
                status: 500,
            },
            ErrorKind::Unavailable,
        ),
        (
            Error::Unreachable {
                what: what(),
                reason: "no".into(),
            },
            ErrorKind::Unavailable,
        ),
        (
            Error::Truncated {
                what: what(),
                expected: 2,
                got: 1,
            },
            ErrorKind::Corrupt,
        ),
        (
            Error::TimedOut {
                what: what(),
                reason: "no".into(),
            },
            ErrorKind::TimedOut,
        ),
    ];
    let node = Node::start(&[("a", pattern(MIB))]).await;
    for (error, kind) in cases {
        node.origin.on_reads([Fault::Fail(error)]);
        assert_eq!(
            node.read("a", ByteRange::at(0, 1)).await.unwrap_err().kind,
            kind
        );
    }
    assert_eq!(
        node.read("a", ByteRange::at(0, 1)).await.unwrap(),
        pattern(MIB)[..1]
    );
}

#[tokio::test]
async fn a_short_or_long_body_is_an_error_and_its_whole_chunks_are_kept() {
    let node = Node::start(&[("a", pattern(3 * MIB))]).await;
    node.origin
        .on_reads([Fault::TruncateAfter(2 * MIB as u64 + 5)]);
    let all = ByteRange::at(0, 3 * MIB as u64);
    // The first two chunks arrived; only the third is asked for again.
    let error = node.read("a", all).await;
    if let Err(error) = error {
        assert_eq!(error.kind, ErrorKind::Corrupt);
    }
    assert_eq!(node.read("a", all).await.unwrap(), pattern(3 * MIB));
    let last = node.origin.reads().last().unwrap().range;
    assert_eq!(last, ByteRange::new(2 * MIB as u64, 3 * MIB as u64));
}

#[tokio::test]
async fn a_silent_origin_ends_in_a_timeout_that_names_the_object() {
    let node = Node::start_with(&[("a", pattern(MIB))], quick(), 64 * MIB as u64).await;
    node.origin.on_reads([Fault::Hang]);
    let error = node.read("a", ByteRange::at(0, 1)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::TimedOut);
    assert!(error.to_string().contains("memory://test/a"), "{error}");
}

#[tokio::test]
async fn an_overwritten_object_is_stale_and_its_cached_bytes_stay_the_old_ones() {
    let node = Node::start(&[("a", pattern(2 * MIB))]).await;
    let first = ByteRange::at(0, MIB as u64);
    assert_eq!(
        node.read("a", first).await.unwrap(),
        pattern(2 * MIB)[..MIB]
    );
    node.memory.put("a", vec![9; 2 * MIB]);
    assert_eq!(
        node.read("a", first).await.unwrap(),
        pattern(2 * MIB)[..MIB]
    );
    let second = ByteRange::at(MIB as u64, 1);
    assert_eq!(
        node.read("a", second).await.unwrap_err().kind,
        ErrorKind::Stale
    );
}

#[tokio::test]
async fn a_store_without_room_reads_through() {
    let node = Node::start_with(&[("a", pattern(3 * MIB))], quick(), MIB as u64 / 2).await;
    let range = ByteRange::new(MIB as u64 - 7, 2 * MIB as u64 + 7);
    let lease = node.lease("a").await;
    let answer = node.cache.ensure(&lease, range).await.unwrap();
    let Availability::Inline(bytes) = answer else {
        panic!("kept without room: {answer:?}")
    };
    assert_eq!(bytes, pattern(3 * MIB)[MIB - 7..2 * MIB + 7]);
}

#[tokio::test]
async fn advice_brings_bytes_before_they_are_asked_for() {
    let node = Node::start(&[("a", pattern(20 * MIB))]).await;
    let lease = node.lease("a").await;
    let all = ByteRange::at(0, 20 * MIB as u64);
    node.cache.advise(&lease, all);
    let waited = tokio::time::timeout(Duration::from_secs(10), async {
        while node.cache.ready(&lease, all).is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.expect("the advised range arrives");
    assert_eq!(node.origin.reads().len(), 3, "parts of 8 MiB");
}

fn limited(budget_bytes: u64) -> FillConfig {
    FillConfig {
        prefetch: PrefetchConfig {
            budget_bytes,
            ..PrefetchConfig::default()
        },
        ..FillConfig::default()
    }
}

#[tokio::test]
async fn advice_beyond_the_budget_is_refused_and_taken_once_there_is_room() {
    let node = Node::start_with(&[("a", pattern(30 * MIB))], limited(16 << 20), 1 << 30).await;
    node.origin
        .always(Some(Fault::Delay(Duration::from_millis(50))));
    let lease = node.lease("a").await;
    let size = 30 * MIB as u64;
    let mut next = 0;
    let all_taken = tokio::time::timeout(Duration::from_secs(10), async {
        while next < size {
            next += node.cache.advise(&lease, ByteRange::new(next, size));
            let window = node.cache.prefetch().window_bytes;
            assert!(window <= 16 << 20, "{window} of a budget of 16 MiB");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    all_taken.await.expect("room comes back");
    assert!(node.origin.reads().len() >= 2);
}

#[tokio::test]
async fn a_reader_overtakes_prefetch_that_has_not_begun() {
    let mut config = limited(64 << 20);
    (config.prefetch.first_flights, config.prefetch.most_flights) = (1, 1);
    let node = Node::start_with(&[("a", pattern(40 * MIB))], config, 1 << 30).await;
    node.origin
        .on_reads([Fault::Delay(Duration::from_secs(3600))]);
    let lease = node.lease("a").await;
    let size = 40 * MIB as u64;
    assert_eq!(node.cache.advise(&lease, ByteRange::new(0, size)), size);
    let hanging = tokio::time::timeout(Duration::from_secs(10), async {
        while node.origin.reads().is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    hanging.await.expect("the first part is asked for");
    let last = ByteRange::new(size - 10, size);
    let read = tokio::time::timeout(Duration::from_secs(10), node.read("a", last));
    let read = read.await.expect("nobody stands in the way");
    assert_eq!(read.unwrap(), pattern(40 * MIB)[40 * MIB - 10..]);
}

#[tokio::test]
async fn without_a_budget_nothing_is_prefetched_and_a_warm_up_works() {
    let node = Node::start_with(&[("a", pattern(3 * MIB))], limited(0), 1 << 30).await;
    let lease = node.lease("a").await;
    let all = ByteRange::at(0, 3 * MIB as u64);
    assert_eq!(node.cache.advise(&lease, all), 0);
    let files = node.cache.files_below(node.version, EntryId(0)).unwrap();
    let (progress, cancel) = (WarmupProgress::default(), CancellationToken::new());
    let warmed = node.cache.warmup(node.version, &files, &progress, &cancel);
    assert!(warmed.await.unwrap().is_complete());
}

#[tokio::test]
async fn a_restart_asks_the_origin_for_nothing_that_was_cached() {
    let mut node = Node::start(&[("a", pattern(5 * MIB)), ("b/c", pattern(100))]).await;
    let all = ByteRange::at(0, 5 * MIB as u64);
    node.read("a", all).await.unwrap();
    node.read("b/c", ByteRange::at(0, 100)).await.unwrap();
    let asked = node.origin.reads().len();
    node.restart().await;
    assert_eq!(node.read("a", all).await.unwrap(), pattern(5 * MIB));
    assert_eq!(
        node.read("b/c", ByteRange::at(0, 100)).await.unwrap(),
        pattern(100)
    );
    assert_eq!(node.origin.reads().len(), asked);
}

#[tokio::test]
async fn only_a_complete_object_is_handed_out_as_a_file() {
    let mut node = Node::start(&[("a", pattern(3 * MIB + 17))]).await;
    let lease = node.lease("a").await;
    assert!(node.cache.whole(&lease).await.is_none(), "nothing is here");
    let all = ByteRange::at(0, 3 * MIB as u64 + 17);
    node.read("a", all).await.unwrap();
    drop(lease);
    // What an earlier process left is compared with its checksums first.
    node.restart().await;
    let lease = node.lease("a").await;
    let whole = node.cache.whole(&lease).await.expect("all of it is here");
    assert_eq!(whole.metadata().unwrap().len(), 3 * MIB as u64 + 17);
    let mut bytes = vec![0; 3 * MIB + 17];
    std::os::unix::fs::FileExt::read_exact_at(&*whole, &mut bytes, 0).unwrap();
    assert_eq!(bytes, pattern(3 * MIB + 17));
}

#[tokio::test]
async fn shutdown_ends_every_wait() {
    let node = Node::start(&[("a", pattern(MIB))]).await;
    node.origin.always(Some(Fault::Hang));
    let (read, ()) = tokio::join!(node.read("a", ByteRange::at(0, 1)), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        node.cache.shutdown().await;
    });
    assert_eq!(read.unwrap_err().kind, ErrorKind::Cancelled);
}

#[tokio::test]
async fn a_warm_up_is_complete_only_when_every_file_is_there() {
    let node = Node::start(&[
        ("a", pattern(9 * MIB)),
        ("b", pattern(0)),
        ("c", pattern(3)),
    ])
    .await;
    let files = node.cache.files_below(node.version, EntryId(0)).unwrap();
    assert_eq!(files.len(), 3);
    let (progress, cancel) = (Arc::default(), CancellationToken::new());
    let done = node
        .cache
        .warmup(node.version, &files, &progress, &cancel)
        .await
        .unwrap();
    assert!(done.is_complete(), "{done:?}");
    assert_eq!((done.files, done.bytes), (3, 9 * MIB as u64 + 3));
    let census = node.cache.census(node.version).await.unwrap();
    assert_eq!((census.files, census.bytes), (3, 9 * MIB as u64 + 3));
}

#[tokio::test]
async fn a_warm_up_names_what_failed_and_why() {
    let node = Node::start(&[("a", pattern(10)), ("b", pattern(10))]).await;
    node.memory.remove("b");
    let files = node.cache.files_below(node.version, EntryId(0)).unwrap();
    let (progress, cancel) = (Arc::default(), CancellationToken::new());
    let done = node
        .cache
        .warmup(node.version, &files, &progress, &cancel)
        .await
        .unwrap();
    assert!(!done.is_complete());
    assert_eq!((done.files, done.failed), (1, 1));
    assert_eq!(done.failures[0].path, b"b");
    assert_eq!(done.failures[0].kind, ErrorKind::Stale);
}

#[tokio::test]
async fn a_warm_up_of_more_than_the_cache_holds_is_incomplete() {
    let files: Vec<(String, Vec<u8>)> = (0..8)
        .map(|i| (format!("f{i}"), pattern(2 * MIB)))
        .collect();
    let files: Vec<(&str, Vec<u8>)> = files
        .iter()
        .map(|(name, bytes)| (name.as_str(), bytes.clone()))
        .collect();
    let node = Node::start_with(&files, FillConfig::default(), 6 * MIB as u64).await;
    let files = node.cache.files_below(node.version, EntryId(0)).unwrap();
    let (progress, cancel) = (Arc::default(), CancellationToken::new());
    let done = node
        .cache
        .warmup(node.version, &files, &progress, &cancel)
        .await
        .unwrap();
    assert!(!done.is_complete());
    assert!(
        done.failures
            .iter()
            .all(|failure| failure.kind == ErrorKind::NoSpace),
        "{done:?}"
    );
}
