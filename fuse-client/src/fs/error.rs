//! Why a file system request failed, and which errno says so.

use std::io;
use std::time::Duration;

use forebay_core::cache::CacheError;
use forebay_core::{ByteRange, ErrorKind};

use super::errno;
use super::inode::Inode;
use crate::plan::PlanError;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FsError {
    /// The directory has no entry of that name.
    #[error("no such entry")]
    NoSuchEntry,
    /// No file system has a name as long as this.
    #[error("the name is too long")]
    NameTooLong,
    /// The kernel names an inode that no version of this mount has.
    #[error("{inode} belongs to no version of this mount")]
    UnknownInode { inode: Inode },
    /// A directory was needed.
    #[error("{inode} is not a directory")]
    NotADirectory { inode: Inode },
    /// A file was needed.
    #[error("{inode} is a directory")]
    IsADirectory { inode: Inode },
    /// A directory of control files can be entered and not listed.
    #[error("{inode} cannot be listed")]
    NotListed { inode: Inode },
    /// What was written to the plan file is no plan.
    #[error("the plan cannot be followed")]
    Plan { source: PlanError },
    /// There is no extended attribute of that name.
    #[error("no such extended attribute")]
    NoSuchAttribute,
    /// The caller's buffer is smaller than the answer.
    #[error("the answer does not fit the buffer")]
    BufferTooSmall,
    /// The cache could not make the bytes available.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The same, and the kernel has been told a moment ago.
    #[error("{0}")]
    RefusedBefore(CacheError),
    /// The cache's file or answer is shorter than what it was said to hold.
    #[error("the cache has not the bytes {range} that it declared present")]
    ShortBacking { range: ByteRange },
    /// The cache's file could not be read.
    #[error("read bytes {range} of the cached file")]
    Backing { range: ByteRange, source: io::Error },
    /// The open file could not be written down for a successor.
    #[error("write down an open file")]
    HandleLog { source: io::Error },
    /// The answer did not come in time.
    #[error("no answer within {} s", after.as_secs())]
    TimedOut { after: Duration },
    /// The reader is being killed.
    #[error("the reader was killed while it waited")]
    ReaderKilled,
    /// The mount is being taken away.
    #[error("the mount is going away")]
    Stopping,
}

impl FsError {
    /// The errno that the caller of the system call gets.
    pub(crate) fn errno(&self) -> i32 {
        match self {
            Self::NoSuchEntry => errno::ENOENT,
            Self::NameTooLong => errno::ENAMETOOLONG,
            Self::UnknownInode { .. } => errno::ESTALE,
            Self::NotADirectory { .. } => errno::ENOTDIR,
            Self::IsADirectory { .. } => errno::EISDIR,
            Self::NotListed { .. } => errno::EACCES,
            Self::Plan { .. } => errno::EINVAL,
            Self::NoSuchAttribute => errno::ENODATA,
            Self::BufferTooSmall => errno::ERANGE,
            Self::Cache(error) | Self::RefusedBefore(error) => error.kind.errno(),
            Self::ShortBacking { .. }
            | Self::Backing { .. }
            | Self::TimedOut { .. }
            | Self::Stopping => errno::EIO,
            Self::HandleLog { .. } => errno::ENFILE,
            Self::ReaderKilled => errno::EINTR,
        }
    }

    /// The class of the error, as a log field.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Cache(error) | Self::RefusedBefore(error) => error.kind.as_str(),
            Self::UnknownInode { .. } => "unknown_inode",
            Self::Plan { .. } => "plan",
            Self::TimedOut { .. } => ErrorKind::TimedOut.as_str(),
            Self::ShortBacking { .. } | Self::Backing { .. } => "backing",
            Self::HandleLog { .. } => "handle_log",
            Self::NoSuchEntry
            | Self::NameTooLong
            | Self::NotADirectory { .. }
            | Self::IsADirectory { .. }
            | Self::NotListed { .. }
            | Self::NoSuchAttribute
            | Self::BufferTooSmall
            | Self::ReaderKilled
            | Self::Stopping => "request",
        }
    }

    /// How a person should hear of it.
    pub(crate) fn gravity(&self) -> Gravity {
        match self {
            Self::NoSuchEntry
            | Self::NameTooLong
            | Self::NotADirectory { .. }
            | Self::IsADirectory { .. }
            | Self::NotListed { .. }
            | Self::NoSuchAttribute
            | Self::BufferTooSmall
            | Self::RefusedBefore(_)
            | Self::ReaderKilled
            | Self::Stopping => Gravity::Ordinary,
            Self::UnknownInode { .. }
            | Self::Plan { .. }
            | Self::Cache(_)
            | Self::TimedOut { .. }
            | Self::HandleLog { .. } => Gravity::Unexpected,
            Self::ShortBacking { .. } | Self::Backing { .. } => Gravity::Broken,
        }
    }
}

/// How unusual an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gravity {
    /// A plain answer to a program's question.
    Ordinary,
    /// A reader was failed, but the mount works on.
    Unexpected,
    /// The cache contradicts itself: a person should look.
    Broken,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_error_keeps_the_errno_of_its_class() {
        for kind in [
            ErrorKind::Stale,
            ErrorKind::TimedOut,
            ErrorKind::PermissionDenied,
        ] {
            let error = FsError::from(CacheError::new(kind, "it failed"));
            assert_eq!(error.errno(), kind.errno());
            assert_eq!(error.to_string(), "it failed");
        }
    }

    #[test]
    fn a_cache_that_lies_about_its_bytes_is_an_io_error() {
        let error = FsError::ShortBacking {
            range: ByteRange::new(0, 4096),
        };
        assert_eq!(
            (error.errno(), error.gravity()),
            (errno::EIO, Gravity::Broken)
        );
    }
}
