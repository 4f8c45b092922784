//! The cache in the process of the mount.

use std::collections::HashMap;
use std::sync::Arc;

use forebay_cache_server::node::{NodeCache, Summary, WarmupProgress};
use forebay_cache_server::origin::OriginStats;
use forebay_cache_server::source::OriginConfig;
use forebay_core::cache::{Cache, CacheError};
use forebay_core::manifest::{EntryId, Manifest, VersionId};
use forebay_core::metric::Measured;
use forebay_proto::local::StoredVersion;
use forebay_proto::mount::v1::{CacheUse, OriginUse};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::{Backend, Report};
use crate::audience::{Audience, Nobody};
use crate::config::MountConfig;
use crate::config::cache_dir::{self, CacheDirs};
use crate::dataset::{Shown, Sources, versions};
use crate::exit::Failure;
use crate::mount_process::service::of_cache;
use crate::node;
use crate::off_runtime::off_runtime;

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
        let dirs = CacheDirs::prepare(&config.cache, || cache_dir::of_dataset(&config.dataset))?;
        let manifests = dirs.manifests(&config.dataset)?;
        let origin = OriginConfig {
            timeout: config.origin_timeout,
            ..OriginConfig::default()
        };
        let sources = Sources::open(&config.dataset, manifests, &origin)?;
        let reach = sources.probe().await?;
        let node = node::start(&dirs, &config.cache, Vec::new(), &origin, false).await?;
        // Only now, so that what is plainly wrong is told in one line and nothing else.
        tracing::info!(config = %config.summary(), "effective configuration");
        let shown = sources.shown(reach, audience, cancel).await?;
        node.attach(Arc::clone(&shown.manifest), sources.origins());
        let embedded = Self {
            dirs,
            sources,
            node,
        };
        Ok((embedded, shown))
    }

    /// Opens the versions that another process serves, without getting into its way.
    ///
    /// # Errors
    /// The [`Failure`] of the first step that failed.
    pub(super) async fn prepare(
        config: &MountConfig,
        versions: &[VersionId],
    ) -> Result<Prepared, Failure> {
        let dirs = CacheDirs::prepare(&config.cache, || cache_dir::of_dataset(&config.dataset))?;
        let manifests = dirs.manifests(&config.dataset)?;
        let origin = OriginConfig {
            timeout: config.origin_timeout,
            ..OriginConfig::default()
        };
        let sources = Sources::open(&config.dataset, manifests, &origin)?;
        let mut prepared = Prepared {
            dirs,
            origin,
            sources,
            open: HashMap::new(),
        };
        prepared.open(versions).await?;
        Ok(prepared)
    }
}

/// What can be done for a take-over while another process has the cache.
#[derive(Debug)]
pub(in crate::mount_process) struct Prepared {
    dirs: CacheDirs,
    origin: OriginConfig,
    sources: Sources,
    open: HashMap<VersionId, Arc<Manifest>>,
}

impl Prepared {
    /// Opens the cache, now that the other process has gone, and returns the manifests of
    /// `versions`. The sources are not asked.
    ///
    /// # Errors
    /// The [`Failure`] of the first step that failed.
    pub(super) async fn take_over(
        mut self,
        config: &MountConfig,
        versions: &[VersionId],
    ) -> Result<(Embedded, Vec<Arc<Manifest>>), Failure> {
        let manifests = self.open(versions).await?;
        let node = node::start(&self.dirs, &config.cache, Vec::new(), &self.origin, false).await?;
        for manifest in &manifests {
            node.attach(Arc::clone(manifest), self.sources.origins());
        }
        let embedded = Embedded {
            dirs: self.dirs,
            sources: self.sources,
            node,
        };
        Ok((embedded, manifests))
    }

    /// Those of `versions` that are not open yet are opened, which reads all of each.
    async fn open(&mut self, versions: &[VersionId]) -> Result<Vec<Arc<Manifest>>, Failure> {
        let mut manifests = Vec::with_capacity(versions.len());
        for &version in versions {
            let manifest = match self.open.get(&version) {
                Some(manifest) => Arc::clone(manifest),
                None => {
                    let dir = self.sources.dir().to_owned();
                    off_runtime(move || versions::open_version(&dir, version)).await??
                }
            };
            self.open.insert(version, Arc::clone(&manifest));
            manifests.push(manifest);
        }
        Ok(manifests)
    }
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

    fn versions(&self) -> BoxFuture<'_, Result<Vec<StoredVersion>, Failure>> {
        let dir = self.sources.dir().to_owned();
        async move { Ok(off_runtime(move || versions::described(&dir)).await??) }.boxed()
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
        node::end(&self.node, &self.dirs).boxed()
    }
}

fn origin_use(stats: &OriginStats) -> OriginUse {
    OriginUse {
        requests: stats.requests(),
        bytes: stats.bytes(),
        errors: stats.errors_total(),
    }
}
