//! A warm-up that somebody watches: it ends when they go away.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use forebay_cache_server::node::{self, WarmupProgress};
use forebay_core::manifest::{EntryId, VersionId};
use forebay_proto::mount::v1::warmup_response::Event;
use forebay_proto::mount::v1::{
    FailedFile, WarmupProgress as Progress, WarmupResponse, WarmupSummary,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Service;
use super::service::of_cache;
use crate::exit::{Exit, Failure};
use crate::off_runtime::off_runtime;
use crate::selection;

/// How often the watcher hears of it.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// What a watcher is told.
pub(crate) type Events = mpsc::Receiver<Result<WarmupResponse, Failure>>;

impl Service {
    /// Starts to bring what `patterns` name into the cache; see [`selection::files`].
    /// Dropping the receiver cancels it.
    ///
    /// # Errors
    /// [`Exit::Usage`] if a pattern matches nothing.
    pub(crate) async fn warmup(self: &Arc<Self>, patterns: &[String]) -> Result<Events, Failure> {
        let manifest = self.current();
        let version = manifest.version();
        let (mountpoint, patterns) = (self.mountpoint().to_owned(), patterns.to_vec());
        let files =
            off_runtime(move || selection::files(&manifest, &mountpoint, &patterns)).await??;
        let (watcher, events) = mpsc::channel(4);
        let service = Arc::clone(self);
        tokio::spawn(async move { service.watched_warmup(version, &files, &watcher).await });
        Ok(events)
    }

    async fn watched_warmup(
        &self,
        version: VersionId,
        files: &[EntryId],
        watcher: &mpsc::Sender<Result<WarmupResponse, Failure>>,
    ) {
        let begun = Instant::now();
        let progress = WarmupProgress::default();
        let cancel = self.ending().child_token();
        let warming = self.backend().warmup(version, files, &progress, &cancel);
        tokio::pin!(warming);
        let mut tick = tokio::time::interval(TELL_EVERY);
        let ended = loop {
            tokio::select! {
                ended = &mut warming => break ended,
                () = watcher.closed() => return cancelled(&cancel),
                _ = tick.tick() => {
                    // A watcher that reads slowly misses reports, and nothing waits for it.
                    let _ = watcher.try_send(Ok(event(Event::Progress(read(&progress)))));
                }
            }
        };
        let told = match ended {
            Ok(summary) if summary.cancelled => Err(Failure::new(
                Exit::Incomplete,
                "the mount ended before the warm-up",
            )),
            Ok(summary) => Ok(event(Event::Summary(report(
                &summary,
                &progress,
                begun.elapsed(),
            )))),
            Err(error) => Err(of_cache(error)),
        };
        // The watcher may have gone in this moment; then nobody needs to know.
        let _ = watcher.send(told).await;
    }
}

fn cancelled(cancel: &CancellationToken) {
    cancel.cancel();
    tracing::info!("warm-up cancelled: nobody watches it any more");
}

fn event(event: Event) -> WarmupResponse {
    WarmupResponse { event: Some(event) }
}

fn read(progress: &WarmupProgress) -> Progress {
    Progress {
        files_done: progress.files_done.load(Relaxed),
        files_total: progress.files_total.load(Relaxed),
        bytes_done: progress.bytes_done.load(Relaxed),
        bytes_total: progress.bytes_total.load(Relaxed),
        files_failed: progress.files_failed.load(Relaxed),
    }
}

/// The counts of what was verified at the end, which may be less than what was brought.
fn report(summary: &node::Summary, progress: &WarmupProgress, took: Duration) -> WarmupSummary {
    let counts = Progress {
        files_done: summary.files,
        bytes_done: summary.bytes,
        files_failed: summary.failed,
        ..read(progress)
    };
    let failed = summary.failures.iter().map(|failure| FailedFile {
        path: failure.path.escape_ascii().to_string(),
        reason: failure.reason.clone(),
    });
    WarmupSummary {
        complete: summary.is_complete(),
        progress: Some(counts),
        seconds: took.as_secs_f64(),
        failed: failed.collect(),
    }
}

#[cfg(test)]
mod tests {
    use forebay_core::ErrorKind;

    use super::*;

    #[test]
    fn a_summary_counts_what_was_verified_and_names_what_failed() {
        let progress = WarmupProgress::default();
        progress.files_total.store(3, Relaxed);
        progress.bytes_total.store(30, Relaxed);
        progress.bytes_done.store(30, Relaxed);
        let failure = node::Failure {
            path: b"a\xff".to_vec(),
            kind: ErrorKind::Stale,
            reason: "overwritten".into(),
        };
        let summary = node::Summary {
            files: 2,
            bytes: 20,
            failed: 1,
            failures: vec![failure],
            cancelled: false,
        };
        let told = report(&summary, &progress, Duration::from_secs(2));
        assert!(!told.complete);
        let counts = told.progress.unwrap();
        assert_eq!(
            (counts.files_done, counts.files_total, counts.files_failed),
            (2, 3, 1)
        );
        assert_eq!((counts.bytes_done, counts.bytes_total), (20, 30));
        assert_eq!(told.failed[0].path, "a\\xff");
    }
}
