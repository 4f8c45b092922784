//! Lock files: who holds one lives.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

/// A lock that this process holds until it is dropped or the process ends.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

/// What came of an attempt to take a lock.
#[derive(Debug)]
pub(super) enum Taken {
    /// This process holds it.
    Ours(Lock),
    /// Another does.
    Theirs,
    /// The file or its directory was removed in between.
    Gone,
}

impl Lock {
    /// Takes the lock at `path`, and writes the number of this process into it.
    pub(super) fn take(path: &Path) -> io::Result<Taken> {
        let opened = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path);
        let mut file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Taken::Gone),
            Err(error) => return Err(error),
        };
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(Taken::Theirs);
        }
        let locked = file.metadata()?.ino();
        if fs::metadata(path).map(|found| found.ino()).ok() != Some(locked) {
            return Ok(Taken::Gone);
        }
        file.set_len(0)?;
        write!(file, "{}", std::process::id())?;
        Ok(Taken::Ours(Self { _file: file }))
    }

    /// Whether a process holds the lock at `path`.
    pub(super) fn is_held(path: &Path) -> bool {
        let Ok(file) = File::open(path) else {
            return false;
        };
        flock(&file, FlockOperation::NonBlockingLockShared).is_err()
    }

    /// The process that took the lock at `path` last, alive or not.
    pub(super) fn holder(path: &Path) -> Option<u32> {
        fs::read_to_string(path).ok()?.trim().parse().ok()
    }
}
