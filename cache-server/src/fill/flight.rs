//! One origin read of a run of bytes, and those who wait for it.

use bytes::Bytes;
use forebay_core::ByteRange;
use forebay_core::cache::CacheError;
use tokio::sync::watch;

/// How far a flight has come.
#[derive(Clone, Debug)]
struct Progress {
    /// The first byte that is not yet within reach of readers.
    next: u64,
    /// Bytes that have come and are not filed yet, with the offset of the first.
    passing: Option<(u64, Bytes)>,
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
            passing: None,
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

    /// Whether somebody waits for it now.
    pub(super) fn is_awaited(&self) -> bool {
        self.progress.receiver_count() > 0
    }

    /// Lets readers that wait have `bytes`, which begin at `start`, before they are filed.
    pub(super) fn passing(&self, start: u64, bytes: Bytes) {
        self.progress
            .send_modify(|progress| progress.passing = Some((start, bytes)));
    }

    /// Lets readers have every byte below `end`.
    pub(super) fn arrived(&self, end: u64) {
        self.progress.send_modify(|progress| {
            progress.next = end;
            progress.passing = None;
        });
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
        let ended = self.wait(|progress| progress.next >= end).await;
        ended.said_below(end)
    }

    /// Waits until the bytes of `range` are here, and returns them if they are not filed
    /// yet, `None` if they are.
    ///
    /// # Errors
    /// The flight's error, if it ended before they arrived.
    pub(super) async fn wait_for_bytes(
        &self,
        range: ByteRange,
    ) -> Result<Option<Bytes>, CacheError> {
        let end = range.end().min(self.range.end());
        let ended = self
            .wait(|progress| progress.next >= end || progress.holds(range).is_some())
            .await;
        match ended.holds(range) {
            Some(bytes) => Ok(Some(bytes)),
            None => ended.said_below(end).map(|()| None),
        }
    }

    /// Waits until `enough` has come, or the flight has ended.
    async fn wait(&self, enough: impl Fn(&Progress) -> bool) -> Progress {
        self.progress
            .subscribe()
            .wait_for(|progress| enough(progress) || progress.outcome.is_some())
            .await
            .expect("the sender lives as long as the flight that is borrowed here")
            .clone()
    }
}

impl Progress {
    /// The bytes of `range`, if all of them are passing.
    fn holds(&self, range: ByteRange) -> Option<Bytes> {
        let (start, bytes) = self.passing.as_ref()?;
        let from = usize::try_from(range.start().checked_sub(*start)?).ok()?;
        let to = from.checked_add(usize::try_from(range.len()).ok()?)?;
        (to <= bytes.len()).then(|| bytes.slice(from..to))
    }

    /// What there is to say to who waited for the bytes below `end`.
    fn said_below(self, end: u64) -> Result<(), CacheError> {
        match self.outcome {
            Some(outcome) if self.next < end => outcome,
            _ => Ok(()),
        }
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
    async fn bytes_that_pass_are_there_before_they_are_filed_for_who_wants_no_others() {
        let flight = Flight::new(ByteRange::new(4096, 8192));
        flight.passing(4096, Bytes::from_static(b"abcdef"));
        let passing = flight.wait_for_bytes(ByteRange::new(4097, 4100)).await;
        assert_eq!(passing.unwrap().unwrap(), "bcd");
        let more = ByteRange::new(4097, 4103);
        let filed = async { flight.arrived(8192) };
        let (waited, ()) = tokio::join!(flight.wait_for_bytes(more), filed);
        assert_eq!(waited.unwrap(), None);
        let later = flight.wait_for_bytes(ByteRange::new(4097, 4100)).await;
        assert_eq!(later.unwrap(), None);
    }

    #[tokio::test]
    async fn what_the_flight_does_not_bring_is_not_waited_for() {
        let flight = Flight::new(ByteRange::new(0, 2));
        flight.arrived(2);
        assert!(flight.wait_for(100).await.is_ok());
    }
}
