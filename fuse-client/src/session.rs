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
use forebay_keeper::{Kept, Name};
use fuser::Session;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, info, warn};

use crate::fs::DatasetFs;
use crate::fs::ahead::look_ahead_until;
use crate::fs::epoch::Change;
use crate::fuse::Server;
use crate::options::MountOptions;
use crate::passthrough::Device;

mod config;
mod connection;
mod error;
mod handshake;
mod helper;
mod kernel_cache;
mod kernel_mount;
mod notification;
mod preflight;
mod readahead;
mod unmount;
mod unserved;

use connection::Connection;
use forebay_core::mountinfo;
use kernel_cache::KernelCache;

pub use error::MountError;
pub use forebay_core::mountinfo::{MountEntry, mount_at};
pub use preflight::check as preflight;
pub use unmount::{Unmount, unmount};
pub use unserved::refuse_waiting;

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
    place: Place,
    connection: Connection,
    fs: Arc<DatasetFs>,
    kernel_cache: KernelCache,
    stopping: CancellationToken,
    waits: TaskTracker,
    ended: watch::Receiver<bool>,
}

/// A mount, as the mount table knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where it is mounted: absolute and without links.
    pub mountpoint: PathBuf,
    /// Its device number, as `major:minor`. It tells the mount from another that was made
    /// at the same place.
    pub device: String,
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
        let device = kernel_mount::mount(&mountpoint, options)
            .map_err(|source| preflight::explain(&mountpoint, source))?;
        let found = mount_at(&mountpoint).map_err(|source| serving(&mountpoint, source))?;
        let begun = match found {
            Some(entry) => {
                let place = Place {
                    mountpoint: mountpoint.clone(),
                    device: entry.device,
                };
                let begin = |server| Connection::begin(device, server, options);
                Self::serve(fs, place, options, runtime, begin)
            }
            None => Err(MountError::NotMounted {
                mountpoint: mountpoint.clone(),
            }),
        };
        begun.inspect_err(|_| {
            // What went wrong is told; that the mount cannot be taken away either is not.
            let _ = unmount(&mountpoint, Unmount::Detach);
        })
    }

    /// Goes on serving a mount at `place` that another process made and left to a keeper.
    /// When this returns, it is served again: open files stay open, and what was asked in
    /// between is answered.
    ///
    /// The process before must have ended, or it takes requests still. `fs` must be
    /// [resumed](DatasetFs::resume) with the versions of the one before.
    ///
    /// # Errors
    /// [`MountError::NotMounted`] if the mount is not there any more, and
    /// [`MountError::System`]; the mount is then as it was.
    pub fn adopt(
        fs: Arc<DatasetFs>,
        place: Place,
        kept: Kept,
        options: &MountOptions,
        runtime: Handle,
    ) -> Result<Self, MountError> {
        let Place { mountpoint, device } = &place;
        let seen = mount_at(mountpoint).map_err(|source| serving(mountpoint, source))?;
        if seen.is_none_or(|entry| entry.device != *device) {
            return Err(MountError::NotMounted {
                mountpoint: mountpoint.clone(),
            });
        }
        let resume = |server| Connection::resume(kept, server, options);
        let mount = Self::serve(fs, place, options, runtime, resume)?;
        for change in mount.fs.changes_so_far() {
            mount.show(&change)?;
        }
        Ok(mount)
    }

    /// Serves the connection that `connect` makes.
    fn serve(
        fs: Arc<DatasetFs>,
        place: Place,
        options: &MountOptions,
        runtime: Handle,
        connect: impl FnOnce(Server) -> io::Result<(Connection, Session<Server>)>,
    ) -> Result<Self, MountError> {
        let (stopping, waits) = (CancellationToken::new(), TaskTracker::new());
        let server = Server::new(
            Arc::clone(&fs),
            runtime.clone(),
            stopping.clone(),
            waits.clone(),
            options,
        );
        let failed = |source| serving(&place.mountpoint, source);
        let (connection, session) = connect(server).map_err(failed)?;
        let kernel_cache = KernelCache::new(&session).map_err(failed)?;
        let device = connection.device().try_clone().map_err(failed)?;
        fs.attach_backings(Box::new(Device::new(device)));
        readahead::set(&place.device, options.read_ahead_kb);
        let ended = serve(session).map_err(failed)?;
        runtime.spawn(look_ahead_until(Arc::clone(&fs), until(ended.clone())));
        info!(mountpoint = %place.mountpoint.display(), version = %fs.version(), "mounted");
        Ok(Self {
            place,
            connection,
            fs,
            kernel_cache,
            stopping,
            waits,
            ended,
        })
    }

    /// Leaves a copy of the connection with a keeper, under `name` and beside `note`. If
    /// this process ends otherwise than by unmounting, another can [adopt](Self::adopt) the
    /// mount.
    ///
    /// # Errors
    /// [`MountError::Keeper`]; the mount is served all the same.
    pub fn entrust(
        &self,
        keeper: &forebay_keeper::Client,
        name: &Name,
        note: &[u8],
    ) -> Result<(), MountError> {
        let device = self.connection.device().as_fd();
        let stored = keeper.store(name, device, self.connection.record(), note);
        stored.map_err(|source| MountError::Keeper {
            mountpoint: self.place.mountpoint.clone(),
            source,
        })
    }

    /// What the mount table calls it.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Where it is mounted: absolute and without links.
    pub fn mountpoint(&self) -> &Path {
        &self.place.mountpoint
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
        self.show(&change)?;
        let (from, to) = (change.from.manifest.version(), change.to.manifest.version());
        info!(mountpoint = %self.place.mountpoint.display(), %from, %to, "new look-ups see another version");
        Ok(Refreshed::Changed { from, to })
    }

    fn show(&self, change: &Change) -> Result<(), MountError> {
        let shown = self.kernel_cache.switch_root(change);
        shown.map_err(|source| MountError::System {
            action: "show the new version at",
            path: self.place.mountpoint.clone(),
            source,
        })
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
                mountpoint = %self.place.mountpoint.display(),
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
        until(self.ended.clone()).await;
    }

    /// Whether the mount has ended.
    pub fn has_ended(&self) -> bool {
        *self.ended.borrow() || self.ended.has_changed().is_err()
    }

    /// Takes away what is left of a mount whose connection has ended. Another mount may
    /// have been made at the place since, and even have got the device number.
    fn clear_away(&self) -> Result<(), MountError> {
        let seen =
            mount_at(&self.place.mountpoint).map_err(|source| self.cannot_unmount(source))?;
        match seen {
            Some(entry) if entry.device == self.place.device && preflight::is_stale(&entry) => {
                unmount(&self.place.mountpoint, Unmount::Detach)
            }
            _ => Ok(()),
        }
    }

    fn unmount_clean(&self) -> Result<(), MountError> {
        if !self.is_mounted()? {
            // Somebody has detached it, and somebody has files open below it.
            return Err(MountError::InUse {
                mountpoint: self.place.mountpoint.clone(),
            });
        }
        let (result, results) = mpsc::channel();
        let mountpoint = self.place.mountpoint.clone();
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
        match unmount(&self.place.mountpoint, Unmount::Detach) {
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
        let seen =
            mount_at(&self.place.mountpoint).map_err(|source| self.cannot_unmount(source))?;
        Ok(seen.is_some_and(|entry| entry.device == self.place.device))
    }

    fn cannot_unmount(&self, source: io::Error) -> MountError {
        MountError::System {
            action: "unmount",
            path: self.place.mountpoint.clone(),
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

fn serving(mountpoint: &Path, source: io::Error) -> MountError {
    MountError::System {
        action: "serve",
        path: mountpoint.to_owned(),
        source,
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

/// Waits until a connection has ended.
async fn until(mut ended: watch::Receiver<bool>) {
    // A closed channel means that its thread has gone: the mount has ended as well.
    let _ = ended.wait_for(|ended| *ended).await;
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
