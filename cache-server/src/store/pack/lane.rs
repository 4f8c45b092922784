//! Lanes: who appends to which pack, and many objects in one write.
//!
//! A lane is one pack being written. A writer takes the first lane that is free, so that
//! as long as one thread writes, all goes into one pack in the order of arrival. When all
//! lanes are busy, writers queue at one, and whoever gets it next writes for all of them.
//! More than one lane, because a file system lets one thread at a time write to a file.

use std::fs::File;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::thread;

use bytes::Bytes;
use forebay_core::ObjectId;

use super::{Pack, SLOTS, SPARE_SLOTS};
use crate::store::error::Fault;

/// Copying into the page cache is what a write costs: beyond this many threads at it,
/// memory is the limit.
const MOST_LANES: usize = 4;

/// An object that waits to be written.
#[derive(Debug)]
pub(in crate::store) struct Ticket {
    pub(in crate::store) id: ObjectId,
    pub(in crate::store) pieces: Vec<Bytes>,
    pub(in crate::store) len: u32,
    pub(in crate::store) crc: u32,
    outcome: Arc<OnceLock<Result<(), Fault>>>,
}

impl Ticket {
    pub(in crate::store) fn new(id: ObjectId, pieces: &[Bytes], len: u32, crc: u32) -> Self {
        Self {
            id,
            pieces: pieces.to_vec(),
            len,
            crc,
            outcome: Arc::default(),
        }
    }

    /// Tells the writer how it went.
    pub(in crate::store) fn settle(&self, outcome: Result<(), Fault>) {
        // Only the leader of its one batch settles a ticket, once.
        let _ = self.outcome.set(outcome);
    }
}

/// The pack that a lane appends to, and where.
#[derive(Debug)]
pub(in crate::store) struct Tail {
    pub(in crate::store) pack: Arc<Pack>,
    pub(in crate::store) file: Arc<File>,
    /// The offset behind the last object.
    pub(in crate::store) end: u64,
}

impl Tail {
    /// How many of `tickets`, from the first on, still belong into this pack. An object
    /// may reach beyond the end at which the pack is full, so a pack that is not full
    /// takes at least one.
    pub(in crate::store) fn fitting(&self, tickets: &[Ticket], full_at: u64) -> usize {
        let slots = self.pack.ledger().map_or(0, |ledger| ledger.slots);
        let slots_left = (SLOTS - SPARE_SLOTS).saturating_sub(slots) as usize;
        let mut end = self.end;
        let before_full = tickets.iter().take_while(|ticket| {
            let fits = end < full_at;
            end += u64::from(ticket.len);
            fits
        });
        before_full.count().min(slots_left)
    }
}

#[derive(Debug, Default)]
struct Lane {
    queue: Mutex<Vec<Ticket>>,
    tail: Mutex<Option<Tail>>,
}

/// The lanes of a tier.
#[derive(Debug)]
pub(in crate::store) struct Lanes {
    lanes: Box<[Lane]>,
    next: AtomicUsize,
}

impl Default for Lanes {
    fn default() -> Self {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        Self {
            lanes: (0..threads.min(MOST_LANES))
                .map(|_| Lane::default())
                .collect(),
            next: AtomicUsize::new(0),
        }
    }
}

impl Lanes {
    /// Has `ticket` written, with whatever else waits in the same lane, by a call of
    /// `lead` in this thread or in another one. `lead` MUST settle every ticket it gets.
    pub(in crate::store) fn append(
        &self,
        ticket: Ticket,
        lead: impl Fn(&mut Option<Tail>, &[Ticket]),
    ) -> Result<(), Fault> {
        let outcome = Arc::clone(&ticket.outcome);
        match self.free() {
            Some((lane, mut tail)) => {
                let mut batch = lane.take_queue();
                batch.push(ticket);
                lead(&mut tail, &batch);
            }
            None => {
                let lane = &self.lanes[self.next.fetch_add(1, Relaxed) % self.lanes.len()];
                lane.queue().push(ticket);
                let mut tail = lane.tail();
                if outcome.get().is_none() {
                    lead(&mut tail, &lane.take_queue());
                }
            }
        }
        // Unsettled only if the leader panicked.
        outcome.get().copied().unwrap_or(Err(Fault::Busy))
    }

    /// Gives free lanes packs that are not full yet.
    pub(in crate::store) fn resume(&self, tails: impl IntoIterator<Item = Tail>) {
        for (lane, tail) in self.lanes.iter().zip(tails) {
            *lane.tail() = Some(tail);
        }
    }

    pub(in crate::store) fn count(&self) -> usize {
        self.lanes.len()
    }

    /// Lets go of a pack that is gone: kept open, its file would go on taking up its
    /// room. A lane at work finds out by itself.
    pub(in crate::store) fn forget_gone(&self) {
        for lane in &self.lanes {
            if let Some(mut tail) = lane.try_tail()
                && tail.as_ref().is_some_and(|tail| tail.pack.is_gone())
            {
                *tail = None;
            }
        }
    }

    fn free(&self) -> Option<(&Lane, MutexGuard<'_, Option<Tail>>)> {
        self.lanes
            .iter()
            .find_map(|lane| Some((lane, lane.try_tail()?)))
    }
}

impl Lane {
    fn take_queue(&self) -> Vec<Ticket> {
        std::mem::take(&mut *self.queue())
    }

    fn queue(&self) -> MutexGuard<'_, Vec<Ticket>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tail(&self) -> MutexGuard<'_, Option<Tail>> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_tail(&self) -> Option<MutexGuard<'_, Option<Tail>>> {
        match self.tail.try_lock() {
            Ok(tail) => Some(tail),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    fn ticket(number: u8) -> Ticket {
        Ticket::new(ObjectId::from_bytes([number; 16]), &[], 1, 0)
    }

    #[test]
    fn every_writer_is_told_and_every_object_is_written_once() {
        let lanes = Lanes::default();
        let (written, batches) = (AtomicU64::new(0), AtomicU64::new(0));
        thread::scope(|scope| {
            for number in 0..16 {
                let (lanes, written, batches) = (&lanes, &written, &batches);
                scope.spawn(move || {
                    for _ in 0..50 {
                        let outcome = lanes.append(ticket(number), |_, batch| {
                            batches.fetch_add(1, Relaxed);
                            written.fetch_add(batch.len() as u64, Relaxed);
                            thread::yield_now();
                            batch.iter().for_each(|ticket| ticket.settle(Ok(())));
                        });
                        assert_eq!(outcome, Ok(()));
                    }
                });
            }
        });
        assert_eq!(written.load(Relaxed), 16 * 50);
        assert!(batches.load(Relaxed) <= 16 * 50);
    }

    #[test]
    fn a_leader_that_panics_leaves_the_lane_usable() {
        let lanes = Lanes::default();
        for _ in 0..3 {
            let broken = std::panic::AssertUnwindSafe(|| {
                lanes.append(ticket(1), |_, _| panic!("on purpose"))
            });
            assert!(std::panic::catch_unwind(broken).is_err());
        }
        let outcome = lanes.append(ticket(2), |_, batch| {
            batch.iter().for_each(|ticket| ticket.settle(Ok(())));
        });
        assert_eq!(outcome, Ok(()));
    }
}
