//! Calls have deadlines; what they do is not cut in half by them.
//!
//! Every call's work is a task of its own. If the caller goes or its time is over, the
//! work goes on to its end, and the same call made again finds it done or waits for it.

use std::time::Duration;

use tokio_util::task::TaskTracker;

use crate::error::{Error, Kind, Phase, Result};

/// Runs the work of calls.
#[derive(Clone, Debug)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    deadline: Duration,
}

impl Tasks {
    pub(crate) fn new(deadline: Duration) -> Self {
        Self {
            tracker: TaskTracker::new(),
            deadline,
        }
    }

    /// Does `work` and waits for it until the deadline.
    ///
    /// # Errors
    /// That of the work; [`Kind::TimedOut`] if it is not done by then.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        phase: Phase,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let task = self.tracker.spawn(work);
        match tokio::time::timeout(self.deadline, task).await {
            Ok(Ok(done)) => done,
            Ok(Err(error)) => Err(Error::new(Kind::Internal, phase, error.to_string())),
            Err(_) => {
                let what = format!("not done after {} s; it goes on", self.deadline.as_secs());
                Err(Error::new(Kind::TimedOut, phase, what).next("call again for the outcome"))
            }
        }
    }

    /// Waits for what is under way, but not for ever.
    pub(crate) async fn drain(&self, limit: Duration) {
        self.tracker.close();
        if tokio::time::timeout(limit, self.tracker.wait())
            .await
            .is_err()
        {
            tracing::warn!("calls under way were cut off; the next start repairs what they left");
        }
    }
}

/// Does on a thread of its own what may hang on a file system, and gives up on it after
/// `limit`. The thread ends when the file system answers.
pub(crate) async fn blocking<T: Send + 'static>(
    phase: Phase,
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    let task = tokio::task::spawn_blocking(work);
    match tokio::time::timeout(limit, task).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(Error::new(Kind::Internal, phase, error.to_string())),
        Err(_) => {
            let what = format!("the mount does not answer within {} s", limit.as_secs());
            Err(Error::new(Kind::Unavailable, phase, what)
                .next("see the log of the mount on this node"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[tokio::test]
    async fn work_goes_on_after_its_callers_time_is_over() {
        let tasks = Tasks::new(Duration::from_millis(10));
        let done = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&done);
        let work = async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            flag.store(true, Ordering::SeqCst);
            Ok(())
        };
        let error = tasks.run(Phase::Mount, work).await.unwrap_err();
        assert_eq!(error.kind, Kind::TimedOut);
        assert!(!done.load(Ordering::SeqCst));
        tasks.drain(Duration::from_secs(10)).await;
        assert!(done.load(Ordering::SeqCst));
    }
}
