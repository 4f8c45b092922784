//! No test hangs: one that takes too long loses its mount.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::kernel;
use crate::process::Process;

/// How long a test may take to fail after its mount is gone.
const GRACE: Duration = Duration::from_secs(30);

/// Watches over a mount until it is dropped.
#[derive(Debug)]
pub(super) struct Watchdog {
    _alive: Sender<()>,
}

impl Watchdog {
    /// After `limit`, ends the FUSE connection of `path`: every read that waits for it
    /// fails, and the test with it. If even that does not end the test, the whole test
    /// process is ended, and what it started goes with it.
    pub(super) fn start(limit: Duration, path: PathBuf, process: Arc<Mutex<Process>>) -> Self {
        let (alive, dropped) = channel();
        thread::spawn(move || watch(limit, &path, &process, &dropped));
        Self { _alive: alive }
    }
}

fn watch(limit: Duration, path: &Path, process: &Mutex<Process>, dropped: &Receiver<()>) {
    if dropped.recv_timeout(limit) == Err(RecvTimeoutError::Disconnected) {
        return;
    }
    eprintln!(
        "the test takes more than {limit:?}: taking down {}",
        path.display()
    );
    kernel::take_down(path);
    process
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .kill();
    kernel::take_down(path);
    if dropped.recv_timeout(GRACE) == Err(RecvTimeoutError::Disconnected) {
        return;
    }
    eprintln!("the test still runs {GRACE:?} after its mount was taken down: giving up");
    std::process::abort();
}
