//! Origins: where the objects of a dataset come from.
//!
//! An [`Origin`] lists and reads, nothing else. What every origin needs (retries
//! under a deadline, counting, scripted faults in tests) is a wrapper that implements
//! the same trait.

use std::fmt;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use forebay_core::manifest::SkipReason;
use forebay_core::{ByteRange, ETag, ObjectId};
use futures::stream::{BoxStream, StreamExt};

#[cfg(test)]
pub(crate) mod conformance;
mod error;
mod faulty;
mod file;
mod memory;
mod metered;
mod object_store;
mod retrying;
mod s3;
mod stats;
mod transport;
mod validator;

pub(crate) use self::object_store::{Lister, Remote};
pub use error::Error;
pub use faulty::{Fault, Faulty, ReadCall};
pub(crate) use file::Directory;
pub use memory::MemoryOrigin;
pub use metered::Metered;
pub use retrying::{Patience, Retrying};
pub(crate) use s3::{BucketUrl, Config as S3Config, Credentials, S3};
pub use stats::OriginStats;
pub(crate) use transport::{CONNECT_TIMEOUT, install_crypto_provider};

/// The body of a read: pieces in order, as they arrive.
///
/// A well-behaved body yields exactly the range asked for and then ends; a shorter or
/// longer one is reported by the reader as [`Error::Truncated`].
pub type Body = BoxStream<'static, Result<Bytes, Error>>;

/// A piece of a body, and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The bytes.
    pub bytes: Bytes,
    /// Their CRC32C, if the origin has sent it and it was compared.
    pub crc: Option<u32>,
}

/// A [`Body`] whose pieces may have been checked on their way.
pub struct CheckedBody {
    /// The pieces.
    pub pieces: BoxStream<'static, Result<Piece, Error>>,
    /// Whether waiting for a piece holds up the thread: they are to be taken on one that
    /// may be held up, and what is done with a piece may hold it up as well.
    pub holds_thread: bool,
}

impl fmt::Debug for CheckedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckedBody")
            .field("holds_thread", &self.holds_thread)
            .finish_non_exhaustive()
    }
}

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

/// How deep a page of a listing reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Objects directly below the prefix; what lies behind a further `/` is summed up
    /// in [`Page::prefixes`].
    One,
    /// Every object below the prefix, as far as the origin can list it in one go.
    All,
}

/// Where a listing goes on: what the origin gave with the page before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageToken(pub String);

/// Which page of a listing is wanted.
#[derive(Clone, Copy, Debug)]
pub struct PageRequest<'a> {
    /// What the keys start with, below the source's prefix. Empty, or ending in `/`.
    pub prefix: &'a [u8],
    /// How deep to list.
    pub depth: Depth,
    /// The token of the page before; `None` for the first page.
    pub after: Option<&'a PageToken>,
}

/// Something an origin has that can never be a file of a dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unservable {
    /// Its key below the source's prefix.
    pub key: Vec<u8>,
    /// Why.
    pub reason: SkipReason,
}

/// One page of a listing, in any order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Objects, with their whole keys below the source's prefix.
    pub objects: Vec<ListedObject>,
    /// Prefixes that end in `/` and have more below them that no page of this listing
    /// holds: whoever wants all objects lists each of them. An origin may give some
    /// for [`Depth::All`] too.
    pub prefixes: Vec<Vec<u8>>,
    /// What was met and cannot be shown.
    pub unservable: Vec<Unservable>,
    /// Where the next page starts; `None` if this is the last.
    pub next: Option<PageToken>,
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

/// Which bytes of an origin this node keeps for all.
pub trait Placement {
    /// Whether this node is to keep the segment of object `id` that byte `offset` lies in.
    /// What it is not to keep is a copy of what another node has.
    fn is_kept_here(&self, id: ObjectId, offset: u64) -> bool;
}

/// A place that objects are read from.
#[async_trait]
pub trait Origin: Send + Sync + fmt::Debug + 'static {
    /// The identity of the place: URL without credentials, query or trailing slash.
    /// Two origins of equal identity hold the same bytes under equal keys and ETags.
    fn identity(&self) -> &str;

    /// Who keeps what, if the origin knows of other nodes.
    fn placement(&self) -> Option<&dyn Placement> {
        None
    }

    /// Lists one page of the objects below `request.prefix`.
    ///
    /// Following [`Page::next`] to its end and then listing [`Page::prefixes`] yields
    /// each object exactly once, if the origin does not change meanwhile. A page that
    /// failed may be asked for again.
    ///
    /// # Errors
    /// As the origin answers; never [`Error::Changed`] or [`Error::OutOfRange`].
    async fn list(&self, request: PageRequest<'_>) -> Result<Page, Error>;

    /// Reads `range` of `object`, in the pinned version.
    ///
    /// The implementation MUST NOT yield a byte of another version: it sends the
    /// validator with the request, or compares identity before a piece is yielded.
    ///
    /// # Errors
    /// [`Error::Changed`] if the object at the origin is another version, the other
    /// variants as the origin answers. The body can fail later with the same errors.
    async fn read(&self, object: PinnedObject<'_>, range: ByteRange) -> Result<Body, Error>;

    /// The same as [`read`](Self::read), with the checksums of pieces that were compared on
    /// the way. Of an origin that sends none there are none.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    async fn read_checked(
        &self,
        object: PinnedObject<'_>,
        range: ByteRange,
    ) -> Result<CheckedBody, Error> {
        let body = self.read(object, range).await?;
        let unchecked = |bytes| Piece { bytes, crc: None };
        Ok(CheckedBody {
            pieces: body.map(move |bytes| bytes.map(unchecked)).boxed(),
            holds_thread: false,
        })
    }
}

/// A key as messages show it: on one line, whatever its bytes are.
fn printable(key: &[u8]) -> String {
    let text = String::from_utf8_lossy(key);
    let escape = |c: char| {
        if c.is_control() {
            c.escape_default().collect()
        } else {
            String::from(c)
        }
    };
    text.chars().map(escape).collect()
}
