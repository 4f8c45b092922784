//! The flights under way, by the chunks that they touch.

use std::collections::HashMap;
use std::sync::Arc;

use forebay_core::{ByteRange, ObjectId, chunk};

use super::Flight;

/// Lists every flight under each chunk that it brings bytes of.
#[derive(Debug, Default)]
pub(super) struct Board(HashMap<(ObjectId, u64), Vec<Arc<Flight>>>);

impl Board {
    /// The flight that brings byte `at` of an object.
    pub(super) fn bringing(&self, id: ObjectId, at: u64) -> Option<&Arc<Flight>> {
        let listed = self.0.get(&(id, at / chunk::CHUNK_SIZE))?;
        listed.iter().find(|flight| {
            let range = flight.range();
            (range.start()..range.end()).contains(&at)
        })
    }

    /// The bytes of one chunk, and others beside them, that are on their way.
    pub(super) fn ranges(&self, id: ObjectId, index: u64) -> impl Iterator<Item = ByteRange> {
        let listed = self.0.get(&(id, index)).map_or(&[][..], Vec::as_slice);
        listed.iter().map(|flight| flight.range())
    }

    pub(super) fn list(&mut self, id: ObjectId, flight: &Arc<Flight>) {
        for index in chunk::covering(flight.range()) {
            self.0
                .entry((id, index))
                .or_default()
                .push(Arc::clone(flight));
        }
    }

    pub(super) fn strike(&mut self, id: ObjectId, flight: &Arc<Flight>) {
        for index in chunk::covering(flight.range()) {
            if let Some(listed) = self.0.get_mut(&(id, index)) {
                listed.retain(|other| !Arc::ptr_eq(other, flight));
                if listed.is_empty() {
                    self.0.remove(&(id, index));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use forebay_core::chunk::CHUNK_SIZE;

    use super::*;

    #[test]
    fn a_flight_is_found_by_its_bytes_until_it_is_struck() {
        let id = ObjectId::from_bytes([1; 16]);
        let first = Arc::new(Flight::new(ByteRange::new(CHUNK_SIZE - 10, 2 * CHUNK_SIZE)));
        let second = Arc::new(Flight::new(ByteRange::new(0, 10)));
        let mut board = Board::default();
        board.list(id, &first);
        board.list(id, &second);
        let found = |board: &Board, at| board.bringing(id, at).map(|flight| flight.range());
        assert_eq!(found(&board, CHUNK_SIZE - 10), Some(first.range()));
        assert_eq!(found(&board, 2 * CHUNK_SIZE - 1), Some(first.range()));
        assert_eq!(found(&board, 9), Some(second.range()));
        assert_eq!(found(&board, 10), None);
        assert_eq!(board.ranges(id, 0).count(), 2);
        board.strike(id, &first);
        assert_eq!(found(&board, CHUNK_SIZE), None);
        assert_eq!(found(&board, 9), Some(second.range()));
        board.strike(id, &second);
        assert!(board.0.is_empty());
    }
}
