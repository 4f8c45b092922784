//! The client: the [`Cache`] trait, and what else a mount asks of its server.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use forebay_core::cache::{Availability, Cache, CacheError, FileRef, Lease, Usage};
use forebay_core::manifest::{EntryId, VersionId};
use forebay_core::{ByteRange, ErrorKind};
use forebay_proto::local::{
    Attach, MAX_RANGE, MAX_RUNS, Reply, Report, Request, StoredVersion, Wanted, WarmupCounts,
    WarmupFailure, WholeFile,
};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::error::{CallError, ConnectError};
use crate::lease::RemoteLease;
use crate::link::Link;
use crate::session::{Session, unexpected};

/// How a server is reached.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// The server's socket.
    pub socket: PathBuf,
    /// How long a request waits for a server that has gone away.
    pub patience: Duration,
}

/// The cache server of this machine.
#[derive(Debug)]
pub struct Client {
    link: Arc<Link>,
}

/// A dataset version that can be read now.
#[derive(Debug)]
pub struct Attached {
    /// The version.
    pub version: VersionId,
    /// Its manifest, open for reading.
    pub manifest: File,
    /// Whether it is an old one because the sources do not answer.
    pub origin_unreachable: bool,
}

impl Client {
    /// Connects, and stays connected until [`close`](Self::close). Its tasks run on the
    /// runtime that it is called on.
    ///
    /// # Errors
    /// [`ConnectError`], if there is no server now.
    pub async fn connect(config: ClientConfig) -> Result<Arc<Self>, ConnectError> {
        let (link, incoming) = Link::open(config).await?;
        tokio::spawn(Arc::clone(&link).keep(incoming));
        Ok(Arc::new(Self { link }))
    }

    /// Gives everything back and ends every wait.
    pub fn close(&self) {
        self.link.close();
    }

