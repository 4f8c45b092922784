//! Reading a pack's records back.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::record::{Placed, RECORD_BYTES, Record};
use super::{DATA_START, SLOTS};
use crate::store::journal::BootId;
use crate::store::share::Tag;

/// Bytes of records that are read at once: as many as most packs have.
const READ_BYTES: usize = 1024 * RECORD_BYTES;

/// What a pack says in the end.
#[derive(Debug)]
pub(in crate::store) struct Replay {
    /// Under which boot it was written.
    pub(in crate::store) boot: BootId,
    /// Whose objects it holds.
    pub(in crate::store) tag: Tag,
    /// The objects, each with the slot of its record, in the order of writing.
    pub(in crate::store) objects: Vec<(u32, Placed)>,
    /// Slots in use.
    pub(in crate::store) slots: u32,
    /// Records of slots below this speak of durable data.
    pub(in crate::store) synced_below: u32,
    /// Slots that hold no readable record.
    pub(in crate::store) damaged: u64,
    /// Objects whose bytes lie beyond the end of the file.
    pub(in crate::store) torn: u64,
    /// The bytes of all objects that were written, dropped ones included.
    pub(in crate::store) bytes: u64,
    /// Where the next object may be written.
    pub(in crate::store) end: u64,
}

/// Reads the records of the pack `generation`; `None` if it has no readable header.
///
/// # Errors
/// As the file system answers. What the file holds never is an error.
pub(in crate::store) fn replay(file: &File, generation: u64) -> io::Result<Option<Replay>> {
    let file_len = file.metadata()?.len();
    let mut records = Records::new(file, generation);
    let Some(Some(Record::Header { boot, tag })) = records.next()? else {
        return Ok(None);
    };
    let mut replay = Replay {
        boot,
        tag,
        objects: Vec::new(),
        slots: 1,
        synced_below: 0,
        damaged: 0,
        torn: 0,
        bytes: 0,
        end: file_len.max(DATA_START),
    };
    let mut dropped = HashSet::new();
    while let Some(record) = records.next()? {
        match record {
            Some(Record::Object(placed)) => replay.add(placed, file_len),
            Some(Record::Dropped { offset }) => {
                dropped.insert(offset);
            }
            Some(Record::Synced { below }) => replay.synced_below = below.min(replay.slots),
            Some(Record::Header { .. }) | None => replay.damaged += 1,
        }
        replay.slots += 1;
    }
    replay
        .objects
        .retain(|(_, placed)| !dropped.contains(&placed.offset));
    Ok(Some(replay))
}

impl Replay {
    /// Forgets the objects that were not durable when that was last recorded; returns how
    /// many those are.
    pub(in crate::store) fn keep_durable(&mut self) -> u64 {
        let before = self.objects.len();
        self.objects.retain(|&(slot, _)| slot < self.synced_below);
        (before - self.objects.len()) as u64
    }

    fn add(&mut self, placed: Placed, file_len: u64) {
        if u64::from(placed.offset) < DATA_START {
            self.damaged += 1;
        } else if placed.end() > file_len {
            self.torn += 1;
        } else {
            self.bytes += u64::from(placed.len);
            self.objects.push((self.slots, placed));
        }
    }
}

/// The slots of a pack, up to the first one that was never written.
struct Records<'a> {
    file: &'a File,
    generation: u64,
    slot: u32,
    buffer: Vec<u8>,
    // The part of the buffer that is yet to be looked at.
    at: usize,
}

impl<'a> Records<'a> {
    fn new(file: &'a File, generation: u64) -> Self {
        Self {
            file,
            generation,
            slot: 0,
            buffer: Vec::new(),
            at: 0,
        }
    }

    /// The next slot: `None` behind the last one, `Some(None)` for one without a
    /// readable record.
    fn next(&mut self) -> io::Result<Option<Option<Record>>> {
        if self.slot == SLOTS {
            return Ok(None);
        }
        if self.at == self.buffer.len() {
            self.refill()?;
        }
        let Some(bytes) = self.buffer[self.at..].first_chunk::<RECORD_BYTES>() else {
            return Ok(None);
        };
        if *bytes == [0; RECORD_BYTES] {
            return Ok(None);
        }
        let record = Record::decode(bytes, self.generation, self.slot);
        self.at += RECORD_BYTES;
        self.slot += 1;
        Ok(Some(record))
    }

