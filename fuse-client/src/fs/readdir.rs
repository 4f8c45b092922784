//! Directory listings: `.`, `..`, then the children in the manifest's order.
//!
//! An offset is the number of entries before it, so that a listing can be taken up
//! anywhere, in any process, without any state.

use forebay_core::manifest::{EntryId, Kind};

use super::DatasetFs;
use super::attr::{Attributes, Ownership};
use super::epoch::Node;
use super::error::FsError;
use super::inode::{EpochId, Inode};

/// The entries before the first child: `.` and `..`.
const DOTS: u64 = 2;

/// One entry of a listing.
#[derive(Debug)]
pub(crate) struct DirEntry<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) attributes: Attributes,
    /// The offset behind the entry, where a later call goes on.
    pub(crate) next: u64,
}

/// An open directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenDirectory {
    /// What the kernel sends along with each request for the listing.
    pub(crate) handle: u64,
    /// Whether the kernel may keep the listing and show it to whoever opens the
    /// directory later.
    pub(crate) cacheable: bool,
}

/// The entries of one directory of one version.
#[derive(Debug)]
pub(crate) struct Listing {
    directory: Node,
    ownership: Ownership,
    /// Whether the names lead to these entries from now on. In a listing of the root
    /// that began in an older version they do not, and the kernel must not remember them.
    pub(crate) is_current: bool,
}

impl DatasetFs {
    /// Opens a directory.
    ///
    /// The handle is the epoch, so that a listing that has begun stays with its version,
    /// even that of the root. The root's listing may be kept only while there has been
    /// one version: the kernel keeps one list for all who have the root open.
    ///
    /// # Errors
    /// [`FsError::NotADirectory`], [`FsError::UnknownInode`].
    pub(crate) fn open_directory(&self, inode: Inode) -> Result<OpenDirectory, FsError> {
        let node = self.directory(inode)?;
        let handle = u64::from(node.epoch.0) + 1;
        let cacheable = inode != Inode::ROOT || self.epochs.is_first();
        Ok(OpenDirectory { handle, cacheable })
    }

    /// The listing of the directory that was opened as `handle`.
    ///
    /// # Errors
    /// [`FsError::NotADirectory`], [`FsError::UnknownInode`].
    pub(crate) fn listing(&self, inode: Inode, handle: u64) -> Result<Listing, FsError> {
        let mut directory = self.directory(inode)?;
        let mut is_current = true;
        if inode == Inode::ROOT
            && let Some(begun_in) = self.epoch_of(handle)
        {
            is_current = begun_in.epoch == directory.epoch;
            directory = begun_in;
        }
        let ownership = self.ownership;
        Ok(Listing {
            directory,
            ownership,
            is_current,
        })
    }

    /// The root of the version in which a handle was given out; `None` if none of this
    /// mount was.
    fn epoch_of(&self, handle: u64) -> Option<Node> {
        let epoch = u32::try_from(handle.checked_sub(1)?).ok()?;
        self.epochs.root_of(EpochId(epoch))
    }

    fn directory(&self, inode: Inode) -> Result<Node, FsError> {
        if inode == Inode::CONTROL {
            return Err(FsError::NotListed { inode });
        }
        let node = self.epochs.node(inode)?;
        match node.manifest.attr(node.entry) {
            Some(attr) if attr.kind == Kind::Directory => Ok(node),
            _ => Err(FsError::NotADirectory { inode }),
        }
    }
}

