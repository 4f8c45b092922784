//! One pass over the dataset: every file read once, timed and checked.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::fs::Advice;
use serde::Serialize;
use xxhash_rust::xxh3::Xxh3;

use super::dataset::Sample;
use super::path_of;
use crate::output;
use crate::size::Size;

/// What one pass has shown.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Pass {
    /// Where the bytes were.
    pub(super) name: &'static str,
    /// Files read.
    pub(super) files: u64,
    /// Bytes read.
    pub(super) bytes: u64,
    /// Time it took.
    pub(super) seconds: f64,
    /// Bytes a second, in MiB.
    pub(super) mib_per_second: f64,
    /// Bytes that came from the bucket.
    pub(super) origin_bytes: u64,
}

/// Why a pass failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// A file cannot be read.
    #[error("read {path}", path = path.display())]
    Read { path: PathBuf, source: io::Error },
    /// A file has other bytes than the bucket.
    #[error("{path} does not have the bytes that were put into the bucket", path = path.display())]
    Different { path: PathBuf },
}

/// Reads every sample below `mountpoint`. Only reading is timed, not checking.
pub(super) fn read_all(mountpoint: &Path, samples: &[Sample]) -> Result<Pass, Error> {
    let mut buffer = vec![0; 1 << 20];
    let mut pass = Pass::default();
    for sample in samples {
        let path = path_of(mountpoint, sample);
        let read = |source| Error::Read {
            path: path.clone(),
            source,
        };
        let mut hash = Xxh3::new();
        let mut size = 0;
        let mut begun = Instant::now();
        let mut file = File::open(&path).map_err(read)?;
        loop {
            let got = file.read(&mut buffer).map_err(read)?;
            pass.seconds += begun.elapsed().as_secs_f64();
            if got == 0 {
                break;
            }
            hash.update(&buffer[..got]);
            size += got as u64;
            begun = Instant::now();
        }
        if size != sample.size || hash.digest() != sample.hash {
            return Err(Error::Different { path });
        }
        // The next pass shall find the bytes in Forebay's cache, not in the kernel's.
        rustix::fs::fadvise(&file, 0, None, Advice::DontNeed).map_err(|e| read(e.into()))?;
        pass.files += 1;
        pass.bytes += size;
    }
    pass.mib_per_second = pass.bytes as f64 / f64::from(1 << 20) / pass.seconds.max(1e-9);
    Ok(pass)
}

/// The passes as a table.
pub(super) fn table(passes: &[Pass]) -> String {
    let title = ["", "files", "read", "seconds", "MiB/s", "from S3"];
    let row = |pass: &Pass| {
        vec![
            pass.name.to_owned(),
            output::count(pass.files),
            Size(pass.bytes).to_string(),
            format!("{:.2}", pass.seconds),
            format!("{:.0}", pass.mib_per_second),
            Size(pass.origin_bytes).to_string(),
        ]
    };
    let rows: Vec<_> = std::iter::once(title.map(ToOwned::to_owned).to_vec())
        .chain(passes.iter().map(row))
        .collect();
    output::table(&rows)
}

#[cfg(test)]
mod tests {
    use xxhash_rust::xxh3::xxh3_64;

    use super::*;

    fn sample(content: &[u8]) -> Sample {
        Sample {
            key: "f".into(),
            size: content.len() as u64,
            hash: xxh3_64(content),
        }
    }

    #[test]
    fn a_pass_counts_what_it_reads() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), b"content").unwrap();
        let pass = read_all(dir.path(), &[sample(b"content")]).unwrap();
        assert_eq!((pass.files, pass.bytes), (1, 7));
        assert!(table(&[pass]).contains("from S3"));
    }

    #[test]
    fn other_bytes_or_a_missing_file_fail_the_pass() {
        let dir = tempfile::tempdir().unwrap();
        let missing = read_all(dir.path(), &[sample(b"content")]);
        assert!(matches!(missing, Err(Error::Read { .. })));
        std::fs::write(dir.path().join("f"), b"CONTENT").unwrap();
        let different = read_all(dir.path(), &[sample(b"content")]);
        assert!(matches!(different, Err(Error::Different { .. })));
    }
}
