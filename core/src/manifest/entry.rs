//! What a manifest tells about one entry, and about all of them.

use std::borrow::Cow;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An object, read as a regular file.
    File,
    /// A directory, implied by the keys below it or created by a marker.
    Directory,
}

/// The attributes of an entry, as `getattr` wants them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attr {
    /// What the entry is.
    pub kind: Kind,
    /// The object's size in bytes; 0 for a directory.
    pub size: u64,
    /// When the object was modified, in nanoseconds since the epoch. For a directory:
    /// the newest object below it, its own marker included, or 0 if there is none.
    pub modified: i64,
}

/// The object behind a file, as the origin knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectView<'m> {
    /// The index of its source in [`Manifest::sources`](super::Manifest::sources).
    pub source: u16,
    /// The key below the source's prefix, byte for byte as it was listed.
    pub key: Cow<'m, [u8]>,
    /// The validator, exactly as the origin gave it.
    pub etag: &'m str,
    /// The size in bytes.
    pub size: u64,
}

/// One source of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceView<'m> {
    /// The top-level directory that shows it; empty if it is the whole tree.
    pub name: &'m str,
    /// The identity of the place. It carries no credentials.
    pub url: &'m str,
}

/// Counts over a whole manifest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Objects shown as files.
    pub files: u64,
    /// Directories, the root included.
    pub directories: u64,
    /// The sum of the files' sizes.
    pub bytes: u64,
    /// Objects that are not shown, for any [`SkipReason`](super::SkipReason).
    pub skipped: u64,
}
