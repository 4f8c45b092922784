//! A dataset: its sources, and the version to show.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use forebay_cache_server::listing::{self, InvalidGlob, Progress};
use forebay_cache_server::origin::{self, Origin, OriginStats};
use forebay_cache_server::source::{self, OriginConfig, SourceSpec};
use forebay_core::manifest::{self, Manifest};
use futures::future;
use tokio_util::sync::CancellationToken;

use crate::audience::{Audience, Listed};
use crate::config::DatasetConfig;
use crate::exit::{Exit, Failure};
use crate::off_runtime::off_runtime;
use crate::options::VersionPrefix;

pub(crate) mod versions;

/// How often the audience hears of a listing.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// The sources of a dataset, ready to be asked.
#[derive(Debug)]
pub(crate) struct Sources {
    list: Vec<(SourceSpec, Arc<dyn Origin>)>,
    stats: Arc<OriginStats>,
    config: DatasetConfig,
    /// Where the versions are stored.
    dir: PathBuf,
}

/// The version of a dataset that is shown first.
#[derive(Debug)]
pub(crate) struct Shown {
    /// Its manifest.
    pub manifest: Arc<Manifest>,
    /// Whether it is an old one because the sources do not answer.
    pub origin_unreachable: bool,
}

/// Whether sources can be listed now.
#[derive(Debug)]
pub(crate) enum Reach {
    /// They answer, or nobody needs them to.
    Reached,
    /// They do not answer, but an old listing is stored.
    Silent(Failure),
}

impl Sources {
    /// Opens the sources of a dataset whose versions are stored in `dir`; nothing is
    /// contacted yet.
    pub(crate) fn open(
        config: &DatasetConfig,
        dir: PathBuf,
        origin: &OriginConfig,
    ) -> Result<Self, Failure> {
        let specs = config.sources.iter();
        let list = specs.map(|spec| Ok((spec.clone(), spec.open(origin)?)));
        Ok(Self {
            list: list
                .collect::<Result<_, source::Error>>()
                .map_err(of_source)?,
            stats: Arc::clone(&origin.stats),
            config: config.clone(),
            dir,
        })
    }

    /// The origins, in the order of the sources.
    pub(crate) fn origins(&self) -> Vec<Arc<dyn Origin>> {
        self.list
            .iter()
            .map(|(_, origin)| Arc::clone(origin))
            .collect()
    }

    /// What was asked of the origins.
    pub(crate) fn stats(&self) -> &Arc<OriginStats> {
        &self.stats
    }

    /// Where the versions are stored.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Asks each source for a sign of life, unless a stored version was asked for.
    ///
    /// A wrong bucket, prefix or credential is an error here, and never answered with an
    /// old listing.
    pub(crate) async fn probe(&self) -> Result<Reach, Failure> {
        if self.config.version.is_some() {
            return Ok(Reach::Reached);
        }
        match self.answer().await {
            Ok(()) => Ok(Reach::Reached),
            Err(error @ source::Error::NoAnswer { .. })
                if !versions::all(&self.dir)?.is_empty() =>
            {
                Ok(Reach::Silent(of_source(error)))
            }
            Err(error) => Err(of_source(error)),
        }
    }

    /// One page of each source, within seconds where a listing would be patient.
    async fn answer(&self) -> Result<(), source::Error> {
        future::try_join_all(self.list.iter().map(|(spec, _)| spec.probe()))
            .await
            .map(drop)
    }

    /// The version to show: the one that was asked for; what the sources hold now; or,
    /// where they do not answer, what they held when they were last listed, because what
    /// is cached stays readable without them.
    pub(crate) async fn shown(
        &self,
        reach: Reach,
        audience: &dyn Audience,
        cancel: &CancellationToken,
    ) -> Result<Shown, Failure> {
        let error = match (&self.config.version, reach) {
            (Some(prefix), _) => {
                return Ok(Shown {
                    manifest: self.pinned(prefix, audience, cancel).await?,
                    origin_unreachable: false,
                });
            }
            (None, Reach::Silent(failure)) => failure,
            (None, Reach::Reached) => match self.list_anew(audience, cancel).await {
                Ok(manifest) => {
                    return Ok(Shown {
                        manifest,
                        origin_unreachable: false,
                    });
                }
                Err(error) if error.is_silence() => error.into(),
                Err(error) => return Err(error.into()),
            },
        };
        let Some(stored) = versions::all(&self.dir)?.into_iter().next() else {
            return Err(error);
        };
        let version = stored.version;
        tracing::warn!(%error, %version, "origin out of reach: mounting the version listed last");
        Ok(Shown {
            manifest: versions::open(&stored)?,
            origin_unreachable: true,
        })
    }

    /// The version that begins with `prefix`: a stored one, or what the sources hold now, if
    /// that is it. A version is named by what is in it, so it has the same name wherever it
    /// is listed.
    pub(crate) async fn pinned(
        &self,
        prefix: &VersionPrefix,
        audience: &dyn Audience,
        cancel: &CancellationToken,
    ) -> Result<Arc<Manifest>, Failure> {
        match versions::matching(&self.dir, prefix) {
            Err(versions::Error::NoSuchVersion { .. }) => {
                self.list(audience, cancel).await?;
                self.stored(prefix)
            }
            found => Ok(versions::open(&found?)?),
        }
    }

    /// The one stored version that begins with `prefix`.
    pub(crate) fn stored(&self, prefix: &VersionPrefix) -> Result<Arc<Manifest>, Failure> {
        Ok(versions::open(&versions::matching(&self.dir, prefix)?)?)
    }

    /// Asks the sources for a sign of life and lists them into a new manifest.
    pub(crate) async fn list(
        &self,
        audience: &dyn Audience,
        cancel: &CancellationToken,
    ) -> Result<Arc<Manifest>, Failure> {
        self.answer().await.map_err(of_source)?;
        Ok(self.list_anew(audience, cancel).await?)
    }

    async fn list_anew(
        &self,
        audience: &dyn Audience,
        cancel: &CancellationToken,
    ) -> Result<Arc<Manifest>, ListError> {
        let filter = self.config.filter()?;
        let progress = Progress::default();
        let cancel = cancel.child_token();
        let listing = listing::list(&self.list, &filter, &self.dir, &progress, &cancel);
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
        let (dir, version) = (self.dir.clone(), version?);
        off_runtime(move || {
            let manifest = Manifest::open(&versions::path(&dir, version))?;
            versions::prune(&dir)?;
            Ok(Arc::new(manifest))
        })
        .await?
    }
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
    Versions(#[from] versions::Error),
    #[error(transparent)]
    Thread(#[from] Failure),
}

impl ListError {
    /// Whether an older listing is better than none: the origin says nothing, rather
    /// than no.
    fn is_silence(&self) -> bool {
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
            ListError::Versions(error) => error.into(),
            ListError::Thread(failure) => failure,
        }
    }
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
