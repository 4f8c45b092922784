//! Putting a finished manifest in its place.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tempfile::NamedTempFile;
use xxhash_rust::xxh3::Xxh3;

use super::format::{HEADER_LEN, Header, SECTIONS, encode_lengths};
use super::spool::Spool;
use super::{Error, Result, VersionId, verify};

/// How much is copied at once.
const COPY_BUFFER: usize = 1 << 20;

/// How the name of a manifest that is being written begins and ends.
const DRAFT: (&str, &str) = ("manifest-", ".partial");

/// Writes the sections to `<version>.manifest` in `dir`, durably: when it returns, the
/// file has its name and a power cut keeps it. A whole file of that name stays, so that
/// who has it open has the one that others find, and is as new as this one would be; a
/// damaged one is replaced.
pub(super) fn publish(sections: &Spool, dir: &Path) -> Result<VersionId> {
    let at = |path: PathBuf| move |source| Error::Publish { path, source };
    sweep(dir).map_err(at(dir.to_owned()))?;
    let (file, version) = write(sections, dir).map_err(at(dir.to_owned()))?;
    let path = dir.join(format!("{version}.manifest"));
    if renew(&path).is_err() {
        file.persist(&path).map_err(|error| at(path)(error.error))?;
    }
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(at(dir.to_owned()))?;
    Ok(version)
}

/// Removes what writers that were killed have left. One at work has its draft locked
/// before there is anything in it.
fn sweep(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_draft = name
            .to_str()
            .is_some_and(|name| name.starts_with(DRAFT.0) && name.ends_with(DRAFT.1));
        if is_draft && is_left_behind(&entry.path()) {
            // What cannot be removed is in nobody's way.
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

fn is_left_behind(path: &Path) -> bool {
    let Ok(file) = File::open(path) else {
        return false;
    };
    file.metadata().is_ok_and(|found| found.len() > 0) && file.try_lock().is_ok()
}

/// Makes a whole manifest at `path` the one that was published last.
fn renew(path: &Path) -> Result<()> {
    let (file, _) = verify::open(path)?;
    let renewed = file.set_modified(SystemTime::now());
    renewed.map_err(|source| Error::Publish {
        path: path.to_owned(),
        source,
    })
}

fn write(sections: &Spool, dir: &Path) -> io::Result<(NamedTempFile, VersionId)> {
    let mut file = tempfile::Builder::new()
        .prefix(DRAFT.0)
        .suffix(DRAFT.1)
        .tempfile_in(dir)?;
    // Where there are no locks, nobody takes the draft for one that was left behind.
    let _ = file.as_file().try_lock();
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
