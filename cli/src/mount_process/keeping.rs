//! The copy of the connection that a keeper has.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use forebay_fuse_client::Mount;
use forebay_keeper::{Client, Name};

use crate::exit::chain;

/// How often it is looked at whether the mount is still there.
const LOOK: Duration = Duration::from_secs(5);

/// Between two attempts to reach a keeper that has gone: another is being started.
const RETRY: Duration = Duration::from_millis(200);

/// A supervisor starts its keeper beside this process, and before the mount is made.
const ATTEMPTS: u32 = 25;

/// The keeper of a mount, whichever process that is.
#[derive(Debug)]
pub(super) struct Keeping {
    socket: PathBuf,
    name: Name,
    pid: AtomicU32,
    client: Mutex<Option<Client>>,
}

impl Keeping {
    /// Has the keeper at `socket` hold the connection of `mount` as `name`, now and after
    /// a keeper has died.
    ///
    /// `client` is a connection to a keeper that holds it already.
    pub(super) fn start(
        mount: &Arc<Mount>,
        socket: &Path,
        name: Name,
        client: Option<Client>,
    ) -> Arc<Self> {
        let keeping = Arc::new(Self {
            socket: socket.to_owned(),
            name,
            pid: AtomicU32::new(0),
            client: Mutex::default(),
        });
        match client {
            Some(client) => keeping.settle(client),
            None => {
                let entrusted = (0..ATTEMPTS).any(|_| {
                    let done = keeping.entrust(mount);
                    if !done {
                        thread::sleep(RETRY);
                    }
                    done
                });
                if !entrusted {
                    tracing::error!("no keeper answers: the mount dies with this process");
                }
            }
        }
        let (watched, mount) = (Arc::clone(&keeping), Arc::downgrade(mount));
        let watching = thread::Builder::new()
            .name("forebay-keeping".to_owned())
            .spawn(move || watched.watch(&mount));
        if let Err(error) = watching {
            tracing::error!(%error, "the keeper is not watched");
        }
        keeping
    }

    /// The process of the keeper; 0 while there is none.
    pub(super) fn keeper_pid(&self) -> u32 {
        self.pid.load(Ordering::Relaxed)
    }

    /// The mount has ended: there is nothing to keep.
    pub(super) fn end(&self) {
        let client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*client {
            // A keeper that has noticed by itself has let go already.
            let _ = client.forget(&self.name);
        }
    }

    fn entrust(&self, mount: &Mount) -> bool {
        let client = match Client::connect(&self.socket) {
            Ok(client) => client,
            Err(error) => {
                tracing::debug!(error = %chain(&error), "no keeper yet");
                return false;
            }
        };
        match mount.entrust(&client, &self.name, b"") {
            Ok(()) => {
                self.settle(client);
                true
            }
            Err(error) => {
                tracing::warn!(error = %chain(&error), "the mount is not kept");
                false
            }
        }
    }

    fn settle(&self, client: Client) {
        self.pid.store(client.keeper_pid(), Ordering::Relaxed);
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = Some(client);
    }

    /// Stays until the mount has ended.
    fn watch(&self, mount: &Weak<Mount>) {
        let alive = || mount.upgrade().filter(|mount| !mount.has_ended());
        while alive().is_some() {
            if !self.has_gone() {
                continue;
            }
            let Some(mount) = alive() else { return };
            if self.pid.swap(0, Ordering::Relaxed) != 0 {
                tracing::warn!("the keeper has gone: the mount dies with this process for now");
            }
            if self.entrust(&mount) {
                tracing::info!(pid = self.keeper_pid(), "another keeper has the mount");
            } else {
                drop(mount);
                thread::sleep(RETRY);
            }
        }
    }

    /// Waits for a while until the keeper has gone; whether it has.
    fn has_gone(&self) -> bool {
        let watched = {
            let client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
            match client.as_ref().map(Client::watch) {
                Some(Ok(watched)) => watched,
                Some(Err(_)) | None => return true,
            }
        };
        // Not under the lock: the end of the mount needs it.
        watched.has_gone_within(LOOK)
    }
}
