//! Where a mount gets its dataset and its bytes.
//!
//! Either the cache is in this process, with origins, credentials and tiers of its own,
//! or it is the cache server of this machine and all of that is behind its socket. The
//! rest of the mount does not know which.

use std::fmt;
use std::sync::Arc;

use forebay_cache_server::node::{Summary, WarmupProgress};
use forebay_core::cache::{Cache, CacheError};
use forebay_core::manifest::{EntryId, Manifest, VersionId};
use forebay_core::metric::Measured;
use forebay_proto::local::StoredVersion;
use forebay_proto::mount::v1::{CacheUse, OriginUse};
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::legacy::Legacy;
use crate::audience::Audience;
use crate::config::MountConfig;
use crate::dataset::Shown;
use crate::exit::Failure;

mod embedded;
mod remote;

use embedded::Embedded;
use remote::Remote;

/// Opens the cache that `config` names, and finds the version to show first.
///
/// # Errors
/// The [`Failure`] of the first step that failed.
pub(super) async fn start(
    config: &MountConfig,
    audience: &dyn Audience,
    cancel: &CancellationToken,
) -> Result<(Arc<dyn Backend>, Shown), Failure> {
    match &config.server {
        Some(server) => {
            let (remote, shown) = Remote::start(config, server, audience, cancel).await?;
            Ok((Arc::new(remote), shown))
        }
        None => {
            let (embedded, shown) = Embedded::start(config, audience, cancel).await?;
            Ok((Arc::new(embedded), shown))
        }
    }
}

/// The cache of a mount that another process still serves, as far as it can be opened
/// beside that one.
#[derive(Debug)]
pub(super) enum Heir {
    /// The cache is to be in this process.
    Embedded(Box<embedded::Prepared>),
    /// It is in a process of its own, which goes on.
    Remote(Remote),
}

impl Heir {
    /// Does what does not get into the way of the process that serves.
    ///
    /// # Errors
    /// The [`Failure`] of the first step that failed.
    pub(super) async fn prepare(config: &MountConfig, legacy: &Legacy) -> Result<Self, Failure> {
        match &config.server {
            Some(server) => {
                let remote = Remote::connect(config, server).await?;
                remote.attach_stored(&legacy.versions).await?;
                Ok(Self::Remote(remote))
            }
            None => {
                let prepared = Embedded::prepare(config, &legacy.versions).await?;
                Ok(Self::Embedded(Box::new(prepared)))
            }
        }
    }

    /// Does the rest, now that nobody serves, and returns the manifests of the versions
    /// that were served.
    ///
    /// # Errors
    /// The [`Failure`] of the first step that failed.
    pub(super) async fn take_over(
        self,
        config: &MountConfig,
        legacy: &Legacy,
    ) -> Result<(Arc<dyn Backend>, Vec<Arc<Manifest>>), Failure> {
        match self {
            Self::Remote(remote) => {
                let versions = remote.attach_stored(&legacy.versions).await?;
                Ok((Arc::new(remote), versions))
            }
            Self::Embedded(prepared) => {
                let (embedded, versions) = prepared.take_over(config, &legacy.versions).await?;
                Ok((Arc::new(embedded), versions))
            }
        }
    }
}

/// What of a version is cached, where, and what it took.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    /// Bytes of the version that are cached.
    pub cached_bytes: u64,
    /// Files of the version of which every byte is.
    pub cached_files: u64,
    /// Chunks found wrong and dropped since the cache's process started.
    pub corrupt_chunks: u64,
    /// The cache and how full it is.
    pub cache: CacheUse,
    /// What was asked of the origins since the cache's process started.
    pub origin: OriginUse,
}

/// The cache of a mount, with what lies behind it.
pub(super) trait Backend: Send + Sync + fmt::Debug {
    /// What is read from. It knows every version that this backend has returned.
    fn cache(&self) -> Arc<dyn Cache>;

    /// Lists the sources again and returns what they hold now.
    ///
    /// # Errors
    /// [`Exit::Source`](crate::exit::Exit::Source) if they cannot be listed.
    fn refresh<'a>(
        &'a self,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Arc<Manifest>, Failure>>;

    /// The stored versions, the one listed last first.
    fn versions(&self) -> BoxFuture<'_, Result<Vec<StoredVersion>, Failure>>;

    /// What of `version` is cached.
    fn report(&self, version: VersionId) -> BoxFuture<'_, Result<Report, Failure>>;

    /// Brings `files` of a version into the cache and verifies them. Dropping the future
    /// stops the work.
    fn warmup<'a>(
        &'a self,
        version: VersionId,
        files: &'a [EntryId],
        progress: &'a WarmupProgress,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Summary, CacheError>>;

    /// What is counted here and not by the mount.
    fn measured(&self) -> Vec<Arc<dyn Measured>>;

    /// Ends every wait and makes durable what is here. Nobody reads any more.
    fn end(&self) -> BoxFuture<'_, Result<(), Failure>>;
}
