//! The manifest file: a header, then sections end to end. All integers are little-endian.
//!
//! | bytes | header field |
//! |---|---|
//! | 0..8 | magic `FOREBAYM` |
//! | 8..12 | format number |
//! | 12..16 | zero |
//! | 16..32 | version: xxh3-128 of the section lengths as stored here, then of all sections |
//! | 32..152 | the length of each [`Section`], 8 bytes each |
//! | 152..252 | zero |
//! | 252..256 | CRC32C of the bytes before |
//!
//! The sections that a walk through the tree reads (sizes, times, names, directories) come
//! first and hold nothing else, so that a walk makes no more than them resident.

use std::ops::Range;

use super::column::{DIRECTORY_ROW, STRINGS_PER_BLOCK};
use super::{SkipReason, VersionId};
use crate::checksum::crc32c;

/// The length of the header.
pub(super) const HEADER_LEN: usize = 256;

/// The format that this build reads and writes.
pub(super) const FORMAT: u32 = 1;

const MAGIC: [u8; 8] = *b"FOREBAYM";
const FORMAT_AT: usize = 8;
const VERSION_AT: usize = 16;
const LENGTHS_AT: usize = 32;
const CRC_AT: usize = HEADER_LEN - 4;

/// The number of sections.
pub(super) const SECTIONS: usize = 15;

/// The length of [`Section::Summary`]: files, directories and bytes, then the number of
/// skipped objects for each reason.
pub(super) const SUMMARY_LEN: u64 = 8 * (3 + SkipReason::ALL.len() as u64);

/// A part of the file, in the order in which they lie there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum Section {
    /// u64 an entry: a file's size, or [`IS_DIRECTORY`] and the row in the directories.
    Sizes,
    /// i64 an entry: nanoseconds since the epoch.
    Modified,
    /// 12 bytes a directory, in the order of entries and so of first children:
    /// u32 first child, u32 children, u32 its own entry.
    Directories,
    /// The entries' names, in three sections: see [`column`](super::column).
    NameBases,
    NameOffsets,
    NameBytes,
    /// The entries' ETags, in three sections; a directory has an empty one.
    EtagBases,
    EtagOffsets,
    EtagBytes,
    /// u32 an odd file (one whose key is not its path), ascending: its entry.
    OddEntries,
    /// u64 an odd file, and one more: where its key begins in the keys.
    OddOffsets,
    OddKeys,
    /// A source each: u32 length, name, u32 length, URL.
    Sources,
    /// See [`SUMMARY_LEN`].
    Summary,
    /// A skipped object each: u16 source, u8 reason, u16 length, key.
    Skipped,
}

impl Section {
    /// Every section, in order.
    pub(super) const ALL: [Self; SECTIONS] = [
        Self::Sizes,
        Self::Modified,
        Self::Directories,
        Self::NameBases,
        Self::NameOffsets,
        Self::NameBytes,
        Self::EtagBases,
        Self::EtagOffsets,
        Self::EtagBytes,
        Self::OddEntries,
        Self::OddOffsets,
        Self::OddKeys,
        Self::Sources,
        Self::Summary,
        Self::Skipped,
    ];
}

/// Marks an entry as a directory in [`Section::Sizes`].
pub(super) const IS_DIRECTORY: u64 = 1 << 63;

/// Why bytes are not a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderFault {
    Foreign,
    Format(u32),
    Damaged(&'static str),
}

/// What the header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) version: VersionId,
    pub(super) lengths: [u64; SECTIONS],
}

