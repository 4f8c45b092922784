//! Comparing what was read with what was written, at little cost.

use anyhow::{Result, ensure};
use forebay_tests::File;

const PAGE: u64 = 4096;
const WORD: u64 = 8;
/// What is compared at once where every byte is.
const PIECE: usize = 64 << 10;

/// How much is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// The first and the last word of a read and one word of every page in it, at a place
    /// that follows from the number: passes of other numbers look at other words. Costs
    /// some nanoseconds a page, so that figures stay those of reading.
    Pages(u64),
    /// Every byte. Costs as much as reading from memory: for passes that are not timed.
    Bytes,
}

impl Check {
    /// Compares `read` with the bytes of `file` from `offset` on.
    ///
    /// # Errors
    /// If they differ, naming the place.
    pub fn compare(self, file: &File, offset: u64, read: &[u8]) -> Result<()> {
        match self {
            Self::Pages(number) => pages(file, offset, read, number),
            Self::Bytes => bytes(file, offset, read),
        }
    }
}

fn pages(file: &File, offset: u64, read: &[u8], number: u64) -> Result<()> {
    let end = offset + read.len() as u64;
    let last = end.saturating_sub(WORD).max(offset);
    word(file, offset, offset, read)?;
    word(file, last, offset, read)?;
    for page in offset / PAGE..end.div_ceil(PAGE) {
        let within = mix(page ^ number.rotate_left(32)) % (PAGE / WORD) * WORD;
        let at = page * PAGE + within;
        if at >= offset && at + WORD <= end {
            word(file, at, offset, read)?;
        }
    }
    Ok(())
}

/// Compares the word at `at` of the file, or as much of it as was read.
fn word(file: &File, at: u64, offset: u64, read: &[u8]) -> Result<()> {
    let from = (at - offset) as usize;
    let read = &read[from..read.len().min(from + WORD as usize)];
    let mut expected = [0; WORD as usize];
    let expected = &mut expected[..read.len()];
    file.fill(at, expected);
    ensure!(read == expected, "{} is wrong at byte {at}", file.path);
    Ok(())
}

fn bytes(file: &File, offset: u64, read: &[u8]) -> Result<()> {
    let mut expected = vec![0; PIECE.min(read.len())];
    for (number, piece) in read.chunks(PIECE).enumerate() {
        let at = offset + (number * PIECE) as u64;
        let expected = &mut expected[..piece.len()];
        file.fill(at, expected);
        if let Some(wrong) = (0..piece.len()).find(|byte| piece[*byte] != expected[*byte]) {
            anyhow::bail!("{} is wrong at byte {}", file.path, at + wrong as u64);
        }
    }
    Ok(())
}

/// Spreads numbers that follow each other (the finaliser of MurmurHash3).
fn mix(mut number: u64) -> u64 {
    number = (number ^ (number >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    number = (number ^ (number >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    number ^ (number >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> File {
        File {
            path: "file".into(),
            size: 100_000,
            seed: 5,
        }
    }

    #[test]
    fn right_bytes_pass_wherever_they_begin() {
        let content = file().content();
        for (from, to) in [(0, 100_000), (3, 5), (4095, 4097), (77, 77), (5000, 60_001)] {
            for check in [Check::Pages(9), Check::Bytes] {
                check
                    .compare(&file(), from as u64, &content[from..to])
                    .unwrap();
            }
        }
    }

    #[test]
    fn one_wrong_byte_is_found_where_every_byte_is_compared() {
        let mut content = file().content();
        content[70_001] ^= 1;
        let error = Check::Bytes.compare(&file(), 0, &content).unwrap_err();
        assert_eq!(error.to_string(), "file is wrong at byte 70001");
    }

    #[test]
    fn a_wrong_page_is_found_whatever_the_number() {
        let mut content = file().content();
        content[8192..12_288].fill(0);
        for number in 0..50 {
            Check::Pages(number)
                .compare(&file(), 0, &content)
                .unwrap_err();
        }
    }

    #[test]
    fn one_wrong_byte_is_found_within_some_passes() {
        let mut content = file().content();
        content[70_001] ^= 1;
        let found = |number| Check::Pages(number).compare(&file(), 0, &content).is_err();
        assert!((0..5000).any(found));
    }
}
