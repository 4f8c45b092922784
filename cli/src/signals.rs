//! Signals that ask the process to end, and the one that asks for another log file.

use std::io;
use std::path::PathBuf;

use forebay_fuse_client::Unmount;
use rustix::process::Signal as Raised;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::telemetry;

/// What a shell reports of a program that ended by Ctrl-C.
const INTERRUPTED: i32 = 130;

/// A token that SIGINT, SIGTERM or SIGHUP cancels; with a log file, SIGHUP opens that
/// again and does nothing else. A second one ends the process at once; the mount at
/// `mountpoint`, if there is one, is detached on the way out, and what was not yet
/// recorded in the cache is fetched again another time.
///
/// # Errors
/// If handlers cannot be installed.
pub(crate) fn on_first(mountpoint: Option<PathBuf>) -> io::Result<CancellationToken> {
    let mut signals = Signals::new()?;
    let first = CancellationToken::new();
    let token = first.clone();
    tokio::spawn(async move {
        signals.end().await;
        token.cancel();
        signals.end().await;
        if let Some(mountpoint) = mountpoint {
            // Whether it works or not, the process ends now.
            let _ = forebay_fuse_client::unmount(&mountpoint, Unmount::Detach);
        }
        std::process::exit(INTERRUPTED);
    });
    Ok(first)
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// That the process ends, by this signal.
    End(Raised),
    /// That the log file is opened again.
    Log,
}

/// The signals that ask a process for something.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    /// Takes them over from the system, which would end the process at once.
    ///
    /// # Errors
    /// If handlers cannot be installed.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub(crate) async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.interrupt.recv() => Wish::End(Raised::INT),
            _ = self.terminate.recv() => Wish::End(Raised::TERM),
            _ = self.hangup.recv() => match telemetry::has_file() {
                true => Wish::Log,
                false => Wish::End(Raised::HUP),
            },
        }
    }

    /// Waits for one that asks for the end, and grants other wishes meanwhile.
    async fn end(&mut self) {
        while self.next().await == Wish::Log {
            telemetry::reopen();
        }
    }
}
