//! What fuser's threads and the waiting tasks share: the tree, the order to stop, and the
//! way in which answers and errors leave.

use std::sync::Arc;
use std::time::Instant;

use forebay_core::ByteRange;
use fuser::ReplyData;
use tracing::{debug, error, warn};

use super::convert;
use crate::fs::DatasetFs;
use crate::fs::error::{FsError, Gravity};
use crate::fs::inode::Inode;
use crate::fs::read::{PendingRead, Readable};
use crate::log_limit::LogLimit;
use crate::waiters::{Patience, Requester, wait_for};

/// Failed requests that are logged in a second. An origin that is down fails every read.
const LINES_A_SECOND: u32 = 5;

/// How often bytes are brought again that could not be read. Each time costs a fetch at
/// most, and a disk that refuses one read may well refuse the next.
const TRIES: u32 = 4;

#[derive(Debug)]
pub(super) struct Service {
    pub(super) fs: Arc<DatasetFs>,
    pub(super) patience: Patience,
    log: LogLimit,
}

/// A request, as far as a log line names it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) operation: &'static str,
    pub(super) inode: Inode,
    /// The bytes asked for; empty for requests that are not reads.
    pub(super) range: ByteRange,
}

/// An answer whose bytes were said to be there and could not be read.
#[derive(Debug)]
pub(super) struct Unsent {
    error: FsError,
    readable: Readable,
    reply: ReplyData,
}

impl Service {
    pub(super) fn new(fs: Arc<DatasetFs>, patience: Patience) -> Self {
        Self {
            fs,
            patience,
            log: LogLimit::new(LINES_A_SECOND),
        }
    }

    /// Answers a read whose bytes are there. `Some` if they are not, after all.
    pub(super) fn send(&self, readable: Readable, reply: ReplyData) -> Option<Unsent> {
        let mut unsent = Some(reply);
        let sent = readable.with_bytes(|bytes| {
            // Counted first, so that who has the bytes finds them counted.
            self.fs.stats().read_bytes(bytes.len());
            if let Some(reply) = unsent.take() {
                reply.data(bytes);
            }
        });
        let (error, reply) = (sent.err()?, unsent?);
        Some(Unsent {
            error,
            readable,
            reply,
        })
    }

    /// Has the bytes of an unsent answer brought again, a few times, and answers with those.
    pub(super) async fn send_again(&self, asked: Asked, mut unsent: Unsent, requester: Requester) {
        for _ in 0..TRIES {
            let Unsent {
                error,
                readable,
                reply,
            } = unsent;
            let (inode, range) = (asked.inode, asked.range);
            debug!(%inode, %range, %error, "cached bytes unreadable: asked for again");
            let wait = self.fs.stats().wait();
            let again = wait_for(self.fs.read_again(readable), requester, &self.patience).await;
            drop(wait);
            let sent = match again {
                Ok(readable) => self.send(readable, reply),
                Err(error) => return self.fail_read(asked, &error, reply),
            };
            match sent {
                Some(again) => unsent = again,
                None => return,
            }
        }
        self.fail_read(asked, &unsent.error, unsent.reply);
    }

    /// Waits for the bytes of a read, then answers it.
    pub(super) async fn send_later(
        &self,
        asked: Asked,
        pending: PendingRead,
        requester: Requester,
        reply: ReplyData,
    ) {
        let wait = self.fs.stats().wait();
        let finished = wait_for(self.fs.finish_read(pending), requester, &self.patience).await;
        drop(wait);
        match finished {
            Ok(Some(readable)) => {
                if let Some(unsent) = self.send(readable, reply) {
                    self.send_again(asked, unsent, requester).await;
                }
            }
            Ok(None) => reply.data(&[]),
            Err(error) => self.fail_read(asked, &error, reply),
        }
    }

    /// Answers a read with an error.
    pub(super) fn fail_read(&self, asked: Asked, error: &FsError, reply: ReplyData) {
        self.fs.stats().failed(error.errno());
        self.report(asked, error);
        reply.error(convert::errno(error));
    }

    /// Logs a failed request: loudly what a person should see, within the limit.
    pub(super) fn report(&self, asked: Asked, failure: &FsError) {
        let Asked {
            operation,
            inode,
            range,
        } = asked;
        let gravity = failure.gravity();
        if gravity == Gravity::Ordinary {
            debug!(operation, %inode, %range, error = %failure, "request refused");
            return;
        }
        let Some(held_back) = self.log.admit(Instant::now()) else {
            return;
        };
        let path = self.fs.path_for_log(inode);
        let errno = failure.errno();
        let cause = failure as &dyn std::error::Error;
        if gravity == Gravity::Broken {
            error!(operation, %path, %inode, %range, errno, held_back, error = cause, "cache is broken");
        } else {
            let kind = failure.kind();
            warn!(operation, %path, %inode, %range, kind, errno, held_back, error = cause, "request failed");
        }
    }
}
