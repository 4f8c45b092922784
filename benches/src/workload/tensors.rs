//! A mapped file of weights: a header, then tensors, touched page by page or copied.

use std::fs;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use memmap2::Mmap;

use super::crew::{self, Tally};
use super::{Load, Pass, Workload};

/// The header's length, then the header.
const HEADER: [u64; 2] = [8, 64 << 10];
/// Sizes of tensors, over and over: large matrices, small vectors.
const SIZES: [u64; 5] = [16 << 20, 8 << 10, 4 << 20, 32 << 10, 40 << 20];
/// What is copied at once.
const COPY_BYTES: usize = 1 << 20;

pub(super) fn run(root: &Path, load: &Load<'_>) -> Result<Pass> {
    let file = load.files().first().context("no file of tensors")?;
    let path = root.join(&file.path);
    let (header, tensors) = layout(file.size);
    let order = load.order(tensors.len());
    let state = || -> Result<(Mmap, Vec<u8>)> {
        let map = map(&path).with_context(|| format!("map {}", path.display()))?;
        ensure!(
            map.len() as u64 == file.size,
            "{} has a wrong size",
            path.display()
        );
        for part in &header {
            load.check.compare(file, part.start, slice(&map, part))?;
        }
        Ok((map, vec![0; COPY_BYTES]))
    };
    crew::work(load.threads, order.len(), state, |(map, buffer), number| {
        let tensor = &tensors[order[number]];
        let bytes = slice(map, tensor);
        if load.workload == Workload::TensorsCopied {
            for (piece, at) in bytes
                .chunks(COPY_BYTES)
                .zip((tensor.start..).step_by(COPY_BYTES))
            {
                let copy = &mut buffer[..piece.len()];
                copy.copy_from_slice(piece);
                load.check.compare(file, at, copy)?;
            }
        } else {
            // The comparison itself touches each page once.
            load.check.compare(file, tensor.start, bytes)?;
        }
        Ok(Tally {
            bytes: bytes.len() as u64,
            operations: 1,
            latency: None,
        })
    })
}

/// The parts of the header, and the tensors, of a file of `size` bytes.
fn layout(size: u64) -> (Vec<Range<u64>>, Vec<Range<u64>>) {
    let mut at = 0;
    let mut take = |len: u64| {
        let part = at..size.min(at + len);
        at = part.end;
        part
    };
    let header = HEADER.map(&mut take).to_vec();
    let sizes = SIZES.into_iter().cycle();
    let tensors = sizes.map(take).take_while(|part| !part.is_empty());
    (header, tensors.collect())
}

fn slice<'m>(map: &'m Mmap, range: &Range<u64>) -> &'m [u8] {
    &map[range.start as usize..range.end as usize]
}

#[expect(unsafe_code, reason = "mapping a file is what is measured")]
fn map(path: &Path) -> Result<Mmap> {
    let file = fs::File::open(path)?;
    // SAFETY: files below the roots that are measured are not written to meanwhile.
    Ok(unsafe { Mmap::map(&file) }?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_follow_the_header_without_a_gap_up_to_the_end() {
        let size = 150 << 20;
        let (header, tensors) = layout(size);
        let mut at = 0;
        for part in header.iter().chain(&tensors) {
            assert_eq!(part.start, at);
            at = part.end;
        }
        assert_eq!(at, size);
        assert!(tensors.len() > SIZES.len());
    }
}
