//! What every cache must do, tested with the cache in the reader's process and with one
//! behind the socket of a cache server.

use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use forebay_cache_server::fill::FillConfig;
use forebay_cache_server::origin::{Error, Fault};
use forebay_core::cache::{Availability, Cache, CacheError, FileRef, Lease};
use forebay_core::manifest::{EntryId, VersionId};
use forebay_core::{ByteRange, ErrorKind};

use crate::fixture::{MIB, Node, bytes_of, pattern};
use crate::separate::Separate;

/// Where the cache is.
#[derive(Clone, Copy, Debug)]
enum Mode {
    Embedded,
    Separate,
}

/// A cache under test, with the node behind it.
struct Subject {
    node: Node,
    cache: Arc<dyn Cache>,
    _separate: Option<Separate>,
}

impl Subject {
    async fn start(mode: Mode, objects: &[(&str, Vec<u8>)]) -> Self {
        Self::start_with(mode, objects, FillConfig::default(), 1 << 30).await
    }

    async fn start_with(
        mode: Mode,
        objects: &[(&str, Vec<u8>)],
        config: FillConfig,
        quota: u64,
    ) -> Self {
        let node = Node::start_with(objects, config, quota).await;
        match mode {
            Mode::Embedded => Self {
                cache: Arc::clone(&node.cache) as _,
                node,
                _separate: None,
            },
            Mode::Separate => {
                let separate = Separate::start(&node).await;
                Self {
                    cache: Arc::clone(&separate.client) as _,
                    node,
                    _separate: Some(separate),
                }
            }
        }
    }

    async fn lease(&self, path: &str) -> Lease {
        self.cache.lease(self.node.file(path)).await.unwrap()
    }

    async fn read(&self, lease: &Lease, range: ByteRange) -> Result<Vec<u8>, CacheError> {
        let found = self.cache.ensure(lease, range).await?;
        Ok(bytes_of(&found, range))
    }

    fn asked(&self) -> usize {
        self.node.origin.reads().len()
    }
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(10), async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("{what}"));
}

fn chunk(index: usize) -> ByteRange {
    ByteRange::at((index * MIB) as u64, MIB as u64)
}

async fn reads_are_the_objects_bytes_at_every_offset(mode: Mode) {
    let content = pattern(3 * MIB + 17);
    let subject = Subject::start(mode, &[("a", content.clone())]).await;
    let lease = subject.lease("a").await;
    assert_eq!(lease.size, content.len() as u64);
    for (start, len) in [(0, 1), (MIB - 3, 6), (2 * MIB, MIB + 17), (3 * MIB + 16, 1)] {
        let range = ByteRange::at(start as u64, len as u64);
        let read = subject.read(&lease, range).await.unwrap();
        assert_eq!(read, content[start..start + len]);
    }
}

async fn what_was_ensured_is_ready_and_what_was_not_is_not(mode: Mode) {
    let content = pattern(4 * MIB);
    let subject = Subject::start(mode, &[("a", content.clone())]).await;
    let lease = subject.lease("a").await;
    assert!(subject.cache.ready(&lease, chunk(1)).is_none());
    subject.read(&lease, chunk(1)).await.unwrap();
    let ready = subject.cache.ready(&lease, chunk(1)).expect("present");
    assert_eq!(bytes_of(&ready, chunk(1)), content[MIB..2 * MIB]);
    let beyond = ByteRange::at(MIB as u64, MIB as u64 + 1);
    assert!(subject.cache.ready(&lease, beyond).is_none());
    assert!(subject.cache.ready(&lease, ByteRange::at(3, 0)).is_none());
}

