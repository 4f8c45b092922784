//! When a process that died is followed by another.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// So many deaths within [`WINDOW`] are something that a person should see.
const LOOP: usize = 5;
const WINDOW: Duration = Duration::from_secs(60);

/// The first process after a long time follows at once; each later one waits twice as long
/// as the one before, up to [`LONGEST`].
const FIRST: Duration = Duration::from_millis(50);

/// Who waits for a reply does not want to wait longer, and a machine is not burdened by
/// one attempt in five seconds.
const LONGEST: Duration = Duration::from_secs(5);

/// A process that has served for so long is followed at once: a pause is what readers see.
/// One that a request kills does not get so far.
const CALM: Duration = Duration::from_millis(250);

/// The deaths of the processes that served one mount.
#[derive(Debug, Default)]
pub(super) struct Restarts {
    deaths: VecDeque<Instant>,
    in_a_row: u32,
}

impl Restarts {
    /// Notes a death at `now` of a process that had served for `served`, and says how long
    /// the next one waits.
    pub(super) fn died(&mut self, now: Instant, served: Duration) -> Duration {
        self.deaths.push_back(now);
        while self
            .deaths
            .front()
            .is_some_and(|death| now.duration_since(*death) > WINDOW)
        {
            self.deaths.pop_front();
        }
        self.in_a_row = if served >= CALM { 0 } else { self.in_a_row + 1 };
        match self.in_a_row {
            // One that is killed early is as innocent as one that is killed late.
            0 | 1 => Duration::ZERO,
            row => FIRST.saturating_mul(1 << (row - 2).min(16)).min(LONGEST),
        }
    }

    /// Whether process after process dies.
    pub(super) fn is_loop(&self) -> bool {
        self.deaths.len() >= LOOP
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_dies_now_and_then_is_followed_at_once_and_it_is_no_loop() {
        let mut restarts = Restarts::default();
        let begin = Instant::now();
        for time in 0..20 {
            let now = begin + Duration::from_secs(20 * time);
            assert_eq!(restarts.died(now, Duration::from_secs(20)), Duration::ZERO);
            assert!(!restarts.is_loop());
        }
    }

    #[test]
    fn who_dies_again_and_again_is_followed_later_and_later_but_always() {
        let mut restarts = Restarts::default();
        let mut now = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..40 {
            let wait = restarts.died(now, Duration::from_millis(10));
            waits.push(wait);
            now += wait + Duration::from_millis(10);
        }
        assert_eq!(waits[0], Duration::ZERO);
        assert!(waits.is_sorted());
        assert_eq!(waits[39], LONGEST);
        assert!(restarts.is_loop());
        // One that lives ends the loop.
        now += 2 * WINDOW;
        assert_eq!(restarts.died(now, 2 * WINDOW), Duration::ZERO);
        assert!(!restarts.is_loop());
    }
}
