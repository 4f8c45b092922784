//! One record: 64 bytes, readable without any other.

use forebay_core::{ObjectId, checksum};

use crate::store::chunks::Piece;
use crate::store::object::Object;
use crate::store::pages::Pages;
use crate::store::share::Tag;

/// The bytes of one slot of the file.
pub(in crate::store) const SLOT_BYTES: usize = 64;

// Where the fields lie. Integers are little-endian; what is not named is zero.
const CRC: usize = 0;
const KIND: usize = 4;
const TAG: usize = 5;
const SLOT: usize = 8;
const ID: usize = 16;
const GENERATION: usize = 32;
const SIZE: usize = 40;
const CHUNK: usize = 48;
const CHUNK_CRC: usize = 52;
const MAGIC: usize = 56;
const FIRST_PAGE: usize = 56;
const END_PAGE: usize = 58;

/// Only the header carries it, so that the file can be told from any other.
const HEADER_MAGIC: [u8; 8] = *b"FOREBAY1";

/// Which boot of the machine it is; another one means that memory was lost.
pub(in crate::store) type BootId = [u8; 16];

/// What a journal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Record {
    /// The first record: under which boot the file was written.
    Header { boot: BootId },
    /// A chunk, or some pages of it, are in the object's file.
    Chunk {
        id: ObjectId,
        generation: u64,
        size: u64,
        chunk: u32,
        pages: Pages,
        crc: u32,
        /// Whose object it is.
        tag: Tag,
    },
    /// A chunk was found wrong.
    Dropped {
        id: ObjectId,
        generation: u64,
        chunk: u32,
    },
    /// The object's file is gone, or about to go.
    Removed { id: ObjectId, generation: u64 },
    /// The records of all slots below `below` speak of durable data.
    Synced { below: u64 },
}

impl Record {
    /// That `piece` is in the file of `object`, which is of the class that `tag` says.
    pub(in crate::store) fn of(object: &Object, tag: Tag, piece: Piece) -> Self {
        Self::Chunk {
            id: object.id,
            generation: object.generation,
            size: object.size(),
            // An object with more chunks has no file.
            chunk: piece.index as u32,
            pages: piece.pages,
            crc: piece.crc,
            tag,
        }
    }

    /// The record as it stands in slot number `slot`.
    pub(in crate::store) fn encode(&self, slot: u64) -> [u8; SLOT_BYTES] {
        let mut bytes = [0; SLOT_BYTES];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(SLOT, &slot.to_le_bytes());
        match *self {
            Self::Header { boot } => {
                put(KIND, &[1]);
                put(ID, &boot);
                put(MAGIC, &HEADER_MAGIC);
            }
            Self::Chunk {
                id,
                generation,
                size,
                chunk,
                pages,
                crc,
                tag,
            } => {
                put(KIND, &[2]);
                put(TAG, &tag.bytes());
                put(ID, id.as_bytes());
                put(GENERATION, &generation.to_le_bytes());
                put(SIZE, &size.to_le_bytes());
                put(CHUNK, &chunk.to_le_bytes());
                put(CHUNK_CRC, &crc.to_le_bytes());
                if !pages.is_whole() {
                    let (first, behind) = pages.bounds();
                    put(FIRST_PAGE, &first.to_le_bytes());
                    put(END_PAGE, &behind.to_le_bytes());
                }
            }
            Self::Dropped {
                id,
                generation,
                chunk,
            } => {
                put(KIND, &[3]);
                put(ID, id.as_bytes());
                put(GENERATION, &generation.to_le_bytes());
                put(CHUNK, &chunk.to_le_bytes());
            }
            Self::Removed { id, generation } => {
                put(KIND, &[4]);
                put(ID, id.as_bytes());
                put(GENERATION, &generation.to_le_bytes());
            }
            Self::Synced { below } => {
                put(KIND, &[5]);
                put(GENERATION, &below.to_le_bytes());
            }
        }
        let crc = checksum::crc32c(&bytes[KIND..]);
        bytes[CRC..KIND].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The record in slot number `slot`, if it is whole and belongs there.
    pub(in crate::store) fn decode(bytes: &[u8; SLOT_BYTES], slot: u64) -> Option<Self> {
        let u32_at = |at: usize| u32::from_le_bytes(array(bytes, at));
        let u16_at = |at: usize| u16::from_le_bytes(array(bytes, at));
        let u64_at = |at: usize| u64::from_le_bytes(array(bytes, at));
        if u32_at(CRC) != checksum::crc32c(&bytes[KIND..]) || u64_at(SLOT) != slot {
            return None;
        }
        let id = ObjectId::from_bytes(array(bytes, ID));
        let (generation, chunk) = (u64_at(GENERATION), u32_at(CHUNK));
        match bytes[KIND] {
            1 if array(bytes, MAGIC) == HEADER_MAGIC => Some(Self::Header {
                boot: array(bytes, ID),
            }),
            2 => {
                let (size, crc) = (u64_at(SIZE), u32_at(CHUNK_CRC));
                let (first, end) = (u16_at(FIRST_PAGE), u16_at(END_PAGE));
                Some(Self::Chunk {
                    id,
                    generation,
                    size,
                    chunk,
                    pages: Pages::recorded(first, end, chunk.into(), size)?,
                    crc,
                    tag: Tag::from_bytes(array(bytes, TAG)),
                })
            }
            3 => Some(Self::Dropped {
                id,
                generation,
                chunk,
            }),
            4 => Some(Self::Removed { id, generation }),
            5 => Some(Self::Synced { below: generation }),
            _ => None,
        }
    }
}

fn array<const N: usize>(bytes: &[u8; SLOT_BYTES], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Record> {
        let id = ObjectId::from_bytes(*b"0123456789abcdef");
        vec![
            Record::Header { boot: [7; 16] },
            Record::Chunk {
                id,
                generation: 1 << 40,
                size: u64::MAX,
                chunk: 5,
                pages: Pages::WHOLE,
                crc: 0xdead_beef,
                tag: Tag::from_bytes([1, 2, 3]),
            },
            Record::Chunk {
                id,
                generation: 1,
                size: 10 << 20,
                chunk: 5,
                pages: Pages::recorded(3, 200, 5, 10 << 20).unwrap(),
                crc: 1,
                tag: Tag::default(),
            },
            Record::Dropped {
                id,
                generation: 2,
                chunk: u32::MAX,
            },
            Record::Removed { id, generation: 3 },
            Record::Synced { below: 4 },
        ]
    }

    #[test]
    fn a_record_reads_as_it_was_written() {
        for record in samples() {
            assert_eq!(Record::decode(&record.encode(9), 9), Some(record));
        }
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        for record in samples() {
            for bit in 0..SLOT_BYTES * 8 {
                let mut bytes = record.encode(9);
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Record::decode(&bytes, 9), None, "{record:?}, bit {bit}");
            }
        }
    }

    #[test]
    fn a_record_in_another_slot_is_not_taken() {
        assert_eq!(Record::decode(&samples()[1].encode(9), 10), None);
        assert_eq!(Record::decode(&[0; SLOT_BYTES], 0), None);
    }
}
