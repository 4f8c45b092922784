//! The run directory: how the processes of a mount, and commands, find each other.
//!
//! Each mount has a directory below the base, named after its mount point, with
//!
//! | file | what |
//! |---|---|
//! | `lock` | locked by the process that serves the mount; holds its pid |
//! | `supervisor` | locked by the supervisor, if there is one; holds its pid |
//! | `state.json` | what is mounted; there from when the mount is ready |
//! | `served.json` | what a process that takes the mount over must know |
//! | `course.json` | how it goes, as the supervisor sees it |
//! | `handles` | the open files, for a process that takes the mount over |
//! | `control.sock` | the control socket |
//! | `supervisor.sock` | the control socket of the supervisor |
//! | `keeper.sock` | the socket of the keeper |
//! | `metrics.sock` | metrics over HTTP, unless they are served elsewhere |
//!
//! Whether a process lives is asked of its lock: a pid may have been given to another
//! process since, a lock cannot.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::directory;
use crate::exit::{Exit, Failure};
use crate::mountpoint;

mod lock;
mod records;

use lock::Lock;
pub use records::{Course, Served, State, StateSource};

/// The lock of the process that serves the mount.
const SERVER: &str = "lock";
/// The lock of the supervisor.
const SUPERVISOR: &str = "supervisor";

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

/// Where the run directories of this user's mounts are.
pub fn base() -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let uid = rustix::process::geteuid();
    if let Some(dir) = variable("FOREBAY_RUN_DIR") {
        let dir = PathBuf::from(dir);
        directory::absolute(&dir).unwrap_or(dir)
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

    /// The socket of the supervisor.
    pub fn supervisor_socket(&self) -> PathBuf {
        self.path.join("supervisor.sock")
    }

    /// The socket of the keeper.
    pub fn keeper_socket(&self) -> PathBuf {
        self.path.join("keeper.sock")
    }

    /// The default socket of metrics.
    pub fn metrics_socket(&self) -> PathBuf {
        self.path.join("metrics.sock")
    }

    /// The log of open files.
    pub fn handle_log(&self) -> PathBuf {
        self.path.join("handles")
    }

    /// The name of the mount at its keeper.
    ///
    /// # Panics
    /// Never: the name of a run directory is a plain number.
    pub fn keeper_name(&self) -> forebay_keeper::Name {
        let name = self.path.file_name().and_then(|name| name.to_str());
        name.and_then(|name| name.parse().ok())
            .expect("run directories have plain names")
    }

    /// What is mounted; `None` while the mount is being made, and for what is not ours.
    pub fn state(&self) -> Option<State> {
        records::read(&self.path)
    }

    /// What was served so far, for who takes it over.
    pub fn served(&self) -> Option<Served> {
        records::read(&self.path)
    }

    /// How it goes; `None` without a supervisor.
    pub fn course(&self) -> Option<Course> {
        records::read(&self.path)
    }

    /// Whether the process that serves the mount lives.
    pub fn is_alive(&self) -> bool {
        Lock::is_held(&self.path.join(SERVER))
    }

    /// Whether the supervisor lives.
    pub fn is_supervised(&self) -> bool {
        Lock::is_held(&self.path.join(SUPERVISOR))
    }

    /// Whether anybody is at work here.
    pub fn is_held(&self) -> bool {
        self.is_alive() || self.is_supervised()
    }

    /// The process that claimed to serve the mount, alive or not.
    pub fn pid(&self) -> Option<u32> {
        Lock::holder(&self.path.join(SERVER))
    }

    /// The supervisor, if it lives.
    pub fn supervisor(&self) -> Option<u32> {
        let path = self.path.join(SUPERVISOR);
        Lock::holder(&path).filter(|_| Lock::is_held(&path))
    }

    /// Says what is mounted, in one step for who reads it. For the process that has
    /// claimed it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn publish(&self, state: &State) -> Result<(), Error> {
        records::write(&self.path, state)
    }

    /// Says what a process that takes over must know. For the process that has claimed it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn record(&self, served: &Served) -> Result<(), Error> {
        records::write(&self.path, served)
    }

    /// Refuses a mount point that a living process has, and changes nothing.
    ///
    /// # Errors
    /// [`Error::Busy`].
    pub fn refuse_held(base: &Path, mountpoint: &Path) -> Result<(), Error> {
        let dir = Self::of(base, mountpoint);
        if dir.is_held() {
            return Err(dir.busy(mountpoint));
        }
        Ok(())
    }

    fn busy(&self, mountpoint: &Path) -> Error {
        Error::Busy {
            mountpoint: mountpoint.to_owned(),
            pid: self
                .pid()
                .filter(|_| self.is_alive())
                .or_else(|| self.supervisor()),
        }
    }

    /// Takes it for this process alone, and clears what a dead one left.
    ///
    /// # Errors
    /// [`Error::Busy`] if a living process has it; the others if it cannot be made.
    pub fn claim(base: &Path, mountpoint: &Path) -> Result<Claim, Error> {
        Self::refuse_held(base, mountpoint)?;
        let (dir, lock) = Self::lock(base, mountpoint, SERVER)?;
        dir.clear(&["supervisor.sock", "keeper.sock", "course.json", SUPERVISOR]);
        dir.clear(&["state.json", "served.json", "handles"]);
        dir.clear(OF_SERVER);
        Ok(Claim { dir, _lock: lock })
    }

    /// Takes it for this process, which serves the mount under a supervisor.
    ///
    /// # Errors
    /// As [`Self::claim`].
    pub fn claim_supervised(base: &Path, mountpoint: &Path) -> Result<Claim, Error> {
        let (dir, lock) = Self::lock(base, mountpoint, SERVER)?;
        dir.clear(OF_SERVER);
        Ok(Claim { dir, _lock: lock })
    }

    /// Takes it for this process, which supervises.
    ///
    /// # Errors
    /// As [`Self::claim`].
    pub fn supervise(base: &Path, mountpoint: &Path) -> Result<Station, Error> {
        Self::refuse_held(base, mountpoint)?;
        let (dir, lock) = Self::lock(base, mountpoint, SUPERVISOR)?;
        dir.clear(&[
            "supervisor.sock",
            "course.json",
            "state.json",
            "served.json",
            "handles",
        ]);
        dir.clear(OF_SERVER);
        Ok(Station { dir, _lock: lock })
    }

    fn lock(base: &Path, mountpoint: &Path, name: &str) -> Result<(Self, Lock), Error> {
        make_private(base)?;
        let dir = Self::of(base, mountpoint);
        loop {
            make_private(&dir.path)?;
            let path = dir.path.join(name);
            let taken = Lock::take(&path).map_err(|source| Error::Io { path, source })?;
            match taken {
                lock::Taken::Ours(lock) => return Ok((dir, lock)),
                lock::Taken::Theirs => return Err(dir.busy(mountpoint)),
                // A process that ended has removed the directory under our hands.
                lock::Taken::Gone => {}
            }
        }
    }

    fn clear(&self, names: &[&str]) {
        for name in names {
            let _ = fs::remove_file(self.path.join(name));
        }
    }
}

