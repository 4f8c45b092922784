//! Warm-up: bring files into the cache, then prove that they are there.
//!
//! A file counts as done only when every chunk of it is present, checked, and recorded
//! on disk. What could not be brought is listed with its reason.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use forebay_core::cache::{CacheError, FileRef};
use forebay_core::manifest::{EntryId, VersionId};
use forebay_core::{ErrorKind, chunk};
use futures::{StreamExt, TryStreamExt};
use tokio_util::sync::CancellationToken;

use super::NodeCache;
use crate::fill::OpenObject;

/// Files in work at once. Their origin reads share the node's prefetch permits; this
/// only keeps enough small files in line to use them all.
pub(super) const FILES_AT_ONCE: usize = 32;
/// Parts of one file in work at once.
const PARTS_AT_ONCE: usize = 8;
/// Failures that are kept with their reasons; the others are counted.
const FAILURES_LISTED: usize = 1000;

/// How far a warm-up has come. Read it from anywhere while it runs.
#[derive(Debug, Default)]
pub struct WarmupProgress {
    /// Files asked for.
    pub files_total: AtomicU64,
    /// Bytes asked for.
    pub bytes_total: AtomicU64,
    /// Files brought or found, so far.
    pub files_done: AtomicU64,
    /// Bytes brought or found, so far.
    pub bytes_done: AtomicU64,
    /// Files that failed, so far.
    pub files_failed: AtomicU64,
}

/// A file that is not in the cache, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The file's path in the tree.
    pub path: Vec<u8>,
    /// The class of the error.
    pub kind: ErrorKind,
    /// What happened.
    pub reason: String,
}

/// The end of a warm-up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Files that are wholly in the cache, verified.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that are not.
    pub failed: u64,
    /// The first thousand of them, in manifest order.
    pub failures: Vec<Failure>,
    /// Whether it was cancelled before its end.
    pub cancelled: bool,
}

impl Summary {
    /// Whether all that was asked for is present and verified.
    pub fn is_complete(&self) -> bool {
        self.failed == 0 && !self.cancelled
    }
}

impl NodeCache {
    /// Brings `files` of a version into the cache and verifies them.
    ///
    /// # Errors
    /// `NotFound` if the version is unknown. Everything else is told file by file in
    /// the [`Summary`].
    ///
    /// # Cancel safety
    /// Dropping the future, or cancelling the token, stops the work; what was brought
    /// stays.
    pub async fn warmup(
        &self,
        version: VersionId,
        files: &[EntryId],
        progress: &WarmupProgress,
        cancel: &CancellationToken,
    ) -> Result<Summary, CacheError> {
        let dataset = self.dataset(version)?;
        let size = |entry| dataset.manifest().attr(entry).map_or(0, |attr| attr.size);
        progress
            .files_total
            .store(files.len() as u64, Ordering::Relaxed);
        let bytes = files.iter().map(|&entry| size(entry)).sum();
        progress.bytes_total.store(bytes, Ordering::Relaxed);
        let failures = Mutex::new(Vec::new());
        let fetch = futures::stream::iter(files).for_each_concurrent(FILES_AT_ONCE, |&entry| {
            let failures = &failures;
            async move {
                if let Err(error) = self.bring_file(FileRef { version, entry }, progress).await {
                    progress.files_failed.fetch_add(1, Ordering::Relaxed);
                    failures
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push((entry, error));
                } else {
                    progress.files_done.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let cancelled = tokio::select! {
            biased;
            () = cancel.cancelled() => true,
            () = fetch => false,
        };
        if cancelled {
            return Ok(Summary {
                cancelled,
                ..Summary::default()
            });
        }
        self.make_durable().await?;
        let failures = failures
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        self.verify_files(version, files, failures).await
    }

    async fn bring_file(&self, file: FileRef, progress: &WarmupProgress) -> Result<(), CacheError> {
        let object = self.open(file)?;
        let chunks = 0..chunk::count(object.target.size);
        let brought = |bytes| {
            progress.bytes_done.fetch_add(bytes, Ordering::Relaxed);
        };
        self.bring_chunks(&object, chunks, &brought).await
    }

    /// Brings `chunks` of an object, some parts of them at once; `brought` hears of each
    /// part.
    pub(super) async fn bring_chunks(
        &self,
        object: &Arc<OpenObject>,
        chunks: Range<u64>,
        brought: &(dyn Fn(u64) + Sync),
    ) -> Result<(), CacheError> {
        let size = object.target.size;
        futures::stream::iter(self.parts(chunks).map(Ok))
            .try_for_each_concurrent(PARTS_AT_ONCE, |part: Range<u64>| async move {
                let lens = part.clone().map(|index| chunk::range(index, size).len());
                let bytes: u64 = lens.sum();
                self.fills.warm(object, part).await?;
                brought(bytes);
                Ok(())
            })
            .await
    }

    fn parts(&self, chunks: Range<u64>) -> impl Iterator<Item = Range<u64>> + use<'_> {
        let Range {
            start: mut next,
            end,
        } = chunks;
        std::iter::from_fn(move || {
            let start = next;
            next = self.fills.part_end(start).min(end);
            (start < end).then_some(start..next)
        })
    }

    /// Makes all that was brought durable.
    pub(crate) async fn make_durable(&self) -> Result<(), CacheError> {
        let store = Arc::clone(&self.store);
        match tokio::task::spawn_blocking(move || store.flush()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(CacheError::new(ErrorKind::Internal, error.to_string())),
            Err(error) => Err(CacheError::new(ErrorKind::Internal, error.to_string())),
        }
    }

    /// Looks at every file once more: a file brought early may have been evicted for a
    /// later one.
    async fn verify_files(
        &self,
        version: VersionId,
        files: &[EntryId],
        mut failed: Vec<(EntryId, CacheError)>,
    ) -> Result<Summary, CacheError> {
        failed.sort_unstable_by_key(|(entry, _)| *entry);
        let mut summary = Summary::default();
        for &entry in files {
            if failed
                .binary_search_by_key(&entry, |(entry, _)| *entry)
                .is_ok()
            {
                continue;
            }
            let object = self.open(FileRef { version, entry })?;
            if is_whole(&object) {
                summary.files += 1;
                summary.bytes += object.target.size;
            } else {
                let message = "evicted again before the warm-up ended: the cache is too small";
                failed.push((entry, CacheError::new(ErrorKind::NoSpace, message)));
            }
        }
        failed.sort_by_key(|(entry, _)| *entry);
        let dataset = self.dataset(version)?;
        summary.failed = failed.len() as u64;
        summary.failures = failed
            .into_iter()
            .take(FAILURES_LISTED)
            .map(|(entry, error)| Failure {
                path: dataset.manifest().path(entry),
                kind: error.kind,
                reason: error.to_string(),
            })
            .collect();
        Ok(summary)
    }
}

fn is_whole(object: &OpenObject) -> bool {
    object
        .lease
        .first_not_present(0..chunk::count(object.target.size))
        .is_none()
}
