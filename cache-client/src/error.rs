//! Why there is no conversation with a server, and why one ended.

use std::io;
use std::path::PathBuf;

use forebay_core::cache::CacheError;
use forebay_proto::local::StreamError;

/// Why a server cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody listens at the socket.
    #[error("no cache server listens at {socket}", socket = socket.display())]
    NoServer {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// This process may not use the socket.
    #[error("this user may not use the cache server at {socket}", socket = socket.display())]
    NotAllowed {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The server has refused the client.
    #[error("the cache server at {socket} refuses this client: {message}", socket = socket.display())]
    Refused {
        /// The socket.
        socket: PathBuf,
        /// Why.
        message: String,
    },
    /// Who listens there is no cache server.
    #[error("what listens at {socket} does not answer as a cache server", socket = socket.display())]
    Stranger {
        /// The socket.
        socket: PathBuf,
        /// What went wrong.
        source: StreamError,
    },
    /// It accepts and says nothing.
    #[error("the cache server at {socket} does not answer", socket = socket.display())]
    Silent {
        /// The socket.
        socket: PathBuf,
    },
}

/// Why one call had no answer.
#[derive(Clone, Debug)]
pub(crate) enum CallError {
    /// The connection has gone; the same call may succeed on the next one.
    Lost,
    /// The server, or what it said, makes it impossible.
    Failed(CacheError),
}

impl From<CacheError> for CallError {
    fn from(error: CacheError) -> Self {
        Self::Failed(error)
    }
}
