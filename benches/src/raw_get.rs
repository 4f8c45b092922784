//! The limit of a cold read: a plain parallel ranged GET by the same library.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use forebay_tests::Endpoint;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStore;
use object_store::path::Path;
use object_store::{GetOptions, GetRange};

/// Bytes of one ranged GET; what the cache's miss path uses, too.
pub const PART_BYTES: u64 = 8 << 20;
/// GETs at once.
pub const PARTS_AT_ONCE: usize = 8;

/// Where an object is read from.
#[derive(Clone, Debug)]
pub struct S3Object {
    /// The server and its keys.
    pub endpoint: Endpoint,
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The object's size in bytes.
    pub size: u64,
}

/// What becomes of the bytes.
#[derive(Clone, Debug)]
pub enum Sink {
    /// They are thrown away.
    Discard,
    /// They are written to this file, which is made anew.
    File(PathBuf),
}

/// Reads the whole object in parallel ranged GETs and returns the time it took.
///
/// # Errors
/// If a GET or a write fails.
pub async fn get(object: &S3Object, sink: &Sink) -> Result<Duration> {
    let store: Arc<dyn ObjectStore> = Arc::new(object.endpoint.object_store(&object.bucket));
    let key = Path::parse(&object.key)?;
    let begun = Instant::now();
    let file = match sink {
        Sink::Discard => None,
        Sink::File(path) => {
            let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
            file.set_len(object.size)?;
            Some(Arc::new(file))
        }
    };
    let starts = (0..object.size).step_by(PART_BYTES as usize);
    futures::stream::iter(starts.map(|start| {
        let end = (start + PART_BYTES).min(object.size);
        part(Arc::clone(&store), key.clone(), start..end, file.clone())
    }))
    .buffer_unordered(PARTS_AT_ONCE)
    .try_collect::<()>()
    .await?;
    Ok(begun.elapsed())
}

async fn part(
    store: Arc<dyn ObjectStore>,
    key: Path,
    range: std::ops::Range<u64>,
    file: Option<Arc<File>>,
) -> Result<()> {
    let options = GetOptions {
        range: Some(GetRange::Bounded(range.clone())),
        ..GetOptions::default()
    };
    let mut body = store.get_opts(&key, options).await?.into_stream();
    let mut at = range.start;
    let mut pending: Vec<Bytes> = Vec::new();
    let mut pending_bytes = 0;
    while let Some(piece) = body.next().await {
        let piece = piece?;
        pending_bytes += piece.len() as u64;
        pending.push(piece);
        // Writes of 1 MiB: smaller ones pay for more system calls, larger ones wait
        // longer for memory.
        if pending_bytes >= 1 << 20 || at + pending_bytes == range.end {
            if let Some(file) = &file {
                write(Arc::clone(file), std::mem::take(&mut pending), at).await?;
            }
            pending.clear();
            at += pending_bytes;
            pending_bytes = 0;
        }
    }
    anyhow::ensure!(at == range.end, "body ended at {at} of {range:?}");
    Ok(())
}

async fn write(file: Arc<File>, pieces: Vec<Bytes>, mut at: u64) -> Result<()> {
    tokio::task::spawn_blocking(move || {
        for piece in pieces {
            file.write_all_at(&piece, at)?;
            at += piece.len() as u64;
        }
        anyhow::Ok(())
    })
    .await?
}
