//! Which chunks of an object a client knows to be present.

use std::ops::Range;

use forebay_proto::local::Presence;

/// The chunks of one object.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bitmap {
    count: u64,
    everything: bool,
    // Grows to the furthest present chunk: an object of which nothing is known costs
    // nothing, whatever its size.
    words: Vec<u64>,
}

impl Bitmap {
    /// What the server has told of an object with `count` chunks.
    pub(crate) fn new(count: u64, presence: Presence) -> Self {
        let (everything, mut words) = match presence {
            Presence::Nothing => (false, Vec::new()),
            Presence::Everything => (true, Vec::new()),
            Presence::Chunks(words) => (false, words),
        };
        // Nothing behind the last chunk is ever present, whoever says so.
        let whole = usize::try_from(count.div_ceil(64)).unwrap_or(usize::MAX);
        words.truncate(whole);
        if words.len() == whole
            && let Some(last) = words.last_mut()
            && !count.is_multiple_of(64)
        {
            *last &= (1 << (count % 64)) - 1;
        }
        Self {
            count,
            everything,
            words,
        }
    }

    /// Notes that `chunks` are present.
    pub(crate) fn insert(&mut self, chunks: Range<u64>) {
        let chunks = chunks.start..chunks.end.min(self.count);
        if chunks == (0..self.count) {
            self.everything = true;
            self.words = Vec::new();
        }
        if self.everything || chunks.is_empty() {
            return;
        }
        let needed = usize::try_from(chunks.end.div_ceil(64)).unwrap_or(usize::MAX);
        if self.words.len() < needed {
            self.words.resize(needed, 0);
        }
        for (word, mask) in masks(chunks) {
            self.words[word] |= mask;
        }
    }

    /// Whether all of `chunks` are present.
    pub(crate) fn contains(&self, chunks: Range<u64>) -> bool {
        if chunks.end > self.count {
            return false;
        }
        self.everything
            || masks(chunks)
                .all(|(word, mask)| self.words.get(word).is_some_and(|bits| bits & mask == mask))
    }
}

/// The words that `chunks` touch, with their bits.
fn masks(chunks: Range<u64>) -> impl Iterator<Item = (usize, u64)> {
    let words = match chunks.is_empty() {
        true => 0..0,
        false => chunks.start / 64..chunks.end.div_ceil(64),
    };
    words.map(move |word| {
        let from = chunks.start.max(word * 64) - word * 64;
        let to = chunks.end.min((word + 1) * 64) - word * 64;
        let mask = (u64::MAX >> (64 - (to - from))) << from;
        (word as usize, mask)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn everything_ends_at_the_last_chunk() {
        let bitmap = Bitmap::new(3, Presence::Everything);
        assert!(bitmap.contains(0..3));
        assert!(!bitmap.contains(0..4));
        let told = Bitmap::new(3, Presence::Chunks(vec![u64::MAX, u64::MAX]));
        assert!(told.contains(0..3));
        assert!(!told.contains(3..4));
    }

    #[test]
    fn a_far_chunk_needs_no_word_of_those_behind_it() {
        let mut bitmap = Bitmap::new(1 << 40, Presence::Nothing);
        bitmap.insert(1000..1001);
        assert_eq!(bitmap.words.len(), 16);
        assert!(!bitmap.contains(999..1001));
    }

    proptest! {
        #[test]
        fn it_is_a_set_of_chunks(
            count in 1_u64..300,
            runs in prop::collection::vec((0_u64..320, 0_u64..150), 0..6),
            asked in (0_u64..320, 0_u64..150),
        ) {
            let mut bitmap = Bitmap::new(count, Presence::Nothing);
            let mut model = BTreeSet::new();
            for (start, len) in runs {
                bitmap.insert(start..start + len);
                model.extend((start..start + len).filter(|&chunk| chunk < count));
            }
            let asked = asked.0..asked.0 + asked.1;
            let expected = asked.end <= count && asked.clone().all(|chunk| model.contains(&chunk));
            prop_assert_eq!(bitmap.contains(asked), expected);
        }
    }
}
