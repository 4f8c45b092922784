//! Why a keeper did not do what it was asked, or could not be asked.

use std::io;
use std::path::PathBuf;

/// Why a keeper did not do what it was asked, or could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens at the socket.
    #[error("no keeper answers at {}", socket.display())]
    Connect {
        /// The socket.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The keeper was there, and has gone or is stopped.
    #[error("the keeper does not answer")]
    Broken {
        /// How the conversation ended.
        source: io::Error,
    },
    /// The keeper has refused.
    #[error("the keeper refuses: {text}")]
    Refused {
        /// Why, for programs.
        reason: Refusal,
        /// Why, for people.
        text: String,
    },
    /// The answer makes no sense: the other end is no keeper.
    #[error("what answers is no keeper: {text}")]
    Nonsense {
        /// What is wrong with the answer.
        text: &'static str,
    },
    /// A keeper listens at the socket already.
    #[error("another keeper listens at {}", socket.display())]
    InUse {
        /// The socket.
        socket: PathBuf,
    },
    /// The socket cannot be made.
    #[error("listen at {}", socket.display())]
    Listen {
        /// The socket.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A system call failed that never should.
    #[error("{action}")]
    System {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The command line of the process is wrong.
    #[error("usage: {}", crate::process::USAGE)]
    Usage,
}

/// Why a request was refused. The numbers are part of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Refusal {
    /// The keeper does not know the version of the protocol.
    Version = 1,
    /// The packet keeps to no version.
    Malformed = 2,
    /// The caller is neither the keeper's user nor root.
    Caller = 3,
    /// Nothing is held under the name.
    Unknown = 4,
    /// What was to be held is no FUSE device.
    Device = 5,
    /// There is no room for more.
    Full = 6,
    /// A reason that this version has no name for.
    Other = 0xffff,
}

impl Refusal {
    pub(crate) fn from_code(code: u16) -> Self {
        const ALL: [Refusal; 6] = [
            Refusal::Version,
            Refusal::Malformed,
            Refusal::Caller,
            Refusal::Unknown,
            Refusal::Device,
            Refusal::Full,
        ];
        let known = ALL.into_iter().find(|reason| *reason as u16 == code);
        known.unwrap_or(Refusal::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_survives_its_number_and_an_unknown_one_is_none_of_them() {
        for code in 1..=6 {
            assert_eq!(Refusal::from_code(code) as u16, code);
        }
        assert_eq!(Refusal::from_code(7), Refusal::Other);
    }
}
