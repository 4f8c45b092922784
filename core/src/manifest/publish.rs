//! Putting a finished manifest in its place.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;
use xxhash_rust::xxh3::Xxh3;

use super::format::{HEADER_LEN, Header, SECTIONS, encode_lengths};
use super::spool::Spool;
use super::{Error, Result, VersionId};

/// How much is copied at once.
const COPY_BUFFER: usize = 1 << 20;

/// Writes the sections to `<version>.manifest` in `dir`, durably: when it returns, the
/// file has its name and a power cut keeps it. A file of that name is replaced; readers
/// that have it open keep the old one, which has the same content.
pub(super) fn publish(sections: &Spool, dir: &Path) -> Result<VersionId> {
    let at = |path: PathBuf| move |source| Error::Publish { path, source };
    let (file, version) = write(sections, dir).map_err(at(dir.to_owned()))?;
    let path = dir.join(format!("{version}.manifest"));
    file.persist(&path).map_err(|error| at(path)(error.error))?;
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(at(dir.to_owned()))?;
    Ok(version)
}

fn write(sections: &Spool, dir: &Path) -> io::Result<(NamedTempFile, VersionId)> {
    let mut file = tempfile::Builder::new()
        .prefix("manifest-")
        .suffix(".partial")
        .tempfile_in(dir)?;
    let lengths: [u64; SECTIONS] = std::array::from_fn(|section| sections.len(section));
    let mut hash = Xxh3::new();
    hash.update(&encode_lengths(&lengths));
    // The version is known at the end; the header gets its place now.
    file.write_all(&[0; HEADER_LEN])?;
    let mut buffer = vec![0; COPY_BUFFER];
    for section in 0..SECTIONS {
        let mut input = sections.reader(section);
        loop {
            let len = input.read(&mut buffer)?;
            if len == 0 {
                break;
            }
            hash.update(&buffer[..len]);
            file.write_all(&buffer[..len])?;
        }
    }
    let version = VersionId::from_bytes(hash.digest128().to_le_bytes());
    file.as_file()
        .write_all_at(&Header { version, lengths }.encode(), 0)?;
    file.as_file().sync_all()?;
    Ok((file, version))
}
