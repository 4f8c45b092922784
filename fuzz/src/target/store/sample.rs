//! Objects whose bytes are known.

use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use forebay_cache_server::store::{ObjectLease, Pieces, Store};
use forebay_core::chunk::{self, CHUNK_SIZE, PAGE_SIZE};
use forebay_core::{ByteRange, ETag, ObjectId};
use forebay_loopback_s3::synthetic;

/// Objects of fewer bytes are packed here: small ones suffice, and are soon restored.
pub(super) const PACK_BELOW: u64 = 8 << 10;

/// Packed ones, ones with a file of their own, and one of which only pages and the last
/// chunk are there.
pub(super) const SAMPLES: [Sample; 7] = [
    sample(1, 1),
    sample(2, 700),
    sample(3, 5000),
    sample(4, 8191),
    sample(5, 8192),
    sample(6, 40_000),
    sample(7, 2 * CHUNK_SIZE + 5000),
];

/// An object whose bytes follow from its number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) number: u64,
    pub(super) size: u64,
}

const fn sample(number: u64, size: u64) -> Sample {
    Sample { number, size }
}

impl Sample {
    pub(super) fn lease(self, store: &Arc<Store>) -> ObjectLease {
        let number = self.number.to_le_bytes();
        let id = ObjectId::derive("fuzz", &number, &ETag::new("1"), self.size);
        store.lease(id, self.size)
    }

    /// The bytes from `start` to `end`; none is 0, so that a hole cannot pass for data.
    pub(super) fn bytes(self, start: u64, end: u64) -> Vec<u8> {
        let mut bytes = vec![0; (end - start) as usize];
        synthetic::fill(self.number, start, &mut bytes);
        bytes.iter_mut().for_each(|byte| *byte |= 1);
        bytes
    }

    /// Writes what is missing of the bytes that this sample has in the cache. That there
    /// is no room for them is for the caller to find.
    pub(super) fn put(self, store: &Arc<Store>) {
        let lease = self.lease(store);
        for range in self.kept() {
            let bytes = Bytes::from(self.bytes(range.start(), range.end()));
            let _ = lease.write_pages(range, &Pieces::from_iter([bytes]));
        }
    }

    /// Compares every byte that the store says it has.
    ///
    /// # Panics
    /// If one is wrong, unless `is_forged`.
    pub(super) fn look(self, store: &Arc<Store>, is_forged: bool) {
        let lease = self.lease(store);
        assert_eq!(lease.size(), self.size);
        for index in 0..chunk::count(self.size) {
            lease.verify(index);
            for range in lease.held(index) {
                let Some(found) = read(&lease, range) else {
                    lease.distrust(index);
                    continue;
                };
                let right = found == self.bytes(range.start(), range.end());
                assert!(
                    right || is_forged,
                    "wrong bytes of sample {} in {range:?}",
                    self.number
                );
            }
        }
        let _ = (lease.is_complete(), lease.present_bytes());
    }

    fn kept(self) -> Vec<ByteRange> {
        if self.size <= CHUNK_SIZE {
            return vec![ByteRange::new(0, self.size)];
        }
        let pages = |first: u64, count: u64| ByteRange::at(first * PAGE_SIZE, count * PAGE_SIZE);
        vec![
            pages(3, 2),
            pages(9, 1),
            pages(260, 2),
            ByteRange::new(2 * CHUNK_SIZE, self.size),
        ]
    }
}

/// The bytes as a reader gets them; `None` if they cannot be read, which is a miss.
fn read(lease: &ObjectLease, range: ByteRange) -> Option<Vec<u8>> {
    if lease.first_absent(range).is_some() {
        return None;
    }
    let backing = lease.backing()?;
    let mut found = vec![0; range.len() as usize];
    let at = backing.offset + range.start();
    backing.file.read_exact_at(&mut found, at).ok()?;
    Some(found)
}
