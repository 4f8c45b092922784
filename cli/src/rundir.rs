//! The run directory: how commands find the process that serves a mount.
//!
//! Each mount has a directory below the base, named after its mount point, with
//!
//! | file | what |
//! |---|---|
//! | `lock` | locked by the process as long as it lives; holds its pid |
//! | `state.json` | what is mounted; there from when the mount is ready |
//! | `control.sock` | the control socket |
//! | `metrics.sock` | metrics over HTTP, unless they are served elsewhere |
//!
//! Whether a process lives is asked of the lock: a pid may have been given to another
//! process since, a lock cannot.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::exit::{Exit, Failure};
use crate::mountpoint;

const LOCK: &str = "lock";
const STATE: &str = "state.json";

/// Why a run directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process has the mount point.
    #[error("{mountpoint} is held by another forebay process{}", of_pid(*pid),
        mountpoint = mountpoint.display())]
    Busy {
        /// The mount point.
        mountpoint: PathBuf,
        /// The process, if it has said so.
        pid: Option<u32>,
    },
    /// A directory belongs to somebody else.
    #[error("run directory {path} belongs to another user", path = path.display())]
    NotOurs {
        /// The directory.
        path: PathBuf,
    },
    /// A system call failed.
    #[error("run directory {path}", path = path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match &error {
            Error::Busy { mountpoint, .. } => {
                let step = format!("unmount it with `forebay umount {}`", mountpoint.display());
                Self::new(Exit::Mount, error).next(step)
            }
            Error::NotOurs { .. } | Error::Io { .. } => {
                Self::new(Exit::Failed, error).next("set FOREBAY_RUN_DIR to a directory of yours")
            }
        }
    }
}

fn of_pid(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
}

/// What a process says of its mount to who looks for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The mount point, lossily as text.
    pub mountpoint: String,
    /// The process.
    pub pid: u32,
    /// The dataset version that new opens see.
    pub version: String,
    /// The sources.
    pub sources: Vec<StateSource>,
    /// When the mount was ready, in seconds since 1970-01-01 UTC.
    pub started_unix_seconds: u64,
}

/// One source of a mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateSource {
    /// The directory in the tree; empty for the whole tree.
    pub name: String,
    /// The identity of the place.
    pub url: String,
}

/// Where the run directories of this user's mounts are.
pub fn base() -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let uid = rustix::process::geteuid();
    if let Some(dir) = variable("FOREBAY_RUN_DIR") {
        PathBuf::from(dir)
    } else if uid.is_root() {
        PathBuf::from("/run/forebay")
    } else if let Some(dir) = variable("XDG_RUNTIME_DIR") {
        Path::new(&dir).join("forebay")
    } else {
        PathBuf::from(format!("/tmp/forebay-{}", uid.as_raw()))
    }
}

/// The run directory of one mount, as anybody sees it.
#[derive(Clone, Debug)]
pub struct RunDir {
    path: PathBuf,
}

impl RunDir {
    /// The run directory of `mountpoint` below `base`, whether it exists or not.
    pub fn of(base: &Path, mountpoint: &Path) -> Self {
        Self {
            path: base.join(mountpoint::key(mountpoint)),
        }
    }

    /// All run directories below `base`, in the order of their names.
    ///
    /// # Errors
    /// If `base` exists and cannot be read.
    pub fn all(base: &Path) -> Result<Vec<Self>, Error> {
        let entries = match fs::read_dir(base) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => {
                return Err(Error::Io {
                    path: base.to_owned(),
                    source,
                });
            }
        };
        let mut dirs: Vec<_> = entries
            .flatten()
            .map(|entry| Self { path: entry.path() })
            .collect();
        dirs.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(dirs)
    }

    /// The socket of [`forebay_proto::mount`].
    pub fn control_socket(&self) -> PathBuf {
        self.path.join("control.sock")
    }

    /// The default socket of metrics.
    pub fn metrics_socket(&self) -> PathBuf {
        self.path.join("metrics.sock")
    }

    /// What is mounted; `None` while the mount is being made, and for what is not ours.
    pub fn state(&self) -> Option<State> {
        let text = fs::read(self.path.join(STATE)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Whether the process that claimed it lives.
    pub fn is_alive(&self) -> bool {
        let Ok(lock) = File::open(self.path.join(LOCK)) else {
            return false;
        };
        flock(&lock, FlockOperation::NonBlockingLockShared).is_err()
    }

    /// The process that claimed it, alive or not.
    pub fn pid(&self) -> Option<u32> {
        fs::read_to_string(self.path.join(LOCK))
            .ok()?
            .trim()
            .parse()
            .ok()
    }

    /// Says what is mounted, in one step for who reads it. For the process that has
    /// claimed it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn publish(&self, state: &State) -> Result<(), Error> {
        let path = self.path.join(STATE);
        let draft = self.path.join("state.json.new");
        let text = serde_json::to_vec_pretty(state).map_err(io::Error::from);
        text.and_then(|text| fs::write(&draft, text))
            .and_then(|()| fs::rename(&draft, &path))
            .map_err(|source| Error::Io { path, source })
    }

    /// Refuses a mount point that a living process has, and changes nothing.
    ///
    /// # Errors
    /// [`Error::Busy`].
    pub fn refuse_held(base: &Path, mountpoint: &Path) -> Result<(), Error> {
        let dir = Self::of(base, mountpoint);
        if dir.is_alive() {
            return Err(Error::Busy {
                mountpoint: mountpoint.to_owned(),
                pid: dir.pid(),
            });
        }
        Ok(())
    }

    /// Takes it for this process, and clears what a dead one left.
    ///
    /// # Errors
    /// [`Error::Busy`] if a living process has it; the others if it cannot be made.
    pub fn claim(base: &Path, mountpoint: &Path) -> Result<Claim, Error> {
        make_private(base)?;
        let dir = Self::of(base, mountpoint);
        loop {
            make_private(&dir.path)?;
            if let Some(claim) = dir.try_claim(mountpoint)? {
                return Ok(claim);
            }
        }
    }

    /// `None` if a process that ended has removed the directory under our hands.
    fn try_claim(&self, mountpoint: &Path) -> Result<Option<Claim>, Error> {
        let path = self.path.join(LOCK);
        let io = |source| Error::Io {
            path: path.clone(),
            source,
        };
        let opened = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path);
        let mut lock = match opened {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(error)),
        };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(Error::Busy {
                mountpoint: mountpoint.to_owned(),
                pid: self.pid(),
            });
        }
        let locked = lock.metadata().map_err(io)?.ino();
        if fs::metadata(&path).map(|found| found.ino()).ok() != Some(locked) {
            return Ok(None);
        }
        for stale in [
            self.path.join(STATE),
            self.control_socket(),
            self.metrics_socket(),
        ] {
            let _ = fs::remove_file(stale);
        }
        lock.set_len(0)
            .and_then(|()| write!(lock, "{}", std::process::id()))
            .map_err(io)?;
        Ok(Some(Claim {
            dir: self.clone(),
            _lock: lock,
        }))
    }
}

