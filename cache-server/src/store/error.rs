//! What can go wrong with a store.

use std::io;
use std::path::{Path, PathBuf};

use forebay_core::{ByteRange, ErrorKind};
use rustix::io::Errno;

/// Why a store could not be opened or flushed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process holds the directory's lock.
    #[error(
        "cache directory {} is in use by {holder}: give another --cache-dir, or unmount it",
        dir.display()
    )]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// "process 123 (forebay)", as far as known.
        holder: String,
    },
    /// The directory holds files that are not of a cache.
    #[error(
        "directory {} is no cache, it holds {found:?}: give an empty or new --cache-dir",
        dir.display()
    )]
    Foreign {
        /// The directory.
        dir: PathBuf,
        /// One of the names in it.
        found: String,
    },
    /// The directory was written by a version that lays files out differently.
    #[error(
        "cache directory {} has layout {found:?}, this version knows {expected:?}: remove it, \
         or give another --cache-dir",
        dir.display()
    )]
    Layout {
        /// The directory.
        dir: PathBuf,
        /// What its FORMAT file says.
        found: String,
        /// What it should say.
        expected: &'static str,
    },
    /// The path names something else.
    #[error("{} is not a directory: give another --cache-dir, or remove it", dir.display())]
    NotADirectory {
        /// The path.
        dir: PathBuf,
    },
    /// The file system is mounted read-only.
    #[error(
        "cache directory {} is on a read-only file system: give another --cache-dir, or \
         remount it writable",
        dir.display()
    )]
    ReadOnly {
        /// The directory.
        dir: PathBuf,
    },
    /// The process may not write there.
    #[error(
        "no right to write to cache directory {}: give another --cache-dir, or change its owner",
        dir.display()
    )]
    NoRights {
        /// The directory.
        dir: PathBuf,
    },
    /// The file system is full.
    #[error(
        "no room left in cache directory {}: free some space, or give another --cache-dir",
        dir.display()
    )]
    NoRoom {
        /// The directory.
        dir: PathBuf,
    },
    /// The configuration contradicts itself.
    #[error("{reason}")]
    Config {
        /// What is wrong, and what to give instead.
        reason: String,
    },
    /// Any other failure of the file system.
    #[error("{action} in cache directory {}", dir.display())]
    Io {
        /// The directory.
        dir: PathBuf,
        /// What was being done.
        action: &'static str,
        /// The system's answer.
        source: io::Error,
    },
}

impl StoreError {
    /// Classifies a failed system call in `dir`.
    pub(super) fn from_io(dir: &Path, action: &'static str, error: io::Error) -> Self {
        let dir = dir.to_path_buf();
        match Fault::of(&error) {
            Fault::NoSpace => Self::NoRoom { dir },
            Fault::ReadOnly => Self::ReadOnly { dir },
            Fault::NoRights => Self::NoRights { dir },
            Fault::Busy | Fault::Refused | Fault::Broken => {
                match Errno::from_io_error(&error) {
                    // The latter from mkdir, when something else has the name.
                    Some(Errno::NOTDIR | Errno::EXIST) => Self::NotADirectory { dir },
                    _ => Self::Io {
                        dir,
                        action,
                        source: error,
                    },
                }
            }
        }
    }

    /// The class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::InUse { .. } => ErrorKind::Busy,
            Self::Foreign { .. }
            | Self::Layout { .. }
            | Self::NotADirectory { .. }
            | Self::Config { .. } => ErrorKind::InvalidInput,
            Self::ReadOnly { .. } | Self::NoRights { .. } => ErrorKind::PermissionDenied,
            Self::NoRoom { .. } => ErrorKind::NoSpace,
            Self::Io { .. } => ErrorKind::Internal,
        }
    }
}

/// Why bytes were not kept. The bytes themselves are good: hand them to the reader.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum WriteError {
    /// No tier can take it now: full of objects in use, out of space, or failed.
    #[error("no tier has room")]
    Full,
    /// The range is no chunk and no run of pages of one; or a part of an object that has
    /// only one chunk.
    #[error("bytes {range} are not pages of one chunk")]
    Pages {
        /// The range.
        range: ByteRange,
    },
    /// The pieces are not exactly the range.
    #[error("{got} bytes were given for bytes {range}")]
    Length {
        /// The range.
        range: ByteRange,
        /// The length of the pieces together.
        got: u64,
    },
}

/// What a failed system call says about the tier it was made on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The device or a quota is full: evicting helps.
    NoSpace,
    /// The file system is read-only, perhaps since an error a moment ago.
    ReadOnly,
    /// Access is denied.
    NoRights,
    /// This process or the system is short of something else, such as descriptors.
    Busy,
    /// The file system cannot hold this one file.
    Refused,
    /// The device is not to be trusted any more.
    Broken,
}

impl Fault {
    pub(super) fn of(error: &io::Error) -> Self {
        match Errno::from_io_error(error) {
            Some(Errno::NOSPC | Errno::DQUOT) => Self::NoSpace,
            Some(Errno::ROFS) => Self::ReadOnly,
            Some(Errno::ACCESS | Errno::PERM) => Self::NoRights,
            Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN) => Self::Busy,
            Some(Errno::FBIG) => Self::Refused,
            _ => Self::Broken,
        }
    }
}