/// What belongs to the process that serves a mount, and to no successor of it. What it
/// said of itself stays until a successor says more.
const OF_SERVER: &[&str] = &["control.sock", "metrics.sock"];

/// A run directory in which this process serves. It is removed on drop, unless there is a
/// supervisor, who needs it still.
#[derive(Debug)]
pub struct Claim {
    dir: RunDir,
    _lock: Lock,
}

impl Claim {
    /// The directory.
    pub fn dir(&self) -> &RunDir {
        &self.dir
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.dir.is_supervised() {
            return;
        }
        // The lock is still held, so nobody else has claimed it in between.
        let _ = fs::remove_dir_all(&self.dir.path);
    }
}

/// A run directory in which this process supervises. It is removed on drop.
#[derive(Debug)]
pub struct Station {
    dir: RunDir,
    _lock: Lock,
}

impl Station {
    /// The directory.
    pub fn dir(&self) -> &RunDir {
        &self.dir
    }

    /// Says how it goes.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn record(&self, course: &Course) -> Result<(), Error> {
        records::write(&self.dir.path, course)
    }
}

impl Drop for Station {
    fn drop(&mut self) {
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
            program: "0.1.0".into(),
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
        fs::write(dir.path.join(SERVER), "4194304").unwrap();
        fs::write(
            dir.path.join("state.json"),
            serde_json::to_vec(&state()).unwrap(),
        )
        .unwrap();
        assert!(!dir.is_alive());
        assert_eq!(dir.state(), Some(state()));
        let _claim = RunDir::claim(base.path(), Path::new("/mnt/a")).unwrap();
        assert_eq!(dir.state(), None);
    }

    #[test]
    fn what_is_supervised_stays_until_the_supervisor_leaves() {
        let base = tempfile::tempdir().unwrap();
        let place = Path::new("/mnt/a");
        let station = RunDir::supervise(base.path(), place).unwrap();
        assert!(RunDir::claim(base.path(), place).is_err());
        assert!(RunDir::supervise(base.path(), place).is_err());
        let claim = RunDir::claim_supervised(base.path(), place).unwrap();
        let dir = claim.dir().clone();
        let served = Served {
            device: "0:45".into(),
            versions: vec!["00".into(), "01".into()],
            current: "01".into(),
        };
        dir.record(&served).unwrap();
        dir.publish(&state()).unwrap();
        drop(claim);
        assert!(!dir.is_alive() && dir.is_held());
        // The next process finds what the one before has left.
        let claim = RunDir::claim_supervised(base.path(), place).unwrap();
        assert_eq!((dir.served(), dir.state()), (Some(served), Some(state())));
        let course = Course {
            restarts: 1,
            ..Course::default()
        };
        station.record(&course).unwrap();
        assert_eq!(dir.course(), Some(course));
        assert_eq!(dir.supervisor(), Some(std::process::id()));
        drop(claim);
        drop(station);
        assert!(RunDir::all(base.path()).unwrap().is_empty());
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
