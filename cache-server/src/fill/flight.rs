//! One origin read of a run of bytes, and those who wait for it.

use forebay_core::ByteRange;
use forebay_core::cache::CacheError;
use tokio::sync::watch;

/// How far a flight has come.
#[derive(Clone, Debug)]
struct Progress {
    /// The first byte that is not yet within reach of readers.
    next: u64,
    outcome: Option<Result<(), CacheError>>,
}

/// A run of bytes on its way: whole chunks, or pages at its ends.
#[derive(Debug)]
pub(super) struct Flight {
    range: ByteRange,
    progress: watch::Sender<Progress>,
}

impl Flight {
    /// A flight that has not begun. `range` is not empty.
    pub(super) fn new(range: ByteRange) -> Self {
        let progress = Progress {
            next: range.start(),
            outcome: None,
        };
        Self {
            range,
            progress: watch::Sender::new(progress),
        }
    }

    pub(super) fn range(&self) -> ByteRange {
        self.range
    }

    /// Lets readers have every byte below `end`.
    pub(super) fn arrived(&self, end: u64) {
        self.progress.send_modify(|progress| progress.next = end);
    }

    /// Ends the flight. Bytes that have arrived stay good after an error.
    pub(super) fn finish(&self, outcome: Result<(), CacheError>) {
        self.progress
            .send_modify(|progress| progress.outcome = Some(outcome));
    }

    /// Waits until every byte below `end` is within reach, or the flight has ended.
    ///
    /// # Errors
    /// The flight's error, if it ended before they arrived.
    pub(super) async fn wait_for(&self, end: u64) -> Result<(), CacheError> {
        let end = end.min(self.range.end());
        let mut progress = self.progress.subscribe();
        let ended = progress
            .wait_for(|progress| progress.next >= end || progress.outcome.is_some())
            .await
            .expect("the sender lives as long as the flight that is borrowed here");
        if ended.next >= end {
            return Ok(());
        }
        ended.outcome.clone().unwrap_or(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use forebay_core::ErrorKind;

    use super::*;

    #[tokio::test]
    async fn bytes_that_arrived_are_good_even_if_the_flight_fails_later() {
        let flight = Flight::new(ByteRange::new(4, 8));
        flight.arrived(6);
        flight.finish(Err(CacheError::new(ErrorKind::Unavailable, "gone")));
        assert!(flight.wait_for(6).await.is_ok());
        assert_eq!(
            flight.wait_for(7).await.unwrap_err().kind,
            ErrorKind::Unavailable
        );
    }

    #[tokio::test]
    async fn a_waiter_wakes_when_its_bytes_arrive() {
        let flight = Flight::new(ByteRange::new(0, 2));
        let (waited, ()) = tokio::join!(flight.wait_for(1), async { flight.arrived(1) });
        assert!(waited.is_ok());
    }

    #[tokio::test]
    async fn what_the_flight_does_not_bring_is_not_waited_for() {
        let flight = Flight::new(ByteRange::new(0, 2));
        flight.arrived(2);
        assert!(flight.wait_for(100).await.is_ok());
    }
}
