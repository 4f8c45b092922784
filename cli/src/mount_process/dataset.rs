//! The dataset of a mount: its sources, and the manifest to show.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use forebay_cache_server::listing::{self, Progress};
use forebay_cache_server::origin::{Origin, OriginStats};
use forebay_cache_server::source::{self, OriginConfig, SourceSpec};
use forebay_core::manifest::Manifest;
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
        list(&self.sources, &self.config, &self.dir, audience, cancel).await
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
            Err(failure) => return Err(failure),
        },
        Err(error @ source::Error::NoAnswer { .. }) => error,
        Err(error) => return Err(of_source(error)),
    };
    let Some(stored) = versions::all(dir)?.into_iter().next() else {
        return Err(of_source(error));
    };
    tracing::warn!(
        %error,
        version = %stored.version,
        "origin out of reach: mounting the version that was listed last"
    );
    Ok((versions::open(&stored)?, true))
}

async fn list(
    sources: &[(SourceSpec, Arc<dyn Origin>)],
    config: &DatasetConfig,
    dir: &Path,
    audience: &dyn Audience,
    cancel: &CancellationToken,
) -> Result<Arc<Manifest>, Failure> {
    let filter = config
        .filter()
        .map_err(|error| Failure::new(Exit::Usage, error))?;
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
    let path = versions::path(dir, version.map_err(of_listing)?);
    let opened = off_runtime(move || Manifest::open(&path)).await?;
    opened
        .map(Arc::new)
        .map_err(|error| Failure::new(Exit::CacheDir, error))
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

fn of_listing(error: listing::Error) -> Failure {
    Failure::new(Exit::Source, error)
}
