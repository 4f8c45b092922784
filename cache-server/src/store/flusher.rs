//! The thread that makes written chunks durable now and then.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tracing::{error, warn};

use super::Shared;
use super::stop::Stop;

/// The thread, until it is stopped.
#[derive(Debug)]
pub(super) struct Flusher {
    stop: Arc<Stop>,
    thread: JoinHandle<()>,
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
        self.stop.request();
        if self.thread.join().is_err() {
            error!("the flusher of the cache has panicked");
        }
    }
}
