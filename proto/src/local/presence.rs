//! Which chunks of an object are present, as far as it fits a message.

use bytes::BufMut;

use crate::wire::{Fields, PutFields, Result};

/// The most words of a bitmap in one message: 64 KiB, or the chunks of 512 GiB. Of a
/// larger object the beginning is told; the rest is learned as it is read.
const MAX_WORDS: usize = 8192;

/// Which chunks are present, counted from the object's first one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Presence {
    /// None that is known of.
    #[default]
    Nothing,
    /// All of them.
    Everything,
    /// Those whose bit is set, lowest bit first; what lies behind is not told.
    Chunks(Vec<u64>),
}

impl Presence {
    /// The chunks of an object with `count` of them for which `is_present` says so. Asks
    /// for no more than a message can tell.
    pub fn of_chunks(count: u64, is_present: impl Fn(u64) -> bool) -> Self {
        let told = count.min(MAX_WORDS as u64 * 64);
        let words = (0..told.div_ceil(64)).map(|word| {
            let bits = word * 64..told.min((word + 1) * 64);
            bits.filter(|&chunk| is_present(chunk))
                .fold(0, |bits, chunk| bits | 1 << (chunk % 64))
        });
        let words: Vec<u64> = words.collect();
        match words.iter().all(|&word| word == 0) {
            true => Self::Nothing,
            false => Self::Chunks(words),
        }
    }

    pub(super) fn put(&self, payload: &mut Vec<u8>) {
        match self {
            Self::Nothing => payload.put_u8(0),
            Self::Everything => payload.put_u8(1),
            Self::Chunks(words) => {
                payload.put_u8(2);
                payload.put_count(words.len());
                words.iter().for_each(|&word| payload.put_u64_le(word));
            }
        }
    }

    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self> {
        match fields.u8("presence")? {
            0 => Ok(Self::Nothing),
            1 => Ok(Self::Everything),
            2 => {
                let count = fields.count("presence", MAX_WORDS)?;
                let words = (0..count).map(|_| fields.u64("presence"));
                words.collect::<Result<_>>().map(Self::Chunks)
            }
            value => Err(crate::wire::DecodeError::Invalid {
                field: "presence",
                value: value.into(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_told_lowest_first() {
        let presence = Presence::of_chunks(70, |chunk| chunk == 0 || chunk == 69);
        assert_eq!(presence, Presence::Chunks(vec![1, 1 << 5]));
        assert_eq!(Presence::of_chunks(70, |_| false), Presence::Nothing);
        assert_eq!(Presence::of_chunks(0, |_| true), Presence::Nothing);
    }

    #[test]
    fn no_more_is_told_than_fits_a_message() {
        let presence = Presence::of_chunks(u64::MAX, |chunk| {
            assert!(chunk < MAX_WORDS as u64 * 64);
            true
        });
        assert_eq!(presence, Presence::Chunks(vec![u64::MAX; MAX_WORDS]));
    }
}
