//! How often ids were asked for, nearly, in a few bytes each.
//!
//! A count-min sketch: an id has one counter in each of four rows, and its count is the
//! least of them, since others can only have added. After a number of additions all
//! counters are halved, so that what was asked for long ago counts less and less. The
//! halving visits every counter, but comes so rarely that it adds less than a counter to
//! the cost of an addition.

use forebay_core::ObjectId;

const ROWS: usize = 4;
/// Counters of a row at least.
const LEAST_COUNTERS: usize = 256;
/// Counters of a row for each resident object.
const COUNTERS: usize = 4;
/// Counters go no higher; more would only take longer to forget.
const MOST: u8 = 15;
/// Additions for each counter of a row between halvings, as in the paper on TinyLFU.
const ADDITIONS: usize = 10;

/// The counters.
#[derive(Debug)]
pub(super) struct Sketch {
    rows: [Vec<u8>; ROWS],
    additions: usize,
}

impl Default for Sketch {
    fn default() -> Self {
        Self {
            rows: std::array::from_fn(|_| vec![0; LEAST_COUNTERS]),
            additions: 0,
        }
    }
}

impl Sketch {
    /// Counts `id` once more.
    pub(super) fn add(&mut self, id: ObjectId) {
        let places = self.places(id);
        for (row, place) in self.rows.iter_mut().zip(places) {
            row[place] = (row[place] + 1).min(MOST);
        }
        self.additions += 1;
        if self.additions >= self.rows[0].len() * ADDITIONS {
            self.additions = 0;
            self.rows.iter_mut().flatten().for_each(|count| *count /= 2);
        }
    }

    /// How often `id` was counted: never less than it was, but for the halvings.
    pub(super) fn count(&self, id: ObjectId) -> u8 {
        let places = self.places(id);
        let counts = self.rows.iter().zip(places).map(|(row, place)| row[place]);
        counts.min().unwrap_or(0)
    }

    /// Makes room for the counts of `objects` ids and of several times as many that were
    /// evicted: 16 to 32 bytes for each of the former.
    ///
    /// Rows grow by doubling. The place of an id then has one bit more, and both places
    /// that it can become get what was counted at the old one.
    pub(super) fn fit(&mut self, objects: usize) {
        while self.rows[0].len() < objects * COUNTERS {
            for row in &mut self.rows {
                row.extend_from_within(..);
            }
        }
    }

    /// Its counter in each row. Ids are hashes: four words of one are as good as four
    /// hash functions.
    fn places(&self, id: ObjectId) -> [usize; ROWS] {
        let bytes = id.as_bytes();
        let mask = self.rows[0].len() - 1;
        std::array::from_fn(|row| {
            let word = &bytes[row * 4..row * 4 + 4];
            u32::from_le_bytes([word[0], word[1], word[2], word[3]]) as usize & mask
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u32) -> ObjectId {
        let word = n.wrapping_mul(2_654_435_769);
        let words = [word, word.rotate_left(7), word.rotate_left(15), !word];
        let bytes = words.map(u32::to_le_bytes).concat();
        ObjectId::from_bytes(bytes.try_into().expect("four words of four bytes"))
    }

    #[test]
    fn a_count_survives_the_growth_of_the_rows() {
        let mut sketch = Sketch::default();
        (0..5).for_each(|_| sketch.add(id(7)));
        sketch.fit(100_000);
        assert_eq!(sketch.count(id(7)), 5);
    }

    #[test]
    fn counts_are_halved_after_many_additions() {
        let mut sketch = Sketch::default();
        (0..8).for_each(|_| sketch.add(id(7)));
        let additions = LEAST_COUNTERS * ADDITIONS;
        // Each once: none of the others comes near.
        (8..additions as u32).for_each(|n| sketch.add(id(n + 1000)));
        assert!((4..=15).contains(&sketch.count(id(7))));
        (0..3 * additions as u32).for_each(|n| sketch.add(id(n + 100_000)));
        let others = (0..100).map(|n| sketch.count(id(n + 900_000))).max();
        assert!(sketch.count(id(7)) <= others.expect("a hundred"));
    }
}
