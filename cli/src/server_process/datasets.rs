//! The datasets of a cache server: attached when a mount asks for them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use forebay_cache_server::cluster::Cluster;
use forebay_cache_server::local::{Attached, Datasets};
use forebay_cache_server::node::{NodeCache, Summary, WarmupProgress};
use forebay_cache_server::origin::{Origin, OriginStats};
use forebay_cache_server::source::OriginConfig;
use forebay_core::ErrorKind;
use forebay_core::cache::{Cache, CacheError};
use forebay_core::manifest::{EntryId, Kind, VersionId};
use forebay_proto::local::{Attach, Report, StoredVersion, Wanted};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::peers::Peers;
use crate::audience::{Audience, Listed};
use crate::config::ServerConfig;
use crate::config::cache_dir::CacheDirs;
use crate::dataset::{Shown, Sources, versions};
use crate::exit::{Exit, Failure};
use crate::off_runtime::off_runtime;
use crate::options::VersionPrefix;

/// The datasets that a server is configured with.
#[derive(Debug)]
pub(super) struct Configured {
    datasets: BTreeMap<String, Dataset>,
    stats: Arc<OriginStats>,
}

/// The datasets of a server, over its node.
#[derive(Debug)]
pub(super) struct Served {
    configured: Configured,
    node: Arc<NodeCache>,
    dir: PathBuf,
    cluster: Option<Arc<Cluster>>,
}

#[derive(Debug)]
struct Dataset {
    sources: Sources,
    /// Held while the sources are listed: one listing at a time. When the last one began,
    /// and the version that it found.
    listing: tokio::sync::Mutex<Option<(Instant, VersionId)>>,
}

impl Served {
    /// Opens the sources of all datasets; nothing is contacted yet.
    pub(super) fn open(
        config: &ServerConfig,
        dirs: &CacheDirs,
        origin: &OriginConfig,
    ) -> Result<Configured, Failure> {
        let opened = config.datasets.iter().map(|(name, dataset)| {
            let sources = Sources::open(dataset, dirs.manifests(dataset)?, origin)?;
            let listing = tokio::sync::Mutex::default();
            Ok((name.clone(), Dataset { sources, listing }))
        });
        Ok(Configured {
            datasets: opened.collect::<Result<_, Failure>>()?,
            stats: Arc::clone(&origin.stats),
        })
    }

    fn dataset(&self, name: &str) -> Result<&Dataset, CacheError> {
        self.configured.datasets.get(name).ok_or_else(|| {
            let names = self.configured.datasets.keys();
            let names: Vec<_> = names.map(String::as_str).collect();
            let message = format!(
                "the cache server has no dataset {name:?}; it has {}",
                names.join(", ")
            );
            CacheError::new(ErrorKind::NotFound, message)
        })
    }
}

impl Configured {
    /// The origins of all datasets.
    pub(super) fn origins(&self) -> impl Iterator<Item = Arc<dyn Origin>> + use<'_> {
        let datasets = self.datasets.values();
        datasets.flat_map(|dataset| dataset.sources.origins())
    }

    /// Tells `node` which origins' objects belong to which dataset.
    pub(super) fn assign(&self, node: &NodeCache) {
        for (name, dataset) in &self.datasets {
            for origin in dataset.sources.origins() {
                node.assign(origin.identity(), name);
            }
        }
    }

    /// Serves the datasets from the cache of `node`, which lies in `dirs`.
    pub(super) fn over(
        self,
        node: Arc<NodeCache>,
        dirs: &CacheDirs,
        cluster: Option<Arc<Cluster>>,
    ) -> Served {
        Served {
            cluster,
            configured: self,
            node,
            dir: dirs.root.clone(),
        }
    }
}

impl Dataset {
    async fn shown(&self, wanted: &Wanted, audience: &dyn Audience) -> Result<Shown, Failure> {
        let asked = Instant::now();
        if let Wanted::Stored(prefix) = wanted {
            return self.pinned(prefix, audience).await;
        }
        let mut last = self.listing.lock().await;
        // Many mounts may start at once: a listing that began after this one was asked
        // for is as good as another.
        if let Some((begun, version)) = *last
            && begun >= asked
        {
            return self.stored(&version.to_string());
        }
        let begun = Instant::now();
        let cancel = CancellationToken::new();
        let shown = match wanted {
            Wanted::Latest => {
                let reach = self.sources.probe().await?;
                self.sources.shown(reach, audience, &cancel).await?
            }
            Wanted::Relisted | Wanted::Stored(_) => Shown {
                manifest: self.sources.list(audience, &cancel).await?,
                origin_unreachable: false,
            },
        };
        if !shown.origin_unreachable {
            *last = Some((begun, shown.manifest.version()));
        }
        Ok(shown)
    }

