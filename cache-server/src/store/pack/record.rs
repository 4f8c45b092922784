//! One record of a pack: 32 bytes, readable without any other.

use forebay_core::chunk::CHUNK_SIZE;
use forebay_core::{ObjectId, checksum};

use crate::store::journal::BootId;
use crate::store::share::Tag;

/// The bytes of one record.
pub(in crate::store) const RECORD_BYTES: usize = 32;

// Where the fields lie. Integers are little-endian; what is not named is zero.
const CRC: usize = 0;
const KIND: usize = 4;
const LEN: usize = 5;
/// In the place of the length, in the header only.
const TAG: usize = LEN;
const OFFSET: usize = 8;
const DATA_CRC: usize = 12;
const ID: usize = 16;

/// In the place of offset and checksum, in the header only.
const MAGIC: [u8; 8] = *b"FBPACK01";

/// An object in a pack, as its record tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Placed {
    pub(in crate::store) id: ObjectId,
    /// The first byte's offset in the file.
    pub(in crate::store) offset: u32,
    /// At least 1, less than a chunk.
    pub(in crate::store) len: u32,
    pub(in crate::store) crc: u32,
}

impl Placed {
    /// The offset behind the last byte.
    pub(in crate::store) fn end(&self) -> u64 {
        u64::from(self.offset) + u64::from(self.len)
    }
}

/// What a pack says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Record {
    /// The first record: under which boot the pack is written, and whose objects it holds.
    Header { boot: BootId, tag: Tag },
    /// An object is in the pack.
    Object(Placed),
    /// The object at `offset` was found wrong.
    Dropped { offset: u32 },
    /// The records of all slots below `below` speak of durable data.
    Synced { below: u32 },
}

impl Record {
    /// The record as it stands in slot number `slot` of the pack `generation`.
    pub(in crate::store) fn encode(&self, generation: u64, slot: u32) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        match *self {
            Self::Header { boot, tag } => {
                put(KIND, &[1]);
                put(TAG, &tag.bytes());
                put(OFFSET, &MAGIC);
                put(ID, &boot);
            }
            Self::Object(Placed {
                id,
                offset,
                len,
                crc,
            }) => {
                put(KIND, &[2]);
                put(LEN, &len.to_le_bytes()[..3]);
                put(OFFSET, &offset.to_le_bytes());
                put(DATA_CRC, &crc.to_le_bytes());
                put(ID, id.as_bytes());
            }
            Self::Dropped { offset } => {
                put(KIND, &[3]);
                put(OFFSET, &offset.to_le_bytes());
            }
            Self::Synced { below } => {
                put(KIND, &[4]);
                put(OFFSET, &below.to_le_bytes());
            }
        }
        let crc = seal(&bytes, generation, slot);
        bytes[CRC..KIND].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The record in slot number `slot` of the pack `generation`, if it is whole and
    /// belongs there.
    pub(in crate::store) fn decode(
        bytes: &[u8; RECORD_BYTES],
        generation: u64,
        slot: u32,
    ) -> Option<Self> {
        let u32_at = |at: usize| u32::from_le_bytes(array(bytes, at));
        if u32_at(CRC) != seal(bytes, generation, slot) {
            return None;
        }
        let offset = u32_at(OFFSET);
        match bytes[KIND] {
            1 if array(bytes, OFFSET) == MAGIC => Some(Self::Header {
                boot: array(bytes, ID),
                tag: Tag::from_bytes(array(bytes, TAG)),
            }),
            2 => {
                let [low, middle, high]: [u8; 3] = array(bytes, LEN);
                let len = u32::from_le_bytes([low, middle, high, 0]);
                let placed = Placed {
                    id: ObjectId::from_bytes(array(bytes, ID)),
                    offset,
                    len,
                    crc: u32_at(DATA_CRC),
                };
                (0 < len && u64::from(len) < CHUNK_SIZE).then_some(Self::Object(placed))
            }
            3 => Some(Self::Dropped { offset }),
            4 => Some(Self::Synced { below: offset }),
            _ => None,
        }
    }
}

/// The record's checksum. It covers the place as well, so that a record that strayed into
/// another slot or another file is none.
fn seal(bytes: &[u8; RECORD_BYTES], generation: u64, slot: u32) -> u32 {
    let mut covered = [0; RECORD_BYTES + 8];
    covered[..28].copy_from_slice(&bytes[KIND..]);
    covered[28..36].copy_from_slice(&generation.to_le_bytes());
    covered[36..].copy_from_slice(&slot.to_le_bytes());
    checksum::crc32c(&covered)
}

fn array<const N: usize>(bytes: &[u8; RECORD_BYTES], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Record> {
        let placed = Placed {
            id: ObjectId::from_bytes(*b"0123456789abcdef"),
            offset: u32::MAX,
            len: CHUNK_SIZE as u32 - 1,
            crc: 0xdead_beef,
        };
        vec![
            Record::Header {
                boot: [7; 16],
                tag: Tag::from_bytes([1, 2, 3]),
            },
            Record::Object(placed),
            Record::Dropped { offset: 1 << 20 },
            Record::Synced { below: 4 },
        ]
    }

    #[test]
    fn a_record_reads_as_it_was_written() {
        for record in samples() {
            assert_eq!(Record::decode(&record.encode(3, 9), 3, 9), Some(record));
        }
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        for record in samples() {
            for bit in 0..RECORD_BYTES * 8 {
                let mut bytes = record.encode(3, 9);
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Record::decode(&bytes, 3, 9), None, "{record:?}, bit {bit}");
            }
        }
    }

    #[test]
    fn a_record_of_another_slot_or_pack_is_not_taken() {
        let bytes = samples()[1].encode(3, 9);
        assert_eq!(Record::decode(&bytes, 3, 10), None);
        assert_eq!(Record::decode(&bytes, 4, 9), None);
        assert_eq!(Record::decode(&[0; RECORD_BYTES], 3, 9), None);
    }

    #[test]
    fn an_object_that_no_pack_takes_is_damage() {
        for len in [0, CHUNK_SIZE as u32] {
            let Record::Object(placed) = samples()[1] else {
                unreachable!("the second sample is an object");
            };
            let bytes = Record::Object(Placed { len, ..placed }).encode(3, 9);
            assert_eq!(Record::decode(&bytes, 3, 9), None);
        }
    }
}
