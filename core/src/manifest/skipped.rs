//! What a manifest does not show, and why.

use std::collections::BinaryHeap;
use std::fmt;

/// How many skipped objects are listed.
const LISTED: usize = 1_000;

/// How much of a skipped key is listed.
const LISTED_KEY_BYTES: usize = 4_096;

/// Why an object of a listing is not shown; the rules for keys are those of
/// [`key_rules`](super::key_rules), the others are the listing's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum SkipReason {
    /// A part of the key is `.` or `..`.
    DotComponent = 0,
    /// A part of the key, or the name made up for it, is longer than 255 bytes.
    NameTooLong = 1,
    /// The key is longer than 65,535 bytes.
    KeyTooLong = 2,
    /// The key has a NUL byte.
    NulByte = 3,
    /// The size is 2^62 bytes or more.
    SizeTooLarge = 4,
    /// The ETag is longer than 1,023 bytes.
    EtagTooLong = 5,
    /// The name made up for the object belongs to another object.
    NameTaken = 6,
    /// The listing has the key more than once, and another listed state of it is shown.
    Duplicate = 7,
    /// A link to a directory, which could lead in a circle.
    DirectoryLink = 8,
    /// A link that leads nowhere, or in a circle.
    BrokenLink = 9,
    /// A socket, a pipe or a device.
    NotAFile = 10,
    /// A file or directory that may not be looked at.
    NoPermission = 11,
}

impl SkipReason {
    /// Every reason, in the order of its stored number.
    pub const ALL: [Self; 12] = [
        Self::DotComponent,
        Self::NameTooLong,
        Self::KeyTooLong,
        Self::NulByte,
        Self::SizeTooLarge,
        Self::EtagTooLong,
        Self::NameTaken,
        Self::Duplicate,
        Self::DirectoryLink,
        Self::BrokenLink,
        Self::NotAFile,
        Self::NoPermission,
    ];

    /// A short lower-case name, fit for a metric label or a status line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DotComponent => "dot-component",
            Self::NameTooLong => "name-too-long",
            Self::KeyTooLong => "key-too-long",
            Self::NulByte => "nul-byte",
            Self::SizeTooLarge => "size-too-large",
            Self::EtagTooLong => "etag-too-long",
            Self::NameTaken => "name-taken",
            Self::Duplicate => "duplicate",
            Self::DirectoryLink => "directory-link",
            Self::BrokenLink => "broken-link",
            Self::NotAFile => "not-a-file",
            Self::NoPermission => "no-permission",
        }
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One object that is not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skipped<'m> {
    /// The index of its source.
    pub source: u16,
    /// The key as it was listed; cut after 4,096 bytes.
    pub key: &'m [u8],
    /// Why it is not shown.
    pub reason: SkipReason,
}

/// Counts every object that is not shown and keeps the first of them.
#[derive(Debug, Default)]
pub(super) struct SkipLedger {
    counts: [u64; SkipReason::ALL.len()],
    /// The least by source, key and reason; the greatest of them on top.
    first: BinaryHeap<(u16, Vec<u8>, SkipReason)>,
}

impl SkipLedger {
    /// Takes note of one object.
    pub(super) fn add(&mut self, source: u16, key: &[u8], reason: SkipReason) {
        self.counts[reason as usize] += 1;
        let key = &key[..key.len().min(LISTED_KEY_BYTES)];
        if self.first.len() == LISTED {
            let is_later = self
                .first
                .peek()
                .is_some_and(|(last_source, last_key, last_reason)| {
                    (source, key, reason) >= (*last_source, last_key, *last_reason)
                });
            if is_later {
                return;
            }
            self.first.pop();
        }
        self.first.push((source, key.to_owned(), reason));
    }

    /// The number of objects for each reason, by the reason's number.
    pub(super) fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// The first objects, by source, then key, in their stored form.
    pub(super) fn store(self) -> Vec<u8> {
        let mut stored = Vec::new();
        for (source, key, reason) in self.first.into_sorted_vec() {
            stored.extend_from_slice(&source.to_le_bytes());
            stored.push(reason as u8);
            stored.extend_from_slice(&(key.len() as u16).to_le_bytes());
            stored.extend_from_slice(&key);
        }
        stored
    }
}

/// Reads back what [`SkipLedger::store`] wrote, up to the first byte that it did not.
pub(super) fn read_stored(stored: &[u8]) -> impl Iterator<Item = Skipped<'_>> {
    let mut rest = stored;
    std::iter::from_fn(move || {
        let (head, behind) = rest.split_first_chunk::<5>()?;
        let key_len = u16::from_le_bytes([head[3], head[4]]);
        let (key, behind) = behind.split_at_checked(key_len.into())?;
        rest = behind;
        let source = u16::from_le_bytes([head[0], head[1]]);
        let reason = *SkipReason::ALL.get(usize::from(head[2]))?;
        Some(Skipped {
            source,
            key,
            reason,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_number_of_a_reason_is_its_place() {
        for (place, reason) in SkipReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place);
        }
    }

    #[test]
    fn all_are_counted_and_the_first_are_listed_in_any_order_of_arrival() {
        let keys = || (0..3_000_u32).map(|n| format!("{:05}", n * 7_919 % 3_000));
        let (mut forward, mut backward) = (SkipLedger::default(), SkipLedger::default());
        for key in keys() {
            forward.add(0, key.as_bytes(), SkipReason::NulByte);
        }
        for key in keys().collect::<Vec<_>>().iter().rev() {
            backward.add(0, key.as_bytes(), SkipReason::NulByte);
        }
        assert_eq!(forward.counts(), backward.counts());
        assert_eq!(forward.counts().iter().sum::<u64>(), 3_000);
        let stored = forward.store();
        assert_eq!(stored, backward.store());
        let listed: Vec<_> = read_stored(&stored).collect();
        assert_eq!(listed.len(), LISTED);
        assert_eq!(listed[999].key, b"00999");
        assert!(listed.is_sorted_by_key(|skipped| skipped.key));
    }

    #[test]
    fn a_listed_key_is_cut() {
        let mut ledger = SkipLedger::default();
        ledger.add(1, &[b'k'; 70_000], SkipReason::KeyTooLong);
        let stored = ledger.store();
        assert_eq!(
            read_stored(&stored).next().unwrap().key.len(),
            LISTED_KEY_BYTES
        );
    }
}
