//! Exit codes, and the one line in which a failure is told.

use std::error::Error;
use std::fmt;

/// How a command ended. The numbers are a contract for scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It did what was asked.
    Ok = 0,
    /// It failed for a reason without a code of its own.
    Failed = 1,
    /// The command line or the config file is wrong.
    Usage = 2,
    /// A source cannot be listed or read: bucket, prefix, credentials or network.
    Source = 3,
    /// The mount cannot be made: `/dev/fuse` or the mount point.
    Mount = 4,
    /// The cache directory cannot be used: rights, room, or in use.
    CacheDir = 5,
    /// Forebay is not mounted there.
    NotMounted = 6,
    /// A warm-up ended and not everything is in the cache.
    Incomplete = 7,
    /// A member of the cluster is dead, leaving, or does not answer.
    Degraded = 8,
}

impl Exit {
    /// Every exit code, in order.
    pub const ALL: [Self; 9] = [
        Self::Ok,
        Self::Failed,
        Self::Usage,
        Self::Source,
        Self::Mount,
        Self::CacheDir,
        Self::NotMounted,
        Self::Incomplete,
        Self::Degraded,
    ];

    /// The number that the process exits with.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The exit code of that number; [`Exit::Failed`] if there is none.
    pub fn from_code(code: u8) -> Self {
        Self::ALL
            .into_iter()
            .find(|exit| exit.code() == code)
            .unwrap_or(Self::Failed)
    }

    /// What it means, for the table in `--help` and in the reference.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "done",
            Self::Failed => "failed for another reason",
            Self::Usage => "the command line or the config file is wrong",
            Self::Source => "a source cannot be read: bucket, prefix, credentials or network",
            Self::Mount => "the mount cannot be made: /dev/fuse or the mount point",
            Self::CacheDir => "the cache directory cannot be used: rights, room, or in use",
            Self::NotMounted => "forebay is not mounted there",
            Self::Incomplete => "the warm-up ended and not everything is in the cache",
            Self::Degraded => "a server of the cluster is dead, leaving, or does not answer",
        }
    }
}

/// A command that failed: how it exits, and what it says.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    error: Box<dyn Error + Send + Sync>,
    next: Option<String>,
    told: bool,
}

impl Failure {
    /// A failure with that exit code, told by `error` and its sources.
    pub fn new(exit: Exit, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            exit,
            error: error.into(),
            next: None,
            told: false,
        }
    }

    /// Adds what the user can do about it.
    pub fn next(mut self, step: impl Into<String>) -> Self {
        self.next = Some(step.into());
        self
    }

    /// Marks it as told to whoever should hear of it.
    pub fn told(mut self) -> Self {
        self.told = true;
        self
    }

    /// Whether nobody needs to be told any more.
    pub fn is_told(&self) -> bool {
        self.told
    }

    /// The exit code.
    pub fn exit(&self) -> Exit {
        self.exit
    }
}

impl fmt::Display for Failure {
    /// One line: what happened, why, and the next step.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&chain(self.error.as_ref()))?;
        match &self.next {
            Some(step) => write!(f, "; {step}"),
            None => Ok(()),
        }
    }
}

impl Error for Failure {}

/// An error and its sources in one line, joined with `: `.
///
/// A source that the text before it already quotes is left out: not every library
/// keeps to saying only its own layer.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut line = one_line(&error.to_string());
    let mut source = error.source();
    while let Some(error) = source {
        let text = one_line(&error.to_string());
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        source = error.source();
    }
    line
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("open the cache")]
    struct Outer {
        source: Middle,
    }

    #[derive(Debug, thiserror::Error)]
    #[error("read index:\n  {source}")]
    struct Middle {
        source: std::io::Error,
    }

    #[test]
    fn a_failure_is_one_line_without_repeats() {
        let source = Middle {
            source: std::io::Error::other("disk on fire"),
        };
        let failure = Failure::new(Exit::CacheDir, Outer { source }).next("put it out");
        assert_eq!(
            failure.to_string(),
            "open the cache: read index: disk on fire; put it out"
        );
    }

    #[test]
    fn codes_are_their_position_in_the_table() {
        for (position, exit) in Exit::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(exit.code()), position);
            assert_eq!(Exit::from_code(exit.code()), exit);
        }
        assert_eq!(Exit::from_code(99), Exit::Failed);
    }
}