async fn what_others_have_read_is_ready_with_the_lease(mode: Mode) {
    let subject = Subject::start(mode, &[("a", pattern(4 * MIB))]).await;
    subject.node.read("a", chunk(0)).await.unwrap();
    subject.node.read("a", chunk(3)).await.unwrap();
    let lease = subject.lease("a").await;
    for (index, present) in [(0, true), (1, false), (2, false), (3, true)] {
        let ready = subject.cache.ready(&lease, chunk(index));
        assert_eq!(ready.is_some(), present, "chunk {index}");
    }
}

async fn an_empty_range_is_there_and_one_past_the_end_is_refused(mode: Mode) {
    let subject = Subject::start(mode, &[("a", pattern(10)), ("empty", Vec::new())]).await;
    let lease = subject.lease("a").await;
    let empty = subject.read(&lease, ByteRange::at(4, 0)).await.unwrap();
    assert!(empty.is_empty());
    let past = subject.read(&lease, ByteRange::at(5, 6)).await;
    assert_eq!(past.unwrap_err().kind, ErrorKind::InvalidInput);
    let lease = subject.lease("empty").await;
    assert_eq!(lease.size, 0);
    let read = subject.read(&lease, ByteRange::at(0, 0)).await.unwrap();
    assert!(read.is_empty());
    assert_eq!(subject.asked(), 0);
}

async fn what_is_no_file_cannot_be_leased(mode: Mode) {
    let subject = Subject::start(mode, &[("d/a", pattern(10))]).await;
    let file = subject.node.file("d/a");
    let unknown = FileRef {
        version: VersionId::from_bytes([9; 16]),
        ..file
    };
    let root = FileRef {
        entry: EntryId(0),
        ..file
    };
    for wrong in [unknown, root] {
        let error = subject.cache.lease(wrong).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
        let error = subject.cache.cached_bytes(wrong).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
    }
}

async fn a_lease_of_another_cache_is_refused(mode: Mode) {
    let subject = Subject::start(mode, &[("a", pattern(10))]).await;
    let foreign = Lease {
        file: subject.node.file("a"),
        size: 10,
        state: Box::new(()),
    };
    let range = ByteRange::at(0, 10);
    let error = subject.cache.ensure(&foreign, range).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::InvalidInput);
    assert!(subject.cache.ready(&foreign, range).is_none());
    assert!(subject.cache.whole(&foreign).await.is_none());
    assert_eq!(subject.cache.advise(&foreign, range), 0);
}

async fn many_readers_of_one_chunk_ask_the_origin_once(mode: Mode) {
    let subject = Subject::start(mode, &[("a", pattern(MIB))]).await;
    let delay = Fault::Delay(Duration::from_millis(50));
    subject.node.origin.on_reads([delay]);
    let lease = subject.lease("a").await;
    let reads = (0..100).map(|_| subject.read(&lease, chunk(0)));
    for read in futures::future::join_all(reads).await {
        assert_eq!(read.unwrap(), pattern(MIB));
    }
    assert_eq!(subject.asked(), 1);
}

async fn a_reader_that_gives_up_leaves_the_fetch_to_the_others(mode: Mode) {
    let subject = Subject::start(mode, &[("a", pattern(MIB))]).await;
    let delay = Fault::Delay(Duration::from_millis(100));
    subject.node.origin.on_reads([delay]);
    let lease = subject.lease("a").await;
    let impatient = tokio::time::timeout(
        Duration::from_millis(20),
        subject.read(&lease, ByteRange::at(0, 1)),
    );
    let (gave_up, read) = tokio::join!(impatient, subject.read(&lease, chunk(0)));
    assert!(gave_up.is_err());
    assert_eq!(read.unwrap(), pattern(MIB));
    assert_eq!(subject.asked(), 1);
}

async fn an_error_keeps_its_class_and_its_words(mode: Mode) {
    let subject = Subject::start(mode, &[("a", pattern(MIB))]).await;
    let lease = subject.lease("a").await;
    let forbidden = Error::Forbidden {
        what: "the object".into(),
        reason: "AccessDenied".into(),
    };
    subject.node.origin.on_reads([Fault::Fail(forbidden)]);
    let error = subject.read(&lease, chunk(0)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::PermissionDenied);
    assert!(error.to_string().contains("the object"), "{error}");
    let read = subject.read(&lease, chunk(0)).await;
    assert_eq!(read.unwrap(), pattern(MIB), "the next read tries anew");
}

