//! What a mount can be asked, by whoever holds its control socket.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use forebay_core::cache::CacheError;
use forebay_core::manifest::Manifest;
use forebay_fuse_client::Mount;
use forebay_proto::mount::v1::{
    Drift, RefreshResponse, Skipped, SkippedObject, Source, StatusResponse, StopResponse, Version,
    VersionsResponse,
};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::backend::Backend;
use super::keeping::Keeping;
use super::{Ended, StopRequest, drift, unmount};
use crate::dataset::Shown;
use crate::exit::{Exit, Failure};
use crate::off_runtime::off_runtime;
use crate::rundir::{self, Course, RunDir, Served, State, StateSource};

/// Skipped objects that a status lists.
const SKIPPED_LISTED: usize = 20;

/// What a [`Service`] is made of.
pub(super) struct Parts {
    pub(super) mountpoint: PathBuf,
    pub(super) run_dir: RunDir,
    pub(super) metrics: Option<String>,
    pub(super) backend: Arc<dyn Backend>,
    pub(super) mount: Arc<Mount>,
    pub(super) keeping: Option<Arc<Keeping>>,
    pub(super) shown: Shown,
    pub(super) stop: mpsc::Sender<StopRequest>,
}

/// A mount and its cache, as commands see them.
#[derive(Debug)]
pub struct Service {
    mountpoint: PathBuf,
    run_dir: RunDir,
    metrics: Option<String>,
    started: (Instant, SystemTime),
    backend: Arc<dyn Backend>,
    mount: Arc<Mount>,
    keeping: Option<Arc<Keeping>>,
    origin_unreachable: bool,
    current: RwLock<Arc<Manifest>>,
    drift: Mutex<Option<Drift>>,
    /// Held while the sources are listed: one listing at a time.
    refreshing: tokio::sync::Mutex<()>,
    stop: mpsc::Sender<StopRequest>,
    ending: CancellationToken,
}

