//! A mount from its making to its end.
//!
//! Threads: fuser's workers take requests from the kernel and answer what needs no wait;
//! one more thread waits for them and says when the connection has ended. What must wait
//! is a task on the runtime that the mount was given, counted in `waits`, and every such
//! task ends at once when `stopping` is cancelled.
//!
//! While nobody serves the mount yet, or any more, this process must not touch it, not
//! even with `stat`: it would wait for itself. Whatever must be known about the mount is
//! read from the mount table instead.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use forebay_core::manifest::{Manifest, VersionId};
use fuser::Session;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, info, warn};

use crate::fs::DatasetFs;
use crate::fuse::Server;
use crate::options::MountOptions;
use crate::passthrough::Device;

mod config;
mod error;
mod kernel_cache;
mod mountinfo;
mod preflight;
mod readahead;
mod unmount;

use kernel_cache::KernelCache;

pub use error::MountError;
pub use mountinfo::{MountEntry, mount_at};
pub use preflight::check as preflight;
pub use unmount::{Unmount, unmount};

/// How long waiting reads may take to be answered once they are told to stop: they need
/// only to be scheduled.
const DRAIN: Duration = Duration::from_secs(2);

/// After so long without a read, none that was told to stop is tried again.
const QUIET: Duration = Duration::from_millis(50);

/// How long that quiet is waited for: readers of what is cached never pause.
const SETTLE: Duration = Duration::from_millis(300);

/// How long a clean unmount may take before it is looked at whether it waits for reads.
const UNMOUNT_GRACE: Duration = Duration::from_millis(500);

/// How long the kernel may take to end a connection.
const END: Duration = Duration::from_secs(5);

const POLL: Duration = Duration::from_millis(2);

/// A dataset that is mounted and served by this process.
///
/// Dropping it detaches the mount as [`Mount::unmount`] does.
#[derive(Debug)]
pub struct Mount {
    mountpoint: PathBuf,
    device: String,
    fs: Arc<DatasetFs>,
    kernel_cache: KernelCache,
    stopping: CancellationToken,
    waits: TaskTracker,
    ended: watch::Receiver<bool>,
}

/// What a refresh did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refreshed {
    /// New look-ups see another version.
    Changed {
        /// The version they saw.
        from: VersionId,
        /// The version they see.
        to: VersionId,
    },
    /// The version is the one they see already.
    Unchanged,
}

impl Mount {
    /// Mounts `fs` at `mountpoint` and serves it. When this returns, the mount is ready.
    ///
    /// Reads that must wait run on `runtime`, which must outlive the mount and needs its
    /// timers enabled. Blocks for the time of a mount(2); call it off the runtime.
    ///
    /// # Errors
    /// Any [`MountError`] but those of unmounting; nothing is then left mounted.
    pub fn start(
        fs: Arc<DatasetFs>,
        mountpoint: &Path,
        options: &MountOptions,
        runtime: Handle,
    ) -> Result<Self, MountError> {
        let mountpoint = preflight::check(mountpoint)?;
        let (stopping, waits) = (CancellationToken::new(), TaskTracker::new());
        let server = Server::new(
            Arc::clone(&fs),
            runtime,
            stopping.clone(),
            waits.clone(),
            options.max_background,
        );
        let session = Session::new(server, &mountpoint, &config::fuser_config(options))
            .map_err(|source| preflight::explain(&mountpoint, source))?;
        let system = |action| {
            let path = mountpoint.clone();
            move |source| MountError::System {
                action,
                path,
                source,
            }
        };
        let kernel_cache = KernelCache::new(&session).map_err(system("serve"))?;
        let device = mount_at(&mountpoint)
            .map_err(system("look up"))?
            .map(|entry| entry.device);
        let device = device.ok_or_else(|| MountError::NotMounted {
            mountpoint: mountpoint.clone(),
        })?;
        let connection = session.as_fd().try_clone_to_owned();
        let connection = connection.map_err(system("serve"))?;
        fs.attach_backings(Box::new(Device::new(connection)));
        readahead::set(&device, options.read_ahead_kb);
        let ended = serve(session).map_err(system("serve"))?;
        info!(mountpoint = %mountpoint.display(), version = %fs.version(), "mounted");
        Ok(Self {
            mountpoint,
            device,
            fs,
            kernel_cache,
            stopping,
            waits,
            ended,
        })
    }

    /// Where it is mounted: absolute and without links.
    pub fn mountpoint(&self) -> &Path {
        &self.mountpoint
    }

    /// The tree that is mounted.
    pub fn fs(&self) -> &Arc<DatasetFs> {
        &self.fs
    }

    /// Shows the version `manifest` to whoever looks up a path from now on. Open files
    /// and directories keep the version in which they were found.
    ///
    /// The cache must know the version already. Blocks while the kernel drops what it
    /// has cached of the root; call it off the runtime.
    ///
    /// # Errors
    /// [`MountError::System`] if the kernel cannot be told; names that it knows then
    /// lead to the old version until it forgets them.
    pub fn refresh(&self, manifest: Arc<Manifest>) -> Result<Refreshed, MountError> {
        let Some(change) = self.fs.refresh(manifest) else {
            return Ok(Refreshed::Unchanged);
        };
        self.kernel_cache
            .switch_root(&change)
            .map_err(|source| MountError::System {
                action: "show the new version at",
                path: self.mountpoint.clone(),
                source,
            })?;
        let (from, to) = (change.from.manifest.version(), change.to.manifest.version());
        info!(mountpoint = %self.mountpoint.display(), %from, %to, "new look-ups see another version");
        Ok(Refreshed::Changed { from, to })
    }

