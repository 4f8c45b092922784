//! From a listing in any order to a manifest file.

use std::path::Path;

use super::{Result, VersionId};

/// One source of the tree to build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The top-level directory that shows it; empty if it is the only source and is
    /// the whole tree.
    pub name: String,
    /// The identity of the place, without credentials.
    pub url: String,
}

/// One object, as a listing tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed<'a> {
    /// The key below the source's prefix.
    pub key: &'a [u8],
    /// The size in bytes.
    pub size: u64,
    /// When it was modified, in nanoseconds since the epoch.
    pub modified: i64,
    /// The validator, exactly as the origin gave it.
    pub etag: &'a str,
}

/// Builds a manifest from a listing, in bounded memory.
#[derive(Debug)]
pub struct Builder {}

impl Builder {
    /// A builder that keeps its temporary data and its result in `dir`.
    ///
    /// # Errors
    /// See [`Error`](super::Error).
    pub fn new(_dir: &Path, _sources: Vec<Source>) -> Result<Self> {
        unimplemented!()
    }

    /// Sets the size of the sort buffer, 64 MiB unless told.
    pub fn buffer_bytes(self, _bytes: usize) -> Self {
        unimplemented!()
    }

    /// Adds one object of the source with this index.
    ///
    /// # Errors
    /// See [`Error`](super::Error).
    pub fn push(&mut self, _source: u16, _object: Listed<'_>) -> Result<()> {
        unimplemented!()
    }

    /// Writes the manifest to `<version>.manifest` in the builder's directory.
    ///
    /// # Errors
    /// See [`Error`](super::Error).
    pub fn finish(self) -> Result<VersionId> {
        unimplemented!()
    }
}
