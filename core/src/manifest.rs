//! Manifests: immutable, versioned snapshots of a listing.
//!
//! A listing goes into a [`Builder`] in any order and comes out as a file named by the hash
//! of its content, the [`VersionId`]. A [`Manifest`] maps that file and answers `lookup`,
//! `getattr` and `readdir` from it: without network, without allocating, and without
//! keeping more of it in memory than is asked for. An entry is its position in the file, so
//! it has the same inode number in every process and after every restart.
//!
//! How a listing becomes a file:
//!
//! 1. `sort`: every key, split into the parts that [`key_rules`] give it, is sorted depth
//!    first; what does not fit in the buffer goes to temporary runs and is merged.
//! 2. `resolve`: in that order everything that can conflict is adjacent, so the rules are
//!    applied in one pass, with the directories of the current path in memory.
//! 3. `levels`: the entries of one depth, taken in that order, are in breadth-first order;
//!    a stream for each depth collects them.
//! 4. `layout`: the levels one after the other give the entries their positions; each
//!    attribute becomes a column, so that a walk touches only what it reads.
//! 5. `publish`: the columns, end to end under a header, become the file.
//!
//! Memory stays bounded by the sort buffer and some tens of MiB, whatever the listing.

mod builder;
mod column;
mod entry;
mod error;
mod format;
pub mod key_rules;
mod layout;
mod levels;
mod merge;
mod path;
mod publish;
mod reader;
mod record;
mod resolve;
mod skipped;
mod sort;
mod spool;
mod summary;
#[cfg(test)]
mod tests;
mod verify;
mod version;

pub use builder::{Builder, Listed, Source};
pub use entry::{Attr, Kind, ObjectView, SourceView, Totals};
pub use error::{Error, Result};
pub use reader::Manifest;
pub use skipped::{SkipReason, Skipped};
pub use version::{EntryId, ParseVersionError, VersionId};
