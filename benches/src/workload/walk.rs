//! Names and attributes of all files, as `os.walk` with `stat` does.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::crew::{self, Tally};
use super::{Load, Pass};

pub(super) fn run(root: &Path, load: &Load<'_>) -> Result<Pass> {
    let top = root.join(load.set.dir());
    let expected = expected(load);
    let entries = fs::read_dir(&top).with_context(|| format!("list {}", top.display()))?;
    let dirs = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<PathBuf>>>()?;
    ensure!(
        dirs.len() == expected.len(),
        "{} has {} entries, not {}",
        top.display(),
        dirs.len(),
        expected.len()
    );
    crew::work(
        load.threads,
        dirs.len(),
        || Ok(()),
        |(), number| {
            let dir = &dirs[number];
            let (count, bytes) = look(dir).with_context(|| format!("list {}", dir.display()))?;
            let name = dir.file_name().unwrap_or_default().to_string_lossy();
            ensure!(
                expected.get(&*name) == Some(&(count, bytes)),
                "{} shows {count} files of {bytes} bytes",
                dir.display()
            );
            Ok(Tally {
                bytes: 0,
                operations: count,
                latency: None,
            })
        },
    )
}

/// Looks at every entry of `dir`: how many, and their sizes together.
fn look(dir: &Path) -> Result<(u64, u64)> {
    let (mut count, mut bytes) = (0, 0);
    for entry in fs::read_dir(dir)? {
        count += 1;
        bytes += entry?.metadata()?.len();
    }
    Ok((count, bytes))
}

/// Number and bytes of the files of each directory of the set.
fn expected<'d>(load: &Load<'d>) -> HashMap<&'d str, (u64, u64)> {
    let mut expected = HashMap::new();
    for file in load.files() {
        // set/directory/file
        let dir = file.path.split('/').nth(1).unwrap_or_default();
        let (count, bytes) = expected.entry(dir).or_insert((0, 0));
        *count += 1;
        *bytes += file.size;
    }
    expected
}
