//! Logs: where they go and how a line looks.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::sync::Arc;

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
        let Some(path) = &self.file else {
            return Ok(None);
        };
        let opened = File::options().create(true).append(true).open(path);
        opened.map(Some).map_err(|source| Error::Open {
            path: path.clone(),
            source,
        })
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
    let writer = match config.open_file()? {
        Some(file) => BoxMakeWriter::new(Arc::new(file)),
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
