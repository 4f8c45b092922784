//! What is here of a chunk that is not all here.
//!
//! Random reads of a large object bring some pages of many chunks. Each run of pages
//! that came in one piece is an **extent** with a CRC32C of its own. Neighbours are
//! joined, checksums included, so that a chunk whose extents meet has its checksum
//! without being read again.

use forebay_core::{ByteRange, checksum};

use super::pages::Pages;

/// A run of pages that is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) pages: Pages,
    pub(super) crc: u32,
    /// Whether this process wrote it or compared it with its checksum.
    pub(super) verified: bool,
}

/// The extents of chunk `index` of an object: in order, none overlapping another.
#[derive(Clone, Debug)]
pub(super) struct Extents {
    index: u64,
    size: u64,
    list: Vec<Extent>,
}

impl Extents {
    /// No extent yet, of chunk `index` of an object of `size` bytes.
    pub(super) fn new(index: u64, size: u64) -> Self {
        Self {
            index,
            size,
            list: Vec::new(),
        }
    }

    /// Adds `new`. What it overlaps gives way, unless `new` says nothing that was not
    /// known: a checksum cannot be cut.
    pub(super) fn insert(&mut self, new: Extent) {
        let known = |old: &Extent| old.pages.contains(new.pages) && (old.verified || !new.verified);
        if self.list.iter().any(known) {
            return;
        }
        self.list.retain(|old| !old.pages.overlaps(new.pages));
        let at = self
            .list
            .partition_point(|old| old.pages.bounds() < new.pages.bounds());
        self.list.insert(at, new);
        self.join(at);
        if at > 0 {
            self.join(at - 1);
        }
    }

    /// Marks the extent as verified, if it is still what it was.
    pub(super) fn confirm(&mut self, pages: Pages, crc: u32) {
        let found = |extent: &Extent| extent.pages == pages && extent.crc == crc;
        if let Some(at) = self.list.iter().position(found) {
            self.list[at].verified = true;
            self.join(at);
            if at > 0 {
                self.join(at - 1);
            }
        }
    }

    /// Marks every extent as unverified.
    pub(super) fn doubt(&mut self) {
        self.list
            .iter_mut()
            .for_each(|extent| extent.verified = false);
    }

    /// The checksum of the chunk if all of it is here, and whether all of it is verified.
    pub(super) fn whole(&self) -> Option<(u32, bool)> {
        let mut extents = self.list.iter();
        let first = *extents.next()?;
        let all = extents.try_fold(first, |sum, next| {
            let verified = sum.verified && next.verified;
            Some(Extent {
                pages: sum.pages.joined(next.pages)?,
                crc: checksum::crc32c_joined(sum.crc, next.crc, self.bytes_of(next).len()),
                verified,
            })
        })?;
        all.pages.is_whole().then_some((all.crc, all.verified))
    }

    /// The first byte of `range` that is not verified.
    pub(super) fn first_absent(&self, range: ByteRange) -> Option<u64> {
        let mut at = range.start();
        for extent in self.list.iter().filter(|extent| extent.verified) {
            let here = self.bytes_of(extent);
            if here.start() > at {
                break;
            }
            at = at.max(here.end());
        }
        (at < range.end()).then_some(at)
    }

