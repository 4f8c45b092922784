//! The keeper of a supervised mount.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use forebay_keeper::{Client as Connection, Mission, Name};
use tokio::process::Child;
use tokio::time::{Instant, sleep, timeout};

use super::program::Program;
use crate::rundir::RunDir;

/// A keeper listens within milliseconds of its start.
const LISTENS: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(5);

/// A keeper whose mount has ended goes at once.
const GOES: Duration = Duration::from_secs(2);

/// A mount that nobody serves or supervises for so long is given up, so that its readers
/// do not wait for ever.
const ABANDON_AFTER: Duration = Duration::from_secs(60);

/// The keeper, and the connection to it that says that the mount is looked after.
#[derive(Debug)]
pub(super) struct Keeper {
    child: Child,
    connection: Connection,
    name: Name,
}

impl Keeper {
    /// Starts one in the run directory, and waits until it listens.
    ///
    /// # Errors
    /// If it does not: the keeper of a mount before may be in its way, for a second.
    pub(super) async fn start(program: &Program, dir: &RunDir) -> io::Result<Self> {
        let mission = Mission::OneMount {
            abandon_after: ABANDON_AFTER,
        };
        let mut child = program.keeper(dir.keeper_socket(), mission).spawn()?;
        let deadline = Instant::now() + LISTENS;
        loop {
            match Connection::connect(&dir.keeper_socket()) {
                Ok(connection) if Some(connection.keeper_pid()) == child.id() => {
                    return Ok(Self {
                        child,
                        connection,
                        name: dir.keeper_name(),
                    });
                }
                // One of a mount before listens there.
                Ok(_) => {}
                Err(error) if Instant::now() >= deadline => return Err(io::Error::other(error)),
                Err(_) => {}
            }
            if let Some(status) = child.try_wait()? {
                return Err(io::Error::other(format!("the keeper ended: {status}")));
            }
            sleep(POLL).await;
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.connection.keeper_pid()
    }

    /// Whether it has the connection of the mount.
    pub(super) fn holds(&self) -> bool {
        self.connection
            .list()
            .is_ok_and(|names| names.contains(&self.name))
    }

    /// Answers with an error whoever waits for the mount, which nobody serves.
    pub(super) fn refuse_waiting(&self) {
        let refused = self
            .connection
            .fetch(&self.name)
            .map_err(io::Error::other)
            .and_then(|kept| forebay_fuse_client::refuse_waiting(&kept));
        match refused {
            Ok(0) => {}
            Ok(requests) => tracing::error!(requests, "nobody serves the mount: answered EIO"),
            Err(error) => tracing::warn!(%error, "nobody serves the mount, and readers wait"),
        }
    }

    /// Waits for its end.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Lets it go, with what it holds.
    pub(super) async fn dismiss(mut self) {
        // It has found out by itself, or the process that served has told it.
        let _ = self.connection.forget(&self.name);
        drop(self.connection);
        if timeout(GOES, self.child.wait()).await.is_err() {
            tracing::warn!("the keeper did not end with its mount");
            let _ = self.child.start_kill();
        }
    }
}
