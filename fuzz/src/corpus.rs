//! The inputs that are kept in the repository, and those that made something crash.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use xxhash_rust::xxh3::xxh3_64;

/// A small corpus: what longer ones reach, mutation finds again.
const MOST_KEPT: usize = 40;
/// The longest input that is worth keeping.
const LONGEST_KEPT: usize = 2 << 10;

/// The kept inputs of one target.
#[derive(Debug)]
pub struct Corpus {
    dir: PathBuf,
}

impl Corpus {
    /// Those in the repository.
    pub fn of(target: &str) -> Self {
        let dir = folder().join("corpus").join(target);
        Self { dir }
    }

    /// The inputs, by name; none if nothing is kept.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn inputs(&self) -> Result<Vec<Vec<u8>>> {
        if !self.dir.exists() {
            return Ok(Vec::new());
        }
        let listing = || format!("list the corpus {}", self.dir.display());
        let entries = fs::read_dir(&self.dir).with_context(listing)?;
        let paths: Result<Vec<_>, _> = entries.map(|entry| entry.map(|e| e.path())).collect();
        let mut paths = paths.with_context(listing)?;
        paths.sort();
        let read =
            |path: PathBuf| fs::read(&path).with_context(|| format!("read {}", path.display()));
        paths.into_iter().map(read).collect()
    }

    /// Puts `inputs` in the place of what is kept, short ones first, as far as a small
    /// corpus goes. Returns how many those are.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn replace(&self, mut inputs: Vec<Vec<u8>>) -> Result<usize> {
        let writing = || format!("write the corpus {}", self.dir.display());
        inputs.retain(|input| input.len() <= LONGEST_KEPT);
        inputs.sort_by_key(Vec::len);
        inputs.truncate(MOST_KEPT);
        if self.dir.exists() {
            fs::remove_dir_all(&self.dir).with_context(writing)?;
        }
        fs::create_dir_all(&self.dir).with_context(writing)?;
        for input in &inputs {
            fs::write(self.dir.join(name(input)), input).with_context(writing)?;
        }
        Ok(inputs.len())
    }
}

/// Saves an input that made a target crash, and says in words where it is and how it is
/// tried again.
pub fn save_crash(target: &str, input: &[u8]) -> String {
    let dir = folder().join("crashes");
    let path = dir.join(format!("{target}-{}", name(input)));
    let saved = fs::create_dir_all(&dir).and_then(|()| fs::write(&path, input));
    match saved {
        Ok(()) => format!(
            "try it again: cargo xtask fuzz --target {target} --replay {}",
            path.display()
        ),
        Err(error) => format!(
            "the input could not be saved in {}: {error}",
            path.display()
        ),
    }
}

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn name(input: &[u8]) -> String {
    format!("{:016x}", xxh3_64(input))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_corpus_is_replaced_by_its_shortest_inputs() {
        let scratch = forebay_tests::Scratch::new("corpus", 1 << 20);
        let corpus = Corpus {
            dir: scratch.path().join("one"),
        };
        assert!(corpus.inputs().unwrap().is_empty());
        let inputs: Vec<_> = (1..=60).rev().map(|len| vec![7; len]).collect();
        assert_eq!(corpus.replace(inputs).unwrap(), MOST_KEPT);
        corpus
            .replace(vec![vec![1; LONGEST_KEPT + 1], vec![2, 3]])
            .unwrap();
        assert_eq!(corpus.inputs().unwrap(), [[2, 3]]);
    }
}
