//! Reads.
//!
//! A read has two halves. [`DatasetFs::begin_read`] runs where the kernel's request
//! arrives and never waits: bytes that are in the cache are answered from there. What is
//! missing comes back as a [`PendingRead`], for which [`DatasetFs::finish_read`] waits.

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use forebay_core::ByteRange;
use forebay_core::cache::{Availability, Backing, FileRef, Lease};
use forebay_core::manifest::Kind;
use futures::FutureExt;

use super::DatasetFs;
use super::error::FsError;
use super::handle::{How, OpenFile};
use super::inode::Inode;
use crate::buffer;
use crate::open_mode::OpenMode;

/// Files of this size and less are read with one request, readahead included.
const ONE_REQUEST: u64 = 1 << 20;

/// How the bytes of a read get to the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Through {
    /// By way of the page cache, which tries a failed read twice (see
    /// [`refusal`](super::refusal)).
    Pages,
    /// Straight, as with `O_DIRECT`.
    Nothing,
}

/// A read that has begun.
#[derive(Debug)]
pub(crate) enum Read {
    /// Nothing lies at the offset: the end of the file.
    Nothing,
    /// The bytes are there.
    Ready(Readable),
    /// The cache must be waited for.
    Pending(PendingRead),
}

/// Bytes that can be had without waiting.
#[derive(Debug)]
pub(crate) struct Readable {
    availability: Availability,
    range: ByteRange,
    // The lease in it is what keeps the bytes where they are.
    file: Arc<OpenFile>,
}

/// A read whose bytes are not there yet.
#[derive(Debug)]
pub(crate) struct PendingRead {
    inode: Inode,
    range: ByteRange,
    through: Through,
    file: Option<Arc<OpenFile>>,
}

impl DatasetFs {
    /// Begins to read `len` bytes at `offset`, or as many as the file has there. Never
    /// waits.
    ///
    /// A handle that this process did not give out is as good as any: the file is then
    /// leased for the one read.
    ///
    /// # Errors
    /// [`FsError::IsADirectory`], [`FsError::UnknownInode`], and what the cache says.
    pub(crate) fn begin_read(
        &self,
        inode: Inode,
        handle: u64,
        offset: u64,
        len: u32,
        through: Through,
    ) -> Result<Read, FsError> {
        let range = ByteRange::at(offset, len.into());
        let file = match self.handles.get(handle, inode) {
            Some(file) => file,
            None => match self.unopened(inode).now_or_never() {
                Some(found) => found?,
                None => {
                    return Ok(Read::Pending(PendingRead {
                        inode,
                        range,
                        through,
                        file: None,
                    }));
                }
            },
        };
        let range = range.clamp_to(file.lease.size);
        if range.is_empty() {
            return Ok(Read::Nothing);
        }
        let through = match file.how {
            How::Direct => {
                self.direct.observe(range.len());
                Through::Nothing
            }
            How::Pages | How::Passthrough(_) => through,
        };
        let ready = self.cache.ready(&file.lease, range);
        if ready.is_none()
            && through == Through::Pages
            && let Some(error) = file.refused_before(range)
        {
            return Err(FsError::RefusedBefore(error));
        }
        file.look_ahead(range, &*self.cache);
        Ok(match ready {
            Some(availability) => Read::Ready(Readable {
                availability,
                range,
                file,
            }),
            None => Read::Pending(PendingRead {
                inode,
                range,
                through,
                file: Some(file),
            }),
        })
    }

    /// Waits until the bytes of a read are there; `None` at the end of the file.
    ///
    /// # Errors
    /// What the cache says.
    ///
    /// # Cancel safety
    /// Dropping it gives up this reader's wait; the cache's work for others goes on.
    pub(crate) async fn finish_read(
        &self,
        pending: PendingRead,
    ) -> Result<Option<Readable>, FsError> {
        let file = match pending.file {
            Some(file) => file,
            None => self.unopened(pending.inode).await?,
        };
        let range = pending.range.clamp_to(file.lease.size);
        if range.is_empty() {
            return Ok(None);
        }
        let ensured = self.cache.ensure(&file.lease, range).await;
        if let Err(error) = &ensured
            && pending.through == Through::Pages
        {
            file.refused(range, error);
            self.remember(&file);
        }
        let availability = ensured?;
        Ok(Some(Readable {
            availability,
            range,
            file,
        }))
    }

    /// Has bytes brought again that the cache's file turned out not to have: the cache is
    /// told, and asked once more.
    ///
    /// # Errors
    /// What the cache says.
    ///
    /// # Cancel safety
    /// As [`finish_read`](Self::finish_read).
    pub(crate) async fn read_again(&self, short: Readable) -> Result<Readable, FsError> {
        let Readable { range, file, .. } = short;
        self.cache.distrust(&file.lease, range).await;
        let availability = self.cache.ensure(&file.lease, range).await?;
        Ok(Readable {
            availability,
            range,
            file,
        })
    }

    /// The file behind an inode that is read without a handle of this process.
    async fn unopened(&self, inode: Inode) -> Result<Arc<OpenFile>, FsError> {
        if let Some(file) = self.recent.get(inode) {
            return Ok(file);
        }
        let lease = self.lease(inode).await?;
        self.ahead.touched(inode);
        let file = Arc::new(OpenFile::new(inode, lease, How::Pages));
        if file.lease.size > ONE_REQUEST {
            self.remember(&file);
        }
        Ok(file)
    }

    /// Keeps what is known of a file until its next request, where no handle does.
    fn remember(&self, file: &Arc<OpenFile>) {
        if self.open_mode() == OpenMode::NoOpen {
            self.recent.note(file);
        }
    }

    pub(super) async fn lease(&self, inode: Inode) -> Result<Lease, FsError> {
        let node = self.epochs.node(inode)?;
        match node.manifest.attr(node.entry).map(|attr| attr.kind) {
            Some(Kind::File) => {}
            Some(Kind::Directory) => return Err(FsError::IsADirectory { inode }),
            None => return Err(FsError::UnknownInode { inode }),
        }
        let file = FileRef {
            version: node.manifest.version(),
            entry: node.entry,
        };
        Ok(self.cache.lease(file).await?)
    }
}

impl Readable {
    /// Calls `work` with the bytes: all of the range, never fewer.
    ///
    /// # Errors
    /// [`FsError::ShortBacking`] if the cache's file ends early or its answer has another
    /// length, [`FsError::Backing`] if the file cannot be read.
    pub(crate) fn with_bytes<R>(&self, work: impl FnOnce(&[u8]) -> R) -> Result<R, FsError> {
        let range = self.range;
        let len = usize::try_from(range.len()).map_err(|_| FsError::ShortBacking { range })?;
        match &self.availability {
            Availability::Inline(bytes) if bytes.len() == len => Ok(work(bytes)),
            Availability::Inline(_) => Err(FsError::ShortBacking { range }),
            Availability::Backed(backing) => buffer::with(len, |buffer| {
                read_backing(backing, range, buffer)?;
                Ok(work(buffer))
            }),
        }
    }
}

fn read_backing(backing: &Backing, range: ByteRange, buffer: &mut [u8]) -> Result<(), FsError> {
    let offset = backing
        .offset
        .checked_add(range.start())
        .ok_or(FsError::ShortBacking { range })?;
    backing
        .file
        .read_exact_at(buffer, offset)
        .map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => FsError::ShortBacking { range },
            _ => FsError::Backing { range, source },
        })
}
