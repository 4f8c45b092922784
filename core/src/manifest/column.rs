//! Columns: the same thing of every entry, end to end.
//!
//! A column of strings is three sections. Strings are cut into blocks of 64; a string
//! begins in the bytes at its block's base (u64) plus its own offset (u16), and ends where
//! the next one begins; one more offset closes the column. A name (255 bytes at most) and
//! an ETag (1,023) are short enough for 64 of them to stay below 2^16.

use std::io;
use std::ops::Range;

use super::format::Section;
use super::spool::Spool;

/// How many strings share one base.
pub(super) const STRINGS_PER_BLOCK: u64 = 64;

/// The length of a row of [`Section::Directories`].
pub(super) const DIRECTORY_ROW: usize = 12;

/// Writes a column of strings.
#[derive(Debug)]
pub(super) struct StringWriter {
    bases: Section,
    offsets: Section,
    bytes: Section,
    count: u64,
    base: u64,
    end: u64,
}

impl StringWriter {
    /// Writes to the streams of these three sections.
    pub(super) fn new(bases: Section, offsets: Section, bytes: Section) -> Self {
        Self {
            bases,
            offsets,
            bytes,
            count: 0,
            base: 0,
            end: 0,
        }
    }

    /// Appends a string.
    pub(super) fn push(&mut self, spool: &mut Spool, string: &[u8]) -> io::Result<()> {
        self.push_offset(spool)?;
        self.end += string.len() as u64;
        spool.append(self.bytes as usize, string)
    }

    /// Closes the column.
    pub(super) fn finish(mut self, spool: &mut Spool) -> io::Result<()> {
        self.push_offset(spool)
    }

    fn push_offset(&mut self, spool: &mut Spool) -> io::Result<()> {
        if self.count.is_multiple_of(STRINGS_PER_BLOCK) {
            self.base = self.end;
            spool.append(self.bases as usize, &self.base.to_le_bytes())?;
        }
        self.count += 1;
        let offset = u16::try_from(self.end - self.base).map_err(io::Error::other)?;
        spool.append(self.offsets as usize, &offset.to_le_bytes())
    }
}

/// A column of strings in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Strings<'m> {
    pub(super) bases: &'m [u8],
    pub(super) offsets: &'m [u8],
    pub(super) bytes: &'m [u8],
}

impl<'m> Strings<'m> {
    /// The string at `index`; `None` if there is none.
    pub(super) fn get(&self, index: u32) -> Option<&'m [u8]> {
        let start = self.start(index.into())?;
        let end = self.start(u64::from(index) + 1)?;
        self.bytes.get(start..end)
    }

    fn start(&self, index: u64) -> Option<usize> {
        let base = u64::from_le_bytes(cell(self.bases, (index / STRINGS_PER_BLOCK) as usize)?);
        let offset = u16::from_le_bytes(cell(self.offsets, index as usize)?);
        usize::try_from(base).ok()?.checked_add(offset.into())
    }
}

/// The cell at `index` of a column whose cells have `N` bytes.
pub(super) fn cell<const N: usize>(column: &[u8], index: usize) -> Option<[u8; N]> {
    let start = index.checked_mul(N)?;
    column.get(start..)?.first_chunk().copied()
}

/// The first index of `range` for which `is_before` is false, or its end; `is_before` must
/// not turn true again.
pub(super) fn partition_point(range: Range<u32>, is_before: impl Fn(u32) -> bool) -> u32 {
    let Range { mut start, mut end } = range;
    while start < end {
        let middle = start + (end - start) / 2;
        if is_before(middle) {
            start = middle + 1;
        } else {
            end = middle;
        }
    }
    start
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn read(spool: &Spool, section: Section) -> Vec<u8> {
        let mut bytes = Vec::new();
        spool
            .reader(section as usize)
            .read_to_end(&mut bytes)
            .unwrap();
        bytes
    }

    #[test]
    fn strings_read_back_at_every_block_edge() {
        let dir = tempfile::tempdir().unwrap();
        for count in [0_u32, 1, 63, 64, 65, 128, 200] {
            let mut spool = Spool::new(dir.path());
            let sections = (Section::EtagBases, Section::EtagOffsets, Section::EtagBytes);
            let mut writer = StringWriter::new(sections.0, sections.1, sections.2);
            // The longest strings, so that offsets reach as far as they can.
            let string = |index: u32| vec![index as u8; if index == 3 { 0 } else { 1_023 }];
            for index in 0..count {
                writer.push(&mut spool, &string(index)).unwrap();
            }
            writer.finish(&mut spool).unwrap();

            let (bases, offsets, bytes) = (
                read(&spool, sections.0),
                read(&spool, sections.1),
                read(&spool, sections.2),
            );
            assert_eq!(
                bases.len() as u64,
                8 * (u64::from(count) / STRINGS_PER_BLOCK + 1)
            );
            assert_eq!(offsets.len() as u32, 2 * (count + 1));
            let strings = Strings {
                bases: &bases,
                offsets: &offsets,
                bytes: &bytes,
            };
            for index in 0..count {
                assert_eq!(strings.get(index), Some(string(index).as_slice()));
            }
            assert_eq!(strings.get(count), None);
            assert_eq!(strings.get(u32::MAX), None);
        }
    }

    #[test]
    fn the_partition_point_of_every_split_is_found() {
        for len in 0..20 {
            for split in 0..=len {
                assert_eq!(
                    partition_point(5..5 + len, |index| index < 5 + split),
                    5 + split
                );
            }
        }
    }
}
