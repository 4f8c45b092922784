//! Directory listings: `.`, `..`, then the children in the manifest's order.
//!
//! An offset is the number of entries before it, so that a listing can be taken up
//! anywhere, in any process, without any state.

use forebay_core::manifest::{EntryId, Kind};

use super::DatasetFs;
use super::attr::Attributes;
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
        let cacheable = inode != Inode::ROOT || self.epochs.is_first();
        Ok(OpenDirectory {
            handle: u64::from(node.epoch.0) + 1,
            cacheable,
        })
    }

    /// Gives `visit` the entries of a directory from `offset` on, until it returns
    /// `false`, which it does for an entry that it has no room for.
    ///
    /// # Errors
    /// [`FsError::NotADirectory`], [`FsError::UnknownInode`].
    pub(crate) fn read_directory(
        &self,
        inode: Inode,
        handle: u64,
        offset: u64,
        mut visit: impl FnMut(DirEntry<'_>) -> bool,
    ) -> Result<(), FsError> {
        let node = self.listed(inode, handle)?;
        let manifest = &*node.manifest;
        let children = manifest
            .children(node.entry)
            .ok_or(FsError::NotADirectory { inode })?;
        for (at, dot) in [(0, &b"."[..]), (1, b"..")] {
            let entry = if at == 0 {
                node.entry
            } else {
                manifest.parent(node.entry)
            };
            if offset <= at && !visit(self.listing_entry(&node, entry, dot, at + 1)?) {
                return Ok(());
            }
        }
        let skipped = u32::try_from(offset.saturating_sub(DOTS)).unwrap_or(u32::MAX);
        let first = children.start.saturating_add(skipped).min(children.end);
        for position in first..children.end {
            let entry = EntryId(position);
            let next = DOTS + u64::from(position - children.start) + 1;
            if !visit(self.listing_entry(&node, entry, manifest.name(entry), next)?) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The directory that a listing is of: for the root, that of the version in which
    /// the listing began.
    fn listed(&self, inode: Inode, handle: u64) -> Result<Node, FsError> {
        let begun_in = handle
            .checked_sub(1)
            .and_then(|epoch| u32::try_from(epoch).ok());
        match begun_in.and_then(|epoch| self.epochs.root_of(EpochId(epoch))) {
            Some(root) if inode == Inode::ROOT => Ok(root),
            _ => self.directory(inode),
        }
    }

    fn directory(&self, inode: Inode) -> Result<Node, FsError> {
        let node = self.epochs.node(inode)?;
        match node.manifest.attr(node.entry) {
            Some(attr) if attr.kind == Kind::Directory => Ok(node),
            _ => Err(FsError::NotADirectory { inode }),
        }
    }

    fn listing_entry<'a>(
        &self,
        directory: &Node,
        entry: EntryId,
        name: &'a [u8],
        next: u64,
    ) -> Result<DirEntry<'a>, FsError> {
        let inode = Inode::new(directory.epoch, entry);
        let attr = directory
            .manifest
            .attr(entry)
            .ok_or(FsError::UnknownInode { inode })?;
        Ok(DirEntry {
            name,
            attributes: self.ownership.attributes(inode, attr),
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
        fs.read_directory(inode, 0, offset, |entry| {
            if names.len() == limit {
                return false;
            }
            names.push(String::from_utf8_lossy(entry.name).into_owned());
            next = entry.next;
            true
        })
        .expect("a directory");
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
        fs.read_directory(dir, 0, 0, |entry| {
            inodes.push(entry.attributes.inode);
            inodes.len() < 2
        })
        .expect("a directory");
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
        fs.read_directory(Inode::ROOT, opened.handle, 2, |entry| {
            seen.push(entry.name.to_vec());
            true
        })
        .expect("the root");
        assert_eq!(seen, [&b"dir"[..], b"empty", b"file"]);
        assert!(!fs.open_directory(Inode::ROOT).expect("the root").cacheable);
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