    /// Takes the mount away and ends what serves it. Does nothing if it has ended.
    ///
    /// Blocks, for a few seconds at most; call it off the runtime, or the reads that it
    /// ends cannot be answered.
    ///
    /// # Errors
    /// [`MountError::InUse`] (only from [`Unmount::Clean`], and then nothing has changed),
    /// [`MountError::NotPermitted`], [`MountError::System`].
    pub fn unmount(&self, how: Unmount) -> Result<(), MountError> {
        if self.has_ended() {
            return self.clear_away();
        }
        match how {
            Unmount::Clean => self.unmount_clean()?,
            Unmount::Detach => self.detach()?,
        }
        if !poll_until(END, || self.has_ended()) {
            // Without root, nothing but the end of this process closes files that others
            // have open below a detached mount.
            warn!(
                mountpoint = %self.mountpoint.display(),
                "unmounted, but files below it are still open: they fail when this process ends"
            );
        }
        Ok(())
    }

    /// Waits until the mount has ended, whoever unmounted it.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn wait(&self) {
        let mut ended = self.ended.clone();
        // A closed channel means that its thread has gone: the mount has ended as well.
        let _ = ended.wait_for(|ended| *ended).await;
    }

    /// Whether the mount has ended.
    pub fn has_ended(&self) -> bool {
        *self.ended.borrow() || self.ended.has_changed().is_err()
    }

    /// Takes away what is left of a mount whose connection has ended. Another mount may
    /// have been made at the place since, and even have got the device number.
    fn clear_away(&self) -> Result<(), MountError> {
        let seen = mount_at(&self.mountpoint).map_err(|source| self.cannot_unmount(source))?;
        match seen {
            Some(entry) if entry.device == self.device && preflight::is_stale(&entry) => {
                unmount(&self.mountpoint, Unmount::Detach)
            }
            _ => Ok(()),
        }
    }

    fn unmount_clean(&self) -> Result<(), MountError> {
        if !self.is_mounted()? {
            // Somebody has detached it, and somebody has files open below it.
            return Err(MountError::InUse {
                mountpoint: self.mountpoint.clone(),
            });
        }
        let (result, results) = mpsc::channel();
        let mountpoint = self.mountpoint.clone();
        let unmounting = move || drop(result.send(unmount(&mountpoint, Unmount::Clean)));
        thread::Builder::new()
            .name("forebay-umount".to_owned())
            .spawn(unmounting)
            .map_err(|source| self.cannot_unmount(source))?;
        let deadline = Instant::now() + END;
        loop {
            match results.recv_timeout(UNMOUNT_GRACE) {
                Ok(outcome) => return outcome,
                Err(error) if Instant::now() >= deadline => {
                    let late = io::Error::new(io::ErrorKind::TimedOut, error);
                    return Err(self.cannot_unmount(late));
                }
                // The mount table is without it, so that nobody used it, and what the
                // kernel waits for is readahead that nobody needs.
                Err(_) if !self.is_mounted()? => self.stopping.cancel(),
                Err(_) => {}
            }
        }
    }

    fn detach(&self) -> Result<(), MountError> {
        self.drain();
        if !self.is_mounted()? {
            debug!("detached by somebody else before");
            return Ok(());
        }
        match unmount(&self.mountpoint, Unmount::Detach) {
            Err(MountError::NotMounted { .. }) => Ok(()),
            other => other,
        }
    }

    /// Ends the reads that wait, and lets those that the kernel tries again end as well:
    /// a readahead that failed comes back as a read of one page.
    fn drain(&self) {
        let any_waits = !self.waits.is_empty();
        self.stopping.cancel();
        if !any_waits {
            return;
        }
        if !poll_until(DRAIN, || self.waits.is_empty()) {
            let waits = self.waits.len();
            warn!(waits, "reads under way were not answered in time");
        }
        poll_until(SETTLE, || {
            let reads = self.fs.stats().snapshot().reads;
            thread::sleep(QUIET);
            self.waits.is_empty() && self.fs.stats().snapshot().reads == reads
        });
    }

    /// Whether the mount that is seen at the mount point is this one.
    fn is_mounted(&self) -> Result<bool, MountError> {
        let seen = mount_at(&self.mountpoint).map_err(|source| self.cannot_unmount(source))?;
        Ok(seen.is_some_and(|entry| entry.device == self.device))
    }

    fn cannot_unmount(&self, source: io::Error) -> MountError {
        MountError::System {
            action: "unmount",
            path: self.mountpoint.clone(),
            source,
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if let Err(error) = self.unmount(Unmount::Detach) {
            error!(
                error = &error as &dyn std::error::Error,
                "mount left behind"
            );
        }
    }
}

/// Serves requests until the connection ends; the receiver then holds `true`.
fn serve(session: Session<Server>) -> io::Result<watch::Receiver<bool>> {
    let (end, ended) = watch::channel(false);
    let serving = move || {
        if let Err(error) = session.run() {
            error!(%error, "connection to the kernel broke");
        }
        end.send_replace(true);
    };
    thread::Builder::new()
        .name("forebay-fuse".to_owned())
        .spawn(serving)?;
    Ok(ended)
}

fn poll_until(limit: Duration, condition: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    while !condition() {
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(POLL);
    }
    true
}

#[cfg(test)]
mod tests;
