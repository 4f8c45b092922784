//! One origin read of a run of chunks, and those who wait for it.

use std::ops::Range;

use forebay_core::cache::CacheError;
use tokio::sync::watch;

/// How far a flight has come.
#[derive(Clone, Debug)]
struct Progress {
    /// The first chunk that is not yet within reach of readers.
    next: u64,
    outcome: Option<Result<(), CacheError>>,
}

/// A run of chunks on its way.
#[derive(Debug)]
pub(super) struct Flight {
    chunks: Range<u64>,
    progress: watch::Sender<Progress>,
}

impl Flight {
    /// A flight that has not begun. `chunks` is not empty.
    pub(super) fn new(chunks: Range<u64>) -> Self {
        let progress = Progress {
            next: chunks.start,
            outcome: None,
        };
        Self {
            chunks,
            progress: watch::Sender::new(progress),
        }
    }

    pub(super) fn chunks(&self) -> Range<u64> {
        self.chunks.clone()
    }

    /// The last chunk of the run.
    pub(super) fn last(&self) -> u64 {
        self.chunks.end - 1
    }

    /// Lets readers have every chunk up to and including `chunk`.
    pub(super) fn arrived(&self, chunk: u64) {
        self.progress
            .send_modify(|progress| progress.next = chunk + 1);
    }

    /// Ends the flight. Chunks that have arrived stay good after an error.
    pub(super) fn finish(&self, outcome: Result<(), CacheError>) {
        self.progress
            .send_modify(|progress| progress.outcome = Some(outcome));
    }

    /// Waits until `chunk` is within reach, or the flight has ended.
    ///
    /// # Errors
    /// The flight's error, if it ended before `chunk` arrived.
    pub(super) async fn wait_for(&self, chunk: u64) -> Result<(), CacheError> {
        let mut progress = self.progress.subscribe();
        let ended = progress
            .wait_for(|progress| progress.next > chunk || progress.outcome.is_some())
            .await
            .expect("the sender lives as long as the flight that is borrowed here");
        if ended.next > chunk {
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
    async fn a_chunk_that_arrived_is_good_even_if_the_flight_fails_later() {
        let flight = Flight::new(4..8);
        flight.arrived(5);
        flight.finish(Err(CacheError::new(ErrorKind::Unavailable, "gone")));
        assert!(flight.wait_for(5).await.is_ok());
        assert_eq!(
            flight.wait_for(6).await.unwrap_err().kind,
            ErrorKind::Unavailable
        );
    }

    #[tokio::test]
    async fn a_waiter_wakes_when_its_chunk_arrives() {
        let flight = Flight::new(0..2);
        let (waited, ()) = tokio::join!(flight.wait_for(0), async { flight.arrived(0) });
        assert!(waited.is_ok());
    }
}
