//! The thread that makes written chunks durable now and then.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tracing::{error, warn};

use super::Shared;

/// The thread, until it is stopped.
#[derive(Debug)]
pub(super) struct Flusher {
    stop: Arc<Stop>,
    thread: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Stop {
    requested: Mutex<bool>,
    changed: Condvar,
}

impl Flusher {
    pub(super) fn start(shared: Arc<Shared>, interval: Duration) -> io::Result<Self> {
        let stop = Arc::<Stop>::default();
        let run = {
            let stop = Arc::clone(&stop);
            move || {
                while !stop.requested_within(interval) {
                    if let Err(error) = shared.flush() {
                        let source = std::error::Error::source(&error).map(ToString::to_string);
                        warn!(%error, source, "cached chunks are not durable yet");
                    }
                }
            }
        };
        let thread = thread::Builder::new()
            .name("store-flusher".into())
            .spawn(run)?;
        Ok(Self { stop, thread })
    }

    /// Ends the thread after the flush that it may be at.
    pub(super) fn stop(self) {
        *self
            .stop
            .requested
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.changed.notify_all();
        if self.thread.join().is_err() {
            error!("the flusher of the cache has panicked");
        }
    }
}

impl Stop {
    fn requested_within(&self, interval: Duration) -> bool {
        let requested = self
            .requested
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .changed
            .wait_timeout_while(requested, interval, |requested| !*requested);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}
