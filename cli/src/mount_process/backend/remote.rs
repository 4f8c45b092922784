//! The cache server of this machine as the cache of a mount.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use forebay_cache_client::{Attached, Client, ClientConfig, ConnectError, Wanted, WarmupCounts};
use forebay_cache_server::node::{Failure as FileFailure, Summary, WarmupProgress};
use forebay_core::ErrorKind;
use forebay_core::cache::{Cache, CacheError};
use forebay_core::manifest::{EntryId, Manifest, VersionId};
use forebay_core::metric::Measured;
use forebay_proto::local::StoredVersion;
use forebay_proto::mount::v1::{CacheUse, OriginUse};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::{Backend, Report};
use crate::audience::{Audience, Listed, Nobody};
use crate::config::{MountConfig, ServerUse};
use crate::dataset::Shown;
use crate::exit::{Exit, Failure};
use crate::mount_process::service::of_cache;
use crate::off_runtime::off_runtime;

/// A dataset of a cache server.
#[derive(Debug)]
pub(in crate::mount_process) struct Remote {
    client: Arc<Client>,
    dataset: String,
}

impl Remote {
    /// Connects and asks for the dataset.
    ///
    /// # Errors
    /// If there is no server, it refuses, or it cannot list the dataset.
    pub(super) async fn start(
        config: &MountConfig,
        server: &ServerUse,
        audience: &dyn Audience,
        cancel: &CancellationToken,
    ) -> Result<(Self, Shown), Failure> {
        let remote = Self::connect(config, server).await?;
        tracing::info!(config = %config.summary(), "effective configuration");
        let wanted = match &config.dataset.version {
            Some(prefix) => Wanted::Stored(prefix.as_str().to_owned()),
            None => Wanted::Latest,
        };
        let shown = remote.attach(wanted, audience, cancel).await?;
        Ok((remote, shown))
    }

    /// Connects, and asks for nothing yet.
    ///
    /// # Errors
    /// If there is no server, or it refuses.
    pub(super) async fn connect(config: &MountConfig, server: &ServerUse) -> Result<Self, Failure> {
        let client = Client::connect(ClientConfig {
            socket: server.socket.clone(),
            patience: config.origin_timeout,
        });
        Ok(Self {
            client: client.await?,
            dataset: server.dataset.clone(),
        })
    }

    /// Asks for versions that were listed before.
    ///
    /// # Errors
    /// If the server has one of them no more.
    pub(super) async fn attach_stored(
        &self,
        versions: &[VersionId],
    ) -> Result<Vec<Arc<Manifest>>, Failure> {
        let mut manifests = Vec::with_capacity(versions.len());
        for version in versions {
            let wanted = Wanted::Stored(version.to_string());
            let never = CancellationToken::new();
            manifests.push(self.attach(wanted, &Nobody, &never).await?.manifest);
        }
        Ok(manifests)
    }

    async fn attach(
        &self,
        wanted: Wanted,
        audience: &dyn Audience,
        cancel: &CancellationToken,
    ) -> Result<Shown, Failure> {
        let given_up = CancellationToken::new();
        let mut listed = |objects, bytes| {
            if audience.listing(Listed { objects, bytes }).is_err() {
                given_up.cancel();
            }
        };
        let attached = tokio::select! {
            attached = self.client.attach(&self.dataset, wanted, &mut listed) => attached,
            () = cancel.cancelled() => Err(nobody_waits()),
            () = given_up.cancelled() => Err(nobody_waits()),
        };
        audience.listed();
        let attached = attached.map_err(of_dataset)?;
        let origin_unreachable = attached.origin_unreachable;
        Ok(Shown {
            manifest: off_runtime(move || open(&attached)).await??,
            origin_unreachable,
        })
    }
}

fn nobody_waits() -> CacheError {
    CacheError::new(ErrorKind::Cancelled, "the listing was given up")
}

/// Opens the manifest that the server has passed, and verifies it.
fn open(attached: &Attached) -> Result<Arc<Manifest>, Failure> {
    let manifest = Manifest::open(&path_of(&attached.manifest));
    let manifest = manifest.map_err(|error| {
        Failure::new(Exit::Failed, error).next("see the log of the cache server")
    })?;
    if manifest.version() != attached.version {
        let text = format!(
            "the cache server passed version {} for {}",
            manifest.version(),
            attached.version
        );
        return Err(Failure::new(Exit::Failed, text));
    }
    Ok(Arc::new(manifest))
}

