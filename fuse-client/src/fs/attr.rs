//! What `stat` says of an entry.

use forebay_core::manifest::{Attr, Kind};

use super::inode::Inode;
use crate::options::MountOptions;

/// The unit of `st_blocks`, whatever `st_blksize` says (stat(2)).
const STAT_BLOCK: u64 = 512;

/// The read size that `stat` recommends.
///
/// C's stdio and Python's `open` take it as the size of their buffer, so that it is
/// also what a seek and a small read cost: 128 KiB is what copying tools use at least,
/// and 1 MiB would make every small read eight times as expensive.
const PREFERRED_READ: u32 = 128 << 10;

/// The attributes of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) inode: Inode,
    pub(crate) kind: Kind,
    pub(crate) size: u64,
    pub(crate) blocks: u64,
    pub(crate) block_size: u32,
    /// Nanoseconds since 1970; before it if negative.
    pub(crate) modified: i64,
    pub(crate) mode: u16,
    pub(crate) links: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Who owns the tree and who may read it: the same for every entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ownership {
    uid: u32,
    gid: u32,
    file_mode: u16,
    dir_mode: u16,
}

/// The bits that an owner may set: nothing here is set-user-id or sticky.
const PERMISSIONS: u16 = 0o777;

impl Ownership {
    pub(crate) fn new(options: &MountOptions) -> Self {
        Self {
            uid: options.uid,
            gid: options.gid,
            file_mode: options.file_mode & PERMISSIONS,
            dir_mode: options.dir_mode & PERMISSIONS,
        }
    }

    /// The attributes of an entry of which the manifest says `attr`.
    ///
    /// A directory has the size 0, so that `du` of a tree is the sum of its files, and
    /// two links, as on file systems that do not count subdirectories.
    pub(crate) fn attributes(&self, inode: Inode, attr: Attr) -> Attributes {
        let (size, mode, links) = match attr.kind {
            Kind::File => (attr.size, self.file_mode, 1),
            Kind::Directory => (0, self.dir_mode, 2),
        };
        Attributes {
            inode,
            kind: attr.kind,
            size,
            blocks: size.div_ceil(STAT_BLOCK),
            block_size: PREFERRED_READ,
            modified: attr.modified,
            mode,
            links,
            uid: self.uid,
            gid: self.gid,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ownership(file_mode: u16) -> Ownership {
        let options = MountOptions {
            uid: 7,
            gid: 8,
            file_mode,
            ..MountOptions::default()
        };
        Ownership::new(&options)
    }

    #[test]
    fn a_file_occupies_whole_blocks_of_512_bytes() {
        for (size, blocks) in [(0, 0), (1, 1), (512, 1), (513, 2), (5 << 40, 10 << 30)] {
            let attr = Attr {
                kind: Kind::File,
                size,
                modified: 3,
            };
            let shown = ownership(0o640).attributes(Inode::ROOT, attr);
            assert_eq!((shown.size, shown.blocks), (size, blocks));
            assert_eq!(
                (shown.uid, shown.gid, shown.mode, shown.links),
                (7, 8, 0o640, 1)
            );
        }
    }

    #[test]
    fn a_directory_has_no_size_and_two_links() {
        let attr = Attr {
            kind: Kind::Directory,
            size: 99,
            modified: 0,
        };
        let shown = ownership(0o444).attributes(Inode::ROOT, attr);
        assert_eq!(
            (shown.size, shown.blocks, shown.links, shown.mode),
            (0, 0, 2, 0o555)
        );
    }

    #[test]
    fn special_mode_bits_are_dropped() {
        let attr = Attr {
            kind: Kind::File,
            size: 0,
            modified: 0,
        };
        assert_eq!(ownership(0o6755).attributes(Inode::ROOT, attr).mode, 0o755);
    }
}
