//! The dataset of a mount: its sources, and the manifest to show.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use forebay_cache_server::listing::{self, InvalidGlob, Progress};
use forebay_cache_server::origin::{self, Origin, OriginStats};
use forebay_cache_server::source::{self, OriginConfig, SourceSpec};
use forebay_core::manifest::{self, Manifest};
use futures::future;
use tokio_util::sync::CancellationToken;

use super::audience::{Audience, Listed};
use super::{off_runtime, versions};
use crate::config::cache_dir::CacheDirs;
use crate::config::{DatasetConfig, MountConfig};
use crate::exit::{Exit, Failure};

/// How often the audience hears of a listing.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// A dataset whose sources are open.
#[derive(Debug)]
pub(super) struct Opened {
    /// The version to show first.
    pub manifest: Arc<Manifest>,
    /// Whether that version is an old one because the origin cannot be reached.
    pub origin_unreachable: bool,
    /// What was asked of the origins.
    pub stats: Arc<OriginStats>,
    /// Where its versions are stored.
    pub dir: PathBuf,
    sources: Vec<(SourceSpec, Arc<dyn Origin>)>,
    config: DatasetConfig,
}

impl Opened {
    /// The origins, in the order of the sources.
    pub(super) fn origins(&self) -> Vec<Arc<dyn Origin>> {
        self.sources
            .iter()
            .map(|(_, origin)| Arc::clone(origin))
            .collect()
    }

    /// Lists the sources again.
    pub(super) async fn list(
        &self,
        audience: &dyn Audience,
        cancel: &CancellationToken,
    ) -> Result<Arc<Manifest>, Failure> {
        Ok(list(&self.sources, &self.config, &self.dir, audience, cancel).await?)
    }
}

/// Opens the sources of `config` and finds the version to show.
pub(super) async fn open(
    config: &MountConfig,
    dirs: &CacheDirs,
    audience: &dyn Audience,
    cancel: &CancellationToken,
) -> Result<Opened, Failure> {
    let origin = OriginConfig {
        timeout: config.origin_timeout,
        ..OriginConfig::default()
    };
    let specs = config.dataset.sources.iter();
    let sources = specs.map(|spec| Ok((spec.clone(), spec.open(&origin)?)));
    let sources = sources
        .collect::<Result<Vec<_>, source::Error>>()
        .map_err(of_source)?;
    let (manifest, origin_unreachable) = match &config.dataset.version {
        Some(prefix) => (
            versions::open(&versions::matching(&dirs.manifests, prefix)?)?,
            false,
        ),
        None => newest(&sources, &config.dataset, &dirs.manifests, audience, cancel).await?,
    };
    Ok(Opened {
        manifest,
        origin_unreachable,
        stats: Arc::clone(&origin.stats),
        dir: dirs.manifests.clone(),
        sources,
        config: config.dataset.clone(),
    })
}

/// What the sources hold now; or, where they cannot be reached, what they held when
/// they were last listed: what is cached stays readable without them.
async fn newest(
    sources: &[(SourceSpec, Arc<dyn Origin>)],
    config: &DatasetConfig,
    dir: &Path,
    audience: &dyn Audience,
    cancel: &CancellationToken,
) -> Result<(Arc<Manifest>, bool), Failure> {
    // A wrong bucket, prefix or credential is an error at once and never answered with
    // an old listing.
    let probes = future::try_join_all(config.sources.iter().map(SourceSpec::probe));
    let error = match probes.await {
        Ok(_) => match list(sources, config, dir, audience, cancel).await {
            Ok(manifest) => return Ok((manifest, false)),
            Err(error) if error.is_out_of_reach() => Failure::from(error),
            Err(error) => return Err(error.into()),
        },
        Err(error @ source::Error::NoAnswer { .. }) => of_source(error),
        Err(error) => return Err(of_source(error)),
    };
    let Some(stored) = versions::all(dir)?.into_iter().next() else {
        return Err(error);
    };
    tracing::warn!(
        %error,
        version = %stored.version,
        "origin out of reach: mounting the version that was listed last"
    );
    Ok((versions::open(&stored)?, true))
}

/// Why there is no new listing.
#[derive(Debug, thiserror::Error)]
enum ListError {
    #[error(transparent)]
    Glob(#[from] InvalidGlob),
    #[error(transparent)]
    Listing(#[from] listing::Error),
    #[error("open the new manifest")]
    Manifest(#[from] manifest::Error),
    #[error(transparent)]
    Thread(#[from] Failure),
}

impl ListError {
    /// Whether an older listing is better than none: the origin says nothing, rather
    /// than no.
    fn is_out_of_reach(&self) -> bool {
        use origin::Error::{TimedOut, Unreachable};
        let Self::Listing(listing::Error::Source { source, .. }) = self else {
            return false;
        };
        matches!(source, Unreachable { .. } | TimedOut { .. })
    }
}

impl From<ListError> for Failure {
    fn from(error: ListError) -> Self {
        match error {
            ListError::Glob(error) => Self::new(Exit::Usage, error),
            ListError::Listing(error @ listing::Error::Source { .. }) => {
                Self::new(Exit::Source, error)
            }
            ListError::Listing(error @ listing::Error::Manifest { .. }) => {
                Self::new(Exit::CacheDir, error)
            }
            ListError::Listing(error @ listing::Error::Cancelled) => Self::new(Exit::Failed, error),
            ListError::Manifest(error) => Self::new(Exit::CacheDir, error),
            ListError::Thread(failure) => failure,
        }
    }
}

async fn list(
    sources: &[(SourceSpec, Arc<dyn Origin>)],
    config: &DatasetConfig,
    dir: &Path,
    audience: &dyn Audience,
    cancel: &CancellationToken,
) -> Result<Arc<Manifest>, ListError> {
    let filter = config.filter()?;
    let progress = Progress::default();
    let cancel = cancel.child_token();
    let listing = listing::list(sources, &filter, dir, &progress, &cancel);
    tokio::pin!(listing);
    let mut tick = tokio::time::interval(TELL_EVERY);
    let version = loop {
        tokio::select! {
            listed = &mut listing => break listed,
            _ = tick.tick() => {
                if audience.listing(listed_so_far(&progress)).is_err() {
                    cancel.cancel();
                }
            }
        }
    };
    audience.listed();
    let path = versions::path(dir, version?);
    Ok(Arc::new(off_runtime(move || Manifest::open(&path)).await??))
}

fn listed_so_far(progress: &Progress) -> Listed {
    use std::sync::atomic::Ordering::Relaxed;
    Listed {
        objects: progress.objects.load(Relaxed),
        bytes: progress.bytes.load(Relaxed),
    }
}

fn of_source(error: source::Error) -> Failure {
    Failure::new(Exit::Source, error)
}
