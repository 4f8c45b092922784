//! Signals that ask the process to end.

use std::io;
use std::path::PathBuf;

use forebay_fuse_client::Unmount;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What a shell reports of a program that ended by Ctrl-C.
const INTERRUPTED: i32 = 130;

/// A token that SIGINT, SIGTERM or SIGHUP cancels. A second one ends the process at
/// once; the mount at `mountpoint`, if there is one, is detached on the way out, and
/// what was not yet recorded in the cache is fetched again another time.
///
/// # Errors
/// If handlers cannot be installed.
pub(crate) fn on_first(mountpoint: Option<PathBuf>) -> io::Result<CancellationToken> {
    let mut signals = Signals::new()?;
    let first = CancellationToken::new();
    let token = first.clone();
    tokio::spawn(async move {
        signals.next().await;
        token.cancel();
        signals.next().await;
        if let Some(mountpoint) = mountpoint {
            // Whether it works or not, the process ends now.
            let _ = forebay_fuse_client::unmount(&mountpoint, Unmount::Detach);
        }
        std::process::exit(INTERRUPTED);
    });
    Ok(first)
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}
