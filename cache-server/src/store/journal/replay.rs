//! Reading a journal back.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use forebay_core::{ObjectId, chunk};

use super::record::{BootId, Record, SLOT_BYTES};
use crate::store::chunks::MOST_CHUNKS;
use crate::store::pages::Pages;
use crate::store::share::Tag;

/// What a journal says in the end.
#[derive(Debug, Default)]
pub(in crate::store) struct Replay {
    pub(in crate::store) objects: HashMap<ObjectId, FoundObject>,
    /// Slots that hold no readable record, a torn last one included.
    pub(in crate::store) damaged: u64,
    /// Records of slots below this speak of durable data.
    pub(in crate::store) synced_below: u64,
    /// Under which boot it was written, if that can be read.
    pub(in crate::store) boot: Option<BootId>,
    pub(in crate::store) highest_generation: u64,
}

/// The latest generation of an object.
#[derive(Debug)]
pub(in crate::store) struct FoundObject {
    pub(in crate::store) generation: u64,
    pub(in crate::store) size: u64,
    /// By chunk: the whole of it, pages of it, or both, in the order of their records.
    pub(in crate::store) chunks: BTreeMap<u32, Vec<FoundPiece>>,
}

/// A chunk of it, or some pages of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct FoundPiece {
    pub(in crate::store) pages: Pages,
    pub(in crate::store) crc: u32,
    /// Whose it is.
    pub(in crate::store) tag: Tag,
    /// Where it is recorded, to be compared with `synced_below`.
    pub(in crate::store) slot: u64,
}

impl FoundObject {
    fn found(&mut self, chunk: u32, new: FoundPiece) {
        let pieces = self.chunks.entry(chunk).or_default();
        // Written again with the same bytes: what was durable still is.
        let known = |old: &FoundPiece| {
            old.pages.contains(new.pages) && (old.pages != new.pages || old.crc == new.crc)
        };
        if !pieces.iter().any(known) {
            // Pages outlast the whole, which may not be durable when they are.
            let gives_way = |old: &FoundPiece| {
                old.pages.overlaps(new.pages) && new.pages.is_whole() == old.pages.is_whole()
            };
            pieces.retain(|old| !gives_way(old));
            pieces.push(new);
        }
    }

    /// What was found, with the chunk that it belongs to.
    pub(in crate::store) fn pieces(&self) -> impl Iterator<Item = (u32, FoundPiece)> + '_ {
        self.chunks
            .iter()
            .flat_map(|(&chunk, found)| found.iter().map(move |&piece| (chunk, piece)))
    }
}

/// Reads the journal at `path`; a missing one is an empty one.
///
/// # Errors
/// As the file system answers. What the file holds never is an error.
pub(in crate::store) fn replay(path: &Path) -> io::Result<Replay> {
    let mut replay = Replay::default();
    let mut reader = match File::open(path) {
        Ok(file) => BufReader::with_capacity(1024 * SLOT_BYTES, file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(replay),
        Err(error) => return Err(error),
    };
    for slot in 0.. {
        let Some(bytes) = read_slot(&mut reader, &mut replay.damaged)? else {
            break;
        };
        match Record::decode(&bytes, slot) {
            Some(record) => replay.apply(record, slot),
            None => replay.damaged += 1,
        }
    }
    Ok(replay)
}

/// Whether the file at `path` begins like a journal.
pub(in crate::store) fn is_ours(path: &Path) -> bool {
    let mut bytes = [0; SLOT_BYTES];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut bytes));
    read.is_ok() && matches!(Record::decode(&bytes, 0), Some(Record::Header { .. }))
}