    async fn pinned(&self, prefix: &str, audience: &dyn Audience) -> Result<Shown, Failure> {
        let prefix = parse(prefix)?;
        let cancel = CancellationToken::new();
        let pinned = self.sources.pinned(&prefix, audience, &cancel);
        Ok(Shown {
            manifest: pinned.await?,
            origin_unreachable: false,
        })
    }

    fn stored(&self, prefix: &str) -> Result<Shown, Failure> {
        Ok(Shown {
            manifest: self.sources.stored(&parse(prefix)?)?,
            origin_unreachable: false,
        })
    }
}

fn parse(prefix: &str) -> Result<VersionPrefix, Failure> {
    let parsed = prefix.parse();
    parsed.map_err(|expected: &str| Failure::new(Exit::Usage, expected))
}

/// The client of a listing, as somebody who waits for it.
struct Client<'a>(&'a (dyn Fn(u64, u64) + Send + Sync));

impl Audience for Client<'_> {
    fn listing(&self, listed: Listed) -> io::Result<()> {
        (self.0)(listed.objects, listed.bytes);
        Ok(())
    }
}

/// What a client is told of a failure: its words, and the class that its exit code has.
fn told(failure: &Failure) -> CacheError {
    let kind = match failure.exit() {
        Exit::Usage => ErrorKind::NotFound,
        Exit::Source => ErrorKind::Unavailable,
        Exit::CacheDir => ErrorKind::NoSpace,
        Exit::Ok
        | Exit::Failed
        | Exit::Mount
        | Exit::NotMounted
        | Exit::Incomplete
        | Exit::Degraded => ErrorKind::Internal,
    };
    CacheError::new(kind, failure.to_string())
}

impl Datasets for Served {
    fn attach<'a>(
        &'a self,
        attach: Attach,
        listed: &'a (dyn Fn(u64, u64) + Send + Sync),
    ) -> BoxFuture<'a, Result<Attached, CacheError>> {
        async move {
            let dataset = self.dataset(&attach.dataset)?;
            let shown = dataset.shown(&attach.wanted, &Client(listed)).await;
            let shown = shown.map_err(|failure| told(&failure))?;
            let version = shown.manifest.version();
            let path = versions::path(dataset.sources.dir(), version);
            let manifest = File::open(&path).map_err(|error| {
                let message = format!("open the manifest of {version}: {error}");
                CacheError::new(ErrorKind::Internal, message)
            })?;
            let origins = dataset.sources.origins().into_iter();
            let origins = origins.map(|origin| match &self.cluster {
                Some(cluster) => Peers::before(cluster, origin),
                None => origin,
            });
            self.node.attach(shown.manifest, origins.collect());
            tracing::info!(dataset = %attach.dataset, %version, "attached");
            Ok(Attached {
                version,
                manifest,
                origin_unreachable: shown.origin_unreachable,
            })
        }
        .boxed()
    }

    fn versions(&self, dataset: String) -> BoxFuture<'_, Result<Vec<StoredVersion>, CacheError>> {
        async move {
            let dir = self.dataset(&dataset)?.sources.dir().to_owned();
            let described = off_runtime(move || versions::described(&dir)).await;
            let described = described.and_then(|described| Ok(described?));
            described.map_err(|failure| told(&failure))
        }
        .boxed()
    }

    fn report(&self, version: VersionId) -> BoxFuture<'_, Result<Report, CacheError>> {
        async move {
            let census = self.node.census(version).await?;
            let store = self.node.store().stats();
            let origin = &self.configured.stats;
            Ok(Report {
                bytes: census.bytes,
                files: census.files,
                corrupt_chunks: store.corrupt_chunks,
                evicted_bytes: store.evicted_bytes,
                origin_requests: origin.requests(),
                origin_bytes: origin.bytes(),
                origin_errors: origin.errors_total(),
                usage: self.node.usage(),
                dir: self.dir.to_string_lossy().into_owned(),
            })
        }
        .boxed()
    }

    fn warmup<'a>(
        &'a self,
        version: VersionId,
        runs: Vec<(u32, u32)>,
        progress: &'a WarmupProgress,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Summary, CacheError>> {
        async move {
            let manifest = self.node.manifest(version)?;
            let gather = move || {
                let is_file = |entry: &EntryId| {
                    let attr = manifest.attr(*entry);
                    attr.is_some_and(|attr| attr.kind == Kind::File)
                };
                let end = |first: u32, count| first.saturating_add(count).min(manifest.len());
                let entries = runs
                    .into_iter()
                    .flat_map(|(first, count)| (first..end(first, count)).map(EntryId));
                // Never more than the manifest has, however often a client names them.
                let most = manifest.len() as usize;
                entries.take(most).filter(is_file).collect::<Vec<_>>()
            };
            let files = off_runtime(gather).await;
            let files = files.map_err(|failure| told(&failure))?;
            self.node.warmup(version, &files, progress, cancel).await
        }
        .boxed()
    }
}
