//! The manifest as its readers see it.

use std::ops::Range;
use std::path::Path;

use super::{
    Attr, EntryId, ObjectView, Result, SkipReason, Skipped, SourceView, Totals, VersionId,
};

/// An open manifest: a tree of files and directories, answered from a memory-mapped file.
#[derive(Debug)]
pub struct Manifest {}

impl Manifest {
    /// Opens and verifies the manifest at `path`.
    ///
    /// # Errors
    /// See [`Error`](super::Error).
    pub fn open(_path: &Path) -> Result<Self> {
        unimplemented!()
    }

    /// The dataset version.
    pub fn version(&self) -> VersionId {
        unimplemented!()
    }

    /// Counts over the whole manifest.
    pub fn totals(&self) -> Totals {
        unimplemented!()
    }

    /// The sources, in the order of their index.
    pub fn sources(&self) -> impl ExactSizeIterator<Item = SourceView<'_>> {
        std::iter::empty()
    }

    /// The number of entries; at least 1, the root.
    pub fn len(&self) -> u32 {
        unimplemented!()
    }

    /// Always false: there is a root.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The attributes of an entry; `None` if there is no such entry.
    pub fn attr(&self, _id: EntryId) -> Option<Attr> {
        unimplemented!()
    }

    /// The child of `dir` called `name`.
    pub fn lookup(&self, _dir: EntryId, _name: &[u8]) -> Option<EntryId> {
        unimplemented!()
    }

    /// The positions of the children of `dir`, sorted by name; `None` if it is no directory.
    pub fn children(&self, _dir: EntryId) -> Option<Range<u32>> {
        unimplemented!()
    }

    /// The name of an entry; empty for the root and for an entry that does not exist.
    pub fn name(&self, _id: EntryId) -> &[u8] {
        unimplemented!()
    }

    /// The directory that holds an entry; the root for the root.
    pub fn parent(&self, _id: EntryId) -> EntryId {
        unimplemented!()
    }

    /// The path of an entry below the root, without a leading `/`; empty for the root.
    pub fn path(&self, _id: EntryId) -> Vec<u8> {
        unimplemented!()
    }

    /// The entry at a path below the root; the root for the empty path.
    pub fn resolve(&self, _path: &[u8]) -> Option<EntryId> {
        unimplemented!()
    }

    /// The object behind a file; `None` for a directory.
    pub fn object(&self, _id: EntryId) -> Option<ObjectView<'_>> {
        unimplemented!()
    }

    /// The files, in manifest order.
    pub fn files(&self) -> impl Iterator<Item = EntryId> {
        std::iter::empty()
    }

    /// How many objects are not shown, for each reason that occurs.
    pub fn skipped_counts(&self) -> impl Iterator<Item = (SkipReason, u64)> {
        std::iter::empty()
    }

    /// The first 1,000 objects that are not shown, by source, then key.
    pub fn skipped(&self) -> impl Iterator<Item = Skipped<'_>> {
        std::iter::empty()
    }
}
