//! A plain reader: open, read to the end in 1 MiB pieces, close.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// What one pass over a file took.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// Bytes read.
    pub bytes: u64,
    /// Time from before `open` to the end of the file.
    pub time: Duration,
}

impl Pass {
    /// MiB per second.
    pub fn rate(&self) -> f64 {
        self.bytes as f64 / f64::from(1 << 20) / self.time.as_secs_f64()
    }
}

/// Reads `path` from beginning to end and throws the bytes away.
///
/// # Errors
/// If the file cannot be read.
pub fn read(path: &Path) -> Result<Pass> {
    let begun = Instant::now();
    let mut file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        let read = file
            .read(&mut buffer)
            .with_context(|| format!("read {}", path.display()))?;
        if read == 0 {
            break;
        }
        bytes += read as u64;
    }
    let time = begun.elapsed();
    Ok(Pass { bytes, time })
}
