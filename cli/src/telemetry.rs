//! Logs: where they go and how a line looks.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use crate::exit::{Exit, Failure};
use crate::options::LogFormat;

/// What is logged, and where.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// How a line looks.
    pub format: LogFormat,
    /// Levels and targets, as in `info,forebay_cache_server=debug`, if somebody said.
    pub filter: Option<String>,
    /// The file to append to; `None` is the standard error.
    pub file: Option<PathBuf>,
}

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log file cannot be opened.
    #[error("open log file {path}", path = path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::new(Exit::Usage, error).next("check --log-file")
    }
}

impl LogConfig {
    /// Levels and targets. A person at a terminal did not come to read a log; who
    /// collects one wants to know what happened.
    pub fn filter(&self) -> &str {
        match &self.filter {
            Some(filter) => filter,
            None if self.is_terminal() => "warn",
            None => "info",
        }
    }

    fn is_terminal(&self) -> bool {
        self.file.is_none() && io::stderr().is_terminal()
    }

    /// Opens the log file for appending; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Open`].
    pub fn open_file(&self) -> Result<Option<File>, Error> {
        self.file.as_deref().map(open).transpose()
    }
}

fn open(path: &Path) -> Result<File, Error> {
    let opened = File::options().create(true).append(true).open(path);
    opened.map_err(|source| Error::Open {
        path: path.to_owned(),
        source,
    })
}

/// The log file of this process, if it has one.
static LOG: OnceLock<LogFile> = OnceLock::new();

/// A log file that whoever rotates logs may move away.
#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    // Taken for reading by each line, for writing when the file is opened again.
    file: RwLock<Arc<File>>,
}

impl LogFile {
    fn current(&self) -> Arc<File> {
        Arc::clone(&self.file.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn reopen(&self) -> Result<(), Error> {
        let file = Arc::new(open(&self.path)?);
        *self.file.write().unwrap_or_else(PoisonError::into_inner) = file;
        Ok(())
    }
}

/// Whether this process logs to a file that can be opened again.
pub(crate) fn has_file() -> bool {
    LOG.get().is_some()
}

/// Opens the log file at its path again, because the one that was there has been moved
/// away. If that fails the old one is written on, and says why.
pub(crate) fn reopen() {
    let Some(log) = LOG.get() else {
        return;
    };
    match log.reopen() {
        Ok(()) => tracing::info!("log file opened again"),
        Err(error) => {
            tracing::warn!(error = %crate::exit::chain(&error), "log file not opened again");
        }
    }
}

/// Starts logging for the rest of the process; later calls change nothing.
///
/// # Errors
/// If the log file cannot be opened.
pub fn start(config: &LogConfig) -> Result<(), Error> {
    // The user's part was checked when it was parsed, and goes before ours. What fuser
    // warns of, such as a mount that somebody else took away, the mount itself reports.
    let filter = EnvFilter::builder().parse_lossy(format!("fuser=error,{}", config.filter()));
    let writer = match &config.file {
        Some(path) => {
            let file = RwLock::new(Arc::new(open(path)?));
            let path = path.clone();
            let log = LOG.get_or_init(|| LogFile { path, file });
            BoxMakeWriter::new(move || log.current())
        }
        None => BoxMakeWriter::new(io::stderr),
    };
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(config.is_terminal())
        .with_target(false);
    // Only a second start fails, and the first one's logger is as good.
    let _ = match config.format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_log_that_was_moved_away_is_opened_again_and_lines_go_to_the_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let (path, moved) = (dir.path().join("log"), dir.path().join("log.1"));
        let file = RwLock::new(Arc::new(open(&path).unwrap()));
        let log = LogFile {
            path: path.clone(),
            file,
        };
        log.current().write_all(b"one\n").unwrap();
        std::fs::rename(&path, &moved).unwrap();
        log.current().write_all(b"two\n").unwrap();
        log.reopen().unwrap();
        log.current().write_all(b"three\n").unwrap();
        assert_eq!(std::fs::read(&moved).unwrap(), b"one\ntwo\n");
        assert_eq!(std::fs::read(&path).unwrap(), b"three\n");
    }

    #[test]
    fn a_log_that_cannot_be_opened_again_is_written_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("below").join("log");
        std::fs::create_dir(dir.path().join("below")).unwrap();
        let file = RwLock::new(Arc::new(open(&path).unwrap()));
        let log = LogFile { path, file };
        std::fs::rename(dir.path().join("below"), dir.path().join("moved")).unwrap();
        assert!(log.reopen().is_err());
        log.current().write_all(b"on\n").unwrap();
        let moved = dir.path().join("moved").join("log");
        assert_eq!(std::fs::read(moved).unwrap(), b"on\n");
    }
}