async fn without_room_the_bytes_come_with_the_answer(mode: Mode) {
    let content = pattern(5 * MIB);
    let objects = [("a", content.clone())];
    let quota = MIB as u64 / 2;
    let subject = Subject::start_with(mode, &objects, FillConfig::default(), quota).await;
    let lease = subject.lease("a").await;
    let range = ByteRange::new(MIB as u64 - 7, 4 * MIB as u64 + 7);
    let found = subject.cache.ensure(&lease, range).await.unwrap();
    assert!(matches!(found, Availability::Inline(_)), "{found:?}");
    assert_eq!(bytes_of(&found, range), content[MIB - 7..4 * MIB + 7]);
}

async fn only_a_complete_object_is_handed_out_as_a_file(mode: Mode) {
    let content = pattern(3 * MIB + 17);
    let subject = Subject::start(mode, &[("a", content.clone())]).await;
    let lease = subject.lease("a").await;
    assert!(subject.cache.whole(&lease).await.is_none());
    subject.read(&lease, chunk(1)).await.unwrap();
    assert!(subject.cache.whole(&lease).await.is_none());
    let all = ByteRange::at(0, content.len() as u64);
    subject.read(&lease, all).await.unwrap();
    let file = subject.cache.whole(&lease).await.expect("all is here");
    let mut bytes = vec![0; content.len()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(bytes, content);
    assert_eq!(file.metadata().unwrap().len(), content.len() as u64);
    // Another reader, to whom nothing has been said yet.
    let lease = subject.lease("a").await;
    assert!(subject.cache.whole(&lease).await.is_some());
}

async fn advice_brings_what_is_asked_for_later(mode: Mode) {
    let subject = Subject::start(mode, &[("a", pattern(20 * MIB))]).await;
    let lease = subject.lease("a").await;
    let all = ByteRange::at(0, 20 * MIB as u64);
    assert_eq!(subject.cache.advise(&lease, all), all.len());
    let file = subject.node.file("a");
    until("the advised range arrives", async || {
        subject.cache.cached_bytes(file).await.unwrap() == all.len()
    })
    .await;
    let asked = subject.asked();
    assert_eq!(subject.read(&lease, all).await.unwrap(), pattern(20 * MIB));
    assert_eq!(subject.asked(), asked);
    assert!(subject.cache.ready(&lease, all).is_some());
}

async fn what_is_leased_is_not_evicted_and_what_was_can_be(mode: Mode) {
    let objects = [("a", pattern(4 * MIB)), ("b", pattern(4 * MIB))];
    let quota = 6 * MIB as u64;
    let subject = Subject::start_with(mode, &objects, FillConfig::default(), quota).await;
    let all = ByteRange::at(0, 4 * MIB as u64);
    let (a, b) = (subject.node.file("a"), subject.node.file("b"));
    let lease = subject.lease("a").await;
    subject.read(&lease, all).await.unwrap();
    let other = subject.lease("b").await;
    assert_eq!(subject.read(&other, all).await.unwrap(), pattern(4 * MIB));
    assert_eq!(subject.cache.cached_bytes(a).await.unwrap(), all.len());
    drop(lease);
    // Behind a socket the lease ends when the server has heard of it.
    until("the object that nobody reads makes room", async || {
        subject.read(&other, all).await.unwrap();
        subject.cache.cached_bytes(b).await.unwrap() == all.len()
    })
    .await;
    assert!(subject.cache.cached_bytes(a).await.unwrap() < all.len());
}

async fn usage_follows_what_is_cached(mode: Mode) {
    let objects = [("a", pattern(2 * MIB))];
    let quota = 64 * MIB as u64;
    let subject = Subject::start_with(mode, &objects, FillConfig::default(), quota).await;
    assert_eq!(subject.cache.usage().capacity_bytes, quota);
    assert_eq!(subject.cache.usage().used_bytes, 0);
    let lease = subject.lease("a").await;
    subject.read(&lease, chunk(0)).await.unwrap();
    until("usage is told", async || {
        subject.cache.usage().used_bytes >= MIB as u64
    })
    .await;
}

async fn who_waits_for_an_origin_holds_up_nobody_else(mode: Mode) {
    let objects = [("slow", pattern(MIB)), ("fast", pattern(MIB))];
    let subject = Subject::start(mode, &objects).await;
    let slow = subject.lease("slow").await;
    let fast = subject.lease("fast").await;
    subject.node.origin.on_reads([Fault::Hang]);
    let hanging = subject.read(&slow, chunk(0));
    tokio::pin!(hanging);
    let early = tokio::time::timeout(Duration::from_millis(50), &mut hanging).await;
    assert!(early.is_err());
    let read = tokio::time::timeout(Duration::from_secs(5), subject.read(&fast, chunk(0))).await;
    assert_eq!(read.expect("not held up").unwrap(), pattern(MIB));
}

async fn bytes_that_are_lost_are_brought_again_once_the_cache_is_told(mode: Mode) {
    let content = pattern(3 * MIB);
    let subject = Subject::start(mode, &[("a", content.clone())]).await;
    let lease = subject.lease("a").await;
    let all = ByteRange::at(0, content.len() as u64);
    subject.read(&lease, all).await.unwrap();
    let shards = std::fs::read_dir(subject.node.tier().join("objects")).unwrap();
    for shard in shards {
        for file in std::fs::read_dir(shard.unwrap().path()).unwrap() {
            let file = std::fs::File::options()
                .write(true)
                .open(file.unwrap().path());
            file.unwrap().set_len(MIB as u64).unwrap();
        }
    }
    subject.cache.distrust(&lease, chunk(2)).await;
    assert!(subject.cache.ready(&lease, chunk(2)).is_none());
    let read = subject.read(&lease, chunk(2)).await.unwrap();
    assert_eq!(read, content[2 * MIB..]);
    // The next lease keeps what it reads.
    drop(lease);
    let lease = subject.lease("a").await;
    assert_eq!(subject.read(&lease, all).await.unwrap(), content);
    assert!(subject.cache.ready(&lease, all).is_some());
}

macro_rules! conformance {
    ($($claim:ident),* $(,)?) => {
        mod embedded {
            $(#[tokio::test]
            async fn $claim() {
                super::$claim(super::Mode::Embedded).await;
            })*
        }
        mod separate {
            $(#[tokio::test]
            async fn $claim() {
                super::$claim(super::Mode::Separate).await;
            })*
        }
    };
}

conformance!(
    reads_are_the_objects_bytes_at_every_offset,
    what_was_ensured_is_ready_and_what_was_not_is_not,
    what_others_have_read_is_ready_with_the_lease,
    an_empty_range_is_there_and_one_past_the_end_is_refused,
    what_is_no_file_cannot_be_leased,
    a_lease_of_another_cache_is_refused,
    many_readers_of_one_chunk_ask_the_origin_once,
    a_reader_that_gives_up_leaves_the_fetch_to_the_others,
    an_error_keeps_its_class_and_its_words,
    without_room_the_bytes_come_with_the_answer,
    only_a_complete_object_is_handed_out_as_a_file,
    advice_brings_what_is_asked_for_later,
    what_is_leased_is_not_evicted_and_what_was_can_be,
    usage_follows_what_is_cached,
    who_waits_for_an_origin_holds_up_nobody_else,
    bytes_that_are_lost_are_brought_again_once_the_cache_is_told,
);
