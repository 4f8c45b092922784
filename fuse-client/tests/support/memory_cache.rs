//! A cache in memory, and the manifests of what it holds: what the tests read instead of
//! a bucket. How each path is served can be scripted, and changed at any time.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use forebay_core::cache::{Availability, Backing, Cache, CacheError, FileRef, Lease, Usage};
use forebay_core::manifest::{Builder, EntryId, Listed, Manifest, Source, VersionId};
use forebay_core::{ByteRange, ErrorKind};
use futures::FutureExt;
use futures::future::BoxFuture;

/// Bytes before an object in its backing file, so that offsets are seen to be used.
const LEAD: u64 = 333;

/// When every object was modified, in nanoseconds since 1970.
pub(crate) const MODIFIED: i64 = 1_700_000_000_123_456_789;

/// How a path is served.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Serve {
    /// From a file, at once.
    Backed,
    /// From a file, after a wait.
    Later(Duration),
    /// From a file that holds nothing else, which the kernel may read by itself.
    Whole,
    /// As bytes in the answer.
    Inline,
    /// Not at all: readers wait for ever.
    Never,
    /// With an error.
    Fail(ErrorKind),
    /// From a file that has lost its last byte.
    CutShort,
    /// The same, until the cache is told.
    CutShortUntilDistrusted,
    /// Not at all, and it cannot even be opened: who tries waits for ever.
    NoLease,
}

#[derive(Debug)]
struct Object {
    path: String,
    bytes: Bytes,
    file: Arc<File>,
}

/// The objects of all versions, and how they are served.
#[derive(Debug, Default)]
pub(crate) struct MemoryCache {
    objects: Mutex<HashMap<FileRef, Arc<Object>>>,
    script: Mutex<HashMap<String, Serve>>,
    advised: Mutex<Vec<(String, ByteRange)>>,
    refuse_advice: AtomicBool,
    leases: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Held {
    object: Arc<Object>,
    leases: Arc<AtomicUsize>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.leases.fetch_sub(1, Ordering::SeqCst);
    }
}

impl MemoryCache {
    fn serve(&self, path: &str) -> Serve {
        self.script
            .lock()
            .unwrap()
            .get(path)
            .copied()
            .unwrap_or(Serve::Backed)
    }

    fn object(&self, file: FileRef) -> Result<Arc<Object>, CacheError> {
        let objects = self.objects.lock().unwrap();
        let unknown = || CacheError::new(ErrorKind::NotFound, format!("{file:?} is not here"));
        objects.get(&file).cloned().ok_or_else(unknown)
    }
}

fn held(lease: &Lease) -> &Object {
    &lease.state.downcast_ref::<Held>().unwrap().object
}

fn backed(object: &Object) -> Availability {
    Availability::Backed(Backing {
        file: Arc::clone(&object.file),
        offset: LEAD,
    })
}

fn whole(object: &Object) -> Arc<File> {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(&object.bytes, 0).unwrap();
    Arc::new(file)
}

fn cut_short(object: &Object) -> Availability {
    let short = &object.bytes[..object.bytes.len().saturating_sub(1)];
    Availability::Backed(Backing {
        file: Arc::new(backing_file(short)),
        offset: LEAD,
    })
}

fn inline(object: &Object, range: ByteRange) -> Availability {
    Availability::Inline(
        object
            .bytes
            .slice(range.start() as usize..range.end() as usize),
    )
}

impl Cache for MemoryCache {
    fn lease(&self, file: FileRef) -> BoxFuture<'_, Result<Lease, CacheError>> {
        let object = self.object(file);
        let path = object
            .as_ref()
            .map(|object| object.path.clone())
            .unwrap_or_default();
        if matches!(self.serve(&path), Serve::NoLease) {
            return futures::future::pending().boxed();
        }
        let lease = object.map(|object| {
            self.leases.fetch_add(1, Ordering::SeqCst);
            let size = object.bytes.len() as u64;
            let held = Held {
                object,
                leases: Arc::clone(&self.leases),
            };
            Lease {
                file,
                size,
                state: Box::new(held),
            }
        });
        futures::future::ready(lease).boxed()
    }

    fn ensure<'a>(
        &'a self,
        lease: &'a Lease,
        range: ByteRange,
    ) -> BoxFuture<'a, Result<Availability, CacheError>> {
        async move {
            let object = held(lease);
            assert!(
                range.end() <= lease.size && !range.is_empty(),
                "asked for {range}"
            );
            match self.serve(&object.path) {
                Serve::Backed | Serve::Whole => Ok(backed(object)),
                Serve::Later(wait) => {
                    tokio::time::sleep(wait).await;
                    Ok(backed(object))
                }
                Serve::Inline => Ok(inline(object, range)),
                Serve::Never | Serve::NoLease => std::future::pending().await,
                Serve::Fail(kind) => Err(CacheError::new(kind, format!("scripted: {kind:?}"))),
                Serve::CutShort | Serve::CutShortUntilDistrusted => Ok(cut_short(object)),
            }
        }
        .boxed()
    }

    fn ready(&self, lease: &Lease, range: ByteRange) -> Option<Availability> {
        let object = held(lease);
        assert!(
            range.end() <= lease.size && !range.is_empty(),
            "asked for {range}"
        );
        match self.serve(&object.path) {
            Serve::Backed | Serve::Whole => Some(backed(object)),
            Serve::Inline => Some(inline(object, range)),
            Serve::CutShort | Serve::CutShortUntilDistrusted => Some(cut_short(object)),
            Serve::Later(_) | Serve::Never | Serve::NoLease | Serve::Fail(_) => None,
        }
    }

    fn whole<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Option<Arc<File>>> {
        let object = held(lease);
        let whole = match self.serve(&object.path) {
            Serve::Whole => Some(whole(object)),
            _ => None,
        };
        futures::future::ready(whole).boxed()
    }

    fn distrust<'a>(&'a self, lease: &'a Lease, _range: ByteRange) -> BoxFuture<'a, ()> {
        let path = &held(lease).path;
        if matches!(self.serve(path), Serve::CutShortUntilDistrusted) {
            self.script
                .lock()
                .unwrap()
                .insert(path.clone(), Serve::Backed);
        }
        futures::future::ready(()).boxed()
    }

    fn advise(&self, lease: &Lease, range: ByteRange) -> u64 {
        if self.refuse_advice.load(Ordering::SeqCst) {
            return 0;
        }
        let path = held(lease).path.clone();
        self.advised.lock().unwrap().push((path, range));
        range.len()
    }

    fn cached_bytes(&self, file: FileRef) -> BoxFuture<'_, Result<u64, CacheError>> {
        let cached = self.object(file).map(|object| object.bytes.len() as u64);
        futures::future::ready(cached).boxed()
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }
}

