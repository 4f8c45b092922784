//! One listed object on its way through the sort.

use std::io::{self, Read};

/// The bytes before the path: path length (4), ETag length (2), source (2), size (8),
/// modification time (8), all little-endian.
const HEAD: usize = 24;

/// What a record stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// An object of the source with this index.
    Object(u16),
    /// No object: the directory of a named source, which exists in any case.
    SourceDirectory,
}

/// The stored form of [`Origin::SourceDirectory`]: an index that no source has.
const NO_SOURCE: u16 = u16::MAX;

/// One listed object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    /// The sort path, see [`path`](super::path).
    pub(super) path: &'a [u8],
    pub(super) origin: Origin,
    pub(super) size: u64,
    pub(super) modified: i64,
    pub(super) etag: &'a [u8],
}

impl<'a> Record<'a> {
    /// Appends the stored form.
    pub(super) fn write(&self, into: &mut Vec<u8>) {
        let source = match self.origin {
            Origin::Object(index) => index,
            Origin::SourceDirectory => NO_SOURCE,
        };
        into.extend_from_slice(&(self.path.len() as u32).to_le_bytes());
        into.extend_from_slice(&(self.etag.len() as u16).to_le_bytes());
        into.extend_from_slice(&source.to_le_bytes());
        into.extend_from_slice(&self.size.to_le_bytes());
        into.extend_from_slice(&self.modified.to_le_bytes());
        into.extend_from_slice(self.path);
        into.extend_from_slice(self.etag);
    }

    /// Reads the stored form from the start of `bytes`; `None` if it is cut off.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
        let (path_len, etag_len) = lengths(head);
        let (path, rest) = rest.split_at_checked(path_len)?;
        let source = u16::from_le_bytes([head[6], head[7]]);
        Some(Self {
            path,
            origin: match source {
                NO_SOURCE => Origin::SourceDirectory,
                index => Origin::Object(index),
            },
            size: u64::from_le_bytes(*head[8..].first_chunk()?),
            modified: i64::from_le_bytes(*head[16..].first_chunk()?),
            etag: rest.get(..etag_len)?,
        })
    }

    /// The path alone of a stored form, for comparing; empty if it is cut off.
    pub(super) fn read_path(bytes: &'a [u8]) -> &'a [u8] {
        let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else {
            return &[];
        };
        rest.get(..lengths(head).0).unwrap_or_default()
    }

    /// The length of the stored form.
    pub(super) fn stored_len(&self) -> usize {
        HEAD + self.path.len() + self.etag.len()
    }

    /// Whether this state of a key is shown rather than `other`.
    pub(super) fn supersedes(&self, other: &Self) -> bool {
        (self.modified, self.etag, self.size) > (other.modified, other.etag, other.size)
    }
}

fn lengths(head: &[u8; HEAD]) -> (usize, usize) {
    let path = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
    let etag = u16::from_le_bytes([head[4], head[5]]);
    (path as usize, etag as usize)
}

/// A record in a buffer of its own, which is used again and again.
#[derive(Debug, Default)]
pub(super) struct RecordBuf {
    bytes: Vec<u8>,
}

impl RecordBuf {
    /// The record.
    ///
    /// # Errors
    /// `InvalidData` if the buffer was never filled.
    pub(super) fn record(&self) -> io::Result<Record<'_>> {
        Record::read(&self.bytes).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// The path alone; empty if the buffer was never filled.
    pub(super) fn path(&self) -> &[u8] {
        Record::read_path(&self.bytes)
    }

    /// The stored form; empty if the buffer was never filled.
    pub(super) fn stored(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes over a stored form.
    pub(super) fn copy_from(&mut self, stored: &[u8]) {
        self.bytes.clear();
        self.bytes.extend_from_slice(stored);
    }

    /// Reads the next stored form; false at the end of `input`.
    pub(super) fn read_from(&mut self, input: &mut impl Read) -> io::Result<bool> {
        let mut head = [0; HEAD];
        if input.read(&mut head[..1])? == 0 {
            return Ok(false);
        }
        input.read_exact(&mut head[1..])?;
        let (path_len, etag_len) = lengths(&head);
        self.bytes.clear();
        self.bytes.extend_from_slice(&head);
        self.bytes.resize(HEAD + path_len + etag_len, 0);
        input.read_exact(&mut self.bytes[HEAD..])?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_from_memory_and_from_a_stream() {
        let first = Record {
            path: b"a\0\0",
            origin: Origin::Object(3),
            size: 1 << 60,
            modified: -1,
            etag: b"\"e\"",
        };
        let second = Record {
            path: b"",
            origin: Origin::SourceDirectory,
            size: 0,
            modified: 0,
            etag: b"",
        };
        let mut stored = Vec::new();
        first.write(&mut stored);
        assert_eq!(stored.len(), first.stored_len());
        assert_eq!(Record::read(&stored), Some(first));
        assert_eq!(Record::read(&stored[..stored.len() - 1]), None);

        second.write(&mut stored);
        let mut input = stored.as_slice();
        let mut buffer = RecordBuf::default();
        for expected in [first, second] {
            assert!(buffer.read_from(&mut input).unwrap());
            assert_eq!(buffer.record().unwrap(), expected);
        }
        assert!(!buffer.read_from(&mut input).unwrap());
    }
}
