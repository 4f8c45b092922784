//! Which file it is, and when it was last written: what tells that somebody else has
//! been at a file of the cache.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// A file at one moment.
///
/// Two are compared for equality only. The time is the file system's, so a clock that
/// jumps makes files look changed, which costs comparing them with their checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Identity {
    pub(super) fn of(file: &Metadata) -> Self {
        Self {
            device: file.dev(),
            inode: file.ino(),
            size: file.len(),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }
}
