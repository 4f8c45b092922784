//! The cache of this process: from directories to a running node, and back.

use std::sync::Arc;

use forebay_cache_server::fill::FillConfig;
use forebay_cache_server::node::NodeCache;
use forebay_cache_server::prefetch::{self, PrefetchConfig};
use forebay_cache_server::source::OriginConfig;
use forebay_cache_server::store::{Store, StoreConfig, StoreError, Terms, TierConfig, TierKind};
use forebay_core::placement::SEGMENT_SIZE;
use tokio::runtime::Handle;

use crate::allocator;
use crate::config::CacheConfig;
use crate::config::cache_dir::CacheDirs;
use crate::exit::{Exit, Failure};
use crate::off_runtime::off_runtime;

/// Opens the store in `dirs` and starts a node over it, without a dataset yet. The store
/// tells those of `datasets` apart. One read in a cluster is of one segment.
///
/// # Errors
/// [`Exit::CacheDir`] if the directories are in use or cannot be used.
pub(crate) async fn start(
    dirs: &CacheDirs,
    cache: &CacheConfig,
    datasets: Vec<Terms>,
    origin: &OriginConfig,
    is_in_cluster: bool,
) -> Result<Arc<NodeCache>, Failure> {
    // Disk first: the page cache already is the memory above it. The memory tier takes
    // what the disk cannot.
    let disk = TierConfig::new(TierKind::Disk, &dirs.disk.dir, dirs.disk.quota);
    let memory = dirs
        .memory
        .iter()
        .map(|tier| TierConfig::new(TierKind::Memory, &tier.dir, tier.quota));
    let mut config = StoreConfig::new(std::iter::once(disk).chain(memory).collect());
    config.policy = cache.policy.into();
    config.scrub_rate = cache.scrub_rate.0;
    config.datasets = datasets;
    let store = off_runtime(move || Store::open(config)).await??;
    let memory = prefetch::memory_limit().unwrap_or(u64::MAX);
    let usual = FillConfig::within(memory);
    let fill = FillConfig {
        part_bytes: match is_in_cluster {
            true => SEGMENT_SIZE,
            false => usual.part_bytes,
        },
        origin_timeout: origin.timeout,
        prefetch: PrefetchConfig {
            budget_bytes: cache.prefetch_bytes(),
            ..PrefetchConfig::default()
        },
        origin_stats: Arc::clone(&origin.stats),
        ..usual
    };
    let node = NodeCache::new(store, fill, Handle::current());
    tokio::spawn(allocator::give_back_at_rest(Arc::downgrade(&node)));
    Ok(node)
}

/// Ends every wait, makes the cache durable and lets go of the directories.
///
/// # Errors
/// If a thread broke off.
pub(crate) async fn end(node: &NodeCache, dirs: &CacheDirs) -> Result<(), Failure> {
    node.shutdown().await;
    if let Some(memory) = dirs.memory.clone() {
        off_runtime(move || memory.remove_if_unused()).await?;
    }
    Ok(())
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::new(Exit::CacheDir, error)
    }
}
