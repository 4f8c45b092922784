//! Where listed objects go: the manifest's builder, on a thread of its own.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use forebay_core::manifest::{self, Builder, Listed, VersionId};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::Error;
use crate::origin::{ListedObject, Unservable};

/// Pages that wait for the builder.
const QUEUE: usize = 8;

enum Message {
    Page(u16, Vec<ListedObject>, Vec<Unservable>),
    Finish,
}

/// The way to the builder.
#[derive(Debug)]
pub(super) struct Sink {
    queue: mpsc::Sender<Message>,
    builder: JoinHandle<Result<Option<VersionId>, manifest::Error>>,
}

/// The builder has stopped; why, [`Sink::abandon`] tells.
#[derive(Debug)]
pub(super) struct Closed;

impl Sink {
    pub(super) fn start(dir: &Path, sources: Vec<manifest::Source>) -> Self {
        let (queue, messages) = mpsc::channel(QUEUE);
        let dir = dir.to_owned();
        let builder = tokio::task::spawn_blocking(move || build(dir, sources, messages));
        Self { queue, builder }
    }

    /// Adds a page of a source; waits while the builder is behind.
    pub(super) async fn push(
        &self,
        source: u16,
        objects: Vec<ListedObject>,
        unservable: Vec<Unservable>,
    ) -> Result<(), Closed> {
        let page = Message::Page(source, objects, unservable);
        self.queue.send(page).await.map_err(|_| Closed)
    }

    /// Completes the manifest.
    pub(super) async fn finish(self) -> Result<VersionId, Error> {
        // If the builder is gone already, its result says why.
        let _ = self.queue.send(Message::Finish).await;
        drop(self.queue);
        match join(self.builder).await {
            Ok(version) => version.ok_or(Error::Cancelled),
            Err(source) => Err(Error::Manifest { source }),
        }
    }

    /// Gives up. The builder's error, if it has one, is the reason and not `error`.
    pub(super) async fn abandon(self, error: Error) -> Error {
        drop(self.queue);
        match join(self.builder).await {
            Ok(_) => error,
            Err(source) => Error::Manifest { source },
        }
    }
}

async fn join(
    builder: JoinHandle<Result<Option<VersionId>, manifest::Error>>,
) -> Result<Option<VersionId>, manifest::Error> {
    // A join error means that the runtime is going away, or a panic with its own message.
    builder.await.unwrap_or(Ok(None))
}

/// Builds the manifest; `None` if the queue ends without [`Message::Finish`].
fn build(
    dir: PathBuf,
    sources: Vec<manifest::Source>,
    mut messages: mpsc::Receiver<Message>,
) -> Result<Option<VersionId>, manifest::Error> {
    let mut builder = Builder::new(&dir, sources)?;
    while let Some(message) = messages.blocking_recv() {
        match message {
            Message::Page(source, objects, unservable) => {
                for object in &objects {
                    builder.push(source, listed(object))?;
                }
                for Unservable { key, reason } in &unservable {
                    builder.skip(source, key, *reason)?;
                }
            }
            Message::Finish => return builder.finish().map(Some),
        }
    }
    Ok(None)
}

fn listed(object: &ListedObject) -> Listed<'_> {
    Listed {
        key: &object.key,
        size: object.size,
        modified: nanoseconds(object.modified),
        etag: object.etag.as_str(),
    }
}

/// Nanoseconds since the epoch; the ends of the range for times outside 1677 to 2262.
fn nanoseconds(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |ns| -ns),
    }
}
