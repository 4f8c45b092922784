//! What a file was refused a moment ago, for the kernel's second try.
//!
//! A read that the page cache cannot answer becomes a request for the pages around it.
//! If that fails, the kernel asks once more, for the one page that the reader waits for,
//! before it gives up. The reader would wait for the origin twice, and the origin be
//! asked twice for what it has just refused. The second try, which comes right behind
//! the first, therefore gets the first one's answer.
//!
//! From then on the kernel has that page, marked as not read, and tries only once each
//! time: every later request for it is a new question of the reader.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use forebay_core::ByteRange;
use forebay_core::cache::CacheError;

/// The second try comes within microseconds, on a busy machine within milliseconds.
const RIGHT_BEHIND: Duration = Duration::from_millis(100);

/// More requests than the kernel has under way for one reader of one file.
const MOST: usize = 32;

/// The requests of one open file that have just failed, and the pages for which the
/// kernel has had its second try.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    failed: Vec<Refusal>,
    settled: VecDeque<ByteRange>,
}

#[derive(Debug)]
struct Refusal {
    range: ByteRange,
    error: CacheError,
    at: Instant,
}

impl Refusals {
    /// Notes that a request for `range` failed.
    pub(crate) fn note(&mut self, range: ByteRange, error: &CacheError, now: Instant) {
        self.forget_old(now);
        let is_settled = self.settled.iter().any(|settled| covers(*settled, range));
        if !is_settled && self.failed.len() < MOST {
            self.failed.push(Refusal {
                range,
                error: error.clone(),
                at: now,
            });
        }
    }

    /// The answer to a request for `range`, if it is the second try of one that failed.
    pub(crate) fn take(&mut self, range: ByteRange, now: Instant) -> Option<CacheError> {
        self.forget_old(now);
        let first_try = |refusal: &Refusal| covers(refusal.range, range);
        let found = self.failed.iter().position(first_try)?;
        self.settled.truncate(MOST - 1);
        self.settled.push_front(range);
        Some(self.failed.swap_remove(found).error)
    }

    fn forget_old(&mut self, now: Instant) {
        self.failed
            .retain(|refusal| now.saturating_duration_since(refusal.at) < RIGHT_BEHIND);
    }
}

fn covers(outer: ByteRange, inner: ByteRange) -> bool {
    outer.start() <= inner.start() && inner.end() <= outer.end()
}

#[cfg(test)]
mod tests {
    use forebay_core::ErrorKind;

    use super::*;

    fn error(message: &str) -> CacheError {
        CacheError::new(ErrorKind::TimedOut, message)
    }

    fn message(error: Option<CacheError>) -> Option<String> {
        error.map(|error| error.to_string())
    }

    #[test]
    fn a_second_try_within_the_range_gets_the_answer_once() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        refusals.note(ByteRange::new(0, 100), &error("first"), now);
        refusals.note(ByteRange::new(100, 200), &error("second"), now);
        let page = ByteRange::new(100, 150);
        assert_eq!(message(refusals.take(page, now)), Some("second".to_owned()));
        assert_eq!(message(refusals.take(page, now)), None);
        let across = ByteRange::new(50, 101);
        assert_eq!(message(refusals.take(across, now)), None);
        let all = ByteRange::new(0, 100);
        assert_eq!(message(refusals.take(all, now)), Some("first".to_owned()));
    }

    #[test]
    fn a_later_try_is_a_new_question() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        let range = ByteRange::new(0, 100);
        refusals.note(range, &error("long ago"), now);
        assert_eq!(message(refusals.take(range, now + RIGHT_BEHIND)), None);
    }

    #[test]
    fn a_page_has_one_second_try_and_every_later_request_is_a_new_question() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        let (around, page) = (ByteRange::new(0, 100), ByteRange::new(0, 10));
        refusals.note(around, &error("first"), now);
        assert!(refusals.take(page, now).is_some());
        refusals.note(page, &error("third"), now);
        assert_eq!(message(refusals.take(page, now)), None);
    }

    #[test]
    fn many_failures_are_not_kept() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        for start in 0..1000 {
            let range = ByteRange::new(start, start + 1);
            refusals.note(range, &error("no"), now);
            refusals.note(range, &error("no"), now);
            refusals.take(range, now);
        }
        assert!(refusals.failed.len() <= MOST && refusals.settled.len() <= MOST);
    }
}