impl Service {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            mountpoint: parts.mountpoint,
            run_dir: parts.run_dir,
            metrics: parts.metrics,
            started: (Instant::now(), SystemTime::now()),
            backend: parts.backend,
            mount: parts.mount,
            keeping: parts.keeping,
            current: RwLock::new(parts.shown.manifest),
            origin_unreachable: parts.shown.origin_unreachable,
            drift: Mutex::default(),
            refreshing: tokio::sync::Mutex::default(),
            stop: parts.stop,
            ending: CancellationToken::new(),
        }
    }

    /// The version that new opens see.
    pub fn current(&self) -> Arc<Manifest> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The cache, and what lies behind it.
    pub(super) fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    /// The mount.
    pub fn mount(&self) -> &Mount {
        &self.mount
    }

    /// Where it is mounted.
    pub fn mountpoint(&self) -> &std::path::Path {
        &self.mountpoint
    }

    /// Cancelled when the mount ends.
    pub(super) fn ending(&self) -> &CancellationToken {
        &self.ending
    }

    /// What is mounted, how much of it is cached, and what it took.
    ///
    /// # Errors
    /// If the cache does not know the version, which would be a defect.
    pub async fn status(&self) -> Result<StatusResponse, Failure> {
        let manifest = self.current();
        let report = self.backend.report(manifest.version()).await?;
        let totals = manifest.totals();
        let open_mode = self.mount.fs().open_mode_chosen();
        let course = self.run_dir.course().unwrap_or_default();
        let drift = self
            .drift
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        Ok(StatusResponse {
            mountpoint: self.mountpoint.to_string_lossy().into_owned(),
            sources: sources(&manifest),
            version: manifest.version().to_string(),
            files: totals.files,
            directories: totals.directories,
            bytes: totals.bytes,
            cached_bytes: report.cached_bytes,
            cached_files: report.cached_files,
            skipped: Some(skipped(&manifest)),
            pid: std::process::id(),
            origin: Some(report.origin),
            corrupt_chunks: report.corrupt_chunks,
            uptime_seconds: self.started.0.elapsed().as_secs(),
            cache: Some(report.cache),
            drift,
            metrics: self.metrics.clone().unwrap_or_default(),
            origin_unreachable_at_mount: self.origin_unreachable,
            open_mode: open_mode.map_or_else(String::new, |chosen| chosen.mode.to_string()),
            open_mode_reason: open_mode.map_or_else(String::new, |chosen| chosen.reason.clone()),
            plan: self.plan_use(),
            supervisor_pid: self.run_dir.supervisor().unwrap_or_default(),
            keeper_pid: self.keeper_pid(),
            fuse_client_pid: std::process::id(),
            restarts: course.restarts,
            warnings: self.warnings(&course),
        })
    }

    fn keeper_pid(&self) -> u32 {
        self.keeping
            .as_ref()
            .map_or(0, |keeping| keeping.keeper_pid())
    }

    /// What is wrong with the processes of the mount.
    fn warnings(&self, course: &Course) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.keeping.is_none() {
            // Nobody wanted others.
            return warnings;
        }
        if !self.run_dir.is_supervised() {
            warnings.push(
                "the supervisor has gone: nobody takes over when the process that serves the \
                 mount dies; unmount and mount again when you can"
                    .to_owned(),
            );
        }
        if self.keeper_pid() == 0 {
            warnings.push(
                "the keeper has gone: when the process that serves the mount dies, the mount \
                 does, unless another keeper was started before"
                    .to_owned(),
            );
        }
        if course.crash_loop {
            let last = course
                .last_end
                .as_deref()
                .unwrap_or("for an unknown reason");
            warnings.push(format!(
                "process after process dies, {} so far; the last {last}",
                course.restarts
            ));
        }
        warnings
    }

    /// The stored versions, the one listed last first.
    ///
    /// # Errors
    /// If their directory cannot be read.
    pub async fn versions(&self) -> Result<VersionsResponse, Failure> {
        let current = self.current().version();
        let stored = self.backend.versions().await?.into_iter();
        let versions = stored.map(|stored| Version {
            version: stored.version.to_string(),
            listed_unix_seconds: i64::try_from(stored.listed_unix_seconds).unwrap_or(i64::MAX),
            files: stored.files,
            bytes: stored.bytes,
            current: stored.version == current,
        });
        Ok(VersionsResponse {
            versions: versions.collect(),
        })
    }

    /// Lists the sources again and shows what was found to new opens.
    ///
    /// # Errors
    /// [`Exit::Source`] if they cannot be listed; the mount stays as it is.
    pub async fn refresh(&self) -> Result<RefreshResponse, Failure> {
        let _one_at_a_time = self.refreshing.lock().await;
        let old = self.current();
        let new = self.backend.refresh(&self.ending).await?;
        if new.version() != old.version() {
            // First, because an inode that the kernel knows must mean something to whoever
            // takes over.
            record(&self.run_dir, &self.mount, Some(&new))?;
            let (mount, shown) = (Arc::clone(&self.mount), Arc::clone(&new));
            off_runtime(move || mount.refresh(shown)).await??;
            *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&new);
            self.publish()?;
        }
        let totals = new.totals();
        let drift = off_runtime(move || drift::between(&old, &new)).await?;
        *self.drift.lock().unwrap_or_else(PoisonError::into_inner) = Some(drift.clone());
        Ok(RefreshResponse {
            drift: Some(drift),
            files: totals.files,
            bytes: totals.bytes,
        })
    }

    /// Asks for the end of the mount, and waits until it is unmounted and the cache is
    /// durable.
    ///
    /// # Errors
    /// If it cannot be unmounted.
    pub async fn stop(&self) -> Result<StopResponse, Failure> {
        let (asker, told) = oneshot::channel();
        let ending = || Failure::new(Exit::NotMounted, "the mount is ending already");
        self.stop.send(asker).await.map_err(|_| ending())?;
        let ended = told.await.map_err(|_| ending())??;
        Ok(StopResponse { busy: ended.busy })
    }

    /// Ends the mount: nobody reads any more, nobody waits any more, nothing is lost.
    pub(super) async fn end(&self) -> Result<Ended, Failure> {
        self.ending.cancel();
        let (mount, keeping) = (Arc::clone(&self.mount), self.keeping.clone());
        let unmounting = move || {
            let unmounted = unmount(&mount);
            if let (Ok(_), Some(keeping)) = (&unmounted, keeping) {
                keeping.end();
            }
            unmounted
        };
        let unmounted = off_runtime(unmounting).await;
        self.backend.end().await?;
        Ok(unmounted??)
    }

    /// Says in the run directory what is mounted.
    pub(super) fn publish(&self) -> Result<(), Failure> {
        let manifest = self.current();
        let sources = sources(&manifest).into_iter();
        let state = State {
            mountpoint: self.mountpoint.to_string_lossy().into_owned(),
            pid: std::process::id(),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            version: manifest.version().to_string(),
            sources: sources
                .map(|found| StateSource {
                    name: found.name,
                    url: found.url,
                })
                .collect(),
            started_unix_seconds: u64::try_from(unix_seconds(self.started.1)).unwrap_or_default(),
        };
        Ok(self.run_dir.publish(&state)?)
    }
}

/// Writes down what a process that takes over must know, with the version that is `next`.
pub(super) fn record(
    run_dir: &RunDir,
    mount: &Mount,
    next: Option<&Manifest>,
) -> Result<(), rundir::Error> {
    let mut versions = mount.fs().versions();
    let current = next.map_or_else(|| mount.fs().version(), Manifest::version);
    if !versions.contains(&current) {
        versions.push(current);
    }
    run_dir.record(&Served {
        device: mount.place().device.clone(),
        versions: versions.iter().map(ToString::to_string).collect(),
        current: current.to_string(),
    })
}

fn sources(manifest: &Manifest) -> Vec<Source> {
    let source = |view: forebay_core::manifest::SourceView<'_>| Source {
        name: view.name.to_owned(),
        url: view.url.to_owned(),
    };
    manifest.sources().map(source).collect()
}

fn skipped(manifest: &Manifest) -> Skipped {
    let counts = manifest.skipped_counts().filter(|(_, count)| *count > 0);
    Skipped {
        total: manifest.totals().skipped,
        by_reason: counts
            .map(|(reason, count)| (reason.to_string(), count))
            .collect(),
        sample: manifest
            .skipped()
            .take(SKIPPED_LISTED)
            .map(|object| SkippedObject {
                key: object.key.escape_ascii().to_string(),
                reason: object.reason.to_string(),
            })
            .collect(),
    }
}

pub(super) fn of_cache(error: CacheError) -> Failure {
    Failure::new(Exit::Failed, error)
}

fn unix_seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
