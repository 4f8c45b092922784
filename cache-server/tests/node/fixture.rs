//! A node's cache over an origin in memory, in a directory of its own.

#![expect(
    clippy::unwrap_used,
    reason = "a fixture that cannot be set up fails its test"
)]

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use forebay_cache_server::fill::FillConfig;
use forebay_cache_server::node::NodeCache;
use forebay_cache_server::origin::{Faulty, MemoryOrigin, Origin};
use forebay_cache_server::store::{Store, StoreConfig, TierConfig, TierKind};
use forebay_core::ByteRange;
use forebay_core::cache::{Availability, Cache, CacheError, FileRef, Lease};
use forebay_core::manifest::{Builder, Listed, Manifest, Source, VersionId};
use tempfile::TempDir;
use tokio::runtime::Handle;

use crate::separate::until;

pub(crate) const MIB: usize = 1 << 20;

/// `len` bytes that differ from chunk to chunk.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len)
        .map(|i| (i % 251) as u8 ^ (i / MIB) as u8)
        .collect()
}

pub(crate) struct Node {
    pub(crate) memory: Arc<MemoryOrigin>,
    pub(crate) origin: Arc<Faulty>,
    pub(crate) cache: Arc<NodeCache>,
    pub(crate) version: VersionId,
    manifest: Arc<Manifest>,
    config: FillConfig,
    quota: u64,
    dir: TempDir,
}

impl Node {
    pub(crate) async fn start(objects: &[(&str, Vec<u8>)]) -> Self {
        Self::start_with(objects, FillConfig::default(), 1 << 30).await
    }

    pub(crate) async fn start_with(
        objects: &[(&str, Vec<u8>)],
        config: FillConfig,
        quota: u64,
    ) -> Self {
        let dir = TempDir::new().unwrap();
        let memory = Arc::new(MemoryOrigin::default());
        let origin = Arc::new(Faulty::new(Arc::clone(&memory) as Arc<dyn Origin>));
        let manifest = Arc::new(build(dir.path(), &memory, objects));
        let cache = open(dir.path(), quota, &config, &manifest, &origin);
        let version = manifest.version();
        Self {
            memory,
            origin,
            cache,
            version,
            manifest,
            config,
            quota,
            dir,
        }
    }

    /// The file of the version's manifest.
    pub(crate) fn manifest_path(&self) -> PathBuf {
        self.dir.path().join(format!("{}.manifest", self.version))
    }

    /// The file at `path` of the tree.
    pub(crate) fn file(&self, path: &str) -> FileRef {
        let entry = self.manifest.resolve(path.as_bytes());
        FileRef {
            version: self.version,
            entry: entry.expect("the path is in the tree"),
        }
    }

    /// A path for a socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("cache.sock")
    }

    /// Stops the node in order and starts it again over the same directory.
    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.open_again();
    }

    /// The directory of its tier.
    pub(crate) fn tier(&self) -> PathBuf {
        self.dir.path().join("tier")
    }

    /// Stops the node in order.
    pub(crate) async fn stop(&self) {
        self.cache.shutdown().await;
    }

    /// Starts the node, which was stopped, over the same directory.
    pub(crate) fn open_again(&mut self) {
        let (dir, quota) = (self.dir.path(), self.quota);
        self.cache = open(dir, quota, &self.config, &self.manifest, &self.origin);
    }

    pub(crate) async fn lease(&self, path: &str) -> Lease {
        self.cache.lease(self.file(path)).await.unwrap()
    }

    pub(crate) async fn read(&self, path: &str, range: ByteRange) -> Result<Vec<u8>, CacheError> {
        let lease = self.lease(path).await;
        let found = self.cache.ensure(&lease, range).await?;
        if matches!(found, Availability::Inline(_)) {
            let ended = || self.cache.fill_stats().snapshot().in_flight == 0;
            let filed = || self.cache.ready(&lease, range).is_some() || ended();
            until("what was read is filed", filed).await;
        }
        Ok(bytes_of(&found, range))
    }
}

/// The bytes of `range`, where the cache has said that they are.
pub(crate) fn bytes_of(found: &Availability, range: ByteRange) -> Vec<u8> {
    match found {
        Availability::Inline(bytes) => bytes.to_vec(),
        Availability::Backed(backing) => {
            let mut bytes = vec![0; range.len() as usize];
            let at = backing.offset + range.start();
            backing.file.read_exact_at(&mut bytes, at).unwrap();
            bytes
        }
    }
}

fn build(dir: &Path, memory: &MemoryOrigin, objects: &[(&str, Vec<u8>)]) -> Manifest {
    let source = Source {
        name: String::new(),
        url: memory.identity().to_owned(),
    };
    let mut builder = Builder::new(dir, vec![source]).unwrap();
    for (key, bytes) in objects {
        let listed = memory.put(key, bytes.clone());
        let modified = listed
            .modified
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_nanos() as i64;
        let etag = listed.etag.as_str();
        let object = Listed {
            key: &listed.key,
            size: listed.size,
            modified,
            etag,
        };
        builder.push(0, object).unwrap();
    }
    let version = builder.finish().unwrap();
    Manifest::open(&dir.join(format!("{version}.manifest"))).unwrap()
}

fn open(
    dir: &Path,
    quota: u64,
    config: &FillConfig,
    manifest: &Arc<Manifest>,
    origin: &Arc<Faulty>,
) -> Arc<NodeCache> {
    let tier = TierConfig::new(TierKind::Disk, dir.join("tier"), quota);
    let store = Store::open(StoreConfig::new(vec![tier])).unwrap();
    let cache = NodeCache::new(store, config.clone(), Handle::current());
    cache.attach(
        Arc::clone(manifest),
        vec![Arc::clone(origin) as Arc<dyn Origin>],
    );
    cache
}
