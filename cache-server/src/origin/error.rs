//! What can go wrong between an origin and its reader.

use std::time::Duration;

use forebay_core::ErrorKind;

/// Why an origin could not be listed or read.
///
/// It can be cloned, because all waiters of one read get the same error. `what` is the
/// object or bucket, named so that a person finds it; no field holds credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// 404: no such object or bucket.
    #[error("{what} does not exist at the origin")]
    NotFound {
        /// The object or bucket.
        what: String,
    },
    /// 401 or 403, or no credentials to ask with.
    #[error("the origin refuses access to {what}: {reason}")]
    Forbidden {
        /// The object or bucket.
        what: String,
        /// The origin's code or words, without credentials.
        reason: String,
    },
    /// 412, or another identity than the pinned one.
    #[error("{what} was overwritten at the origin since it was listed")]
    Changed {
        /// The object.
        what: String,
    },
    /// 416: the object is shorter than it was listed.
    #[error("{what} is shorter at the origin than listed")]
    OutOfRange {
        /// The object.
        what: String,
    },
    /// 429, or 503 with a request to slow down.
    #[error("the origin asks to slow down reading {what}")]
    Throttled {
        /// The object or bucket.
        what: String,
        /// How long the origin asks to wait (`Retry-After`), if it says.
        after: Option<Duration>,
    },
    /// Another 5xx answer, or 408.
    #[error("the origin answered {status} for {what}")]
    Server {
        /// The object or bucket.
        what: String,
        /// The HTTP status.
        status: u16,
    },
    /// No connection, or it broke.
    #[error("the origin cannot be reached for {what}: {reason}")]
    Unreachable {
        /// The object or bucket.
        what: String,
        /// The transport's words.
        reason: String,
    },
    /// The body ended early or carried more than was asked for.
    #[error("the origin sent {got} of {expected} bytes of {what}")]
    Truncated {
        /// The object.
        what: String,
        /// Bytes asked for.
        expected: u64,
        /// Bytes received.
        got: u64,
    },
    /// Nothing arrived for longer than the stall limit, or the deadline passed.
    #[error("the origin did not answer in time for {what}: {reason}")]
    TimedOut {
        /// The object or bucket.
        what: String,
        /// What was waited for, and how the last attempt ended.
        reason: String,
    },
    /// The answer cannot be understood, or the request cannot be made.
    #[error("{what}: {reason}")]
    Protocol {
        /// The object or bucket.
        what: String,
        /// What is wrong.
        reason: String,
    },
}

impl Error {
    /// The class of the error, on which retries and `errno` depend.
    pub fn kind(&self) -> ErrorKind {
        match self {
            // An object of the pinned version that is gone is no longer that version:
            // a reader gets ESTALE for it, as for an overwritten one.
            Self::NotFound { .. } | Self::Changed { .. } | Self::OutOfRange { .. } => {
                ErrorKind::Stale
            }
            Self::Forbidden { .. } => ErrorKind::PermissionDenied,
            Self::Throttled { .. } => ErrorKind::Throttled,
            Self::Server { .. } | Self::Unreachable { .. } => ErrorKind::Unavailable,
            Self::Truncated { .. } => ErrorKind::Corrupt,
            Self::TimedOut { .. } => ErrorKind::TimedOut,
            Self::Protocol { .. } => ErrorKind::Internal,
        }
    }
}
