//! Listings: from the objects of the sources to a manifest.
//!
//! A bucket hands out its keys a thousand at a time, one page after the other, so one
//! listing of a large bucket takes minutes. Listings of different prefixes run side by
//! side: a source is explored directory by directory until there are enough prefixes
//! to keep 16 requests in flight, and below these it is listed flat.
//!
//! Memory is bounded: the pages in flight, a short queue, and the sort buffer of the
//! manifest's builder, which works on a thread of its own and slows the listing down if
//! it cannot keep up. What grows is the list of prefixes still to visit.

use std::path::Path;
use std::sync::Arc;

use forebay_core::manifest::{self, VersionId};
use tokio_util::sync::CancellationToken;

use crate::origin::{self, Origin};
use crate::source::SourceSpec;

mod filter;
mod progress;
mod sink;
mod walk;

pub use filter::{Filter, InvalidGlob};
pub use progress::Progress;
use sink::Sink;
use walk::Walk;

/// Pages asked for at once. S3 answers thousands a second; this is what one process can
/// parse.
const LISTINGS: usize = 16;

/// Why a listing did not become a manifest.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller gave up.
    #[error("listing was cancelled")]
    Cancelled,
    /// A source could not be listed.
    #[error("list {url}")]
    Source {
        /// The identity of the source.
        url: String,
        /// What its origin said.
        source: origin::Error,
    },
    /// The manifest could not be built.
    #[error("build the manifest")]
    Manifest {
        /// What the builder said.
        source: manifest::Error,
    },
}

/// Lists `sources` and writes the manifest of what was found into `dir`.
///
/// The version depends on what the sources hold, not on the order in which they hand it
/// out.
///
/// # Errors
/// The first error of a source or of the builder; no manifest is written then.
///
/// # Cancel safety
/// Dropping the future stops the listing; no manifest is written, unless the last page
/// had arrived already.
pub async fn list(
    sources: &[(SourceSpec, Arc<dyn Origin>)],
    filter: &Filter,
    dir: &Path,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<VersionId, Error> {
    let described = sources.iter().map(|(spec, origin)| manifest::Source {
        name: spec.name.clone(),
        url: origin.identity().to_owned(),
    });
    let sink = Sink::start(dir, described.collect());
    let walk = Walk {
        sources,
        filter,
        progress,
        sink: &sink,
    };
    let walked = tokio::select! {
        biased;
        () = cancel.cancelled() => Err(Error::Cancelled),
        walked = walk.run() => walked,
    };
    match walked {
        Ok(()) => sink.finish().await,
        Err(error) => Err(sink.abandon(error).await),
    }
}

#[cfg(test)]
mod tests;
