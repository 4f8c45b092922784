//! The cache of one node: datasets, store and miss path behind the [`Cache`] trait.
//!
//! A reader's byte is looked for in the store first; what is missing is filled from the
//! origin (see [`crate::fill`]). Other nodes will stand between the two.

use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, PoisonError, RwLock};

use forebay_core::cache::{Availability, Cache, CacheError, FileRef, Lease, Usage};
use forebay_core::manifest::{EntryId, Manifest, VersionId};
use forebay_core::{ByteRange, ErrorKind};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::runtime::Handle;

use crate::dataset::{Dataset, Target};
use crate::fill::{FillConfig, FillStats, Fills, OpenObject};
use crate::origin::Origin;
use crate::prefetch::PrefetchSnapshot;
use crate::store::{ShareId, Store};

mod bring;
mod census;
mod places;
mod report;
mod warmup;

pub(crate) use bring::Piece;
pub use census::Census;
pub use warmup::{Failure, Summary, WarmupProgress};

/// The cache of one node.
#[derive(Debug)]
pub struct NodeCache {
    store: Arc<Store>,
    fills: Arc<Fills>,
    datasets: RwLock<HashMap<VersionId, Arc<Dataset>>>,
    /// Whose objects an origin has, by its identity.
    shares: RwLock<HashMap<String, ShareId>>,
    // Hints arrive on threads that belong to no runtime.
    runtime: Handle,
}

impl NodeCache {
    /// A node over `store`, with no dataset yet. Its tasks run on `runtime`.
    pub fn new(store: Arc<Store>, fill: FillConfig, runtime: Handle) -> Arc<Self> {
        Arc::new(Self {
            store,
            fills: Fills::new(fill),
            datasets: RwLock::default(),
            shares: RwLock::default(),
            runtime,
        })
    }

    /// Makes a dataset version readable. `origins` are those of the manifest's sources,
    /// in their order. Attaching a version again replaces its origins for new leases.
    pub fn attach(&self, manifest: Arc<Manifest>, origins: Vec<Arc<dyn Origin>>) {
        let version = manifest.version();
        let dataset = Arc::new(Dataset::new(manifest, origins));
        self.datasets
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(version, dataset);
    }

    /// Says that what is read from now on from `origin`, an origin's identity, belongs to
    /// the dataset of this name. Of several datasets with one origin, the first one has
    /// its objects. Nothing happens if the store knows no such dataset.
    pub fn assign(&self, origin: &str, dataset: &str) {
        if let Some(share) = self.store.share(dataset) {
            let mut shares = self.shares.write().unwrap_or_else(PoisonError::into_inner);
            shares.entry(origin.to_owned()).or_insert(share);
        }
    }

    /// The store behind the node.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Counters of the miss path.
    pub fn fill_stats(&self) -> &FillStats {
        self.fills.stats()
    }

    /// What prefetch does now and has done.
    pub fn prefetch(&self) -> PrefetchSnapshot {
        self.fills.prefetch()
    }

    /// Ends every wait, then makes what was filled durable. Blocks for the last part.
    pub async fn shutdown(&self) {
        self.fills.shutdown().await;
        let store = Arc::clone(&self.store);
        if let Err(error) = tokio::task::spawn_blocking(move || store.close()).await {
            tracing::error!(%error, "closing the store broke off");
        }
    }

    pub(crate) fn dataset(&self, version: VersionId) -> Result<Arc<Dataset>, CacheError> {
        let datasets = self.datasets.read().unwrap_or_else(PoisonError::into_inner);
        datasets.get(&version).cloned().ok_or_else(|| {
            let message = format!("dataset version {version} is not known to this cache");
            CacheError::new(ErrorKind::NotFound, message)
        })
    }

    fn open(&self, file: FileRef) -> Result<Arc<OpenObject>, CacheError> {
        let target = self
            .dataset(file.version)?
            .target(file.entry)
            .ok_or_else(|| {
                let message = format!("entry {} of {} is no file", file.entry.0, file.version);
                CacheError::new(ErrorKind::NotFound, message)
            })?;
        Ok(self.open_target(target))
    }

    /// Opens an object that need not be in a manifest.
    pub(crate) fn open_target(&self, target: Target) -> Arc<OpenObject> {
        let share = self.share_of(&target);
        let lease = self.store.lease_for(share, target.id, target.size);
        // Who keeps what may have changed. The origin that others are served from does not
        // know, and what was noted stays.
        if let Some(is_copy) = target.is_copy() {
            lease.revise(&|offset| !is_copy(offset));
        }
        Arc::new(OpenObject::new(target, lease))
    }

