//! Serving a mount from the background.
//!
//! A process with threads cannot fork, so it starts itself once more with the same
//! arguments. The child says how it goes; the parent ends when the mount is ready, or with
//! the child's error.

use std::io::{self, BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use crate::audience::{Audience, Foreground, Listed};
use crate::config::MountConfig;
use crate::directory;
use crate::exit::{Exit, Failure};
use crate::output;
use crate::reports::Report;

/// Set for the child, and only for it.
pub(crate) const CHILD: &str = "FOREBAY_DAEMON_CHILD";

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
        .env(
            directory::VARIABLE,
            directory::written_in().map_err(failed)?,
        )
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
            Err(Report::failure(exit, message))
        }
        Some(Report::Listing { .. } | Report::Prepared) | None => {
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
        match Report::parse(&line) {
            Some(Report::Listing { objects, bytes }) => {
                // Only the other end of the pipe can have gone, and then it is at its end.
                let _ = audience.listing(Listed { objects, bytes });
            }
            Some(report) => {
                last = Some(report);
                break;
            }
            None => {}
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

/// Whether this process is such a child.
pub(super) fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
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
