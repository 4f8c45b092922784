//! The data that workloads read: four sets, each shaped like what training jobs have.
//!
//! Every byte follows from its file and its place (see [`File::fill`]), so whoever reads
//! can tell a wrong one.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use forebay_tests::{Dataset, Endpoint, File, S3Client, Shape, Sizes};

use crate::object;

/// What is made and put at once.
const PIECE: usize = 4 << 20;
/// Objects up to this size are put in one request.
const SMALL: u64 = 8 << 20;
/// Connections that put small objects.
const CONNECTIONS: usize = 8;

/// One kind of data, in a directory of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    /// Few large files, such as archives of samples.
    Large,
    /// Many small files, such as pictures.
    Small,
    /// Tables with a footer and row groups of column chunks.
    Columns,
    /// Weights: a header, then tensors.
    Tensors,
}

impl Set {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Large, Self::Small, Self::Columns, Self::Tensors];

    /// The name of its directory.
    pub fn dir(self) -> &'static str {
        match self {
            Self::Large => "large",
            Self::Small => "small",
            Self::Columns => "columns",
            Self::Tensors => "tensors",
        }
    }
}

/// Number and size of the files of one set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// How many files.
    pub files: u32,
    /// How large; the small ones vary around it by a tenth.
    pub bytes: u64,
}

/// How much data there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// [`Set::Large`].
    pub large: Extent,
    /// [`Set::Small`].
    pub small: Extent,
    /// [`Set::Columns`].
    pub columns: Extent,
    /// [`Set::Tensors`].
    pub tensors: Extent,
    /// Reads of one pass at random.
    pub random_reads: u32,
}

impl Scale {
    /// To see that everything works: a few MiB.
    pub const TINY: Self = Self {
        large: extent(1, 8 << 20),
        small: extent(60, 20 << 10),
        columns: extent(2, 4 << 20),
        tensors: extent(1, 6 << 20),
        random_reads: 50,
    };
    /// For several programs side by side in less than an hour.
    pub const MEDIUM: Self = Self {
        large: extent(1, 1 << 30),
        small: extent(5000, 110 << 10),
        columns: extent(4, 256 << 20),
        tensors: extent(1, 512 << 20),
        random_reads: 2000,
    };
    /// What the promises are made for.
    pub const FULL: Self = Self {
        large: extent(1, 2 << 30),
        small: extent(20_000, 110 << 10),
        columns: extent(8, 256 << 20),
        tensors: extent(1, 2 << 30),
        random_reads: 4000,
    };

    /// The extent of one set.
    pub fn of(&self, set: Set) -> Extent {
        match set {
            Set::Large => self.large,
            Set::Small => self.small,
            Set::Columns => self.columns,
            Set::Tensors => self.tensors,
        }
    }
}

const fn extent(files: u32, bytes: u64) -> Extent {
    Extent { files, bytes }
}

/// The files of some sets at one scale.
#[derive(Clone, Debug)]
pub struct Data {
    scale: Scale,
    sets: Vec<(Set, Vec<File>)>,
}

impl Data {
    /// The files of `sets`, which takes no more time than to name them.
    pub fn new(scale: Scale, sets: &[Set]) -> Self {
        let files = |set: Set| (set, files(set, scale.of(set)));
        Self {
            scale,
            sets: sets.iter().copied().map(files).collect(),
        }
    }

    /// How much there is.
    pub fn scale(&self) -> &Scale {
        &self.scale
    }

    /// The files of `set`; none if it is not part of the data.
    pub fn files(&self, set: Set) -> &[File] {
        let found = self.sets.iter().find(|(other, _)| *other == set);
        found.map_or(&[], |(_, files)| files)
    }

    /// The files of all sets.
    pub fn all(&self) -> impl Iterator<Item = &File> {
        self.sets.iter().flat_map(|(_, files)| files)
    }

    /// The size of all files together.
    pub fn bytes(&self) -> u64 {
        self.all().map(|file| file.size).sum()
    }

    /// Writes all files below `root`.
    ///
    /// # Errors
    /// If one cannot be written.
    pub fn write_to(&self, root: &Path) -> Result<()> {
        let mut buffer = vec![0; PIECE];
        for file in self.all() {
            let path = root.join(&file.path);
            write(file, &path, &mut buffer).with_context(|| format!("write {}", path.display()))?;
        }
        Ok(())
    }

    /// Puts all files into a bucket, which is made.
    ///
    /// # Panics
    /// If the server refuses: nothing can be measured then.
    pub fn upload(&self, endpoint: &Endpoint, bucket: &str) {
        let client = S3Client::new(endpoint);
        client.create_bucket(bucket);
        let small = self.all().filter(|file| file.size <= SMALL);
        let objects = small.map(|file| (&file.path, file.content()));
        client.put_many(bucket, CONNECTIONS, objects);
        for file in self.all().filter(|file| file.size > SMALL) {
            object::put(endpoint, bucket, &file.path, file.size, file.seed);
        }
    }
}

fn files(set: Set, extent: Extent) -> Vec<File> {
    let tenth = extent.bytes / 10;
    let shape = Shape {
        files: extent.files,
        directories: if set == Set::Small {
            extent.files.div_ceil(200)
        } else {
            0
        },
        sizes: if set == Set::Small {
            Sizes::Even(extent.bytes - tenth, extent.bytes + tenth)
        } else {
            Sizes::Fixed(extent.bytes)
        },
        seed: set as u64 + 1,
    };
    let mut files = Dataset::new(&shape).files().to_vec();
    for file in &mut files {
        file.path = format!("{}/{}", set.dir(), file.path);
    }
    files
}

fn write(file: &File, path: &Path, buffer: &mut [u8]) -> Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    let mut out = fs::File::create(path)?;
    let mut offset = 0;
    while offset < file.size {
        let len = (file.size - offset).min(buffer.len() as u64) as usize;
        file.fill(offset, &mut buffer[..len]);
        out.write_all(&buffer[..len])?;
        offset += len as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_has_its_files_in_its_directory() {
        let data = Data::new(Scale::TINY, &Set::ALL);
        for set in Set::ALL {
            let files = data.files(set);
            assert_eq!(files.len() as u32, Scale::TINY.of(set).files);
            let prefix = format!("{}/", set.dir());
            assert!(files.iter().all(|file| file.path.starts_with(&prefix)));
        }
        assert!(
            Data::new(Scale::TINY, &[Set::Large])
                .files(Set::Small)
                .is_empty()
        );
    }
}