    fn refill(&mut self) -> io::Result<()> {
        let from = super::slot_offset(self.slot);
        let wanted = (DATA_START - from).min(READ_BYTES as u64) as usize;
        self.buffer.resize(wanted, 0);
        self.at = 0;
        let mut filled = 0;
        while filled < wanted {
            match self
                .file
                .read_at(&mut self.buffer[filled..], from + filled as u64)
            {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.buffer.truncate(filled);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use forebay_core::ObjectId;
    use proptest::prelude::*;

    use super::*;

    const BOOT: BootId = [3; 16];

    fn object(number: u8) -> Record {
        Record::Object(Placed {
            id: ObjectId::from_bytes([number; 16]),
            offset: DATA_START as u32 + 100 * u32::from(number),
            len: 100,
            crc: u32::from(number),
        })
    }

    fn file_of(bytes: &[u8], len: u64) -> File {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(bytes, 0).unwrap();
        file.set_len(len).unwrap();
        file
    }

    fn encoded(records: &[Record]) -> Vec<u8> {
        (0..)
            .zip(records)
            .flat_map(|(slot, record)| record.encode(5, slot))
            .collect()
    }

    fn replay_of(records: &[Record], damage: impl FnOnce(&mut Vec<u8>)) -> Option<Replay> {
        let mut bytes = encoded(records);
        damage(&mut bytes);
        replay(&file_of(&bytes, DATA_START + 1000), 5).unwrap()
    }

    fn numbers(replay: &Replay) -> Vec<u8> {
        let first = |(_, placed): &(u32, Placed)| placed.id.as_bytes()[0];
        replay.objects.iter().map(first).collect()
    }

    #[test]
    fn objects_are_found_in_order_without_the_dropped_ones() {
        let dropped = Record::Dropped {
            offset: DATA_START as u32 + 200,
        };
        let records = [
            Record::Header {
                boot: BOOT,
                tag: Tag::default(),
            },
            object(1),
            object(2),
            Record::Synced { below: 3 },
            object(3),
            dropped,
        ];
        let mut replay = replay_of(&records, |_| {}).unwrap();
        assert_eq!(numbers(&replay), [1, 3]);
        assert_eq!(
            (replay.boot, replay.slots, replay.synced_below),
            (BOOT, 6, 3)
        );
        assert_eq!((replay.damaged, replay.torn, replay.bytes), (0, 0, 300));
        assert_eq!(replay.end, DATA_START + 1000);
        assert_eq!(replay.keep_durable(), 1);
        assert_eq!(numbers(&replay), [1]);
    }

    #[test]
    fn a_damaged_record_costs_one_object() {
        let records = [
            Record::Header {
                boot: BOOT,
                tag: Tag::default(),
            },
            object(1),
            object(2),
            object(3),
        ];
        let replay = replay_of(&records, |bytes| bytes[2 * RECORD_BYTES + 9] ^= 4).unwrap();
        assert_eq!((numbers(&replay), replay.damaged), (vec![1, 3], 1));
    }

    #[test]
    fn an_object_beyond_the_end_of_the_file_is_torn() {
        let records = [
            Record::Header {
                boot: BOOT,
                tag: Tag::default(),
            },
            object(1),
            object(9),
            object(10),
        ];
        let replay = replay_of(&records, |_| {}).unwrap();
        assert_eq!((numbers(&replay), replay.torn), (vec![1, 9], 1));
    }

    #[test]
    fn an_object_among_the_records_is_damage() {
        let inside = Record::Object(Placed {
            id: ObjectId::from_bytes([1; 16]),
            offset: DATA_START as u32 - 1,
            len: 1,
            crc: 0,
        });
        let replay = replay_of(
            &[
                Record::Header {
                    boot: BOOT,
                    tag: Tag::default(),
                },
                inside,
            ],
            |_| {},
        )
        .unwrap();
        assert_eq!((replay.objects.len(), replay.damaged), (0, 1));
    }

    #[test]
    fn without_its_header_a_pack_is_none() {
        assert!(replay_of(&[], |_| {}).is_none());
        assert!(replay_of(&[object(1)], |_| {}).is_none());
        let header = [Record::Header {
            boot: BOOT,
            tag: Tag::default(),
        }];
        assert!(replay_of(&header, |bytes| bytes[20] ^= 1).is_none());
        let other = encoded(&header);
        assert!(replay(&file_of(&other, DATA_START), 6).unwrap().is_none());
        assert!(replay(&file_of(&other, 31), 5).unwrap().is_none());
        assert!(replay(&file_of(&[], 0), 5).unwrap().is_none());
    }

    #[test]
    fn a_full_region_of_records_ends_where_the_data_begins() {
        let mut records = vec![Record::Header {
            boot: BOOT,
            tag: Tag::default(),
        }];
        records.resize(SLOTS as usize, object(1));
        let replay = replay_of(&records, |bytes| bytes.extend(object(2).encode(5, SLOTS))).unwrap();
        assert_eq!(replay.slots, SLOTS);
        assert_eq!(replay.objects.len(), SLOTS as usize - 1);
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(
            noise in prop::collection::vec(any::<u8>(), 0..400),
            at in 0_usize..300,
            len in 0..DATA_START + 500,
        ) {
            let mut bytes = encoded(&[
                Record::Header { boot: BOOT, tag: Tag::default() },
                object(1),
                Record::Synced { below: u32::MAX },
                object(2),
            ]);
            bytes.resize(bytes.len().max(at + noise.len()), 0);
            bytes[at..at + noise.len()].copy_from_slice(&noise);
            let file = file_of(&bytes, len);
            if let Some(replay) = replay(&file, 5).unwrap() {
                prop_assert!(replay.slots <= SLOTS && replay.synced_below <= replay.slots);
                for (_, placed) in replay.objects {
                    prop_assert!(placed.end() <= len);
                }
            }
        }
    }
}
