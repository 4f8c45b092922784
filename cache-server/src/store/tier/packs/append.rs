//! Small objects on their way into a pack.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use forebay_core::ObjectId;

use super::{Tier, write_record};
use crate::store::data;
use crate::store::error::Fault;
use crate::store::pack::{
    DATA_START, Entry, Placed, RECORD_BYTES, Record, Tail, Ticket, slot_offset,
};
use crate::store::share::Class;
use crate::store::stats::add;
use crate::store::tier::fill::{NewBytes, RELIEF_BYTES, Refusal};

impl Tier {
    /// Appends the object `id`, whose bytes are `new`, to a pack of its class.
    pub(in crate::store) fn write_packed(
        &self,
        class: Class,
        id: ObjectId,
        new: &NewBytes<'_>,
    ) -> Result<(), Refusal> {
        if self.failed.load(Relaxed) {
            return Err(Refusal::NoRoom);
        }
        let len = new.range.len();
        let room = self.reserve(class, len, len).ok_or(Refusal::NoRoom)?;
        let mut appended = self.append(class, id, new);
        if appended == Err(Fault::NoSpace) {
            add(&self.counters.enospc, 1);
            if self.evict(class.share, RELIEF_BYTES.max(len)) > 0 {
                appended = self.append(class, id, new);
            }
        }
        appended.map_err(|_| Refusal::NoRoom)?;
        // The pack has taken them over.
        room.keep(len);
        Ok(())
    }

    fn append(&self, class: Class, id: ObjectId, new: &NewBytes<'_>) -> Result<(), Fault> {
        let ticket = Ticket::new(id, new.bytes, new.range.len() as u32, new.piece.crc);
        let lead = |tail: &mut Option<Tail>, batch: &[Ticket]| self.write_batch(class, tail, batch);
        self.packs.lanes(class).append(ticket, lead)
    }

    /// Writes all of `batch` and tells each ticket how it went.
    fn write_batch(&self, class: Class, tail: &mut Option<Tail>, batch: &[Ticket]) {
        let mut rest = batch;
        while !rest.is_empty() {
            match self.write_run(class, tail, rest) {
                Ok(written) => {
                    let (run, behind) = rest.split_at(written);
                    run.iter().for_each(|ticket| ticket.settle(Ok(())));
                    rest = behind;
                }
                Err(error) => {
                    let fault = Fault::of(&error);
                    match fault {
                        Fault::NoSpace | Fault::Busy | Fault::Refused => {}
                        Fault::ReadOnly | Fault::NoRights | Fault::Broken => {
                            self.fail(&error, "write to a pack");
                        }
                    }
                    return rest.iter().for_each(|ticket| ticket.settle(Err(fault)));
                }
            }
        }
    }

    /// Writes as many of `tickets` as the lane's pack takes; none if it is evicted
    /// meanwhile.
    fn write_run(
        &self,
        class: Class,
        lane: &mut Option<Tail>,
        tickets: &[Ticket],
    ) -> io::Result<usize> {
        let full_at = self.full_at(class);
        if let Some(tail) = lane
            && (tail.fitting(tickets, full_at) == 0 || !self.is_intact(tail)?)
        {
            *lane = None;
        }
        let tail = match lane {
            Some(tail) => tail,
            None => lane.insert(self.new_pack(class)?),
        };
        let run = &tickets[..tail.fitting(tickets, full_at)];
        let pieces: Vec<Bytes> = run
            .iter()
            .flat_map(|ticket| ticket.pieces.clone())
            .collect();
        data::write_all(&tail.file, &pieces, tail.end)?;
        if self.enter_run(tail, run)? {
            return Ok(run.len());
        }
        *lane = None;
        Ok(0)
    }

    /// Whether the pack is still there and nobody has cut it short: filled up again from
    /// here on, what was cut off would read as zeros.
    fn is_intact(&self, tail: &Tail) -> io::Result<bool> {
        let metadata = tail.file.metadata()?;
        let is_whole = metadata.nlink() > 0 && metadata.len() >= tail.end;
        if !is_whole && !tail.pack.is_gone() {
            self.lose_damaged_pack(&tail.pack);
        }
        Ok(is_whole && !tail.pack.is_gone())
    }

    fn new_pack(&self, class: Class) -> io::Result<Tail> {
        let generation = self.index.next_generation();
        let path = self.directory.pack(generation);
        let file = Arc::new(data::create(&path, DATA_START)?);
        let pack = self.packs.index.add_pack(self.number, class, generation);
        add(&self.counters.packs, 1);
        self.packs.index.open.adopt(&pack, &file);
        let header = Record::Header {
            boot: self.boot,
            tag: self.shares.tag(class),
        };
        if let Err(error) = write_record(&file, &pack, header) {
            self.lose_pack(&pack);
            return Err(error);
        }
        Ok(Tail {
            pack,
            file,
            end: DATA_START,
        })
    }

    /// Records the objects of `run`, whose bytes were written at the tail, and lets
    /// readers find them; false if the pack is gone.
    fn enter_run(&self, tail: &mut Tail, run: &[Ticket]) -> io::Result<bool> {
        let pack = &tail.pack;
        let Some(mut ledger) = pack.ledger() else {
            return Ok(false);
        };
        let placed = placed(run, tail.end);
        let mut records = Vec::with_capacity(run.len() * RECORD_BYTES);
        for (slot, &placed) in (ledger.slots..).zip(&placed) {
            records.extend_from_slice(&Record::Object(placed).encode(pack.generation, slot));
        }
        let at = slot_offset(ledger.slots);
        data::write_all(&tail.file, &[records.into()], at)?;
        // Dirty before present, so that whoever sees an object finds its pack among the
        // dirty.
        if self.is_on_disk() && !std::mem::replace(&mut ledger.dirty, true) {
            self.packs.dirty().push(Arc::clone(pack));
        }
        let bytes = run.iter().map(|ticket| u64::from(ticket.len)).sum();
        ledger.slots += run.len() as u32;
        ledger.bytes += bytes;
        ledger.add_objects(run.len() as u32, bytes);
        self.account_packed(run.len() as u64, bytes);
        let replaced: Vec<Entry> = placed
            .iter()
            .filter_map(|new| {
                let entry = Entry::new(new.id, pack.key, new.offset, new.len, new.crc);
                self.packs.index.set(entry.verified())
            })
            .collect();
        let in_use = ledger.bytes;
        drop(ledger);
        tail.end += bytes;
        for old in replaced {
            if let Some(pack) = self.packs.index.pack(old.pack) {
                self.bury(&pack, &old);
            }
        }
        let shelf = self.shelves.of(tail.pack.class);
        shelf.policy().insert(tail.pack.policy_id(), in_use);
        // A pack is never in use: no lease that ends will say that it can go.
        shelf.unpinned();
        Ok(true)
    }
}

/// Where the objects of `run` lie, one behind the other from `at` on.
fn placed(run: &[Ticket], mut at: u64) -> Vec<Placed> {
    run.iter()
        .map(|ticket| {
            let offset = at as u32;
            at += u64::from(ticket.len);
            Placed {
                id: ticket.id,
                offset,
                len: ticket.len,
                crc: ticket.crc,
            }
        })
        .collect()
}
