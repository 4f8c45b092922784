//! Every small file once, as `open(path, "rb").read()` does.

use std::fs;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use forebay_tests::File;

use super::crew::{self, Tally};
use super::{Check, Load, Pass};

const BUFFER_BYTES: usize = 1 << 20;

pub(super) fn run(root: &Path, load: &Load<'_>) -> Result<Pass> {
    let files = load.files();
    let order = load.order(files.len());
    let buffer = || Ok(vec![0; BUFFER_BYTES]);
    crew::work(load.threads, order.len(), buffer, |buffer, number| {
        let file = &files[order[number]];
        let path = root.join(&file.path);
        let bytes = read(file, &path, buffer, load.check)
            .with_context(|| format!("read {}", path.display()))?;
        Ok(Tally {
            bytes,
            operations: 1,
            latency: None,
        })
    })
}

fn read(file: &File, path: &Path, buffer: &mut [u8], check: Check) -> Result<u64> {
    let mut open = fs::File::open(path)?;
    // What every language's library asks for, to choose its buffer.
    ensure!(open.metadata()?.len() == file.size, "wrong size");
    let mut at = 0;
    loop {
        let read = open.read(buffer)?;
        if read == 0 {
            ensure!(at == file.size, "ends at {at}");
            return Ok(at);
        }
        ensure!(at + read as u64 <= file.size, "goes on after its end");
        check.compare(file, at, &buffer[..read])?;
        at += read as u64;
    }
}
