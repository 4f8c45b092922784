//! Counters of what the kernel asked, and of how long its readers waited.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use forebay_core::ErrorKind;

use crate::fs::errno;
use crate::fs::handle::How;

/// The errors that a read can end in, with the names that metrics give them.
const ERRNOS: [(i32, &str); 8] = [
    (errno::ENOENT, "ENOENT"),
    (errno::EINTR, "EINTR"),
    (errno::EIO, "EIO"),
    (errno::EACCES, "EACCES"),
    (errno::EBUSY, "EBUSY"),
    (errno::EISDIR, "EISDIR"),
    (errno::EINVAL, "EINVAL"),
    (errno::ESTALE, "ESTALE"),
];

/// How files are read, with the names that metrics give it.
const OPENS: [&str; 3] = ["pages", "direct", "passthrough"];

fn named(names: &[&'static str], counters: &[AtomicU64]) -> Vec<(&'static str, u64)> {
    let counts = counters
        .iter()
        .map(|counter| counter.load(Ordering::Relaxed));
    let all = names.iter().copied().zip(counts);
    all.filter(|(_, count)| *count > 0).collect()
}

/// Counters of one mount, since it was made.
#[derive(Debug, Default)]
pub struct FuseStats {
    reads: AtomicU64,
    read_bytes: AtomicU64,
    waits: AtomicU64,
    waiting: AtomicI64,
    wait_nanos: AtomicU64,
    open_handles: AtomicI64,
    unused_bytes: AtomicU64,
    opens: [AtomicU64; OPENS.len()],
    errors: [AtomicU64; ERRNOS.len()],
}

/// The counters at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FuseSnapshot {
    /// Read requests from the kernel.
    pub reads: u64,
    /// Bytes given to the kernel.
    pub read_bytes: u64,
    /// Read requests that had to wait for the cache.
    pub waits: u64,
    /// Read requests that wait now.
    pub waiting: u64,
    /// How long read requests waited, summed over all that have ended.
    pub waited: Duration,
    /// Open files.
    pub open_handles: u64,
    /// Bytes advised ahead of readers who then went elsewhere.
    pub unused_bytes: u64,
    /// Files opened: how they are read and how many; those that never happened are left
    /// out.
    pub opens: Vec<(&'static str, u64)>,
    /// Read requests answered with an error: the errno's name and how many; those that
    /// never happened are left out.
    pub errors: Vec<(&'static str, u64)>,
}

/// Counts a read as waiting until it is dropped, so that every end counts.
#[derive(Debug)]
pub(crate) struct Waiting<'a> {
    stats: &'a FuseStats,
    since: Instant,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.stats.waiting.fetch_sub(1, Ordering::Relaxed);
        let nanos = u64::try_from(self.since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.stats.wait_nanos.fetch_add(nanos, Ordering::Relaxed);
    }
}

impl FuseStats {
    /// The counters now. Each is exact; together they are not one instant.
    pub fn snapshot(&self) -> FuseSnapshot {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let level = |gauge: &AtomicI64| u64::try_from(gauge.load(Ordering::Relaxed)).unwrap_or(0);
        FuseSnapshot {
            reads: load(&self.reads),
            read_bytes: load(&self.read_bytes),
            waits: load(&self.waits),
            waiting: level(&self.waiting),
            waited: Duration::from_nanos(load(&self.wait_nanos)),
            open_handles: level(&self.open_handles),
            unused_bytes: load(&self.unused_bytes),
            opens: named(&OPENS, &self.opens),
            errors: named(&ERRNOS.map(|(_, name)| name), &self.errors),
        }
    }

    pub(crate) fn read(&self) {
        self.reads.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts bytes that were advised for nothing.
    pub(crate) fn unused(&self, bytes: u64) {
        self.unused_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn read_bytes(&self, bytes: usize) {
        self.read_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn wait(&self) -> Waiting<'_> {
        self.waits.fetch_add(1, Ordering::Relaxed);
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting {
            stats: self,
            since: Instant::now(),
        }
    }

    pub(crate) fn opened(&self, how: How) {
        self.open_handles.fetch_add(1, Ordering::Relaxed);
        let index = match how {
            How::Pages => 0,
            How::Direct => 1,
            How::Passthrough(_) => 2,
        };
        self.opens[index].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a file that an earlier process opened.
    pub(crate) fn restored(&self) {
        self.open_handles.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn released(&self) {
        self.open_handles.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts a read that ended in `errno`; one without a name of its own as EIO.
    pub(crate) fn failed(&self, errno: i32) {
        let place = |wanted| ERRNOS.iter().position(|(number, _)| *number == wanted);
        let index = place(errno).or_else(|| place(ErrorKind::Internal.errno()));
        if let Some(counter) = index.and_then(|index| self.errors.get(index)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_counted_while_it_lasts_and_added_when_it_ends() {
        let stats = FuseStats::default();
        let wait = stats.wait();
        assert_eq!((stats.snapshot().waits, stats.snapshot().waiting), (1, 1));
        drop(wait);
        assert_eq!((stats.snapshot().waits, stats.snapshot().waiting), (1, 0));
        assert!(stats.snapshot().waited > Duration::ZERO);
    }

    #[test]
    fn errors_are_counted_by_name_and_strangers_as_eio() {
        let stats = FuseStats::default();
        for errno in [errno::ESTALE, errno::EIO, 9999] {
            stats.failed(errno);
        }
        assert_eq!(stats.snapshot().errors, [("EIO", 2), ("ESTALE", 1)]);
    }
}
