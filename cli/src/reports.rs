//! What a process that was started for a mount says to the one that started it.
//!
//! A launcher starts a process in the background, a supervisor starts one that serves the
//! mount. The child's standard output is a pipe to its parent, on which the child says how
//! it goes, one JSON object a line. A line that a parent does not understand, from a later
//! version of the program, says nothing.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use crate::audience::{Audience, Listed};
use crate::exit::{Exit, Failure};

/// What a child says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Report {
    /// The sources are being listed.
    Listing {
        /// Objects so far.
        objects: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// Everything that can be done beside the process that still serves is done.
    Prepared,
    /// The mount is ready.
    Ready {
        /// What to tell the user.
        line: String,
    },
    /// It will not be.
    Failed {
        /// The exit code.
        exit: u8,
        /// Why.
        message: String,
    },
}

impl Report {
    /// Reads a line.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }

    /// The failure that a child has reported.
    pub(crate) fn failure(exit: u8, message: String) -> Failure {
        Failure::new(Exit::from_code(exit), message)
    }
}

/// The way to the parent, for a child.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reporter;

impl Reporter {
    /// Does `work`, and says so if it fails before the mount is ready.
    ///
    /// # Errors
    /// That of `work`, which needs no telling any more.
    pub(crate) fn told(
        self,
        work: impl FnOnce(Self) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        work(self).map_err(|failure| {
            let (exit, message) = (failure.exit().code(), failure.to_string());
            // After the mount was ready nobody listens.
            match report(&Report::Failed { exit, message }) {
                Ok(()) => failure.told(),
                Err(_) => failure,
            }
        })
    }

    /// Says that only the process that still serves is in the way.
    pub(crate) fn prepared(self) -> io::Result<()> {
        report(&Report::Prepared)
    }

    /// Says that the mount is ready.
    pub(crate) fn ready(self, line: &str) -> io::Result<()> {
        report(&Report::Ready {
            line: line.to_owned(),
        })
    }
}

impl Audience for Reporter {
    fn listing(&self, listed: Listed) -> io::Result<()> {
        report(&Report::Listing {
            objects: listed.objects,
            bytes: listed.bytes,
        })
    }
}

fn report(report: &Report) -> io::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line)?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_a_line_and_other_lines_say_nothing() {
        let reports = [
            Report::Listing {
                objects: 1,
                bytes: 2,
            },
            Report::Prepared,
            Report::Ready {
                line: "mounted".into(),
            },
            Report::Failed {
                exit: 3,
                message: "no bucket".into(),
            },
        ];
        for report in reports {
            let line = serde_json::to_string(&report).unwrap();
            assert!(!line.contains('\n'));
            assert_eq!(Report::parse(&line), Some(report));
        }
        for line in ["", "thread panicked", "{\"later\": {}}"] {
            assert_eq!(Report::parse(line), None, "{line}");
        }
    }
}
