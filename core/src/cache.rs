//! The one trait through which a file system asks a cache for bytes.
//!
//! It is implemented by the cache server's node (in the same process, for
//! `forebay mount` with an embedded cache) and by the client's end of a Unix socket.
//! Both pass the same conformance suite.
//!
//! Bytes do not travel through the trait when they need not: [`Cache::ensure`] makes
//! a range present and says in which open file it lies, and the caller reads it there.

use std::any::Any;
use std::fmt;
use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::manifest::{EntryId, VersionId};
use crate::{ByteRange, ErrorKind};

/// One file of one dataset version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileRef {
    /// The dataset version.
    pub version: VersionId,
    /// The file's position in that version's manifest.
    pub entry: EntryId,
}

/// Where bytes of an object lie: object byte `n` is byte `offset + n` of `file`.
#[derive(Clone, Debug)]
pub struct Backing {
    /// An open file of the cache. It stays readable after the cache has evicted the
    /// object, because eviction unlinks and never truncates.
    pub file: Arc<File>,
    /// The offset of the object's first byte. Not 0 for a small object, which shares its
    /// file with others.
    pub offset: u64,
}

/// The answer of [`Cache::ensure`]: the whole range is there.
#[derive(Clone, Debug)]
pub enum Availability {
    /// The bytes can be read from this file, until the lease is dropped.
    Backed(Backing),
    /// The bytes themselves, exactly as many as were asked for: there was no room to
    /// keep them.
    Inline(Bytes),
}

/// The right to read one object, held from `open` to `release`.
///
/// While it lives the object is not evicted. Dropping it gives the right back.
pub struct Lease {
    /// The file it was taken for.
    pub file: FileRef,
    /// The object's size in bytes.
    pub size: u64,
    /// What the cache keeps with the lease; private to the implementation.
    pub state: Box<dyn Any + Send + Sync>,
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("file", &self.file)
            .field("size", &self.size)
            .finish()
    }
}

/// Why a cache could not serve a request.
///
/// It can be cloned, because all waiters of one fill get the same error.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct CacheError {
    /// What the caller decides on.
    pub kind: ErrorKind,
    /// What happened, on which object, for a log line.
    pub message: Arc<str>,
}

impl CacheError {
    /// An error of `kind` that says `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into().into(),
        }
    }
}

/// How full a cache is, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The sum of the tiers' quotas.
    pub capacity_bytes: u64,
    /// What the tiers hold.
    pub used_bytes: u64,
}

/// A cache as its readers see it.
///
/// No method blocks the calling thread for longer than a look into memory, and each
/// future is cancel-safe: dropping it gives up waiting, and what other readers wait
/// for goes on.
pub trait Cache: Send + Sync + fmt::Debug + 'static {
    /// Takes a lease on `file`.
    ///
    /// Succeeds without the origin: it promises that the object is in the manifest,
    /// not that it can be fetched.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if the version is unknown or the entry is no file.
    fn lease(&self, file: FileRef) -> BoxFuture<'_, Result<Lease, CacheError>>;

    /// Makes `range` readable, fetching what is missing, and says where.
    ///
    /// The range must lie within the object. The implementation bounds the wait (see
    /// `--origin-timeout`) and MUST have verified every byte it declares present:
    /// at fill, or at first use after a restart.
    ///
    /// # Errors
    /// Any [`ErrorKind`]; [`ErrorKind::Stale`] if the origin no longer has the pinned
    /// version of the object.
    fn ensure<'a>(
        &'a self,
        lease: &'a Lease,
        range: ByteRange,
    ) -> BoxFuture<'a, Result<Availability, CacheError>>;

    /// The answer of [`ensure`](Self::ensure) if it can be given at once, without I/O
    /// and without waiting; `None` otherwise.
    fn ready(&self, lease: &Lease, range: ByteRange) -> Option<Availability>;

    /// The file that holds the object from its first byte to its last, each of them
    /// verified, at offset 0: what the kernel can read without asking. `None` if the
    /// cache has no such file now. The file is looked at each time: if somebody else has
    /// been at it, its bytes are verified anew before it is handed out again.
    ///
    /// Never waits for the origin. Where much is yet to be verified after a restart,
    /// that is begun and `None` answered meanwhile.
    fn whole<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Option<Arc<File>>>;

    /// Says that `range` was declared present and could not be read, or not all of it.
    ///
    /// The cache compares what it has of it with the checksums and drops what is wrong;
    /// the next [`ensure`](Self::ensure) brings that anew. Never waits for the origin.
    fn distrust<'a>(&'a self, lease: &'a Lease, range: ByteRange) -> BoxFuture<'a, ()>;

    /// Says that `range` will probably be read soon. Returns at once: how many bytes of
    /// it, from its beginning on, the cache takes note of.
    ///
    /// The cache may fetch those when that takes nothing from a reader that waits. For
    /// the others it has no room now; they may be advised again later.
    fn advise(&self, lease: &Lease, range: ByteRange) -> u64;

    /// The bytes of `file` that are in the cache.
    fn cached_bytes(&self, file: FileRef) -> BoxFuture<'_, Result<u64, CacheError>>;

    /// How full the cache is.
    fn usage(&self) -> Usage;
}
