//! What a warm-up has done so far.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use forebay_core::cache::CacheError;
use forebay_core::manifest::EntryId;
use tokio::time::Instant;

use super::unit::{Cut, Unit};

/// Failures that are kept with their reasons; the others are counted.
const REASONS_KEPT: usize = 1000;
/// The rate is that of this time.
const RATE_OVER: Duration = Duration::from_secs(5);

/// The counts of a warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    /// Files that are there.
    pub files_done: u64,
    /// Files asked for.
    pub files_total: u64,
    /// Files that could not be brought.
    pub files_failed: u64,
    /// Bytes that are there, once for each copy.
    pub bytes_done: u64,
    /// Bytes asked for, once for each copy.
    pub bytes_total: u64,
    /// Bytes that were not there before.
    pub bytes_fetched: u64,
    /// Bytes done in a second, of late.
    pub bytes_per_second: u64,
}

/// A file that could not be brought.
#[derive(Clone, Debug)]
pub struct Failed {
    /// The file.
    pub entry: EntryId,
    /// Why.
    pub error: CacheError,
}

/// What one member has taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The member.
    pub name: String,
    /// Bytes.
    pub bytes: u64,
}

/// The books of a warm-up.
#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) counts: Counts,
    /// Times that something was given to others.
    pub(super) attempts: u32,
    /// Bytes that were found when they were looked for.
    pub(super) verified_bytes: u64,
    /// What went wrong beside single files.
    pub(super) trouble: Option<CacheError>,
    failed: BTreeMap<EntryId, Option<CacheError>>,
    shares: BTreeMap<String, u64>,
    /// Units that are still to come, of files of several.
    open: HashMap<EntryId, u64>,
    samples: VecDeque<(Instant, u64)>,
}

impl Books {
    /// Notes that `unit`, of a file of `size` bytes, is there; `fetched` bytes were not
    /// before.
    pub(super) fn done(&mut self, unit: Unit, size: u64, cut: Cut, member: &str, fetched: u64) {
        let bytes = unit.range.len();
        self.counts.bytes_done += bytes;
        self.counts.bytes_fetched += fetched;
        match self.shares.get_mut(member) {
            Some(share) => *share += bytes,
            None => drop(self.shares.insert(member.to_owned(), bytes)),
        }
        let units = cut.count(size);
        if units > 1 {
            let open = self.open.entry(unit.entry).or_insert(units);
            *open -= 1;
            if *open > 0 {
                return;
            }
            self.open.remove(&unit.entry);
        }
        self.counts.files_done += 1;
    }

    /// Notes that a file is not there.
    pub(super) fn failed(&mut self, entry: EntryId, error: CacheError) {
        let known = self.failed.len();
        let reason = self.failed.entry(entry).or_insert(None);
        if reason.is_none() && known < REASONS_KEPT {
            *reason = Some(error);
        }
        self.counts.files_failed = self.failed.len() as u64;
    }

    pub(super) fn has_failed(&self, entry: EntryId) -> bool {
        self.failed.contains_key(&entry)
    }

    /// Closes the books with what was verified, which may be less than what was brought;
    /// whether that is all.
    pub(super) fn close(&mut self) -> bool {
        let counts = &mut self.counts;
        counts.bytes_done = self.verified_bytes;
        counts.files_done = counts.files_total - counts.files_failed;
        counts.files_failed == 0 && self.trouble.is_none()
    }

    /// Takes a sample for the rate.
    pub(super) fn sample(&mut self, now: Instant) {
        self.samples.push_back((now, self.counts.bytes_done));
        while self.samples.len() > 2
            && let Some((then, _)) = self.samples.front()
            && now - *then > RATE_OVER
        {
            self.samples.pop_front();
        }
        if let Some((then, bytes)) = self.samples.front() {
            let seconds = (now - *then).as_secs_f64();
            let done = self.counts.bytes_done.saturating_sub(*bytes);
            self.counts.bytes_per_second = (done as f64 / seconds.max(1e-3)) as u64;
        }
    }

    /// The files that failed, with reasons, in the order of the manifest.
    pub(super) fn reasons(&self) -> Vec<Failed> {
        let failed = self.failed.iter();
        let reason = |(&entry, error): (&EntryId, &Option<CacheError>)| {
            let error = error.clone()?;
            Some(Failed { entry, error })
        };
        failed.filter_map(reason).collect()
    }

    /// What each member has taken, by name.
    pub(super) fn shares(&self) -> Vec<Share> {
        let share = |(name, &bytes): (&String, &u64)| Share {
            name: name.clone(),
            bytes,
        };
        self.shares.iter().map(share).collect()
    }
}

#[cfg(test)]
mod tests {
    use forebay_core::ErrorKind;

    use super::*;

    #[test]
    fn a_file_is_done_with_its_last_unit() {
        let (mut books, cut) = (Books::default(), Cut::new(2, None));
        let size = 10 << 20;
        let units: Vec<_> = cut.units(EntryId(1), size).collect();
        assert_eq!(units.len(), 6);
        for &unit in &units {
            assert_eq!(books.counts.files_done, 0);
            books.done(unit, size, cut, "a", 1);
        }
        assert_eq!(books.counts.files_done, 1);
        assert_eq!(books.counts.bytes_done, 2 * size);
        assert_eq!(books.counts.bytes_fetched, 6);
        assert_eq!(books.shares()[0].bytes, 2 * size);
    }

    #[test]
    fn a_file_fails_once_whatever_fails_of_it() {
        let mut books = Books::default();
        for n in 0..1500 {
            for _ in 0..2 {
                books.failed(EntryId(n), CacheError::new(ErrorKind::Stale, "overwritten"));
            }
        }
        assert_eq!(books.counts.files_failed, 1500);
        assert_eq!(books.reasons().len(), REASONS_KEPT);
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_that_of_late() {
        let mut books = Books::default();
        for second in 0..20 {
            books.counts.bytes_done += if second < 10 { 1000 } else { 10 };
            books.sample(Instant::now());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(books.counts.bytes_per_second, 10);
    }
}