impl Header {
    /// The stored form.
    pub(super) fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..MAGIC.len()].copy_from_slice(&MAGIC);
        bytes[FORMAT_AT..][..4].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[VERSION_AT..][..16].copy_from_slice(self.version.as_bytes());
        bytes[LENGTHS_AT..][..8 * SECTIONS].copy_from_slice(&encode_lengths(&self.lengths));
        let crc = crc32c(&bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the stored form. What it returns is consistent: the sections of columns have
    /// the lengths that the number of entries asks for.
    pub(super) fn decode(bytes: &[u8; HEADER_LEN]) -> Result<Self, HeaderFault> {
        if !is_magic(bytes) {
            return Err(HeaderFault::Foreign);
        }
        let format = u32::from_le_bytes(chunk(bytes, FORMAT_AT));
        if format != FORMAT {
            return Err(HeaderFault::Format(format));
        }
        if crc32c(&bytes[..CRC_AT]) != u32::from_le_bytes(chunk(bytes, CRC_AT)) {
            return Err(HeaderFault::Damaged("header checksum"));
        }
        let header = Self {
            version: VersionId::from_bytes(chunk(bytes, VERSION_AT)),
            lengths: std::array::from_fn(|section| {
                u64::from_le_bytes(chunk(bytes, LENGTHS_AT + 8 * section))
            }),
        };
        match header.is_consistent() {
            Some(true) => Ok(header),
            Some(false) | None => Err(HeaderFault::Damaged("section lengths")),
        }
    }

    /// The number of entries.
    pub(super) fn entries(&self) -> u64 {
        self.len(Section::Sizes) / 8
    }

    /// Where a section lies in the file.
    pub(super) fn range(&self, section: Section) -> Range<u64> {
        let before: u64 = self.lengths[..section as usize].iter().sum();
        let start = HEADER_LEN as u64 + before;
        start..start + self.len(section)
    }

    /// The length of the whole file.
    pub(super) fn file_len(&self) -> u64 {
        HEADER_LEN as u64 + self.lengths.iter().sum::<u64>()
    }

    fn len(&self, section: Section) -> u64 {
        self.lengths[section as usize]
    }

    /// `None` if a length is beyond counting.
    fn is_consistent(&self) -> Option<bool> {
        let total = self
            .lengths
            .iter()
            .try_fold(HEADER_LEN as u64, |a, &b| a.checked_add(b))?;
        let entries = self.entries();
        let odd = self.len(Section::OddEntries) / 4;
        // What follows counts with them.
        if !(1..u64::from(u32::MAX)).contains(&entries) || odd > entries {
            return Some(false);
        }
        let expected = [
            (Section::Sizes, 8 * entries),
            (Section::Modified, 8 * entries),
            (Section::NameBases, 8 * (entries / STRINGS_PER_BLOCK + 1)),
            (Section::NameOffsets, 2 * (entries + 1)),
            (Section::EtagBases, 8 * (entries / STRINGS_PER_BLOCK + 1)),
            (Section::EtagOffsets, 2 * (entries + 1)),
            (Section::OddEntries, 4 * odd),
            (Section::OddOffsets, 8 * (odd + 1)),
            (Section::Summary, SUMMARY_LEN),
        ];
        let directories = self.len(Section::Directories);
        Some(
            i64::try_from(total).is_ok()
                && directories > 0
                && directories.is_multiple_of(DIRECTORY_ROW as u64)
                && expected
                    .iter()
                    .all(|&(section, len)| self.len(section) == len),
        )
    }
}

/// Whether a file that begins with `bytes` claims to be a manifest.
pub(super) fn is_magic(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// The lengths as the header has them and the version covers them.
pub(super) fn encode_lengths(lengths: &[u64; SECTIONS]) -> [u8; 8 * SECTIONS] {
    let mut bytes = [0; 8 * SECTIONS];
    for (place, len) in bytes.chunks_exact_mut(8).zip(lengths) {
        place.copy_from_slice(&len.to_le_bytes());
    }
    bytes
}

fn chunk<const N: usize>(bytes: &[u8; HEADER_LEN], at: usize) -> [u8; N] {
    let mut chunk = [0; N];
    chunk.copy_from_slice(&bytes[at..at + N]);
    chunk
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        let mut lengths = [0; SECTIONS];
        for (section, len) in [
            (Section::Sizes, 800),
            (Section::Modified, 800),
            (Section::Directories, 24),
            (Section::NameBases, 16),
            (Section::NameOffsets, 202),
            (Section::NameBytes, 1_000),
            (Section::EtagBases, 16),
            (Section::EtagOffsets, 202),
            (Section::OddOffsets, 8),
            (Section::Summary, SUMMARY_LEN),
        ] {
            lengths[section as usize] = len;
        }
        Header {
            version: VersionId::from_bytes([7; 16]),
            lengths,
        }
    }

    #[test]
    fn a_header_reads_back() {
        let header = header();
        assert_eq!(Header::decode(&header.encode()), Ok(header.clone()));
        assert_eq!(header.entries(), 100);
        assert_eq!(header.range(Section::Modified), 1_056..1_856);
        assert_eq!(header.range(Section::Skipped).end, header.file_len());
    }

    #[test]
    fn every_altered_byte_of_a_header_is_noticed() {
        let bytes = header().encode();
        for at in 0..HEADER_LEN {
            let mut altered = bytes;
            altered[at] ^= 0x10;
            let fault = Header::decode(&altered).unwrap_err();
            match at {
                0..8 => assert_eq!(fault, HeaderFault::Foreign),
                8..12 => assert!(matches!(fault, HeaderFault::Format(_))),
                _ => assert_eq!(fault, HeaderFault::Damaged("header checksum")),
            }
        }
    }

    #[test]
    fn lengths_that_do_not_fit_together_are_refused() {
        for (section, len) in [
            (Section::Sizes, 801),
            (Section::Sizes, 808),
            (Section::Modified, 0),
            (Section::Directories, 0),
            (Section::Directories, 13),
            (Section::NameBases, 8),
            (Section::OddOffsets, 0),
            (Section::OddEntries, 4),
            (Section::OddEntries, 1 << 63),
            (Section::NameBytes, u64::MAX),
            (Section::NameBytes, 1 << 63),
        ] {
            let mut header = header();
            header.lengths[section as usize] = len;
            let fault = Header::decode(&header.encode()).unwrap_err();
            assert_eq!(
                fault,
                HeaderFault::Damaged("section lengths"),
                "{section:?} {len}"
            );
        }
    }
}