    /// Asks for a dataset by its name in the server's configuration, and makes a version
    /// of it readable. `listed` is told how a listing goes: objects, and their bytes.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if the server has no such dataset or version, and what its
    /// sources answer.
    ///
    /// # Cancel safety
    /// Dropping the future ends the listing.
    pub async fn attach(
        &self,
        dataset: &str,
        wanted: Wanted,
        listed: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<Attached, CacheError> {
        let session = self.session().await?;
        let request = Request::Attach(Attach {
            dataset: dataset.to_owned(),
            wanted,
        });
        let attached = attach(&session, request, listed)
            .await
            .map_err(broken_off)?;
        self.link.remember(dataset, attached.version);
        Ok(attached)
    }

    /// What of `version` is cached, and what the server has done.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if the version is not attached.
    pub async fn report(&self, version: VersionId) -> Result<Report, CacheError> {
        let asked = |session: Arc<Session>| async move {
            match session.call(&Request::Report(version)).await?.reply {
                Reply::Report(report) => Ok(report),
                other => Err(unexpected(&other)),
            }
        };
        self.link.persist(asked).await
    }

    /// The stored versions of a dataset, the one listed last first.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if the server has no such dataset.
    pub async fn versions(&self, dataset: &str) -> Result<Vec<StoredVersion>, CacheError> {
        let request = Request::Versions(dataset.to_owned());
        let request = &request;
        let asked = |session: Arc<Session>| async move {
            match session.call(request).await?.reply {
                Reply::Versions(versions) => Ok(versions),
                other => Err(unexpected(&other)),
            }
        };
        self.link.persist(asked).await
    }

    /// Brings `files` of a version, in ascending order, into the cache, and verifies
    /// them. Returns the counts of what is verified, and the files that are not there.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if the version is not attached; [`ErrorKind::Unavailable`]
    /// if the server goes away meanwhile.
    ///
    /// # Cancel safety
    /// Dropping the future stops the work; what was brought stays.
    pub async fn warmup(
        &self,
        version: VersionId,
        files: &[EntryId],
        progress: &mut (dyn FnMut(WarmupCounts) + Send),
    ) -> Result<(WarmupCounts, Vec<WarmupFailure>), CacheError> {
        let session = self.session().await?;
        let requests = warmup_requests(version, files);
        let watched = async {
            let mut replies = session.converse(&requests).await?;
            let mut failures = Vec::new();
            loop {
                match replies.next().await?.reply {
                    Reply::WarmupProgress(counts) => progress(counts),
                    Reply::WarmupFailure(failure) => failures.push(failure),
                    Reply::WarmupEnd(counts) => return Ok((counts, failures)),
                    other => return Err(unexpected(&other)),
                }
            }
        };
        watched.await.map_err(broken_off)
    }

    async fn session(&self) -> Result<Arc<Session>, CacheError> {
        let deadline = tokio::time::Instant::now() + self.link.config.patience;
        self.link.session(deadline).await
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.close();
    }
}

async fn attach(
    session: &Arc<Session>,
    request: Request,
    listed: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<Attached, CallError> {
    let mut replies = session.converse(&[request]).await?;
    loop {
        let answer = replies.next().await?;
        match (answer.reply, answer.descriptor) {
            (Reply::Listing { objects, bytes }, _) => listed(objects, bytes),
            (
                Reply::Attached {
                    version,
                    origin_unreachable,
                },
                Some(manifest),
            ) => {
                return Ok(Attached {
                    version,
                    manifest: manifest.into(),
                    origin_unreachable,
                });
            }
            (other, _) => return Err(unexpected(&other)),
        }
    }
}

fn broken_off(error: CallError) -> CacheError {
    match error {
        CallError::Failed(error) => error,
        CallError::Lost => {
            let message = "the cache server went away before it had answered";
            CacheError::new(ErrorKind::Unavailable, message)
        }
    }
}

/// The files as runs of neighbours, as many frames as they need.
fn warmup_requests(version: VersionId, files: &[EntryId]) -> Vec<Request> {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for entry in files {
        match runs.last_mut() {
            Some((first, count)) if first.checked_add(*count) == Some(entry.0) => *count += 1,
            _ => runs.push((entry.0, 1)),
        }
    }
    let frames = runs.len().div_ceil(MAX_RUNS).max(1);
    (0..frames)
        .map(|frame| Request::Warmup {
            version,
            runs: runs
                .iter()
                .skip(frame * MAX_RUNS)
                .take(MAX_RUNS)
                .copied()
                .collect(),
            more: frame + 1 < frames,
        })
        .collect()
}

fn held(lease: &Lease) -> Result<&Arc<RemoteLease>, CacheError> {
    lease.state.downcast_ref().ok_or_else(|| {
        let message = "the lease belongs to another cache";
        CacheError::new(ErrorKind::InvalidInput, message)
    })
}

impl Cache for Client {
    fn lease(&self, file: FileRef) -> BoxFuture<'_, Result<Lease, CacheError>> {
        let lease = move |remote: Arc<RemoteLease>| Lease {
            file,
            size: remote.size(),
            state: Box::new(remote),
        };
        if let Some(found) = self.link.places().find(file) {
            let remote = RemoteLease::at_place(file, found);
            return futures::future::ready(Ok(lease(remote))).boxed();
        }
        async move {
            let taken = |session: Arc<Session>| async move {
                let remote = RemoteLease::take(&session, file).await?;
                if remote.is_packed() {
                    session.missed(file);
                }
                Ok(remote)
            };
            self.link.persist(taken).await.map(lease)
        }
        .boxed()
    }

    fn ensure<'a>(
        &'a self,
        lease: &'a Lease,
        range: ByteRange,
    ) -> BoxFuture<'a, Result<Availability, CacheError>> {
        async move {
            let remote = held(lease)?;
            if range.end() > remote.size() {
                let size = remote.size();
                let message = format!("bytes {range} are not within an object of {size} bytes");
                return Err(CacheError::new(ErrorKind::InvalidInput, message));
            }
            if range.is_empty() {
                return Ok(Availability::Inline(Bytes::new()));
            }
            if let Some(readable) = remote.readable(range) {
                return Ok(readable);
            }
            if range.len() > MAX_RANGE {
                let message = format!("{} bytes are too many for one read", range.len());
                return Err(CacheError::new(ErrorKind::InvalidInput, message));
            }
            let asked =
                |session: Arc<Session>| async move { ensure(&session, remote, range).await };
            self.link.persist(asked).await
        }
        .boxed()
    }

    fn ready(&self, lease: &Lease, range: ByteRange) -> Option<Availability> {
        if range.is_empty() {
            return None;
        }
        held(lease).ok()?.readable(range)
    }

    fn whole<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Option<Arc<File>>> {
        async move {
            let remote = held(lease).ok()?;
            if let Some(file) = remote.whole() {
                return Some(file);
            }
            if remote.is_packed() {
                return None;
            }
            // Never worth a wait: without a server there is no such file now.
            let session = self.link.current()?;
            let number = remote.number_in(&session).await.ok()?;
            match session.call(&Request::Whole(number)).await.ok()?.reply {
                Reply::Whole {
                    file: WholeFile::Known | WholeFile::New,
                    ..
                } => remote.whole(),
                _ => None,
            }
        }
        .boxed()
    }

    fn distrust<'a>(&'a self, lease: &'a Lease, range: ByteRange) -> BoxFuture<'a, ()> {
        async move {
            let Ok(remote) = held(lease) else { return };
            self.link.places().forget(lease.file);
            remote.forget();
            // Without a server there is nobody to tell; the next one verifies all it has.
            let Some(session) = self.link.current() else {
                return;
            };
            if let Ok(lease) = remote.number_in(&session).await {
                let _ = session.call(&Request::Distrust { lease, range }).await;
                // A lease that was taken for this was told the same as before.
                remote.forget();
            }
        }
        .boxed()
    }

    fn advise(&self, lease: &Lease, range: ByteRange) -> u64 {
        let (Ok(remote), Some(session)) = (held(lease), self.link.current()) else {
            return 0;
        };
        let range = range.clamp_to(remote.size());
        if remote.readable(range).is_some() {
            return range.len();
        }
        // The server notes all of it, and takes it up as it finds room.
        let sent = remote
            .number_if_in(&session)
            .is_some_and(|lease| session.hint(&Request::Advise { lease, range }));
        if sent { range.len() } else { 0 }
    }

    fn cached_bytes(&self, file: FileRef) -> BoxFuture<'_, Result<u64, CacheError>> {
        async move {
            let asked = |session: Arc<Session>| async move {
                match session.call(&Request::CachedBytes(file)).await?.reply {
                    Reply::Count(bytes) => Ok(bytes),
                    other => Err(unexpected(&other)),
                }
            };
            self.link.persist(asked).await
        }
        .boxed()
    }

    fn usage(&self) -> Usage {
        self.link
            .current()
            .map(|session| session.usage())
            .unwrap_or_default()
    }
}