    /// The bytes that are here, verified or not, in order.
    pub(super) fn ranges(&self) -> impl Iterator<Item = ByteRange> + '_ {
        self.list.iter().map(|extent| self.bytes_of(extent))
    }

    /// The number of bytes that are here.
    pub(super) fn len(&self) -> u64 {
        self.ranges().map(ByteRange::len).sum()
    }

    pub(super) fn list(&self) -> &[Extent] {
        &self.list
    }

    fn bytes_of(&self, extent: &Extent) -> ByteRange {
        extent.pages.range(self.index, self.size)
    }

    /// Makes the extent at `at` and the next one into one, if they meet and are known
    /// equally well.
    fn join(&mut self, at: usize) {
        let (Some(&first), Some(&second)) = (self.list.get(at), self.list.get(at + 1)) else {
            return;
        };
        if first.verified == second.verified
            && let Some(pages) = first.pages.joined(second.pages)
        {
            let crc = checksum::crc32c_joined(first.crc, second.crc, self.bytes_of(&second).len());
            self.list[at] = Extent {
                pages,
                crc,
                ..first
            };
            self.list.remove(at + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use forebay_core::chunk::{CHUNK_SIZE, PAGE_SIZE};
    use proptest::prelude::*;

    use super::*;

    // The last chunk, and not a whole number of pages.
    const INDEX: u64 = 1;
    const SIZE: u64 = 2 * CHUNK_SIZE - 700;
    const LAST: usize = 255;

    static BYTES: LazyLock<Vec<u8>> =
        LazyLock::new(|| (CHUNK_SIZE..SIZE).map(|at| ((at * 7) >> 5) as u8).collect());

    fn extent(first: usize, last: usize, verified: bool) -> Extent {
        let at = |page: usize| CHUNK_SIZE + page as u64 * PAGE_SIZE;
        let range = ByteRange::new(at(first), at(last + 1)).clamp_to(SIZE);
        let (_, pages) = Pages::of(range, SIZE).unwrap();
        let within = (range.start() - CHUNK_SIZE) as usize..(range.end() - CHUNK_SIZE) as usize;
        Extent {
            pages,
            crc: checksum::crc32c(&BYTES[within]),
            verified,
        }
    }

    #[test]
    fn extents_that_meet_become_the_chunk_with_its_checksum() {
        let mut extents = Extents::new(INDEX, SIZE);
        for (first, last) in [(100, LAST), (0, 9), (10, 50), (51, 99)] {
            assert_eq!(extents.whole(), None);
            extents.insert(extent(first, last, true));
        }
        assert_eq!(extents.whole(), Some((checksum::crc32c(&BYTES), true)));
        assert_eq!(
            (extents.list().len(), extents.len()),
            (1, SIZE - CHUNK_SIZE)
        );
    }

    #[test]
    fn one_unverified_extent_makes_the_chunk_unverified() {
        let mut extents = Extents::new(INDEX, SIZE);
        extents.insert(extent(0, 99, false));
        extents.insert(extent(100, LAST, true));
        let crc = checksum::crc32c(&BYTES);
        assert_eq!(extents.whole(), Some((crc, false)));
        let first = extents.list()[0];
        extents.confirm(first.pages, first.crc ^ 1);
        assert_eq!(extents.whole(), Some((crc, false)));
        extents.confirm(first.pages, first.crc);
        assert_eq!(extents.whole(), Some((crc, true)));
    }

    proptest! {
        #[test]
        fn what_is_here_is_what_was_inserted(
            inserts in proptest::collection::vec((0..=LAST, 0..=LAST, any::<bool>()), 0..40),
            from in 0..=LAST,
        ) {
            let mut extents = Extents::new(INDEX, SIZE);
            // Per page: whether it is here, and verified.
            let mut model = [(false, false); LAST + 1];
            for (a, b, verified) in inserts {
                let new = extent(a.min(b), a.max(b), verified);
                let overlapped: Vec<_> = extents
                    .list()
                    .iter()
                    .filter(|old| old.pages.overlaps(new.pages))
                    .copied()
                    .collect();
                let known = overlapped
                    .iter()
                    .any(|old| old.pages.contains(new.pages) && (old.verified || !verified));
                extents.insert(new);
                if !known {
                    for old in overlapped {
                        let (start, end) = old.pages.bounds();
                        model[start.into()..end.into()].fill((false, false));
                    }
                    model[a.min(b)..=a.max(b)].fill((true, verified));
                }
                for (one, next) in extents.list().iter().zip(&extents.list()[1..]) {
                    prop_assert!(one.pages.bounds().1 <= next.pages.bounds().0);
                }
                for held in extents.list() {
                    let (start, end) = held.pages.bounds();
                    let again = extent(start.into(), usize::from(end) - 1, held.verified);
                    prop_assert_eq!(*held, again);
                    prop_assert!(model[start.into()..end.into()]
                        .iter()
                        .all(|page| *page == (true, held.verified)));
                }
            }
            let here = model.iter().filter(|page| page.0).count() as u64 * PAGE_SIZE;
            let short = if model[LAST].0 { 700 } else { 0 };
            prop_assert_eq!(extents.len(), here - short);
            let at = |page: usize| CHUNK_SIZE + page as u64 * PAGE_SIZE;
            let absent = (from..=LAST).find(|&page| model[page] != (true, true)).map(at);
            prop_assert_eq!(extents.first_absent(ByteRange::new(at(from), SIZE)), absent);
        }
    }
}
