//! Datasets that follow from a few numbers: the same shape gives the same files, here, in
//! a bucket, and in the check of what comes back.

use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use forebay_loopback_s3::{LoopbackS3, synthetic};
use xxhash_rust::xxh3::Xxh3;

use crate::s3client::S3Client;

/// How much of a file is compared at once.
const PIECE: usize = 1 << 20;

/// How large the files are.
#[derive(Clone, Copy, Debug)]
pub enum Sizes {
    /// All of this size.
    Fixed(u64),
    /// Between these, evenly, both included.
    Even(u64, u64),
    /// Between these, every doubling as often as any other: many small, few large, as in
    /// most collections. The smallest is at least 1.
    Skewed(u64, u64),
}

/// What a dataset looks like.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// How many files.
    pub files: u32,
    /// In how many directories below the root; 0 for none.
    pub directories: u32,
    /// How large.
    pub sizes: Sizes,
    /// Other seeds give other names, sizes and bytes.
    pub seed: u64,
}

/// One file: its bytes are the stream of its seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// The path below the root, with `/` between its parts.
    pub path: String,
    /// The size in bytes.
    pub size: u64,
    /// The seed of its bytes (see [`synthetic`]).
    pub seed: u64,
}

impl File {
    /// The bytes from `offset` on that fit into `buffer`, which must not reach beyond
    /// the end.
    pub fn fill(&self, offset: u64, buffer: &mut [u8]) {
        synthetic::fill(self.seed, offset, buffer);
    }

    /// All its bytes.
    pub fn content(&self) -> Vec<u8> {
        let size = usize::try_from(self.size).expect("a file that fits into memory");
        let mut content = vec![0; size];
        self.fill(0, &mut content);
        content
    }

    /// The XXH3-128 of its bytes, in hexadecimal digits as `xxhsum -H2` prints them.
    pub fn xxh3(&self) -> String {
        let mut hasher = Xxh3::new();
        let mut buffer = vec![0; PIECE];
        let mut offset = 0;
        while offset < self.size {
            let len = (self.size - offset).min(PIECE as u64) as usize;
            self.fill(offset, &mut buffer[..len]);
            hasher.update(&buffer[..len]);
            offset += len as u64;
        }
        format!("{:032x}", hasher.digest128())
    }

    /// Compares with the file at `path`, to the last byte.
    ///
    /// # Errors
    /// Where it differs first, or why it cannot be read.
    pub fn compare(&self, path: &Path) -> Result<(), Difference> {
        let mut file = fs::File::open(path)?;
        let (mut read, mut expected) = (vec![0; PIECE], vec![0; PIECE]);
        let mut offset = 0;
        loop {
            let len = file.read(&mut read)?;
            if len == 0 && offset == self.size {
                return Ok(());
            }
            if len == 0 || offset + len as u64 > self.size {
                return Err(Difference::Size {
                    got: offset + len as u64,
                });
            }
            self.fill(offset, &mut expected[..len]);
            if read[..len] != expected[..len] {
                let at = (0..len).find(|at| read[*at] != expected[*at]).unwrap_or(0);
                return Err(Difference::Byte {
                    offset: offset + at as u64,
                });
            }
            offset += len as u64;
        }
    }
}

/// How a file differs from what it should be.
#[derive(Debug)]
pub enum Difference {
    /// It cannot be read.
    Unreadable(io::Error),
    /// It ends at another byte than the last, or goes on after it.
    Size {
        /// How far it was read.
        got: u64,
    },
    /// It has another byte here; those before are right.
    Byte {
        /// Where.
        offset: u64,
    },
}

impl From<io::Error> for Difference {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error)
    }
}

/// A file that is not what it should be.
#[derive(Debug)]
pub struct Mismatch {
    /// What it should be.
    pub file: File,
    /// How it differs.
    pub difference: Difference,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ({} bytes): {:?}",
            self.file.path, self.file.size, self.difference
        )
    }
}

/// The files of a shape.
#[derive(Clone, Debug)]
pub struct Dataset {
    files: Vec<File>,
}

impl Dataset {
    /// The files of `shape`, which takes no more time than to name them.
    pub fn new(shape: &Shape) -> Self {
        let file = |number| {
            let seed = word(shape.seed, u64::from(number));
            let name = format!("file-{number:07}.bin");
            let path = match shape.directories {
                0 => name,
                count => format!("dir-{:04}/{name}", number % count),
            };
            File {
                path,
                size: shape.sizes.pick(seed),
                seed,
            }
        };
        Self {
            files: (0..shape.files).map(file).collect(),
        }
    }

    /// These files.
    pub fn of(files: Vec<File>) -> Self {
        Self { files }
    }

    /// The same files in the directory `dir`.
    pub fn below(mut self, dir: &str) -> Self {
        for file in &mut self.files {
            file.path = format!("{dir}/{}", file.path);
        }
        self
    }

    /// These files and those of `other`, which have other paths.
    pub fn with(mut self, other: Self) -> Self {
        self.files.extend(other.files);
        self
    }

    /// Its table of contents.
    pub fn files(&self) -> &[File] {
        &self.files
    }

    /// The size of all files together.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// Writes all files below `root`.
    ///
    /// # Panics
    /// If one cannot be written.
    pub fn write_to(&self, root: &Path) {
        for file in &self.files {
            let path = root.join(&file.path);
            let dir = path.parent().expect("a file below a directory");
            fs::create_dir_all(dir)
                .and_then(|()| fs::write(&path, file.content()))
                .unwrap_or_else(|error| panic!("write {}: {error}", path.display()));
        }
    }

