//! Sorting a listing that does not fit in memory.
//!
//! Records collect in an arena. When it is full it is sorted and written out as a run;
//! [`FAN_IN`] runs of one generation are merged to one of the next, so that open files
//! and read buffers stay few. What is left at the end is merged once more, on the fly.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

use super::merge::{Merge, Run};
use super::record::{Record, RecordBuf};

/// How many runs of one generation are merged at once.
const FAN_IN: usize = 64;

/// Read and write buffer of a run.
const RUN_BUFFER: usize = 64 << 10;

/// The largest arena, bounded by the width of an offset in it.
const MAX_ARENA: usize = 1 << 30;

/// Takes records in any order and gives them back sorted by path.
#[derive(Debug)]
pub(super) struct Sorter {
    dir: PathBuf,
    arena: Arena,
    limit: usize,
    generations: Vec<Vec<File>>,
}

impl Sorter {
    /// A sorter that keeps about `limit` bytes in memory and the rest in `dir`.
    pub(super) fn new(dir: &Path, limit: usize) -> Self {
        let (dir, limit) = (dir.to_owned(), limit.min(MAX_ARENA));
        Self {
            dir,
            arena: Arena::default(),
            limit,
            generations: Vec::new(),
        }
    }

    /// Sets how much is kept in memory.
    pub(super) fn set_limit(&mut self, limit: usize) {
        self.limit = limit.min(MAX_ARENA);
    }

    /// Adds a record.
    pub(super) fn push(&mut self, record: &Record<'_>) -> io::Result<()> {
        if !self.arena.is_empty() && self.arena.footprint_with(record) > self.limit {
            self.spill()?;
        }
        self.arena.push(record, self.limit);
        Ok(())
    }

    /// Every record that was pushed, sorted.
    pub(super) fn into_sorted(mut self) -> io::Result<Merge> {
        let spilled = self.generations.into_iter().flatten().map(stored_run);
        self.arena.sort();
        Merge::new(spilled.chain([Run::Arena(self.arena.into_records())]))
    }

    /// Writes the arena out as a run, and merges runs where they have become many.
    fn spill(&mut self) -> io::Result<()> {
        self.arena.sort();
        let mut run = write_run(&self.dir, |out| {
            self.arena
                .stored()
                .try_for_each(|stored| out.write_all(stored))
        })?;
        self.arena.clear();
        for generation in 0.. {
            if generation == self.generations.len() {
                self.generations.push(Vec::new());
            }
            self.generations[generation].push(run);
            if self.generations[generation].len() < FAN_IN {
                break;
            }
            let full = std::mem::take(&mut self.generations[generation]);
            run = merge_runs(&self.dir, full)?;
        }
        Ok(())
    }
}

fn merge_runs(dir: &Path, runs: Vec<File>) -> io::Result<File> {
    let mut merge = Merge::new(runs.into_iter().map(stored_run))?;
    let mut buffer = RecordBuf::default();
    write_run(dir, |out| {
        while merge.next(&mut buffer)? {
            out.write_all(buffer.stored())?;
        }
        Ok(())
    })
}

/// Lets `fill` write a file without a name and rewinds it.
fn write_run(
    dir: &Path,
    fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<File> {
    let mut out = BufWriter::with_capacity(RUN_BUFFER, tempfile::tempfile_in(dir)?);
    fill(&mut out)?;
    let mut file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.rewind()?;
    Ok(file)
}

fn stored_run(file: File) -> Run {
    Run::Stored(BufReader::with_capacity(RUN_BUFFER, file))
}

/// Records in memory: their stored forms end to end, and where each begins.
#[derive(Debug, Default)]
struct Arena {
    bytes: Vec<u8>,
    starts: Vec<u32>,
}

impl Arena {
    fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    fn footprint_with(&self, record: &Record<'_>) -> usize {
        self.bytes.len() + record.stored_len() + (self.starts.len() + 1) * size_of::<u32>()
    }

    fn push(&mut self, record: &Record<'_>, reserve: usize) {
        if self.bytes.capacity() == 0 {
            // Address space at once, pages as they are touched: growing by doubling
            // would hold the old and the new buffer for a moment.
            self.bytes.reserve(reserve);
        }
        self.starts.push(self.bytes.len() as u32);
        record.write(&mut self.bytes);
    }

    fn sort(&mut self) {
        let bytes = &self.bytes;
        self.starts
            .sort_unstable_by_key(|&start| Record::read_path(&bytes[start as usize..]));
    }

    fn stored(&self) -> impl Iterator<Item = &[u8]> {
        self.starts
            .iter()
            .map(|&start| stored_at(&self.bytes, start))
    }

    fn into_records(self) -> ArenaRecords {
        ArenaRecords {
            arena: self,
            next: 0,
        }
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.starts.clear();
    }
}

fn stored_at(bytes: &[u8], start: u32) -> &[u8] {
    let bytes = &bytes[start as usize..];
    let len = Record::read(bytes).map_or(0, |record| record.stored_len());
    &bytes[..len]
}

/// The records of a sorted arena, one after the other.
#[derive(Debug)]
pub(super) struct ArenaRecords {
    arena: Arena,
    next: usize,
}

impl ArenaRecords {
    /// Copies the next record; false if there is none.
    pub(super) fn next(&mut self, into: &mut RecordBuf) -> bool {
        let Some(&start) = self.arena.starts.get(self.next) else {
            return false;
        };
        into.copy_from(stored_at(&self.arena.bytes, start));
        self.next += 1;
        true
    }
}
