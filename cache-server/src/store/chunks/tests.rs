use forebay_core::checksum;
use forebay_core::chunk::{CHUNK_SIZE, PAGE_SIZE};
use proptest::prelude::*;

use super::*;

fn whole(index: u64, crc: u32) -> Piece {
    let pages = Pages::WHOLE;
    Piece { index, pages, crc }
}

/// The bytes of every object here, as far as they go.
fn bytes(range: ByteRange) -> Vec<u8> {
    (range.start()..range.end())
        .map(|at| ((at * 7) >> 5) as u8)
        .collect()
}

fn piece(range: ByteRange, size: u64) -> Piece {
    let (index, pages) = Pages::of(range, size).unwrap();
    let crc = checksum::crc32c(&bytes(range));
    Piece { index, pages, crc }
}

const HELD: [ChunkState; 2] = [ChunkState::Unverified, ChunkState::Present];

#[test]
fn the_first_absent_chunk_is_found_across_words() {
    let map = ChunkMap::new(100 * CHUNK_SIZE + 5);
    assert_eq!(map.first_not_present(7..9), Some(7));
    for index in (0..101).filter(|&index| index != 64) {
        map.enter(whole(index, 0), ChunkState::Present);
    }
    assert_eq!(map.first_not_present(0..101), Some(64));
    assert_eq!(map.first_not_present(0..64), None);
    assert_eq!(map.first_not_present(65..101), None);
    assert_eq!(map.first_not_present(64..65), Some(64));
    map.enter(whole(64, 0), ChunkState::Unverified);
    assert_eq!(map.first_not_present(0..1000), Some(64));
    map.confirm(whole(64, 0));
    assert_eq!(map.first_not_present(0..1000), None);
}

#[test]
fn an_object_of_one_chunk_goes_through_all_states() {
    let map = ChunkMap::new(10);
    assert_eq!(map.state(0), ChunkState::Missing);
    assert_eq!(
        map.enter(whole(0, 9), ChunkState::Unverified),
        Some(Change {
            before: 0,
            after: 10,
            records: 1
        })
    );
    assert_eq!(map.first_not_present(0..1), Some(0));
    map.confirm(whole(0, 9));
    assert_eq!(map.state(0), ChunkState::Present);
    assert_eq!(map.unverified(0), []);
    assert_eq!(
        (map.held().next(), map.held_bytes()),
        (Some(whole(0, 9)), 10)
    );
    assert_eq!(map.forget(0, &[ChunkState::Unverified]), None);
    assert_eq!(
        map.forget(0, &HELD),
        Some(Change {
            before: 10,
            after: 0,
            records: -1
        })
    );
    assert_eq!(map.forget(0, &HELD), None);
}

#[test]
fn held_bytes_count_the_short_last_chunk_as_it_is() {
    let map = ChunkMap::new(CHUNK_SIZE + 7);
    map.enter(whole(1, 1), ChunkState::Present);
    assert_eq!(map.held_bytes(), 7);
    map.enter(whole(1, 1), ChunkState::Present);
    assert_eq!(map.held_bytes(), 7);
    map.enter(whole(0, 2), ChunkState::Unverified);
    assert_eq!(map.held_bytes(), CHUNK_SIZE + 7);
    assert_eq!(map.held().collect::<Vec<_>>(), [whole(0, 2), whole(1, 1)]);
}

#[test]
fn an_empty_object_has_no_chunk() {
    let map = ChunkMap::new(0);
    assert_eq!(map.first_not_present(0..1), None);
    assert_eq!(map.enter(whole(0, 0), ChunkState::Present), None);
    assert_eq!(map.held().count(), 0);
}

#[test]
fn a_chunk_beyond_the_object_changes_nothing() {
    let map = ChunkMap::new(2 * CHUNK_SIZE);
    assert_eq!(map.enter(whole(2, 0), ChunkState::Present), None);
    assert_eq!(map.state(2), ChunkState::Missing);
    assert_eq!(map.state(u64::MAX), ChunkState::Missing);
}

#[test]
fn pages_of_a_chunk_can_be_read_before_the_chunk_is_whole() {
    let size = 2 * CHUNK_SIZE;
    let map = ChunkMap::new(size);
    let some = ByteRange::at(CHUNK_SIZE + 8192, 3 * PAGE_SIZE);
    assert_eq!(map.first_absent(some), Some(some.start()));
    let change = map.enter(piece(some, size), ChunkState::Present).unwrap();
    assert_eq!((change.after, change.records), (3 * PAGE_SIZE, 1));
    assert_eq!(map.first_absent(some), None);
    assert_eq!(map.state(1), ChunkState::Missing);
    assert_eq!(map.held_in(1), [some]);
    let more = ByteRange::at(some.start(), 4 * PAGE_SIZE);
    assert_eq!(map.first_absent(more), Some(some.end()));
}

