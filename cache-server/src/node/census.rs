//! How much of a dataset version is in the cache.

use std::sync::Arc;

use forebay_core::cache::CacheError;
use forebay_core::manifest::VersionId;

use super::NodeCache;

/// What of one dataset version is cached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Files of which every byte is cached. Empty files need no room and always count.
    pub files: u64,
    /// Cached bytes of the version's files.
    pub bytes: u64,
}

impl NodeCache {
    /// Counts the cached files and bytes of a version, on a blocking thread: the time
    /// grows with the number of files (about one second for a million).
    ///
    /// # Errors
    /// `NotFound` if the version is unknown.
    pub async fn census(&self, version: VersionId) -> Result<Census, CacheError> {
        let dataset = self.dataset(version)?;
        let store = Arc::clone(&self.store);
        let count = move || {
            let mut census = Census::default();
            // An empty store has an answer without a walk through the manifest, which
            // would bring all of it into memory.
            if store.usage().used_bytes == 0 {
                return census;
            }
            for entry in dataset.manifest().files() {
                let Some(target) = dataset.target(entry) else {
                    continue;
                };
                let cached = store.cached_bytes(target.id);
                census.bytes += cached;
                census.files += u64::from(cached == target.size);
            }
            census
        };
        tokio::task::spawn_blocking(count).await.map_err(|error| {
            CacheError::new(
                forebay_core::ErrorKind::Internal,
                format!("census broke off: {error}"),
            )
        })
    }
}
