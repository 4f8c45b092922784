//! Manifests: immutable, versioned snapshots of a listing.

/// A dataset version: the content hash of its manifest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct VersionId([u8; 16]);

/// The position of an entry in a manifest. The root directory is entry 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryId(pub u32);