    /// Opens an object of which nothing but what is here is wanted: whose it is, and who
    /// keeps it, stays as it was.
    pub(crate) fn look_at(&self, target: Target) -> Arc<OpenObject> {
        let lease = self.store.lease(target.id, target.size);
        Arc::new(OpenObject::new(target, lease))
    }

    fn share_of(&self, target: &Target) -> ShareId {
        let shares = self.shares.read().unwrap_or_else(PoisonError::into_inner);
        let share = shares.get(target.origin().identity());
        share.copied().unwrap_or_default()
    }

    /// The miss path.
    pub(crate) fn fills(&self) -> &Arc<Fills> {
        &self.fills
    }

    /// The manifest of a version.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if the version is unknown.
    pub fn manifest(&self, version: VersionId) -> Result<Arc<Manifest>, CacheError> {
        Ok(Arc::clone(self.dataset(version)?.manifest()))
    }

    /// The files of a version below `entry`, which may be a file itself.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if the version is unknown.
    pub fn files_below(
        &self,
        version: VersionId,
        entry: EntryId,
    ) -> Result<Vec<EntryId>, CacheError> {
        let dataset = self.dataset(version)?;
        let manifest = dataset.manifest();
        let mut files = Vec::new();
        let mut open = vec![entry];
        while let Some(entry) = open.pop() {
            match manifest.children(entry) {
                Some(children) => open.extend(children.map(EntryId)),
                None => files.push(entry),
            }
        }
        // Manifest order: neighbours are fetched together.
        files.sort_unstable();
        Ok(files)
    }
}

fn held(lease: &Lease) -> Result<&Arc<OpenObject>, CacheError> {
    lease.state.downcast_ref().ok_or_else(|| {
        CacheError::new(
            ErrorKind::InvalidInput,
            "the lease belongs to another cache",
        )
    })
}

impl Cache for NodeCache {
    fn lease(&self, file: FileRef) -> BoxFuture<'_, Result<Lease, CacheError>> {
        let opened = self.open(file).map(|object| Lease {
            file,
            size: object.target.size,
            state: Box::new(object),
        });
        futures::future::ready(opened).boxed()
    }

    fn ensure<'a>(
        &'a self,
        lease: &'a Lease,
        range: ByteRange,
    ) -> BoxFuture<'a, Result<Availability, CacheError>> {
        async move {
            let object = held(lease)?;
            if range.end() > object.target.size {
                let size = object.target.size;
                let message = format!("bytes {range} are not within an object of {size} bytes");
                return Err(CacheError::new(ErrorKind::InvalidInput, message));
            }
            self.fills.ensure(object, range).await
        }
        .boxed()
    }

    fn ready(&self, lease: &Lease, range: ByteRange) -> Option<Availability> {
        let object = held(lease).ok()?;
        if range.end() > object.target.size || range.is_empty() {
            return None;
        }
        match object.lease.first_absent(range) {
            None => object.lease.backing().map(Availability::Backed),
            Some(_) => None,
        }
    }

    fn whole<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Option<Arc<File>>> {
        async move { self.fills.whole(held(lease).ok()?).await }.boxed()
    }

    fn distrust<'a>(&'a self, lease: &'a Lease, range: ByteRange) -> BoxFuture<'a, ()> {
        async move {
            if let Ok(object) = held(lease) {
                self.fills.distrust(object, range).await;
            }
        }
        .boxed()
    }

    fn advise(&self, lease: &Lease, range: ByteRange) -> u64 {
        let Ok(object) = held(lease) else { return 0 };
        self.fills.advise(&self.runtime, object, range)
    }

    fn cached_bytes(&self, file: FileRef) -> BoxFuture<'_, Result<u64, CacheError>> {
        let counted = self.dataset(file.version).and_then(|dataset| {
            let target = dataset.target(file.entry).ok_or_else(|| {
                CacheError::new(
                    ErrorKind::NotFound,
                    format!("entry {} is no file", file.entry.0),
                )
            })?;
            Ok(self.store.cached_bytes(target.id))
        });
        futures::future::ready(counted).boxed()
    }

    fn usage(&self) -> Usage {
        self.store.usage()
    }
}
