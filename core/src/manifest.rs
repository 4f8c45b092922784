//! Manifests: immutable, versioned snapshots of a listing.

mod builder;
mod entry;
mod error;
pub mod key_rules;
mod reader;
mod skipped;
mod version;

pub use builder::{Builder, Listed, Source};
pub use entry::{Attr, Kind, ObjectView, SourceView, Totals};
pub use error::{Error, Result};
pub use reader::Manifest;
pub use skipped::{SkipReason, Skipped};
pub use version::{EntryId, ParseVersionError, VersionId};