fn read_slot(reader: &mut impl Read, damaged: &mut u64) -> io::Result<Option<[u8; SLOT_BYTES]>> {
    let mut bytes = [0; SLOT_BYTES];
    let mut filled = 0;
    while filled < SLOT_BYTES {
        match reader.read(&mut bytes[filled..]) {
            Ok(0) => {
                *damaged += u64::from(filled > 0);
                return Ok(None);
            }
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some(bytes))
}

impl Replay {
    fn apply(&mut self, record: Record, slot: u64) {
        match record {
            Record::Header { boot } => self.boot = Some(boot),
            Record::Chunk {
                id,
                generation,
                size,
                chunk,
                pages,
                crc,
                tag,
            } => {
                self.saw(generation);
                let count = chunk::count(size);
                if count > MOST_CHUNKS || u64::from(chunk) >= count {
                    self.damaged += 1;
                } else if let Some(object) = self.object(id, generation, size) {
                    let piece = FoundPiece {
                        pages,
                        crc,
                        tag,
                        slot,
                    };
                    object.found(chunk, piece);
                }
            }
            Record::Dropped {
                id,
                generation,
                chunk,
            } => {
                self.saw(generation);
                if let Some(object) = self.objects.get_mut(&id)
                    && object.generation == generation
                {
                    object.chunks.remove(&chunk);
                }
            }
            Record::Removed { id, generation } => {
                self.saw(generation);
                if self
                    .objects
                    .get(&id)
                    .is_some_and(|object| object.generation <= generation)
                {
                    self.objects.remove(&id);
                }
            }
            Record::Synced { below } => self.synced_below = self.synced_below.max(below),
        }
    }

    fn saw(&mut self, generation: u64) {
        self.highest_generation = self.highest_generation.max(generation);
    }

    /// The object, if `generation` is its latest one so far.
    fn object(&mut self, id: ObjectId, generation: u64, size: u64) -> Option<&mut FoundObject> {
        let fresh = || FoundObject {
            generation,
            size,
            chunks: BTreeMap::new(),
        };
        let object = self.objects.entry(id).or_insert_with(fresh);
        if object.generation < generation {
            *object = fresh();
        }
        (object.generation == generation && object.size == size).then_some(object)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn id(n: u8) -> ObjectId {
        ObjectId::from_bytes([n; 16])
    }

    fn chunk_of(n: u8, generation: u64, chunk: u32) -> Record {
        Record::Chunk {
            id: id(n),
            generation,
            size: 10 << 20,
            chunk,
            pages: Pages::WHOLE,
            crc: u32::from(n),
            tag: Tag::default(),
        }
    }

    fn pages_of(n: u8, start: u16, end: u16) -> Record {
        Record::Chunk {
            id: id(n),
            generation: 1,
            size: 10 << 20,
            chunk: 2,
            pages: Pages::recorded(start, end, 2, 10 << 20).unwrap(),
            crc: u32::from(start),
            tag: Tag::default(),
        }
    }

    fn replay_of(records: &[Record], damage: impl FnOnce(&mut Vec<u8>)) -> Replay {
        let dir = crate::store::tests::scratch();
        let path = dir.path().join("journal");
        let mut bytes = Vec::new();
        for (slot, record) in (0..).zip(records) {
            bytes.extend_from_slice(&record.encode(slot));
        }
        damage(&mut bytes);
        fs::write(&path, bytes).unwrap();
        replay(&path).unwrap()
    }

    #[test]
    fn the_last_word_on_a_chunk_counts() {
        let records = [
            Record::Header { boot: [1; 16] },
            chunk_of(1, 1, 0),
            chunk_of(1, 1, 3),
            Record::Dropped {
                id: id(1),
                generation: 1,
                chunk: 0,
            },
            chunk_of(2, 2, 0),
            Record::Removed {
                id: id(2),
                generation: 2,
            },
            chunk_of(3, 3, 0),
            chunk_of(3, 4, 1),
            chunk_of(3, 3, 2),
            Record::Removed {
                id: id(3),
                generation: 3,
            },
            Record::Synced { below: 7 },
        ];
        let replay = replay_of(&records, |_| {});
        assert_eq!((replay.damaged, replay.synced_below), (0, 7));
        assert_eq!((replay.boot, replay.highest_generation), (Some([1; 16]), 4));
        assert_eq!(replay.objects.len(), 2);
        let chunks = |n| {
            replay.objects[&id(n)]
                .chunks
                .keys()
                .copied()
                .collect::<Vec<_>>()
        };
        assert_eq!(chunks(1), [3]);
        assert_eq!(chunks(3), [1]);
    }

    #[test]
    fn pages_are_kept_beside_their_chunk_until_it_is_dropped() {
        let pages = [
            Record::Header { boot: [1; 16] },
            pages_of(1, 3, 5),
            pages_of(1, 9, 10),
            pages_of(1, 3, 5),
        ];
        let found = |records: &[Record]| {
            let replay = replay_of(records, |_| {});
            replay.objects[&id(1)]
                .pieces()
                .map(|(chunk, piece)| (chunk, piece.pages.bounds(), piece.slot))
                .collect::<Vec<_>>()
        };
        assert_eq!(found(&pages), [(2, (3, 5), 1), (2, (9, 10), 2)]);
        let whole = [&pages[..], &[chunk_of(1, 1, 2)]].concat();
        let all = (2, Pages::WHOLE.bounds(), 4);
        assert_eq!(found(&whole), [(2, (3, 5), 1), (2, (9, 10), 2), all]);
        let dropped = Record::Dropped {
            id: id(1),
            generation: 1,
            chunk: 2,
        };
        let again = [&pages[..], &[dropped, pages_of(1, 7, 8)]].concat();
        assert_eq!(found(&again), [(2, (7, 8), 5)]);
    }

    #[test]
    fn records_behind_a_damaged_one_are_read() {
        let records = [
            Record::Header { boot: [1; 16] },
            chunk_of(1, 1, 0),
            chunk_of(2, 2, 0),
        ];
        let replay = replay_of(&records, |bytes| bytes[SLOT_BYTES + 20] ^= 1);
        assert_eq!((replay.damaged, replay.objects.len()), (1, 1));
        assert!(replay.objects.contains_key(&id(2)));
    }

    #[test]
    fn a_torn_tail_costs_one_record() {
        let records = [
            Record::Header { boot: [1; 16] },
            chunk_of(1, 1, 0),
            chunk_of(2, 2, 0),
        ];
        for cut in 1..SLOT_BYTES {
            let replay = replay_of(&records, |bytes| bytes.truncate(bytes.len() - cut));
            assert_eq!((replay.damaged, replay.objects.len()), (1, 1));
        }
    }

    #[test]
    fn any_bytes_can_be_read() {
        let replay = replay_of(&[], |bytes| {
            bytes.extend((0..1000_u32).map(|n| (n * 7) as u8))
        });
        assert_eq!((replay.damaged, replay.objects.len()), (16, 0));
        assert!(!is_ours(Path::new("/dev/null")));
    }

    #[test]
    fn a_chunk_that_the_object_cannot_have_is_damage() {
        let huge = Record::Chunk {
            id: id(2),
            generation: 1,
            size: u64::MAX,
            chunk: 0,
            pages: Pages::WHOLE,
            crc: 0,
            tag: Tag::default(),
        };
        let replay = replay_of(&[chunk_of(1, 1, 10), huge], |_| {});
        assert_eq!((replay.damaged, replay.objects.len()), (2, 0));
    }
}
