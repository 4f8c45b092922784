//! Readers of every kind, at work on one mount until they are told to stop.
//!
//! Each checks every byte and every name that it gets, and remembers how long it had to
//! wait. What a reader sees while processes die below it is what this is for.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::dataset::{Dataset, File};
use crate::random::Random;

mod files;
mod names;

/// Faster operations than this are not remembered one by one.
const SLOW: Duration = Duration::from_millis(2);

/// A wrong mount is wrong often; the first faults tell as much as all.
const MOST_FAULTS: usize = 20;

/// What a reader does, again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Reads a large file from its beginning to its end.
    Sequential,
    /// Reads here and there in a large file that stays open.
    Random,
    /// Reads past the page cache, as with `O_DIRECT`.
    Direct,
    /// Touches a mapping of a large file that stays mapped.
    Mapped,
    /// Opens, reads and closes small files.
    Small,
    /// Lists every directory, and looks up names that do not exist.
    Names,
}

impl Kind {
    /// Eight readers, each kind among them.
    pub const EIGHT: [Self; 8] = [
        Self::Sequential,
        Self::Sequential,
        Self::Random,
        Self::Direct,
        Self::Mapped,
        Self::Small,
        Self::Small,
        Self::Names,
    ];
}

/// One operation that took long.
#[derive(Clone, Copy, Debug)]
pub struct Slow {
    /// When it ended.
    pub ended: Instant,
    /// How long it took.
    pub took: Duration,
}

/// What a reader has seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Operations: reads, opens, listings, look-ups.
    pub operations: u64,
    /// Bytes compared.
    pub bytes: u64,
    /// Errors and wrong bytes, the first few, in words.
    pub faults: Vec<String>,
    /// The operations that took long.
    pub slow: Vec<Slow>,
}

impl Seen {
    /// Adds what another has seen.
    pub fn add(&mut self, other: Self) {
        self.operations += other.operations;
        self.bytes += other.bytes;
        self.faults.extend(other.faults);
        self.slow.extend(other.slow);
    }
}

/// The readers at work.
#[derive(Debug)]
pub struct Readers {
    stop: Arc<AtomicBool>,
    running: Vec<JoinHandle<Seen>>,
}

impl Readers {
    /// Starts one reader of each kind in `kinds`, on `dataset` as it is mounted at `root`.
    ///
    /// # Panics
    /// If the dataset has no large or no small files.
    pub fn start(dataset: &Dataset, root: &Path, kinds: &[Kind]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let running = (0..).zip(kinds).map(|(number, kind)| {
            let work = Work::new(dataset, root, number, &stop);
            let kind = *kind;
            thread::spawn(move || work.run(kind))
        });
        Self {
            running: running.collect(),
            stop,
        }
    }

    /// Ends them, each after what it is at, and says what they have seen.
    ///
    /// # Panics
    /// If one has panicked.
    pub fn stop(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Seen::default();
        for reader in self.running {
            all.add(reader.join().expect("readers collect what goes wrong"));
        }
        all
    }
}

/// One reader and what it reads.
struct Work {
    root: PathBuf,
    large: Vec<File>,
    small: Vec<File>,
    random: Random,
    stop: Arc<AtomicBool>,
    seen: Seen,
}

/// Files of this size and more are large: the cache keeps them as files of their own.
const LARGE: u64 = 1 << 20;

impl Work {
    fn new(dataset: &Dataset, root: &Path, number: u64, stop: &Arc<AtomicBool>) -> Self {
        let files = dataset.files().iter().cloned();
        let (large, small): (Vec<_>, Vec<_>) = files.partition(|file| file.size >= LARGE);
        assert!(
            !large.is_empty() && !small.is_empty(),
            "both sizes are needed"
        );
        Self {
            root: root.to_owned(),
            large,
            small,
            random: Random::new(number),
            stop: Arc::clone(stop),
            seen: Seen::default(),
        }
    }

    fn run(mut self, kind: Kind) -> Seen {
        while !self.is_over() {
            let done = match kind {
                Kind::Sequential => self.read_sequentially(),
                Kind::Random => self.read_at_random(),
                Kind::Direct => self.read_directly(),
                Kind::Mapped => self.read_mapped(),
                Kind::Small => self.read_small(),
                Kind::Names => self.list(),
            };
            if let Err(error) = done {
                self.fault(format_args!("{kind:?}: {error}"));
            }
        }
        self.seen
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.seen.faults.len() >= MOST_FAULTS
    }

    /// Does `operation`, and remembers how long it took.
    fn timed<T>(&mut self, operation: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let begun = Instant::now();
        let outcome = operation();
        let (ended, took) = (Instant::now(), begun.elapsed());
        self.seen.operations += 1;
        if took >= SLOW {
            self.seen.slow.push(Slow { ended, took });
        }
        outcome
    }

    /// Compares what was read of `file` at `offset`.
    fn compare(&mut self, file: &File, offset: u64, got: &[u8]) {
        let mut expected = vec![0; got.len()];
        file.fill(offset, &mut expected);
        self.seen.bytes += got.len() as u64;
        if got != expected {
            let at = got.iter().zip(&expected).position(|(a, b)| a != b);
            let at = offset + at.unwrap_or_default() as u64;
            self.fault(format_args!("{}: wrong byte at {at}", file.path));
        }
    }

    fn fault(&mut self, what: fmt::Arguments<'_>) {
        self.seen.faults.push(what.to_string());
    }
}