fn path_of(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

/// What a server says of a dataset, as the exit code that the mount's own sources have.
fn of_dataset(error: CacheError) -> Failure {
    let exit = match error.kind {
        ErrorKind::NotFound | ErrorKind::InvalidInput => Exit::Usage,
        ErrorKind::PermissionDenied
        | ErrorKind::Stale
        | ErrorKind::Throttled
        | ErrorKind::Unavailable
        | ErrorKind::TimedOut => Exit::Source,
        ErrorKind::NoSpace => Exit::CacheDir,
        ErrorKind::Corrupt | ErrorKind::Busy | ErrorKind::Cancelled | ErrorKind::Internal => {
            Exit::Failed
        }
    };
    Failure::new(exit, error)
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let step = match &error {
            ConnectError::NoServer { .. } => {
                "start one with `forebay cache-server`, or mount without --server"
            }
            ConnectError::NotAllowed { .. } => {
                "become a member of the group that the server's option `group` names"
            }
            ConnectError::Refused { .. } | ConnectError::Stranger { .. } => {
                "see the log of the cache server"
            }
            ConnectError::Silent { .. } => "it may be stopped or hang; see its log",
        };
        Self::new(Exit::Failed, error).next(step)
    }
}

impl Backend for Remote {
    fn cache(&self) -> Arc<dyn Cache> {
        Arc::clone(&self.client) as _
    }

    fn refresh<'a>(
        &'a self,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Arc<Manifest>, Failure>> {
        async move {
            let nobody = crate::audience::Nobody;
            let shown = self.attach(Wanted::Relisted, &nobody, cancel).await?;
            Ok(shown.manifest)
        }
        .boxed()
    }

    fn versions(&self) -> BoxFuture<'_, Result<Vec<StoredVersion>, Failure>> {
        async move { self.client.versions(&self.dataset).await.map_err(of_cache) }.boxed()
    }

    fn report(&self, version: VersionId) -> BoxFuture<'_, Result<Report, Failure>> {
        async move {
            let report = self.client.report(version).await.map_err(of_cache)?;
            Ok(Report {
                cached_bytes: report.bytes,
                cached_files: report.files,
                corrupt_chunks: report.corrupt_chunks,
                cache: CacheUse {
                    dir: report.dir,
                    capacity_bytes: report.usage.capacity_bytes,
                    used_bytes: report.usage.used_bytes,
                    evicted_bytes: report.evicted_bytes,
                },
                origin: OriginUse {
                    requests: report.origin_requests,
                    bytes: report.origin_bytes,
                    errors: report.origin_errors,
                },
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
        async move {
            let mut note = |counts: WarmupCounts| store(progress, &counts);
            let warmed = tokio::select! {
                biased;
                () = cancel.cancelled() => {
                    return Ok(Summary { cancelled: true, ..Summary::default() });
                }
                warmed = self.client.warmup(version, files, &mut note) => warmed,
            };
            let (counts, failures) = warmed?;
            store(progress, &counts);
            let failures = failures.into_iter().map(|failure| FileFailure {
                path: failure.path,
                kind: failure.kind,
                reason: failure.reason,
            });
            Ok(Summary {
                files: counts.files_done,
                bytes: counts.bytes_done,
                failed: counts.files_failed,
                failures: failures.collect(),
                cancelled: false,
            })
        }
        .boxed()
    }

    fn measured(&self) -> Vec<Arc<dyn Measured>> {
        // The server has metrics of its own.
        Vec::new()
    }

    fn end(&self) -> BoxFuture<'_, Result<(), Failure>> {
        self.client.close();
        futures::future::ready(Ok(())).boxed()
    }
}

fn store(progress: &WarmupProgress, counts: &WarmupCounts) {
    progress.files_total.store(counts.files_total, Relaxed);
    progress.bytes_total.store(counts.bytes_total, Relaxed);
    progress.files_done.store(counts.files_done, Relaxed);
    progress.bytes_done.store(counts.bytes_done, Relaxed);
    progress.files_failed.store(counts.files_failed, Relaxed);
}
