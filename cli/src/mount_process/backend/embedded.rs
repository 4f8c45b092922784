//! The cache in the process of the mount.

use std::sync::Arc;

use forebay_cache_server::fill::FillConfig;
use forebay_cache_server::node::{NodeCache, Summary, WarmupProgress};
use forebay_cache_server::origin::OriginStats;
use forebay_cache_server::prefetch::{self, PrefetchConfig};
use forebay_cache_server::store::{Store, StoreConfig, TierConfig, TierKind};
use forebay_core::cache::{Cache, CacheError};
use forebay_core::manifest::{EntryId, Manifest, VersionId};
use forebay_core::metric::Measured;
use forebay_proto::mount::v1::{CacheUse, OriginUse};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::{Backend, Report, Shown};
use crate::config::MountConfig;
use crate::config::cache_dir::CacheDirs;
use crate::exit::Failure;
use crate::mount_process::audience::{Audience, Nobody};
use crate::mount_process::dataset::Sources;
use crate::mount_process::off_runtime;
use crate::mount_process::service::of_cache;
use crate::mount_process::versions::{self, Stored};
use crate::options::Policy;
use crate::size::Size;

/// Origins, store and node of one mount.
#[derive(Debug)]
pub(in crate::mount_process) struct Embedded {
    dirs: CacheDirs,
    sources: Sources,
    node: Arc<NodeCache>,
}

impl Embedded {
    /// Opens the cache and lists the sources, or finds the version that was asked for.
    ///
    /// # Errors
    /// The [`Failure`] of the first step that failed.
    pub(in crate::mount_process) async fn start(
        config: &MountConfig,
        audience: &dyn Audience,
        cancel: &CancellationToken,
    ) -> Result<(Self, Shown), Failure> {
        let dirs = CacheDirs::prepare(&config.cache, &config.dataset)?;
        let sources = Sources::open(config, &dirs)?;
        let reach = sources.probe().await?;
        let store = open_store(&dirs, config.cache.policy).await?;
        // Only now, so that what is plainly wrong is told in one line and nothing else.
        tracing::info!(config = %config.summary(), "effective configuration");
        let shown = sources.shown(reach, audience, cancel).await?;
        let node = attach(&store, &shown.manifest, &sources, config);
        let embedded = Self {
            dirs,
            sources,
            node,
        };
        Ok((embedded, shown))
    }
}

async fn open_store(dirs: &CacheDirs, policy: Policy) -> Result<Arc<Store>, Failure> {
    // Disk first: the page cache already is the memory above it. The memory tier takes
    // what the disk cannot.
    let disk = TierConfig::new(TierKind::Disk, &dirs.disk.dir, dirs.disk.quota);
    let memory = dirs
        .memory
        .iter()
        .map(|tier| TierConfig::new(TierKind::Memory, &tier.dir, tier.quota));
    let mut config = StoreConfig::new(std::iter::once(disk).chain(memory).collect());
    config.policy = policy.into();
    Ok(off_runtime(move || Store::open(config)).await??)
}

fn attach(
    store: &Arc<Store>,
    manifest: &Arc<Manifest>,
    sources: &Sources,
    config: &MountConfig,
) -> Arc<NodeCache> {
    let fill = FillConfig {
        origin_timeout: config.origin_timeout,
        prefetch: PrefetchConfig {
            budget_bytes: prefetch_budget(config.cache.prefetch_budget),
            ..PrefetchConfig::default()
        },
        origin_stats: Arc::clone(sources.stats()),
        ..FillConfig::default()
    };
    let node = NodeCache::new(Arc::clone(store), fill, Handle::current());
    node.attach(Arc::clone(manifest), sources.origins());
    node
}

/// The budget that was asked for, or as much as the memory can bear.
fn prefetch_budget(asked: Option<Size>) -> u64 {
    let most = PrefetchConfig::default().budget_bytes;
    let eighth = prefetch::memory_limit().map_or(most, |limit| limit / 8);
    asked.map_or(most.min(eighth), |size| size.0)
}

impl Backend for Embedded {
    fn cache(&self) -> Arc<dyn Cache> {
        Arc::clone(&self.node) as _
    }

    fn refresh<'a>(
        &'a self,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Arc<Manifest>, Failure>> {
        async move {
            let manifest = self.sources.list(&Nobody, cancel).await?;
            self.node
                .attach(Arc::clone(&manifest), self.sources.origins());
            Ok(manifest)
        }
        .boxed()
    }

    fn versions(&self) -> BoxFuture<'_, Result<Vec<Stored>, Failure>> {
        let dir = self.sources.dir().to_owned();
        async move { Ok(off_runtime(move || versions::all(&dir)).await??) }.boxed()
    }

    fn report(&self, version: VersionId) -> BoxFuture<'_, Result<Report, Failure>> {
        async move {
            let census = self.node.census(version).await.map_err(of_cache)?;
            let (usage, store) = (self.node.usage(), self.node.store().stats());
            Ok(Report {
                cached_bytes: census.bytes,
                cached_files: census.files,
                corrupt_chunks: store.corrupt_chunks,
                cache: CacheUse {
                    dir: self.dirs.root.to_string_lossy().into_owned(),
                    capacity_bytes: usage.capacity_bytes,
                    used_bytes: usage.used_bytes,
                    evicted_bytes: store.evicted_bytes,
                },
                origin: origin_use(self.sources.stats()),
            })
        }
        .boxed()
    }

    fn warmup<'a>(
        &'a self,
        version: VersionId,
        files: &'a [EntryId],
        progress: &'a WarmupProgress,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Summary, CacheError>> {
        self.node.warmup(version, files, progress, cancel).boxed()
    }

    fn measured(&self) -> Vec<Arc<dyn Measured>> {
        vec![
            Arc::clone(&self.node) as _,
            Arc::clone(self.sources.stats()) as _,
        ]
    }

    fn end(&self) -> BoxFuture<'_, Result<(), Failure>> {
        async move {
            self.node.shutdown().await;
            if let Some(memory) = self.dirs.memory.clone() {
                off_runtime(move || memory.remove_if_unused()).await?;
            }
            Ok(())
        }
        .boxed()
    }
}

fn origin_use(stats: &OriginStats) -> OriginUse {
    OriginUse {
        requests: stats.requests(),
        bytes: stats.bytes(),
        errors: stats.errors_total(),
    }
}