    /// Makes all files objects of an in-process server, at no cost in memory.
    pub fn put_to(&self, server: &LoopbackS3, bucket: &str, prefix: &str) {
        for file in &self.files {
            server.put_synthetic(
                bucket,
                &format!("{prefix}{}", file.path),
                file.size,
                file.seed,
            );
        }
    }

    /// Puts all files into a bucket of any server, over several connections.
    pub fn upload(&self, client: &S3Client, bucket: &str, prefix: &str) {
        let objects = self
            .files
            .iter()
            .map(|file| (format!("{prefix}{}", file.path), file.content()));
        client.put_many(bucket, 8, objects);
    }

    /// Compares every file below `root`, to the last byte.
    pub fn mismatches(&self, root: &Path) -> Vec<Mismatch> {
        let compare = |file: &File| {
            let difference = file.compare(&root.join(&file.path)).err()?;
            Some(Mismatch {
                file: file.clone(),
                difference,
            })
        };
        self.files.iter().filter_map(compare).collect()
    }

    /// Compares every file below `root`, to the last byte.
    ///
    /// # Panics
    /// If one differs, naming the first ones.
    #[track_caller]
    pub fn assert_at(&self, root: &Path) {
        let mismatches = self.mismatches(root);
        let first: Vec<_> = mismatches
            .iter()
            .take(10)
            .map(ToString::to_string)
            .collect();
        assert!(
            mismatches.is_empty(),
            "{} files differ: {first:#?}",
            mismatches.len()
        );
    }

    /// Where a file of the dataset is below `root`.
    pub fn path_of(&self, number: usize, root: &Path) -> PathBuf {
        root.join(&self.files[number].path)
    }
}

impl Sizes {
    fn pick(self, seed: u64) -> u64 {
        match self {
            Self::Fixed(size) => size,
            Self::Even(least, most) => least + word(seed, 1) % (most - least + 1),
            Self::Skewed(least, most) => {
                let least = least.max(1);
                let doublings = u64::from((most / least).ilog2()) + 1;
                let from = least << (word(seed, 1) % doublings);
                let to = (from * 2 - 1).min(most);
                from + word(seed, 2) % (to - from + 1)
            }
        }
    }
}

/// A number that looks random and follows from both.
fn word(seed: u64, number: u64) -> u64 {
    let mut bytes = [0; 8];
    synthetic::fill(seed, number * 8, &mut bytes);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    fn shape(sizes: Sizes) -> Shape {
        Shape {
            files: 200,
            directories: 7,
            sizes,
            seed: 1,
        }
    }

    #[test]
    fn a_shape_gives_the_same_files_every_time() {
        let files = |shape| Dataset::new(&shape).files;
        let sizes = Sizes::Skewed(100, 1 << 20);
        assert_eq!(files(shape(sizes)), files(shape(sizes)));
        assert_ne!(
            files(shape(sizes)),
            files(Shape {
                seed: 2,
                ..shape(sizes)
            })
        );
    }

    #[test]
    fn sizes_are_within_their_bounds_and_reach_them_nearly() {
        let sizes = |sizes| {
            let dataset = Dataset::new(&Shape {
                files: 10_000,
                ..shape(sizes)
            });
            let sizes = dataset.files.iter().map(|file| file.size);
            (sizes.clone().min().unwrap(), sizes.max().unwrap())
        };
        assert_eq!(sizes(Sizes::Fixed(5)), (5, 5));
        assert_eq!(sizes(Sizes::Even(0, 10)), (0, 10));
        let (least, most) = sizes(Sizes::Skewed(100, 10_000));
        assert!((100..110).contains(&least) && (9_000..=10_000).contains(&most));
    }

    #[test]
    fn what_was_written_is_what_is_compared() {
        let scratch = Scratch::new("dataset", 10 << 20);
        let dataset = Dataset::new(&shape(Sizes::Even(0, 10_000)));
        dataset.write_to(scratch.path());
        dataset.assert_at(scratch.path());
        let spoil = |number, content: &[u8]| {
            fs::write(dataset.path_of(number, scratch.path()), content).unwrap();
        };
        let mut content = dataset.files[3].content();
        content[77] ^= 1;
        spoil(3, &content);
        spoil(4, &dataset.files[4].content()[1..]);
        spoil(5, &[&dataset.files[5].content()[..], b"x"].concat());
        fs::remove_file(dataset.path_of(6, scratch.path())).unwrap();
        let mismatches = dataset.mismatches(scratch.path());
        assert_eq!(mismatches.len(), 4);
        assert!(matches!(
            mismatches[0].difference,
            Difference::Byte { offset: 77 }
        ));
        assert!(matches!(mismatches[2].difference, Difference::Size { .. }));
        assert!(matches!(
            mismatches[3].difference,
            Difference::Unreadable(_)
        ));
    }

    #[test]
    fn the_hash_is_that_of_the_content() {
        let dataset = Dataset::new(&shape(Sizes::Fixed(PIECE as u64 + 5)));
        let file = &dataset.files[0];
        let expected = xxhash_rust::xxh3::xxh3_128(&file.content());
        assert_eq!(file.xxh3(), format!("{expected:032x}"));
    }
}
