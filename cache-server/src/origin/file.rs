//! A local directory, also of a network file system.
//!
//! There is no ETag: a file's identity is its inode, size and modification time in
//! nanoseconds. Its identity is compared before the first byte and again after each
//! piece, before the piece is yielded. What this cannot see is a change that leaves all
//! three as they were, within one tick of the file system's clock.
//!
//! **What is shown**: regular files, and links to regular files wherever they point (the
//! trees of model hubs are made of such links). Links to directories are not followed,
//! because they can make a tree infinite; they and sockets, pipes, devices, dangling
//! links and directories without permission are reported as [`Unservable`](super::Unservable).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use forebay_core::{ByteRange, ETag};
use rustix::fs::Stat;

use super::{Body, Error, Origin, Page, PageRequest, PinnedObject, printable};

mod list;
mod read;

/// A directory whose files are objects.
#[derive(Debug)]
pub(crate) struct Directory {
    identity: String,
    root: PathBuf,
}

impl Directory {
    /// The tree below `root`, an absolute path. Nothing is opened yet.
    pub(crate) fn new(identity: String, root: PathBuf) -> Self {
        Self { identity, root }
    }

    fn what(&self, key: &[u8]) -> String {
        format!("{}/{}", self.identity.trim_end_matches('/'), printable(key))
    }

    /// The path of a key; `None` if it could lead out of the tree.
    fn path(&self, key: &[u8]) -> Option<PathBuf> {
        let relative = Path::new(OsStr::from_bytes(key));
        let within = relative
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        (within && !key.contains(&0)).then(|| self.root.join(relative))
    }
}

#[async_trait]
impl Origin for Directory {
    fn identity(&self) -> &str {
        &self.identity
    }

    async fn list(&self, request: PageRequest<'_>) -> Result<Page, Error> {
        let what = self.what(request.prefix);
        let Some(path) = self.path(request.prefix) else {
            return Err(outside(what));
        };
        let (prefix, after) = (request.prefix.to_vec(), request.after.cloned());
        blocking(what, move |what| {
            list::page(&path, &prefix, after.as_ref(), what)
        })
        .await
    }

    async fn read(&self, object: PinnedObject<'_>, range: ByteRange) -> Result<Body, Error> {
        let what = self.what(object.key);
        let Some(path) = self.path(object.key) else {
            return Err(outside(what));
        };
        let etag = object.etag.clone();
        let opened = blocking(what, move |what| read::Opened::new(&path, etag, what)).await?;
        Ok(opened.body(range))
    }
}

fn outside(what: String) -> Error {
    Error::Protocol {
        what,
        reason: "the key leads out of the directory".to_owned(),
    }
}

/// Runs `work` where waiting for a disk or a network file system holds up nobody.
async fn blocking<T: Send + 'static>(
    what: String,
    work: impl FnOnce(&str) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let stopped = what.clone();
    let done = tokio::task::spawn_blocking(move || work(&what)).await;
    done.unwrap_or_else(|_| {
        // The runtime is going away, or `work` panicked, which has its own message.
        Err(Error::Unreachable {
            what: stopped,
            reason: "the read was stopped".to_owned(),
        })
    })
}

/// A system error, as the origin error that it is for `what`.
fn failed(what: &str, error: rustix::io::Errno) -> Error {
    use rustix::io::Errno;
    let what = what.to_owned();
    let reason = std::io::Error::from(error).to_string();
    match error {
        Errno::NOENT | Errno::NOTDIR => Error::NotFound { what },
        Errno::ACCESS | Errno::PERM => Error::Forbidden { what, reason },
        Errno::ISDIR | Errno::LOOP | Errno::NAMETOOLONG | Errno::INVAL => {
            Error::Protocol { what, reason }
        }
        // EIO, ESTALE, ETIMEDOUT and the like: a server or a disk that may come back.
        _ => Error::Unreachable { what, reason },
    }
}

/// The identity of a file's content: inode, size, modification time in nanoseconds.
fn identity(stat: &Stat) -> ETag {
    let modified = i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec);
    ETag::new(format!("{}-{}-{modified}", stat.st_ino, stat.st_size))
}

fn modified(stat: &Stat) -> SystemTime {
    let seconds = Duration::from_secs(stat.st_mtime.unsigned_abs());
    let whole = if stat.st_mtime < 0 {
        UNIX_EPOCH - seconds
    } else {
        UNIX_EPOCH + seconds
    };
    whole + Duration::from_nanos(stat.st_mtime_nsec)
}

#[cfg(test)]
mod tests;