async fn ensure(
    session: &Arc<Session>,
    remote: &Arc<RemoteLease>,
    range: ByteRange,
) -> Result<Availability, CallError> {
    let lease = remote.number_in(session).await?;
    let answer = session.call(&Request::Ensure { lease, range }).await?;
    match answer.reply {
        // The file was noted when the reply arrived.
        Reply::Backed { .. } => remote.backing().ok_or_else(|| {
            let message = format!("the cache server did not say where bytes {range} lie");
            CacheError::new(ErrorKind::Internal, message).into()
        }),
        Reply::Inline { bytes, .. } if bytes.len() as u64 == range.len() => {
            Ok(Availability::Inline(bytes))
        }
        Reply::Inline { bytes, .. } => {
            let message = format!("{} bytes came for bytes {range}", bytes.len());
            Err(CacheError::new(ErrorKind::Corrupt, message).into())
        }
        other => Err(unexpected(&other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_asked_for_as_runs_in_as_many_frames_as_it_takes() {
        let version = VersionId::from_bytes([1; 16]);
        let files = [1, 2, 3, 7, 9, 10].map(EntryId);
        assert_eq!(
            warmup_requests(version, &files),
            [Request::Warmup {
                version,
                runs: vec![(1, 3), (7, 1), (9, 2)],
                more: false
            }]
        );
        let apart: Vec<_> = (0..=MAX_RUNS as u32).map(|n| EntryId(2 * n)).collect();
        let requests = warmup_requests(version, &apart);
        assert!(
            matches!(&requests[0], Request::Warmup { runs, more: true, .. } if runs.len() == MAX_RUNS)
        );
        assert!(
            matches!(&requests[1], Request::Warmup { runs, more: false, .. } if runs.len() == 1)
        );
        assert_eq!(warmup_requests(version, &[]).len(), 1);
    }
}
