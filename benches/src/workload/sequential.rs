//! Large files from front to back. Threads share a file by reading a stretch of it each.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::crew::{self, Tally};
use super::{Load, Pass};

const READ_BYTES: u64 = 1 << 20;

pub(super) fn run(root: &Path, load: &Load<'_>) -> Result<Pass> {
    let (files, stretches) = (load.files(), load.threads as u64);
    let count = files.len() * load.threads;
    let buffer = || Ok(vec![0; READ_BYTES as usize]);
    crew::work(load.threads, count, buffer, |buffer, number| {
        let file = &files[number / load.threads];
        let stretch = (number % load.threads) as u64;
        let bound = |stretch: u64| match stretch {
            last if last == stretches => file.size,
            stretch => file.size / READ_BYTES * stretch / stretches * READ_BYTES,
        };
        let path = root.join(&file.path);
        let open = fs::File::open(&path).with_context(|| format!("open {}", path.display()))?;
        let (mut at, end) = (bound(stretch), bound(stretch + 1));
        let bytes = end - at;
        while at < end {
            let want = (end - at).min(READ_BYTES) as usize;
            let read = open
                .read_at(&mut buffer[..want], at)
                .with_context(|| format!("read {} at {at}", path.display()))?;
            ensure!(read > 0, "{} ends at {at}", path.display());
            load.check.compare(file, at, &buffer[..read])?;
            at += read as u64;
        }
        Ok(Tally {
            bytes,
            operations: 1,
            latency: None,
        })
    })
}
