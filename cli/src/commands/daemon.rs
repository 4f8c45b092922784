//! Serving a mount from the background.
//!
//! A process with threads cannot fork, so it starts itself once more with the same
//! arguments. The child's standard output is a pipe to the parent, on which the child
//! says how it goes, one JSON object a line; the parent ends when the mount is ready, or
//! with the child's error.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::audience::{Audience, Foreground, Listed};
use crate::config::MountConfig;
use crate::exit::{Exit, Failure};
use crate::output;

/// Set for the child, and only for it.
const CHILD: &str = "FOREBAY_DAEMON_CHILD";

/// What the child says.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Report {
    /// The sources are being listed.
    Listing { objects: u64, bytes: u64 },
    /// The mount is ready.
    Ready { line: String },
    /// It will not be.
    Failed { exit: u8, message: String },
}

/// Starts the child and waits until its mount is ready.
pub(super) fn launch(config: &MountConfig) -> Result<(), Failure> {
    let failed = |error: io::Error| {
        Failure::new(
            Exit::Failed,
            format!("start the process in the background: {error}"),
        )
    };
    let log = match config.log.open_file()? {
        Some(file) => Stdio::from(file),
        None => Stdio::null(),
    };
    let (reports, childs_end) = io::pipe().map_err(failed)?;
    let mut words = std::env::args_os();
    // The path of this program may name another one by now.
    let mut child = Command::new("/proc/self/exe")
        .arg0(words.next().unwrap_or_default())
        .args(words)
        .env(CHILD, "1")
        .stdin(Stdio::null())
        .stdout(childs_end)
        .stderr(log)
        .spawn()
        .map_err(failed)?;
    match wait_until_ready(BufReader::new(reports)) {
        Some(Report::Ready { line }) => {
            let unmount = config.mountpoint.display();
            output::print(&format!("{line}; `forebay umount {unmount}` unmounts\n"))
        }
        Some(Report::Failed { exit, message }) => {
            // It has said why; how it ends is its own matter.
            let _ = child.wait();
            Err(Failure::new(Exit::from_code(exit), message))
        }
        Some(Report::Listing { .. }) | None => {
            let how = child
                .wait()
                .map_or_else(|error| error.to_string(), |how| how.to_string());
            let text = format!("the process in the background ended before it was ready ({how})");
            Err(Failure::new(Exit::Failed, text).next("see what it says with --log-file"))
        }
    }
}

/// The last report; progress before it is shown.
fn wait_until_ready(reports: impl BufRead) -> Option<Report> {
    let audience = Foreground::new();
    let mut last = None;
    for line in reports.lines().map_while(Result::ok) {
        match serde_json::from_str(&line) {
            Ok(Report::Listing { objects, bytes }) => {
                // Only the other end of the pipe can have gone, and then it is at its end.
                let _ = audience.listing(Listed { objects, bytes });
            }
            Ok(report) => {
                last = Some(report);
                break;
            }
            Err(_) => {}
        }
    }
    audience.listed();
    last
}

/// Leaves the parent's session and directory, so that neither its end nor an unmount of
/// its directory touches us.
pub(super) fn detach() {
    // The kernel has named the process `exe`, after the link that it was started by.
    let _ = rustix::thread::set_name(c"forebay");
    // Fails only for the leader of a process group, which a child is not.
    let _ = rustix::process::setsid();
    let _ = std::env::set_current_dir("/");
}

/// The process that waits for this one to be ready.
#[derive(Debug)]
pub(super) struct Parent;

impl Parent {
    /// The parent, if this process is such a child.
    pub(super) fn inherited() -> Option<Self> {
        std::env::var_os(CHILD).map(|_| Self)
    }

    /// Does `work` and says so if it fails before the mount is ready.
    pub(super) fn told(
        &self,
        work: impl FnOnce(&Self) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        work(self).inspect_err(|failure| {
            let (exit, message) = (failure.exit().code(), failure.to_string());
            tracing::error!(error = %message, "ended");
            // After the mount was ready nobody listens.
            let _ = report(&Report::Failed { exit, message });
        })
    }

    /// Says that the mount is ready.
    pub(super) fn ready(&self, line: &str) -> io::Result<()> {
        report(&Report::Ready {
            line: line.to_owned(),
        })
    }
}

impl Audience for Parent {
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

    fn lines(reports: &[Report]) -> Vec<u8> {
        let line = |report| serde_json::to_string(report).unwrap() + "\n";
        reports.iter().map(line).collect::<String>().into_bytes()
    }

    #[test]
    fn the_parent_waits_for_the_first_report_that_decides() {
        let ready = || Report::Ready {
            line: "mounted".into(),
        };
        let failed = || Report::Failed {
            exit: 3,
            message: "no bucket".into(),
        };
        let listing = || Report::Listing {
            objects: 1,
            bytes: 2,
        };
        let said = lines(&[listing(), listing(), ready(), failed()]);
        assert_eq!(wait_until_ready(said.as_slice()), Some(ready()));
        let said = lines(&[listing(), failed()]);
        assert_eq!(wait_until_ready(said.as_slice()), Some(failed()));
    }

    #[test]
    fn a_child_that_dies_has_decided_nothing() {
        assert_eq!(wait_until_ready(&b""[..]), None);
        assert_eq!(wait_until_ready(&b"thread panicked\n"[..]), None);
    }
}
