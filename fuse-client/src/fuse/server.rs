//! The tree as fuser serves it, and how an answer that may have to wait is given.

use std::future::Future;
use std::sync::Arc;

use forebay_core::ByteRange;
use fuser::{Errno, INodeNo, Request};
use futures::FutureExt;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::convert;
use super::service::{Asked, Service};
use crate::fs::DatasetFs;
use crate::fs::error::FsError;
use crate::fs::inode::Inode;
use crate::options::MountOptions;
use crate::waiters::{Patience, Requester, wait_for};

/// A tree as fuser serves it.
#[derive(Debug)]
pub(crate) struct Server {
    pub(super) service: Arc<Service>,
    pub(super) runtime: Handle,
    pub(super) waits: TaskTracker,
    pub(super) max_background: u16,
}

impl Server {
    /// Serves `fs`. What waits runs on `runtime`, is counted in `waits`, and ends when
    /// `stopping` is cancelled.
    pub(crate) fn new(
        fs: Arc<DatasetFs>,
        runtime: Handle,
        stopping: CancellationToken,
        waits: TaskTracker,
        options: &MountOptions,
    ) -> Self {
        let limit = options.reply_timeout;
        let service = Arc::new(Service::new(fs, Patience { stopping, limit }));
        Self {
            service,
            runtime,
            waits,
            max_background: options.max_background,
        }
    }

    pub(super) fn fs(&self) -> &DatasetFs {
        &self.service.fs
    }

    /// Answers with the outcome of `work`: at once if it is there at once.
    pub(super) fn answer<T: Send + 'static>(
        &self,
        asked: Asked,
        requester: Requester,
        work: impl Future<Output = Result<T, FsError>> + Send + 'static,
        reply: impl FnOnce(Result<T, Errno>) + Send + 'static,
    ) {
        // The cache may start tasks of its own while it is asked.
        let _runtime = self.runtime.enter();
        let mut work = Box::pin(work);
        let service = Arc::clone(&self.service);
        let finish = move |service: &Service, outcome: Result<T, FsError>| {
            reply(outcome.map_err(|error| {
                service.report(asked, &error);
                convert::errno(&error)
            }));
        };
        if let Some(outcome) = (&mut work).now_or_never() {
            return finish(&service, outcome);
        }
        let waiting = async move {
            let outcome = wait_for(work, requester, &service.patience).await;
            finish(&service, outcome);
        };
        self.waits.spawn_on(waiting, &self.runtime);
    }

    pub(super) fn refuse(&self, operation: &'static str, inode: INodeNo, error: &FsError) -> Errno {
        self.service.report(asked(operation, inode), error);
        convert::errno(error)
    }
}

pub(super) fn inode(ino: INodeNo) -> Inode {
    Inode::from_raw(ino.0)
}

pub(super) fn asked(operation: &'static str, ino: INodeNo) -> Asked {
    Asked {
        operation,
        inode: inode(ino),
        range: ByteRange::new(0, 0),
    }
}

pub(super) fn requester(request: &Request) -> Requester {
    Requester::new(request.pid())
}
