//! Many growing byte streams in one temporary file.
//!
//! A stream collects in memory and goes to the end of the file in large pieces. A build
//! has as many streams as the tree is deep, and one file descriptor for all of them.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A stream is written out when it holds this much.
const PIECE: usize = 256 << 10;

/// All streams are written out when they hold this much together.
const TOTAL: usize = 16 << 20;

/// Byte streams, numbered from 0, that are appended to and then read.
#[derive(Debug)]
pub(super) struct Spool {
    dir: PathBuf,
    file: Option<File>,
    file_len: u64,
    buffered: usize,
    streams: Vec<Stream>,
}

#[derive(Debug, Default)]
struct Stream {
    pieces: Vec<Piece>,
    tail: Vec<u8>,
    len: u64,
}

#[derive(Clone, Copy, Debug)]
struct Piece {
    offset: u64,
    len: u64,
}

impl Spool {
    /// An empty spool whose file, if it needs one, is in `dir`.
    pub(super) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            file: None,
            file_len: 0,
            buffered: 0,
            streams: Vec::new(),
        }
    }

    /// Appends to a stream, which begins to exist if it does not.
    pub(super) fn append(&mut self, stream: usize, bytes: &[u8]) -> io::Result<()> {
        if stream >= self.streams.len() {
            self.streams.resize_with(stream + 1, Stream::default);
        }
        let tail = &mut self.streams[stream].tail;
        tail.extend_from_slice(bytes);
        let full = tail.len() >= PIECE;
        self.streams[stream].len += bytes.len() as u64;
        self.buffered += bytes.len();
        if self.buffered >= TOTAL {
            (0..self.streams.len()).try_for_each(|stream| self.write_out(stream))
        } else if full {
            self.write_out(stream)
        } else {
            Ok(())
        }
    }

    /// The length of a stream; 0 if nothing was appended to it.
    pub(super) fn len(&self, stream: usize) -> u64 {
        self.streams.get(stream).map_or(0, |stream| stream.len)
    }

    /// A reader of a whole stream.
    pub(super) fn reader(&self, stream: usize) -> StreamReader<'_> {
        let (pieces, tail) = match self.streams.get(stream) {
            Some(stream) => (stream.pieces.as_slice(), stream.tail.as_slice()),
            None => Default::default(),
        };
        StreamReader {
            file: self.file.as_ref(),
            pieces,
            in_piece: 0,
            tail,
        }
    }

    fn write_out(&mut self, stream: usize) -> io::Result<()> {
        // Buffers that stay as large as they once were may not exceed the total either.
        let keeps_buffer = self.streams.len() <= TOTAL / PIECE;
        let Stream { pieces, tail, .. } = &mut self.streams[stream];
        if tail.is_empty() {
            return Ok(());
        }
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(tempfile::tempfile_in(&self.dir)?),
        };
        file.write_all_at(tail, self.file_len)?;
        let len = tail.len();
        pieces.push(Piece {
            offset: self.file_len,
            len: len as u64,
        });
        self.file_len += len as u64;
        self.buffered -= len;
        tail.clear();
        if !keeps_buffer {
            tail.shrink_to_fit();
        }
        Ok(())
    }
}

/// Reads one stream from its beginning.
#[derive(Debug)]
pub(super) struct StreamReader<'s> {
    file: Option<&'s File>,
    pieces: &'s [Piece],
    in_piece: u64,
    tail: &'s [u8],
}

impl Read for StreamReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (Some(file), Some(piece)) = (self.file, self.pieces.first()) else {
            return self.tail.read(buffer);
        };
        let left = piece.len - self.in_piece;
        let want = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let got = file.read_at(&mut buffer[..want], piece.offset + self.in_piece)?;
        if got == 0 && want > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.in_piece += got as u64;
        if self.in_piece == piece.len {
            self.pieces = &self.pieces[1..];
            self.in_piece = 0;
        }
        Ok(got)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interleaved_streams_read_back_whole() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(dir.path());
        let mut expected = vec![Vec::new(); 3];
        for round in 0..200_u32 {
            for (stream, expected) in expected.iter_mut().enumerate() {
                let bytes = vec![(round as u8) ^ (stream as u8); 20_011 * stream + 1];
                spool.append(stream, &bytes).unwrap();
                expected.extend_from_slice(&bytes);
            }
        }
        for (stream, expected) in expected.iter().enumerate() {
            let mut read = Vec::new();
            spool.reader(stream).read_to_end(&mut read).unwrap();
            assert_eq!(spool.len(stream), expected.len() as u64);
            assert!(read == *expected, "stream {stream}");
        }
        assert_eq!(spool.len(9), 0);
        assert_eq!(spool.reader(9).read(&mut [0; 4]).unwrap(), 0);
    }

    #[test]
    fn many_small_streams_need_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(dir.path());
        for stream in 0..2_000 {
            spool.append(stream, b"x").unwrap();
        }
        assert!(spool.file.is_none());
    }
}
