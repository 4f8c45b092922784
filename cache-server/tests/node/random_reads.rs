//! Reads here and there in a large object, over S3: how much is fetched and written.

use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use forebay_cache_server::fill::FillConfig;
use forebay_cache_server::node::NodeCache;
use forebay_cache_server::origin::Origin;
use forebay_cache_server::source::{Connection, OriginConfig, SourceSpec};
use forebay_cache_server::store::{Store, StoreConfig, TierConfig, TierKind};
use forebay_core::ByteRange;
use forebay_core::cache::{Availability, Cache, FileRef, Lease};
use forebay_core::manifest::{Builder, EntryId, Listed, Manifest, Source};
use forebay_loopback_s3::{LoopbackS3, synthetic};
use tempfile::TempDir;
use tokio::runtime::Handle;

use crate::separate::until;

const MIB: u64 = 1 << 20;
const KIB: u64 = 1 << 10;
const SEED: u64 = 7;

/// A node over a bucket with one large object.
struct Large {
    s3: LoopbackS3,
    cache: Arc<NodeCache>,
    manifest: Arc<Manifest>,
    origin: Arc<dyn Origin>,
    size: u64,
    dir: TempDir,
}

impl Large {
    fn new(size: u64) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("forebay-random-")
            .tempdir()
            .unwrap();
        let s3 = LoopbackS3::builder().start().unwrap();
        s3.create_bucket("data");
        let etag = s3.put_synthetic("data", "large", size, SEED);
        let connection = Connection {
            endpoint: Some(s3.endpoint()),
            anonymous: true,
            ..Connection::default()
        };
        let spec = SourceSpec::parse("s3://data", connection).unwrap();
        let origin = spec.open(&OriginConfig::default()).unwrap();
        let manifest = Arc::new(manifest(&dir, &*origin, size, &etag));
        let cache = open(&dir, &manifest, &origin);
        Self {
            s3,
            cache,
            manifest,
            origin,
            size,
            dir,
        }
    }

    async fn restart(&mut self) {
        self.cache.shutdown().await;
        self.cache = open(&self.dir, &self.manifest, &self.origin);
    }

    async fn lease(&self) -> Lease {
        let (version, entry) = (self.manifest.version(), self.manifest.resolve(b"large"));
        let entry: EntryId = entry.unwrap();
        self.cache.lease(FileRef { version, entry }).await.unwrap()
    }

    /// Reads as the fuse client does, and compares: what comes while it is being filed,
    /// and what is in the file then.
    async fn read(&self, lease: &Lease, range: ByteRange) {
        let mut expected = vec![0; range.len() as usize];
        synthetic::fill(SEED, range.start(), &mut expected);
        if self.cache.ready(lease, range).is_none()
            && let Availability::Inline(bytes) = self.cache.ensure(lease, range).await.unwrap()
        {
            assert!(bytes == expected, "wrong bytes at {range}");
            let filed = || self.cache.ready(lease, range).is_some();
            until("there is room for everything", filed).await;
        }
        let Some(Availability::Backed(backing)) = self.cache.ready(lease, range) else {
            panic!("there is room for everything")
        };
        let mut found = vec![0; expected.len()];
        let at = backing.offset + range.start();
        backing.file.read_exact_at(&mut found, at).unwrap();
        assert!(found == expected, "wrong bytes at {range}");
    }

    fn fetched(&self) -> u64 {
        self.s3.stats().object_bytes_sent
    }

    fn kept(&self) -> u64 {
        self.cache.usage().used_bytes
    }
}

fn manifest(dir: &TempDir, origin: &dyn Origin, size: u64, etag: &str) -> Manifest {
    let source = Source {
        name: String::new(),
        url: origin.identity().to_owned(),
    };
    let mut builder = Builder::new(dir.path(), vec![source]).unwrap();
    let modified = UNIX_EPOCH.elapsed().unwrap().as_nanos() as i64;
    let object = Listed {
        key: b"large",
        size,
        modified,
        etag,
    };
    builder.push(0, object).unwrap();
    let version = builder.finish().unwrap();
    Manifest::open(&dir.path().join(format!("{version}.manifest"))).unwrap()
}

