//! Origins: where the objects of a dataset come from.
//!
//! An [`Origin`] lists and reads, nothing else. What every origin needs (retries
//! under a deadline, counting, throttling, scripted faults in tests) is a wrapper that
//! implements the same trait.

use std::fmt;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use forebay_core::{ByteRange, ETag, ErrorKind};
use futures::stream::BoxStream;

/// The body of a read: pieces in order, as they arrive.
///
/// A well-behaved body yields exactly the range asked for and then ends; a shorter or
/// longer one is reported by the reader as [`Error::Truncated`].
pub type Body = BoxStream<'static, Result<Bytes, Error>>;

/// One object as an origin lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedObject {
    /// The key below the source's prefix, in raw bytes, as the origin keeps it.
    pub key: Vec<u8>,
    /// The object's size in bytes.
    pub size: u64,
    /// When it was last written.
    pub modified: SystemTime,
    /// The validator of this version; empty if the origin has none.
    pub etag: ETag,
}

/// One object to read, pinned to a version.
#[derive(Clone, Copy, Debug)]
pub struct PinnedObject<'a> {
    /// The key below the source's prefix.
    pub key: &'a [u8],
    /// The object's size in bytes, as listed.
    pub size: u64,
    /// The version that the bytes must be of; sent as `If-Match` where origins have it.
    pub etag: &'a ETag,
}

/// A place that objects are read from.
#[async_trait]
pub trait Origin: Send + Sync + fmt::Debug + 'static {
    /// The identity of the place: URL without credentials, query or trailing slash.
    /// Two origins of equal identity hold the same bytes under equal keys and ETags.
    fn identity(&self) -> &str;

    /// Lists every object below the source's prefix, in any order.
    ///
    /// The stream is lazy, bounded in memory, and ends after the first error.
    fn list(&self) -> BoxStream<'_, Result<ListedObject, Error>>;

    /// Reads `range` of `object`, in the pinned version.
    ///
    /// The implementation MUST NOT yield a byte of another version: it sends the
    /// validator with the request, or compares identity before and after.
    ///
    /// # Errors
    /// [`Error::Changed`] if the object at the origin is another version, the other
    /// variants as the origin answers. The body can fail later with the same errors.
    async fn read(&self, object: PinnedObject<'_>, range: ByteRange) -> Result<Body, Error>;
}

/// Why an origin could not be listed or read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// 404: no such object or bucket.
    #[error("{what} does not exist at the origin")]
    NotFound {
        /// The object or bucket.
        what: String,
    },
    /// 401 or 403.
    #[error("the origin refuses access to {what}: {reason}")]
    Forbidden {
        /// The object or bucket.
        what: String,
        /// The origin's code or words, without credentials.
        reason: String,
    },
    /// 412, or another identity than the pinned one.
    #[error("{what} was overwritten at the origin since it was listed")]
    Changed {
        /// The object.
        what: String,
    },
    /// 416: the object is shorter than it was listed.
    #[error("{what} is shorter at the origin than listed")]
    OutOfRange {
        /// The object.
        what: String,
    },
    /// 429, or 503 with a request to slow down.
    #[error("the origin asks to slow down reading {what}")]
    Throttled {
        /// The object or bucket.
        what: String,
    },
    /// Another 5xx answer.
    #[error("the origin answered {status} for {what}")]
    Server {
        /// The object or bucket.
        what: String,
        /// The HTTP status.
        status: u16,
    },
    /// No connection, or it broke.
    #[error("the origin cannot be reached for {what}: {reason}")]
    Unreachable {
        /// The object or bucket.
        what: String,
        /// The transport's words.
        reason: String,
    },
    /// The body ended early or carried more than was asked for.
    #[error("the origin sent {got} of {expected} bytes of {what}")]
    Truncated {
        /// The object.
        what: String,
        /// Bytes asked for.
        expected: u64,
        /// Bytes received.
        got: u64,
    },
    /// Nothing arrived for longer than the stall limit, or the deadline passed.
    #[error("the origin did not answer in time for {what}")]
    TimedOut {
        /// The object or bucket.
        what: String,
    },
    /// The answer cannot be understood, or the request cannot be made.
    #[error("{what}: {reason}")]
    Protocol {
        /// The object or bucket.
        what: String,
        /// What is wrong.
        reason: String,
    },
}

impl Error {
    /// The class of the error, on which retries and `errno` depend.
    pub fn kind(&self) -> ErrorKind {
        match self {
            // An object of the pinned version that is gone is no longer that version:
            // a reader gets ESTALE for it, as for an overwritten one.
            Self::NotFound { .. } | Self::Changed { .. } | Self::OutOfRange { .. } => {
                ErrorKind::Stale
            }
            Self::Forbidden { .. } => ErrorKind::PermissionDenied,
            Self::Throttled { .. } => ErrorKind::Throttled,
            Self::Server { .. } | Self::Unreachable { .. } => ErrorKind::Unavailable,
            Self::Truncated { .. } => ErrorKind::Corrupt,
            Self::TimedOut { .. } => ErrorKind::TimedOut,
            Self::Protocol { .. } => ErrorKind::Internal,
        }
    }
}