impl Listing {
    /// Gives `visit` the entries from `offset` on, until it returns `false`, which it
    /// does for an entry that it has no room for.
    pub(crate) fn visit(&self, offset: u64, mut visit: impl FnMut(DirEntry<'_>) -> bool) {
        let manifest = &*self.directory.manifest;
        let here = self.directory.entry;
        for (at, name, entry) in [(0, &b"."[..], here), (1, b"..", manifest.parent(here))] {
            let dot = self.entry(entry, name, at + 1);
            if offset <= at && !dot.is_some_and(&mut visit) {
                return;
            }
        }
        let Some(children) = manifest.children(here) else {
            return;
        };
        let skipped = u32::try_from(offset.saturating_sub(DOTS)).unwrap_or(u32::MAX);
        let first = children.start.saturating_add(skipped).min(children.end);
        for position in first..children.end {
            let entry = EntryId(position);
            let next = DOTS + u64::from(position - children.start) + 1;
            let child = self.entry(entry, manifest.name(entry), next);
            if !child.is_some_and(&mut visit) {
                return;
            }
        }
    }

    fn entry<'a>(&self, entry: EntryId, name: &'a [u8], next: u64) -> Option<DirEntry<'a>> {
        let attr = self.directory.manifest.attr(entry)?;
        let inode = Inode::new(self.directory.epoch, entry);
        let attributes = self.ownership.attributes(inode, attr);
        Some(DirEntry {
            name,
            attributes,
            next,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::tests::{FILES, fs_with};

    fn names(fs: &DatasetFs, inode: Inode, offset: u64, limit: usize) -> (Vec<String>, u64) {
        let mut names = Vec::new();
        let mut next = offset;
        let listing = fs.listing(inode, 0).expect("a directory");
        listing.visit(offset, |entry| {
            if names.len() == limit {
                return false;
            }
            names.push(String::from_utf8_lossy(entry.name).into_owned());
            next = entry.next;
            true
        });
        (names, next)
    }

    #[test]
    fn a_listing_starts_with_the_dots_and_has_every_child() {
        let (_fixture, fs) = fs_with(FILES);
        let (all, _) = names(&fs, Inode::ROOT, 0, usize::MAX);
        assert_eq!(all, [".", "..", "dir", "empty", "file"]);
    }

    #[test]
    fn a_listing_taken_up_anywhere_goes_on_without_gap_or_repetition() {
        let (_fixture, fs) = fs_with(FILES);
        let (whole, _) = names(&fs, Inode::ROOT, 0, usize::MAX);
        for step in 1..=whole.len() {
            let (mut pieces, mut offset) = (Vec::new(), 0);
            loop {
                let (piece, next) = names(&fs, Inode::ROOT, offset, step);
                if piece.is_empty() {
                    break;
                }
                pieces.extend(piece);
                offset = next;
            }
            assert_eq!(pieces, whole, "in steps of {step}");
        }
    }

    #[test]
    fn an_offset_past_the_end_lists_nothing() {
        let (_fixture, fs) = fs_with(FILES);
        for offset in [5, 6, u64::from(u32::MAX), u64::MAX] {
            assert!(
                names(&fs, Inode::ROOT, offset, usize::MAX).0.is_empty(),
                "{offset}"
            );
        }
    }

    #[test]
    fn the_parent_of_a_top_directory_is_the_root() {
        let (_fixture, fs) = fs_with(FILES);
        let dir = fs.lookup(Inode::ROOT, b"dir").expect("there").inode;
        let mut inodes = Vec::new();
        let listing = fs.listing(dir, 0).expect("a directory");
        listing.visit(0, |entry| {
            inodes.push(entry.attributes.inode);
            inodes.len() < 2
        });
        assert_eq!(inodes, [dir, Inode::ROOT]);
    }

    #[test]
    fn a_listing_of_the_root_stays_with_the_version_in_which_it_began() {
        let (fixture, fs) = fs_with(FILES);
        let opened = fs.open_directory(Inode::ROOT).expect("the root");
        assert!(opened.cacheable);
        fs.refresh(fixture.version(&[("other", b"x")]))
            .expect("a new version");
        let mut seen = Vec::new();
        let listing = fs.listing(Inode::ROOT, opened.handle).expect("the root");
        listing.visit(2, |entry| {
            seen.push(entry.name.to_vec());
            true
        });
        assert!(!listing.is_current);
        assert_eq!(seen, [&b"dir"[..], b"empty", b"file"]);
        let later = fs.open_directory(Inode::ROOT).expect("the root");
        assert!(!later.cacheable);
        assert!(
            fs.listing(Inode::ROOT, later.handle)
                .expect("the root")
                .is_current
        );
    }

    #[test]
    fn a_file_cannot_be_listed() {
        let (_fixture, fs) = fs_with(FILES);
        let file = fs.lookup(Inode::ROOT, b"file").expect("there").inode;
        assert!(matches!(
            fs.open_directory(file),
            Err(FsError::NotADirectory { .. })
        ));
    }
}