fn open(dir: &TempDir, manifest: &Arc<Manifest>, origin: &Arc<dyn Origin>) -> Arc<NodeCache> {
    let tier = TierConfig::new(TierKind::Disk, dir.path().join("tier"), 4 << 30);
    let store = Store::open(StoreConfig::new(vec![tier])).unwrap();
    let cache = NodeCache::new(store, FillConfig::default(), Handle::current());
    cache.attach(Arc::clone(manifest), vec![Arc::clone(origin)]);
    cache
}

/// Offsets here and there, the same ones in every run.
fn offsets(below: u64) -> impl Iterator<Item = u64> {
    let mut dice = 5_u64;
    std::iter::repeat_with(move || {
        // Knuth's MMIX generator; the upper bits are the good ones.
        dice = dice
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (dice >> 20) % below
    })
}

async fn random_reads_then_all(align: u64) {
    const READ: u64 = 128 * KIB;
    const READS: usize = 2000;
    let mut large = Large::new(512 * MIB);
    let places: Vec<u64> = offsets(large.size - READ)
        .map(|at| at / align * align)
        .take(READS)
        .collect();
    let lease = large.lease().await;
    for &at in &places {
        large.read(&lease, ByteRange::at(at, READ)).await;
    }
    let asked = READS as u64 * READ;
    let (fetched, kept) = (large.fetched(), large.kept());
    assert!(
        fetched * 10 <= asked * 11,
        "{fetched} bytes fetched, {asked} asked for"
    );
    assert_eq!(kept, fetched, "what was fetched is what is kept");
    drop(lease);

    large.restart().await;
    let lease = large.lease().await;
    for &at in &places {
        large.read(&lease, ByteRange::at(at, READ)).await;
    }
    assert_eq!(large.fetched(), fetched, "a restart fetches nothing again");
    drop(lease);

    let lease = large.lease().await;
    for at in (0..large.size).step_by(MIB as usize) {
        large.read(&lease, ByteRange::at(at, MIB)).await;
    }
    assert_eq!(large.fetched(), large.size, "exactly the rest is fetched");
    assert_eq!(large.kept(), large.size);
    assert!(large.cache.whole(&lease).await.is_some());
}

#[tokio::test]
async fn random_reads_fetch_and_keep_what_they_ask_for() {
    random_reads_then_all(4096).await;
}

#[tokio::test]
async fn unaligned_random_reads_fetch_and_keep_little_more_than_they_ask_for() {
    random_reads_then_all(1).await;
}

#[tokio::test]
async fn concurrent_readers_of_overlapping_places_fetch_no_byte_twice() {
    let large = Arc::new(Large::new(8 * MIB));
    let readers: Vec<_> = (0..16_usize)
        .map(|reader| {
            let large = Arc::clone(&large);
            tokio::spawn(async move {
                let lease = large.lease().await;
                for at in offsets(large.size - 100 * KIB).skip(reader / 4).take(200) {
                    large.read(&lease, ByteRange::at(at, 100 * KIB)).await;
                }
            })
        })
        .collect();
    for reader in readers {
        reader.await.unwrap();
    }
    assert_eq!(large.fetched(), large.kept());
    assert!(large.fetched() <= large.size);
}

#[tokio::test]
async fn a_sequential_reader_is_served_by_whole_parts() {
    let large = Large::new(16 * MIB);
    let lease = large.lease().await;
    for at in (0..large.size).step_by(128 * KIB as usize) {
        large.read(&lease, ByteRange::at(at, 128 * KIB)).await;
    }
    let requests = large.cache.fill_stats().snapshot().flights;
    assert_eq!((large.fetched(), requests), (large.size, 16));
}
