//! A bound on bytes a second.

use std::num::NonZeroU64;
use std::time::Duration;

use tokio::time::Instant;

/// Says when the next bytes may be asked for.
#[derive(Debug)]
pub(super) struct Pace {
    rate: Option<NonZeroU64>,
    /// When all that was asked for so far has had its time.
    due: Instant,
}

impl Pace {
    /// At most `rate` bytes a second, or as fast as it goes.
    pub(super) fn new(rate: Option<NonZeroU64>) -> Self {
        Self {
            rate,
            due: Instant::now(),
        }
    }

    /// When more may be asked for.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Notes that `bytes` are asked for now.
    pub(super) fn take(&mut self, bytes: u64) {
        self.due = self.due.max(Instant::now()) + self.time_of(bytes);
    }

    /// Notes that `bytes` of them were there already, and cost nothing.
    pub(super) fn give_back(&mut self, bytes: u64) {
        let time = self.time_of(bytes);
        self.due = self.due.checked_sub(time).unwrap_or(self.due);
    }

    fn time_of(&self, bytes: u64) -> Duration {
        let seconds = self.rate.map(|rate| bytes as f64 / rate.get() as f64);
        Duration::from_secs_f64(seconds.unwrap_or(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bytes_take_their_time_and_those_that_were_there_none() {
        let begun = Instant::now();
        let mut pace = Pace::new(NonZeroU64::new(1000));
        pace.take(500);
        pace.take(500);
        assert_eq!(pace.due() - begun, Duration::from_secs(1));
        pace.give_back(500);
        assert_eq!(pace.due() - begun, Duration::from_millis(500));
        // A pause is not made up for.
        tokio::time::sleep(Duration::from_secs(9)).await;
        pace.take(100);
        assert_eq!(pace.due() - begun, Duration::from_millis(9100));
        let mut free = Pace::new(None);
        free.take(u64::MAX);
        assert!(free.due() <= Instant::now());
    }
}