#[test]
fn pages_of_a_chunk_that_is_here_change_nothing() {
    let size = 2 * CHUNK_SIZE;
    let map = ChunkMap::new(size);
    map.enter(whole(0, 5), ChunkState::Present);
    let some = piece(ByteRange::at(0, PAGE_SIZE), size);
    let change = map.enter(some, ChunkState::Present).unwrap();
    assert_eq!(
        (change.before, change.after, change.records),
        (CHUNK_SIZE, CHUNK_SIZE, 0)
    );
    assert_eq!(map.held().collect::<Vec<_>>(), [whole(0, 5)]);
}

#[test]
fn an_object_of_one_chunk_is_never_partial() {
    let map = ChunkMap::new(CHUNK_SIZE);
    let some = piece(ByteRange::at(0, PAGE_SIZE), CHUNK_SIZE);
    assert_eq!(map.enter(some, ChunkState::Present), None);
    assert_eq!(map.held_bytes(), 0);
}

#[test]
fn what_is_doubted_is_here_and_unverified() {
    let size = 100 * CHUNK_SIZE;
    let map = ChunkMap::new(size);
    map.enter(whole(0, 1), ChunkState::Present);
    map.enter(whole(63, 2), ChunkState::Present);
    map.enter(whole(64, 3), ChunkState::Unverified);
    map.enter(piece(ByteRange::at(0, 4096), size), ChunkState::Present);
    let some = ByteRange::at(99 * CHUNK_SIZE, 4096);
    map.enter(piece(some, size), ChunkState::Present);
    let held = map.held_bytes();
    map.doubt();
    for index in [0, 63, 64] {
        assert_eq!(map.state(index), ChunkState::Unverified);
    }
    assert_eq!(
        (map.state(1), map.state(99)),
        (ChunkState::Missing, ChunkState::Missing)
    );
    assert_eq!(map.first_absent(some), Some(some.start()));
    assert_eq!(map.held_bytes(), held);
    map.confirm(whole(63, 2));
    assert_eq!(map.state(63), ChunkState::Present);
}

#[test]
fn a_wrong_extent_takes_the_pages_of_its_chunk_along() {
    let size = 2 * CHUNK_SIZE;
    let map = ChunkMap::new(size);
    map.enter(piece(ByteRange::at(0, 4096), size), ChunkState::Present);
    map.enter(
        piece(ByteRange::at(8192, 4096), size),
        ChunkState::Unverified,
    );
    assert_eq!(map.unverified(0).len(), 1);
    let change = map.forget(0, &[ChunkState::Unverified]).unwrap();
    assert_eq!((change.before, change.after, change.records), (8192, 0, -2));
    assert_eq!(map.held_in(0), []);
    assert_eq!(map.forget(0, &HELD), None);
}

proptest! {
    #[test]
    fn a_chunk_is_whole_once_every_page_of_it_came(
        pages in Just((0..256_u64).collect::<Vec<_>>()).prop_shuffle(),
        unverified in 0..256_u64,
    ) {
        let size = 2 * CHUNK_SIZE - 700;
        let map = ChunkMap::new(size);
        let at = |page| CHUNK_SIZE + page * PAGE_SIZE;
        for (count, &page) in pages.iter().enumerate() {
            prop_assert_eq!(map.state(1), ChunkState::Missing);
            let range = ByteRange::at(at(page), PAGE_SIZE).clamp_to(size);
            let state = if page == unverified { ChunkState::Unverified } else { ChunkState::Present };
            let change = map.enter(piece(range, size), state).unwrap();
            prop_assert_eq!(change.after - change.before, range.len());
            let to_come = &pages[count + 1..];
            let readable = |page: &u64| !to_come.contains(page) && *page != unverified;
            // Once it is whole, the chunk is unverified as a whole.
            let absent = (0..256).find(|page| to_come.is_empty() || !readable(page));
            let all = ByteRange::new(at(0), size);
            prop_assert_eq!(map.first_absent(all), absent.map(at));
        }
        prop_assert_eq!(map.state(1), ChunkState::Unverified);
        let all = ByteRange::new(CHUNK_SIZE, size);
        prop_assert_eq!(map.unverified(1), vec![piece(all, size)]);
        map.confirm(piece(all, size));
        prop_assert_eq!(map.first_absent(all), None);
        prop_assert_eq!(map.held_bytes(), all.len());
    }
}