/// A run directory that this process holds; it is removed on drop.
#[derive(Debug)]
pub struct Claim {
    dir: RunDir,
    _lock: File,
}

impl Claim {
    /// The directory.
    pub fn dir(&self) -> &RunDir {
        &self.dir
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // The lock is still held, so nobody else has claimed it in between.
        let _ = fs::remove_dir_all(&self.dir.path);
    }
}

/// Makes a directory that only its owner can look into, or checks that it is ours.
fn make_private(path: &Path) -> Result<(), Error> {
    let io = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(io)?;
    let owner = fs::symlink_metadata(path).map_err(io)?.uid();
    if owner != rustix::process::geteuid().as_raw() {
        return Err(Error::NotOurs {
            path: path.to_owned(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        State {
            mountpoint: "/mnt/a".into(),
            pid: 7,
            version: "00".into(),
            sources: vec![StateSource {
                name: String::new(),
                url: "s3://b".into(),
            }],
            started_unix_seconds: 1,
        }
    }

    #[test]
    fn a_claim_is_found_while_it_is_held_and_gone_afterwards() {
        let base = tempfile::tempdir().unwrap();
        let claim = RunDir::claim(base.path(), Path::new("/mnt/a")).unwrap();
        let dir = RunDir::of(base.path(), Path::new("/mnt/a"));
        assert!(dir.is_alive());
        assert_eq!(dir.pid(), Some(std::process::id()));
        assert_eq!(dir.state(), None);
        dir.publish(&state()).unwrap();
        assert_eq!(dir.state(), Some(state()));
        assert_eq!(RunDir::all(base.path()).unwrap().len(), 1);
        drop(claim);
        assert!(!dir.is_alive());
        assert!(RunDir::all(base.path()).unwrap().is_empty());
    }

    #[test]
    fn a_second_claim_of_one_mount_point_is_refused_and_names_the_process() {
        let base = tempfile::tempdir().unwrap();
        let _held = RunDir::claim(base.path(), Path::new("/mnt/a")).unwrap();
        assert!(RunDir::refuse_held(base.path(), Path::new("/mnt/a")).is_err());
        assert!(RunDir::refuse_held(base.path(), Path::new("/mnt/b")).is_ok());
        let error = RunDir::claim(base.path(), Path::new("/mnt/a")).unwrap_err();
        assert!(
            error
                .to_string()
                .contains(&format!("pid {}", std::process::id())),
            "{error}"
        );
        RunDir::claim(base.path(), Path::new("/mnt/b")).unwrap();
    }

    #[test]
    fn what_a_dead_process_left_is_cleared() {
        let base = tempfile::tempdir().unwrap();
        let dir = RunDir::of(base.path(), Path::new("/mnt/a"));
        fs::create_dir(&dir.path).unwrap();
        fs::write(dir.path.join(LOCK), "4194304").unwrap();
        fs::write(dir.path.join(STATE), serde_json::to_vec(&state()).unwrap()).unwrap();
        assert!(!dir.is_alive());
        assert_eq!(dir.state(), Some(state()));
        let _claim = RunDir::claim(base.path(), Path::new("/mnt/a")).unwrap();
        assert_eq!(dir.state(), None);
    }

    #[test]
    fn nobody_else_can_look_into_a_run_directory() {
        let base = tempfile::tempdir().unwrap();
        let claim = RunDir::claim(base.path(), Path::new("/mnt/a")).unwrap();
        let mode = fs::metadata(&claim.dir().path).unwrap().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn without_a_base_there_are_no_mounts() {
        assert!(
            RunDir::all(Path::new("/nonexistent/forebay"))
                .unwrap()
                .is_empty()
        );
    }
}
