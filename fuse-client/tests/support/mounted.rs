//! A real mount for one test, under a watchdog: a test that hangs loses its mount and
//! then its process, and leaves nothing behind.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use forebay_core::manifest::Manifest;
use forebay_fuse_client::{
    DatasetFs, Mount, MountOptions, OpenMode, OpenModeChoice, Unmount, unmount,
};
use tokio::runtime::Runtime;

use crate::memory_cache::Fixture;

/// No test takes a tenth of this.
const LIMIT: Duration = Duration::from_secs(60);

/// What a reader may wait for something that should be immediate, on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// A mounted fixture. Dropping it unmounts by force.
#[derive(Debug)]
pub(crate) struct Mounted {
    // In the order in which they end.
    pub(crate) mount: Mount,
    pub(crate) fixture: Fixture,
    _watchdog: Watchdog,
    _runtime: Runtime,
    _dir: tempfile::TempDir,
}

impl Mounted {
    /// Mounts these paths and contents.
    pub(crate) fn new(files: &[(&str, &[u8])]) -> Self {
        let fixture = Fixture::new();
        let manifest = fixture.version(files);
        Self::with(fixture, manifest, &options())
    }

    /// Mounts these paths and contents with this open mode.
    pub(crate) fn in_mode(mode: OpenMode, files: &[(&str, &[u8])]) -> Self {
        let fixture = Fixture::new();
        let manifest = fixture.version(files);
        let options = MountOptions {
            open_mode: OpenModeChoice::Fixed(mode),
            ..MountOptions::default()
        };
        Self::with(fixture, manifest, &options)
    }

    /// Mounts a version of `fixture`.
    pub(crate) fn with(fixture: Fixture, manifest: Arc<Manifest>, options: &MountOptions) -> Self {
        require_fuse();
        let dir = tempfile::Builder::new()
            .prefix("forebay-fuse-mount-")
            .tempdir()
            .unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let watchdog = Watchdog::over(dir.path());
        let fs = Arc::new(DatasetFs::new(manifest, fixture.cache(), options));
        let mount = Mount::start(fs, dir.path(), options, runtime.handle().clone()).unwrap();
        Self {
            mount,
            fixture,
            _watchdog: watchdog,
            _runtime: runtime,
            _dir: dir,
        }
    }

    /// A path below the mount point.
    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.mount.mountpoint().join(below)
    }

    /// Waits until so many reads wait for the cache.
    pub(crate) fn until_waiting(&self, reads: u64) {
        until("a read waits", || {
            self.mount.fs().stats().snapshot().waiting >= reads
        });
    }
}

/// The variable that names the open mode of the mounts whose tests do not choose one.
pub(crate) const OPEN_MODE: &str = "FOREBAY_TEST_OPEN_MODE";

/// The options of a mount whose test does not care for them.
pub(crate) fn options() -> MountOptions {
    let named = std::env::var(OPEN_MODE).unwrap_or_else(|_| OpenMode::Plain.to_string());
    let mode = MODES.into_iter().find(|mode| mode.as_str() == named);
    MountOptions {
        open_mode: OpenModeChoice::Fixed(mode.expect("the variable names an open mode")),
        ..MountOptions::default()
    }
}

/// Every open mode.
pub(crate) const MODES: [OpenMode; 3] = [OpenMode::Plain, OpenMode::Passthrough, OpenMode::NoOpen];

/// Waits for a condition that should soon hold.
pub(crate) fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + SOON;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {SOON:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn require_fuse() {
    let root = rustix::process::geteuid().is_root();
    assert!(
        root && Path::new("/dev/fuse").exists(),
        "these tests need root and /dev/fuse"
    );
}

#[derive(Debug)]
struct Watchdog {
    _ended: Sender<()>,
}

impl Watchdog {
    fn over(mountpoint: &Path) -> Self {
        let (ended, end) = mpsc::channel::<()>();
        let mountpoint = mountpoint.to_owned();
        thread::spawn(move || {
            if end.recv_timeout(LIMIT) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            eprintln!("watchdog: the test at {} hangs", mountpoint.display());
            let _ = unmount(&mountpoint, Unmount::Detach);
            if end.recv_timeout(SOON) == Err(RecvTimeoutError::Timeout) {
                std::process::abort();
            }
        });
        Self { _ended: ended }
    }
}
