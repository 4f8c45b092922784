//! Listings: from the objects of the sources to a manifest.

use std::path::Path;
use std::sync::Arc;

use forebay_core::manifest::VersionId;
use tokio_util::sync::CancellationToken;

use crate::origin::Origin;
use crate::source::SourceSpec;

mod filter;
mod progress;

pub use filter::{Filter, InvalidGlob};
pub use progress::Progress;

/// Why a listing did not become a manifest.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller gave up.
    #[error("listing was cancelled")]
    Cancelled,
}

/// Lists `sources` and writes the manifest of what was found into `dir`.
///
/// # Errors
/// The first error of a source or of the manifest; nothing is left in `dir` then.
pub async fn list(
    _sources: &[(SourceSpec, Arc<dyn Origin>)],
    _filter: &Filter,
    _dir: &Path,
    _progress: &Progress,
    _cancel: &CancellationToken,
) -> Result<VersionId, Error> {
    Err(Error::Cancelled)
}