/// A cache in memory and a place for the manifests of its versions.
#[derive(Debug)]
pub(crate) struct Fixture {
    dir: tempfile::TempDir,
    cache: Arc<MemoryCache>,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("forebay-fuse-test-")
            .tempdir()
            .unwrap();
        Self {
            dir,
            cache: Arc::default(),
        }
    }

    /// A version with these paths and contents. The same contents give the same version.
    pub(crate) fn version<P>(&self, files: &[(&P, &[u8])]) -> Arc<Manifest>
    where
        P: AsRef<[u8]> + ?Sized,
    {
        let listed = files.iter().map(|(path, bytes)| (path.as_ref(), *bytes));
        let manifest = self.manifest(listed.clone());
        for (path, bytes) in listed {
            let entry = manifest.resolve(path).unwrap();
            self.keep(manifest.version(), entry, path, bytes);
        }
        manifest
    }

    /// A version with these paths and contents, of which the cache knows nothing: it can
    /// be listed, not read.
    pub(crate) fn manifest<'a>(
        &self,
        files: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Arc<Manifest> {
        let source = Source {
            name: String::new(),
            url: "test://fixture".to_owned(),
        };
        let mut builder = Builder::new(self.dir.path(), vec![source]).unwrap();
        for (key, bytes) in files {
            let (size, etag) = (bytes.len() as u64, &etag(bytes));
            builder
                .push(
                    0,
                    Listed {
                        key,
                        size,
                        modified: MODIFIED,
                        etag,
                    },
                )
                .unwrap();
        }
        let version = builder.finish().unwrap();
        let path = self.dir.path().join(format!("{version}.manifest"));
        Arc::new(Manifest::open(&path).unwrap())
    }

    fn keep(&self, version: VersionId, entry: EntryId, path: &[u8], bytes: &[u8]) {
        let object = Object {
            path: String::from_utf8_lossy(path).into_owned(),
            bytes: Bytes::copy_from_slice(bytes),
            file: Arc::new(backing_file(bytes)),
        };
        let file = FileRef { version, entry };
        self.cache
            .objects
            .lock()
            .unwrap()
            .insert(file, Arc::new(object));
    }

    pub(crate) fn cache(&self) -> Arc<dyn Cache> {
        Arc::clone(&self.cache) as Arc<dyn Cache>
    }

    /// Serves `path` this way from now on, in every version.
    pub(crate) fn serve(&self, path: &str, serve: Serve) {
        self.cache
            .script
            .lock()
            .unwrap()
            .insert(path.to_owned(), serve);
    }

    /// Leases that are held.
    pub(crate) fn leases(&self) -> usize {
        self.cache.leases.load(Ordering::SeqCst)
    }

    /// What the cache was told about reads to come.
    pub(crate) fn advised(&self) -> Vec<ByteRange> {
        let advised = self.cache.advised.lock().unwrap();
        advised.iter().map(|(_, range)| *range).collect()
    }

    /// The files that the cache was told about, in order.
    pub(crate) fn advised_files(&self) -> Vec<String> {
        let advised = self.cache.advised.lock().unwrap();
        advised.iter().map(|(path, _)| path.clone()).collect()
    }

    /// Whether the cache has no room for advice from now on.
    pub(crate) fn refuse_advice(&self, refuse: bool) {
        self.cache.refuse_advice.store(refuse, Ordering::SeqCst);
    }
}

fn backing_file(bytes: &[u8]) -> File {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(bytes, LEAD).unwrap();
    file
}

/// A validator as S3 gives it: quoted, and different for different bytes.
fn etag(bytes: &[u8]) -> String {
    format!(
        "\"{:08x}-{}\"",
        forebay_core::checksum::crc32c(bytes),
        bytes.len()
    )
}
