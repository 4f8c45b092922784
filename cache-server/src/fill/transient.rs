//! Bytes that are passed on without being kept: what came for readers that wait, and
//! found no room in the store.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use forebay_core::{ByteRange, ObjectId, chunk};

use super::OpenObject;

/// What nobody took within this time is not wanted any more.
const LIFE: Duration = Duration::from_secs(10);

/// What is here of one chunk: runs with the offsets at which they begin.
type Runs = Arc<Vec<(u64, Bytes)>>;

/// Whose bytes: an object, and the generation of the file that had no room for them. The
/// file of a later lease may have room, so that one does not find them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Owner {
    id: ObjectId,
    generation: u64,
}

impl Owner {
    /// The owner of what is brought for `object`.
    pub(super) fn of(object: &OpenObject) -> Self {
        Self {
            id: object.target.id,
            generation: object.lease.generation(),
        }
    }
}

/// A small, byte-bounded map from which waiting readers take their bytes.
#[derive(Debug)]
pub(super) struct Transient(moka::sync::Cache<(Owner, u64), Runs>);

impl Transient {
    /// Keeps up to `capacity` bytes.
    pub(super) fn new(capacity: u64) -> Self {
        let weigh = |_: &_, runs: &Runs| {
            let bytes = runs.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        let map = moka::sync::Cache::builder()
            .weigher(weigh)
            .max_capacity(capacity)
            .time_to_live(LIFE);
        Self(map.build())
    }

    /// Takes in bytes of one chunk that begin at `start`.
    pub(super) fn insert(&self, owner: Owner, start: u64, bytes: Bytes) {
        let entry = self.0.entry((owner, start / chunk::CHUNK_SIZE));
        entry.and_upsert_with(|old| {
            let mut runs = old.map_or_else(Vec::new, |old| old.into_value().to_vec());
            let end = start + bytes.len() as u64;
            // Bytes that come again take the place of the earlier ones.
            runs.retain(|(at, old)| *at < start || at + old.len() as u64 > end);
            runs.push((start, bytes));
            Arc::new(runs)
        });
    }

    /// The bytes from `at` to the end of the run that they are in, or of their chunk.
    pub(super) fn from(&self, owner: Owner, at: u64) -> Option<Bytes> {
        let runs = self.0.get(&(owner, at / chunk::CHUNK_SIZE))?;
        runs.iter().find_map(|(start, bytes)| {
            let skipped = usize::try_from(at.checked_sub(*start)?).ok()?;
            (skipped < bytes.len()).then(|| bytes.slice(skipped..))
        })
    }

    /// The ranges of one chunk that are here.
    pub(super) fn ranges(&self, owner: Owner, index: u64) -> Vec<ByteRange> {
        let range = |(start, bytes): &(u64, Bytes)| ByteRange::at(*start, bytes.len() as u64);
        let runs = self.0.get(&(owner, index));
        runs.map_or_else(Vec::new, |runs| runs.iter().map(range).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_a_chunk_lie_side_by_side() {
        let transient = Transient::new(1 << 20);
        let id = ObjectId::from_bytes([1; 16]);
        let owner = Owner { id, generation: 1 };
        transient.insert(owner, 8192, Bytes::from_static(b"second"));
        transient.insert(owner, 0, Bytes::from_static(b"first"));
        assert_eq!(transient.from(owner, 2).unwrap(), "rst");
        assert_eq!(transient.from(owner, 8192).unwrap(), "second");
        assert_eq!(transient.from(owner, 5), None);
        assert_eq!(transient.from(owner, 8198), None);
        transient.insert(owner, 8192, Bytes::from_static(b"other!!"));
        assert_eq!(transient.from(owner, 8192).unwrap(), "other!!");
        assert_eq!(transient.ranges(owner, 0).len(), 2);
        assert!(transient.ranges(owner, 1).is_empty());
        let later = Owner { id, generation: 2 };
        assert_eq!(transient.from(later, 0), None);
    }
}
