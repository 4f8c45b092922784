//! Some columns of tables: the footer first, then column chunks at a stride.
//!
//! The layout is that of Parquet files as most writers make them: row groups one after
//! the other, in each a chunk of every column, and at the end a footer and its length.

use std::fs;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result};

use super::crew::{self, Tally};
use super::{Load, Pass};

const COLUMNS: u64 = 16;
/// The columns that are read.
const CHOSEN: [u64; 3] = [1, 6, 11];
const CHUNK_BYTES: u64 = 4 << 20;
/// The footer's length and the magic number, the last bytes of the file.
const TAIL_BYTES: u64 = 8;
const FOOTER_BYTES: u64 = 64 << 10;

pub(super) fn run(root: &Path, load: &Load<'_>) -> Result<Pass> {
    let files = load.files();
    let order = load.order(files.len());
    let buffer = || Ok(vec![0; CHUNK_BYTES as usize]);
    crew::work(load.threads, order.len(), buffer, |buffer, number| {
        let file = &files[order[number]];
        let path = root.join(&file.path);
        let open = fs::File::open(&path).with_context(|| format!("open {}", path.display()))?;
        let mut tally = Tally::default();
        for range in reads(file.size) {
            let read = &mut buffer[..(range.end - range.start) as usize];
            open.read_exact_at(read, range.start)
                .with_context(|| format!("read {} at {}", path.display(), range.start))?;
            load.check.compare(file, range.start, read)?;
            tally.bytes += read.len() as u64;
            tally.operations += 1;
        }
        Ok(tally)
    })
}

/// What is read of a table of `size` bytes, in order.
fn reads(size: u64) -> Vec<Range<u64>> {
    let tail = size.saturating_sub(TAIL_BYTES);
    let footer = tail.saturating_sub(FOOTER_BYTES);
    // A small table has one row group of small chunks.
    let chunk = CHUNK_BYTES.min(footer / COLUMNS);
    let groups = if chunk == 0 {
        0
    } else {
        footer / (COLUMNS * chunk)
    };
    let chunks = (0..groups).flat_map(|group| CHOSEN.map(|column| group * COLUMNS + column));
    let chunks = chunks.map(|number| number * chunk..(number + 1) * chunk);
    [tail..size, footer..tail]
        .into_iter()
        .chain(chunks)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_of_sixteen_columns_are_read_of_every_row_group() {
        let size = 2 * COLUMNS * CHUNK_BYTES + FOOTER_BYTES + TAIL_BYTES;
        let reads = reads(size);
        assert_eq!(reads.len(), 2 + 2 * CHOSEN.len());
        assert_eq!(reads[0], size - 8..size);
        assert_eq!(reads[2], CHUNK_BYTES..2 * CHUNK_BYTES);
        assert_eq!(reads[5].start, (COLUMNS + 1) * CHUNK_BYTES);
    }

    #[test]
    fn no_read_is_beyond_the_end_however_small_the_table() {
        for size in [0, 5, 8, 1000, 1 << 20] {
            assert!(
                reads(size)
                    .iter()
                    .all(|range| range.start <= range.end && range.end <= size)
            );
        }
    }
}
