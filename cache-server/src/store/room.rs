//! How much a tier may still take: its quota, and what the file system has left.

use std::fs::File;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long an answer of the file system is good for.
const ANSWER_LIFE: Duration = Duration::from_secs(1);

/// The share of the file system that is left free by default is one in this many.
const FREE_SHARE: u64 = 100;
const MOST_FREE: u64 = 512 << 20;

/// Bytes in use under a quota, reservations included.
#[derive(Debug)]
pub(super) struct Quota {
    used: AtomicU64,
    limit: u64,
}

impl Quota {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            used: AtomicU64::new(0),
            limit,
        }
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    pub(super) fn used(&self) -> u64 {
        self.used.load(Acquire)
    }

    /// Whether an object of `size` bytes can ever be here.
    pub(super) fn could_hold(&self, size: u64) -> bool {
        size <= self.limit
    }

    /// Whether more is in use than there should be: the limit is lower than it was.
    pub(super) fn is_exceeded(&self) -> bool {
        self.used() > self.limit
    }

    /// Whether `bytes` more fit.
    pub(super) fn fits(&self, bytes: u64) -> bool {
        self.used().saturating_add(bytes) <= self.limit
    }

    /// Sets `bytes` aside if they fit; the reservation gives them back unless it is kept.
    pub(super) fn reserve(&self, bytes: u64) -> Option<Reservation<'_>> {
        let add = |used: u64| used.checked_add(bytes).filter(|&sum| sum <= self.limit);
        self.used.fetch_update(AcqRel, Acquire, add).ok()?;
        Some(Reservation { quota: self, bytes })
    }

    /// Counts what recovery found, whether it fits or not.
    pub(super) fn add(&self, bytes: u64) {
        self.used.fetch_add(bytes, AcqRel);
    }

    pub(super) fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, AcqRel);
    }
}

/// Bytes set aside for a write under way.
#[derive(Debug)]
pub(super) struct Reservation<'a> {
    quota: &'a Quota,
    bytes: u64,
}

impl Reservation<'_> {
    /// Turns `bytes` of the reservation into bytes in use, and gives the rest back.
    pub(super) fn keep(mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.quota.give_back(self.bytes);
    }
}

/// Bytes set aside in a tier, and in the dataset's share of all tiers.
#[derive(Debug)]
pub(super) struct Room<'a> {
    pub(super) tier: Reservation<'a>,
    pub(super) share: Reservation<'a>,
}

impl Room<'_> {
    /// Turns `bytes` of it into bytes in use, and gives the rest back.
    pub(super) fn keep(self, bytes: u64) {
        self.tier.keep(bytes);
        self.share.keep(bytes);
    }
}

/// What the file system has to give beyond what is left to others.
///
/// It is asked once a second, and what is written in between is subtracted.
#[derive(Debug)]
pub(super) struct FreeSpace {
    min_free: Option<u64>,
    answer: Mutex<Option<Answer>>,
}

#[derive(Debug)]
struct Answer {
    asked: Instant,
    left: u64,
}

impl FreeSpace {
    pub(super) fn new(min_free: Option<u64>) -> Self {
        Self {
            min_free,
            answer: Mutex::new(None),
        }
    }

    /// Takes `bytes` of what is left; false if there is not that much. `root` is any file
    /// of the file system. One that does not answer is taken to have room.
    pub(super) fn take(&self, root: &File, bytes: u64) -> bool {
        let mut answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner);
        let good = |a: &&mut Answer| a.asked.elapsed() < ANSWER_LIFE && a.left >= bytes;
        let answer = match answer.as_mut().filter(good) {
            Some(answer) => answer,
            None => {
                let Some(left) = self.ask(root) else {
                    return true;
                };
                answer.insert(Answer {
                    asked: Instant::now(),
                    left,
                })
            }
        };
        let fits = answer.left >= bytes;
        if fits {
            answer.left -= bytes;
        }
        fits
    }

    fn ask(&self, root: &File) -> Option<u64> {
        let statistics = rustix::fs::fstatvfs(root).ok()?;
        let total = statistics.f_blocks.saturating_mul(statistics.f_frsize);
        let available = statistics.f_bavail.saturating_mul(statistics.f_frsize);
        let min_free = self.min_free.unwrap_or((total / FREE_SHARE).min(MOST_FREE));
        Some(available.saturating_sub(min_free))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reservation_that_is_not_kept_is_given_back() {
        let quota = Quota::new(100);
        let first = quota.reserve(60).unwrap();
        assert!(quota.reserve(41).is_none());
        let second = quota.reserve(40).unwrap();
        drop(second);
        first.keep(60);
        assert_eq!(quota.used(), 60);
        quota.reserve(40).unwrap().keep(0);
        quota.give_back(60);
        assert_eq!(quota.used(), 0);
    }

    #[test]
    fn nothing_is_taken_from_a_file_system_below_its_reserve() {
        let root = File::open("/tmp").unwrap();
        assert!(FreeSpace::new(Some(0)).take(&root, 1));
        assert!(!FreeSpace::new(Some(u64::MAX)).take(&root, 1));
    }
}
