//! The tree's values as fuser takes them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use forebay_core::manifest::Kind;
use fuser::{Errno, FileAttr, FileType, INodeNo, OpenFlags};
use rustix::fs::OFlags;

use crate::fs::attr::Attributes;
use crate::fs::error::FsError;
use crate::fs::read::Through;

pub(super) fn errno(error: &FsError) -> Errno {
    Errno::from_i32(error.errno())
}

pub(super) fn through(flags: OpenFlags) -> Through {
    let flags = OFlags::from_bits_retain(flags.0.cast_unsigned());
    if flags.contains(OFlags::DIRECT) {
        Through::Nothing
    } else {
        Through::Pages
    }
}

pub(super) fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::File => FileType::RegularFile,
        Kind::Directory => FileType::Directory,
    }
}

pub(super) fn file_attr(attributes: &Attributes) -> FileAttr {
    let modified = system_time(attributes.modified);
    FileAttr {
        ino: INodeNo(attributes.inode.as_raw()),
        size: attributes.size,
        blocks: attributes.blocks,
        atime: modified,
        mtime: modified,
        ctime: modified,
        crtime: modified,
        kind: file_type(attributes.kind),
        perm: attributes.mode,
        nlink: attributes.links,
        uid: attributes.uid,
        gid: attributes.gid,
        rdev: 0,
        blksize: attributes.block_size,
        flags: 0,
    }
}

/// The attributes of a name that does not exist: inode 0, with which the kernel remembers
/// the absence as it does an entry (`fuse_lookup_name` in fs/fuse/dir.c).
pub(super) fn absent() -> FileAttr {
    FileAttr {
        ino: INodeNo(0),
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: FileType::RegularFile,
        perm: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 0,
        flags: 0,
    }
}

fn system_time(nanos: i64) -> SystemTime {
    let distance = Duration::from_nanos(nanos.unsigned_abs());
    if nanos < 0 {
        UNIX_EPOCH - distance
    } else {
        UNIX_EPOCH + distance
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_and_at_the_limits_are_kept() {
        for nanos in [0, 1, -1, i64::MAX, i64::MIN] {
            let time = system_time(nanos);
            let back = match time.duration_since(UNIX_EPOCH) {
                Ok(after) => i128::try_from(after.as_nanos()).expect("fits"),
                Err(before) => -i128::try_from(before.duration().as_nanos()).expect("fits"),
            };
            assert_eq!(back, nanos.into());
        }
    }
}
