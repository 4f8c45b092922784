//! The thread that compares cached bytes with their checksums, one after the other.
//!
//! Disks lose bits, and what has been verified once is not read again from there for as
//! long as it lies in the page cache, or nobody wants it. The scrub reads everything that
//! is here, past the page cache where the file system allows that, so that it neither
//! takes memory from readers nor believes it. What is wrong is dropped and counted; the
//! next reader fetches it again. It reads at most so many bytes a second, in passes with a
//! pause in between, and depends on no clock but for that.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tracing::{error, info};

use super::Shared;
use super::stats::add;
use super::stop::Stop;

/// Before the first pass: whoever mounts wants to read first.
const DELAY: Duration = Duration::from_secs(60);

/// Between the end of a pass and the next one: a small cache is not read all day.
const PAUSE: Duration = Duration::from_secs(3600);

/// The thread, until it is stopped.
#[derive(Debug)]
pub(super) struct Scrubber {
    stop: Arc<Stop>,
    thread: JoinHandle<()>,
}

impl Scrubber {
    /// Starts the thread, which reads `rate` bytes a second at most.
    pub(super) fn start(shared: Arc<Shared>, rate: u64) -> io::Result<Self> {
        let stop = Arc::<Stop>::default();
        let pace = Pace {
            rate: Some(rate),
            stop: Arc::clone(&stop),
        };
        let thread = thread::Builder::new()
            .name("store-scrub".into())
            .spawn(move || {
                let mut wait = DELAY;
                while !pace.stop.requested_within(wait) && shared.scrub(&pace) {
                    wait = PAUSE;
                }
            })?;
        Ok(Self { stop, thread })
    }

    /// Ends the thread after the chunk that it may be at.
    pub(super) fn stop(self) {
        self.stop.request();
        if self.thread.join().is_err() {
            error!("the scrub of the cache has panicked");
        }
    }
}

/// How fast a scrub may read, and whether it is to go on.
#[derive(Debug, Default)]
pub(super) struct Pace {
    rate: Option<u64>,
    stop: Arc<Stop>,
}

impl Pace {
    /// Waits as long as reading `bytes` may take; false if the scrub is to end.
    pub(super) fn allows(&self, bytes: u64) -> bool {
        let time = match self.rate {
            Some(rate) => Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64),
            None => Duration::ZERO,
        };
        !self.stop.requested_within(time)
    }
}

impl Shared {
    /// Compares all that is here with its checksums; false if it was told to end before.
    pub(super) fn scrub(&self, pace: &Pace) -> bool {
        let before = self.counters.snapshot();
        if !self.tiers.iter().all(|tier| tier.scrub(pace)) {
            return false;
        }
        add(&self.counters.scrub_passes, 1);
        let after = self.counters.snapshot();
        let bytes = after.scrubbed_bytes - before.scrubbed_bytes;
        let dropped = after.corrupt_chunks - before.corrupt_chunks;
        info!(bytes, dropped, "cache scrubbed");
        true
    }
}
