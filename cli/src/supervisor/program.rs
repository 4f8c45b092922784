//! The program that the processes of a mount run.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use forebay_keeper::Mission;
use rustix::fs::{Access, Mode, OFlags};
use tokio::process::Command;

use super::start::Start;
use crate::commands::daemon;
use crate::directory;

/// A program that stays what it is, whatever its path names later: it is held open.
#[derive(Debug)]
pub(super) struct Program {
    file: OwnedFd,
    path: PathBuf,
}

impl Program {
    /// The program of this process.
    pub(super) fn own() -> io::Result<Self> {
        Self::open(Path::new("/proc/self/exe"))
    }

    /// The program at `path`.
    ///
    /// # Errors
    /// If it is none, or may not be run.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        if !File::open(path)?.metadata()?.is_file() {
            return Err(io::Error::other("not a file"));
        }
        rustix::fs::access(path, Access::EXEC_OK)?;
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        Ok(Self {
            file: rustix::fs::open(path, flags, Mode::empty())?,
            path: path.to_owned(),
        })
    }

    /// Where it was found.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Serves the mount of this process's own command line. What it reports is piped.
    ///
    /// # Errors
    /// If nobody knows where that command line was written.
    pub(super) fn client(&self, start: Start) -> io::Result<Command> {
        let mut words = std::env::args_os();
        let mut command = self.command(words.next().unwrap_or_default());
        command
            .args(words)
            .env_remove(daemon::CHILD)
            .env(Start::VARIABLE, start.as_str())
            .env(directory::VARIABLE, directory::written_in()?)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        Ok(command)
    }

    /// Is a keeper at `socket`.
    pub(super) fn keeper(&self, socket: PathBuf, mission: Mission) -> Command {
        let mut command = self.command(forebay_keeper::ARGV0.into());
        command
            .args(mission.words(socket))
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command
    }

    fn command(&self, name: OsString) -> Command {
        // Looked up by the child before the descriptor is closed there.
        let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let mut command = Command::new(path);
        command.arg0(name);
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_that_may_be_run_is_a_program() {
        assert!(Program::own().is_ok());
        assert!(Program::open(Path::new("/bin/sh")).is_ok());
        let text = tempfile::NamedTempFile::new().unwrap();
        for bad in [
            Path::new("/nonexistent/forebay"),
            Path::new("/tmp"),
            text.path(),
        ] {
            assert!(Program::open(bad).is_err(), "{}", bad.display());
        }
    }
}
