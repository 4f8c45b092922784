//! Reads of one file, in one version.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use forebay_core::{ByteRange, ETag};
use futures::{StreamExt, stream};
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, fstat, openat};
use rustix::io::{Errno, pread};

use super::{blocking, failed, identity};
use crate::origin::{Body, Error};

/// Bytes of one piece: long enough that hopping threads for it does not show.
const PIECE: u64 = 1 << 20;

/// A file that was open with the wanted identity.
#[derive(Debug)]
pub(super) struct Opened {
    fd: OwnedFd,
    etag: ETag,
    what: String,
}

impl Opened {
    pub(super) fn new(path: &Path, etag: ETag, what: &str) -> Result<Self, Error> {
        // A pipe that took the file's place must not block the open.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = openat(CWD, path, flags, Mode::empty()).map_err(|error| failed(what, error))?;
        let opened = Self {
            fd,
            etag,
            what: what.to_owned(),
        };
        opened.check()?;
        Ok(opened)
    }

    /// The bytes of `range`, piece by piece.
    pub(super) fn body(self, range: ByteRange) -> Body {
        let start = (Arc::new(self), range.start());
        stream::try_unfold(start, move |(file, at)| async move {
            if at == range.end() {
                return Ok(None);
            }
            let len = PIECE.min(range.end() - at);
            let reader = Arc::clone(&file);
            let piece = blocking(file.what.clone(), move |_| reader.piece(at, len)).await?;
            Ok(Some((piece, (file, at + len))))
        })
        .boxed()
    }

    fn piece(&self, at: u64, len: u64) -> Result<Bytes, Error> {
        let mut bytes = Vec::with_capacity(len as usize);
        while (bytes.len() as u64) < len {
            let offset = at + bytes.len() as u64;
            match pread(&self.fd, rustix::buffer::spare_capacity(&mut bytes), offset) {
                Ok(0) => {
                    return Err(Error::OutOfRange {
                        what: self.what.clone(),
                    });
                }
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(failed(&self.what, error)),
            }
        }
        // The vector may have more room than was asked for.
        bytes.truncate(len as usize);
        self.check()?;
        Ok(bytes.into())
    }

    /// Compares the identity with the pinned one.
    fn check(&self) -> Result<(), Error> {
        let stat = fstat(&self.fd).map_err(|error| failed(&self.what, error))?;
        if self.etag.as_str().is_empty() || identity(&stat) == self.etag {
            return Ok(());
        }
        Err(Error::Changed {
            what: self.what.clone(),
        })
    }
}
