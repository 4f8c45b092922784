//! A cache directory as it was closed, kept in memory.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The unit in which holes are looked for.
const BLOCK: usize = 4096;

/// The files of a directory.
pub(super) struct Image {
    files: Vec<(PathBuf, Vec<u8>)>,
    /// For each file, where its blocks are that are no holes.
    blocks: Vec<Vec<usize>>,
}

impl Image {
    /// The files below `dir`, sorted by path.
    pub(super) fn of(dir: &Path) -> Self {
        let mut files = Vec::new();
        collect(dir, Path::new(""), &mut files);
        files.sort();
        let blocks = files.iter().map(|(_, bytes)| blocks(bytes)).collect();
        Self { files, blocks }
    }

    /// How many files there are.
    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    /// One of the files, any number being one, and its bytes.
    pub(super) fn file(&self, number: u8) -> (&Path, &[u8]) {
        let (path, bytes) = &self.files[usize::from(number) % self.files.len()];
        (path, bytes)
    }

    /// Makes `dir` what it was.
    pub(super) fn restore(&self, dir: &Path) {
        if dir.exists() {
            fs::remove_dir_all(dir).expect("remove a directory in memory");
        }
        for ((path, bytes), blocks) in self.files.iter().zip(&self.blocks) {
            let path = dir.join(path);
            let parent = path.parent().expect("a file has a parent");
            fs::create_dir_all(parent).expect("make a directory in memory");
            let file = File::create(&path).expect("make a file in memory");
            write_sparse(&file, bytes, blocks).expect("write to memory");
        }
    }
}

fn collect(root: &Path, below: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(root.join(below)).expect("list a directory in memory") {
        let entry = entry.expect("list a directory in memory");
        let path = below.join(entry.file_name());
        match entry
            .file_type()
            .expect("look at a file in memory")
            .is_dir()
        {
            true => collect(root, &path, files),
            false => {
                let bytes = fs::read(root.join(&path)).expect("read from memory");
                files.push((path, bytes));
            }
        }
    }
}

/// Where blocks begin that have a byte other than 0.
fn blocks(bytes: &[u8]) -> Vec<usize> {
    let numbered = bytes.chunks(BLOCK).enumerate();
    let full = numbered.filter(|(_, block)| block.iter().any(|byte| *byte != 0));
    full.map(|(number, _)| number * BLOCK).collect()
}

fn write_sparse(file: &File, bytes: &[u8], blocks: &[usize]) -> std::io::Result<()> {
    file.set_len(bytes.len() as u64)?;
    for &start in blocks {
        let end = bytes.len().min(start + BLOCK);
        file.write_all_at(&bytes[start..end], start as u64)?;
    }
    Ok(())
}
