//! Reads of 128 KiB at random places, each timed.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use forebay_tests::{File, Random};

use super::crew::{self, Tally};
use super::{Load, Pass};

/// Bytes of one read.
pub const READ_BYTES: u64 = 128 << 10;
/// Reads begin at multiples of a page, as those of most formats do or nearly do.
const ALIGNMENT: u64 = 4096;

pub(super) fn run(root: &Path, load: &Load<'_>) -> Result<Pass> {
    let files = load.files();
    let reader = || -> Result<Reader> {
        let open = |file: &File| fs::File::open(root.join(&file.path)).context("open");
        Ok(Reader {
            files: files.iter().map(open).collect::<Result<_>>()?,
            buffer: vec![0; READ_BYTES as usize],
        })
    };
    let count = load.data.scale().random_reads as usize;
    crew::work(load.threads, count, reader, |reader, number| {
        let (position, at) = place(load, number);
        let file = &files[position];
        let len = READ_BYTES.min(file.size - at) as usize;
        let begun = Instant::now();
        reader.files[position]
            .read_exact_at(&mut reader.buffer[..len], at)
            .with_context(|| format!("read {} at {at}", file.path))?;
        let latency = begun.elapsed();
        load.check.compare(file, at, &reader.buffer[..len])?;
        Ok(Tally {
            bytes: len as u64,
            operations: 1,
            latency: Some(latency),
        })
    })
}

struct Reader {
    files: Vec<fs::File>,
    buffer: Vec<u8>,
}

/// Which file the read `number` is of, and where in it.
pub(crate) fn place(load: &Load<'_>, number: usize) -> (usize, u64) {
    let files = load.files();
    let mut random = Random::new(load.seed.rotate_left(32) ^ number as u64);
    let position = random.below(files.len() as u64) as usize;
    let room = files[position].size.saturating_sub(READ_BYTES) / ALIGNMENT;
    (position, random.below(room + 1) * ALIGNMENT)
}
