//! The process of a keeper: `forebay keeper` in its final form.
//!
//! The binary that has the command is large. What it does at its start (parsing a command
//! line with all its help, a TLS provider, a runtime) would cost a keeper more memory than
//! everything it does. So `forebay keeper` starts the program once more under the name
//! [`ARGV0`], and `main` comes straight here.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::setsid;

use crate::error::Error;
use crate::server::Server;
use crate::slim;

/// The name under which a program is a keeper and nothing else.
pub const ARGV0: &str = "forebay-keeper";

pub(crate) const USAGE: &str = "forebay-keeper SOCKET [SECONDS]";

/// When a keeper's work is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mission {
    /// Never: it holds the mounts of a node.
    Node,
    /// When the one mount that it is for has ended, or when nobody has been connected for
    /// so long that nobody will serve it any more.
    OneMount {
        /// How long that is.
        abandon_after: Duration,
    },
}

impl Mission {
    /// The words of the command line of a keeper at `socket` with this mission.
    pub fn words(self, socket: PathBuf) -> Vec<OsString> {
        let mut words = vec![socket.into_os_string()];
        if let Self::OneMount { abandon_after } = self {
            words.push(abandon_after.as_secs().to_string().into());
        }
        words
    }
}

/// Is a keeper, as the words behind its name say, until its work is done.
///
/// # Errors
/// [`Error::Usage`], and any that keeps it from listening.
pub fn run(words: impl IntoIterator<Item = OsString>) -> Result<(), Error> {
    let (socket, mission) = parse(words)?;
    detach();
    let server = Server::listen(&socket)?;
    slim::drop_clean_pages();
    server.run(mission)
}

fn parse(words: impl IntoIterator<Item = OsString>) -> Result<(PathBuf, Mission), Error> {
    let mut words = words.into_iter();
    let socket = words.next().ok_or(Error::Usage)?;
    let mission = match words.next() {
        None => Mission::Node,
        Some(seconds) => {
            let seconds = seconds.to_str().and_then(|text| text.parse().ok());
            Mission::OneMount {
                abandon_after: Duration::from_secs(seconds.ok_or(Error::Usage)?),
            }
        }
    };
    match words.next() {
        None => Ok((socket.into(), mission)),
        Some(_) => Err(Error::Usage),
    }
}

/// Leaves everything that could end this process or that it could hold on to: session,
/// terminal, directory, inherited files.
fn detach() {
    // The kernel named the process after the path that it was started by.
    let _ = rustix::thread::set_name(c"forebay-keeper");
    // Refused to the leader of a process group, which a shell or a supervisor of services
    // made it: it has a group of its own then, and who made it may end it.
    let _ = setsid();
    let _ = std::env::set_current_dir("/");
    #[expect(
        unsafe_code,
        reason = "the standard library ignores no signals and closes no files"
    )]
    // SAFETY: ignoring a signal installs no handler. Nothing in this process has opened a
    // file yet, so that no owner is deprived of one; the standard streams stay.
    unsafe {
        libc::signal(libc::SIGHUP, libc::SIG_IGN);
        libc::close_range(3, libc::c_uint::MAX, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_says_socket_and_mission() {
        let one = Mission::OneMount {
            abandon_after: Duration::from_secs(60),
        };
        for mission in [Mission::Node, one] {
            let words = mission.words("/run/k".into());
            assert_eq!(parse(words).unwrap(), ("/run/k".into(), mission));
        }
    }

    #[test]
    fn words_that_make_no_sense_are_refused() {
        for words in [&[][..], &["/run/k", "soon"], &["/run/k", "1", "2"]] {
            let parsed = parse(words.iter().map(OsString::from));
            assert!(matches!(parsed, Err(Error::Usage)), "{words:?}");
        }
    }
}
