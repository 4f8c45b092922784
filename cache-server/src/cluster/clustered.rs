//! The origin behind a cluster: a segment's owner is asked first.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use forebay_core::placement::{SEGMENT_SIZE, SegmentKey};
use forebay_core::{ByteRange, ETag, ObjectId};
use forebay_proto::peer::ReadRequest;
use futures::stream::{self, StreamExt};

use super::connection::PeerError;
use super::peer::{Peer, PeerBody};
use super::stats::ClusterStats;
use super::{ASKED_BEFORE_ORIGIN, Cluster, asked_first};
use crate::origin::{Body, Error, Origin, Page, PageRequest, PinnedObject};

/// An origin whose objects are read from the members of a cluster that keep them, and from
/// the origin itself by the member that is first in rank.
#[derive(Debug)]
pub struct Clustered {
    inner: Arc<dyn Origin>,
    cluster: Arc<Cluster>,
}

impl Clustered {
    /// Puts `cluster` before `inner`.
    pub fn new(inner: Arc<dyn Origin>, cluster: Arc<Cluster>) -> Self {
        Self { inner, cluster }
    }
}

#[async_trait]
impl Origin for Clustered {
    fn identity(&self) -> &str {
        self.inner.identity()
    }

    fn is_kept_here(&self, id: ObjectId, offset: u64) -> bool {
        let (live, replicas) = (self.cluster.live(), self.cluster.config.replicas);
        let ranked = live.rank(SegmentKey::of(id, offset), replicas);
        ranked.as_slice().contains(&0)
    }

    async fn list(&self, request: PageRequest<'_>) -> Result<Page, Error> {
        self.inner.list(request).await
    }

    async fn read(&self, object: PinnedObject<'_>, range: ByteRange) -> Result<Body, Error> {
        let reading = Reading {
            inner: Arc::clone(&self.inner),
            cluster: Arc::clone(&self.cluster),
            id: ObjectId::derive(self.identity(), object.key, object.etag, object.size),
            key: object.key.into(),
            etag: object.etag.clone(),
            size: object.size,
            end: range.end(),
            at: range.start(),
            source: None,
            passed_over: Vec::new(),
        };
        Ok(stream::try_unfold(reading, Reading::step).boxed())
    }
}

/// A read that may go from one member to the next.
struct Reading {
    inner: Arc<dyn Origin>,
    cluster: Arc<Cluster>,
    id: ObjectId,
    key: Arc<[u8]>,
    etag: ETag,
    size: u64,
    at: u64,
    end: u64,
    source: Option<Source>,
    /// Members that have failed this read.
    passed_over: Vec<String>,
}

/// Where the next bytes come from.
enum Source {
    Peer(PeerBody),
    Origin(Body),
}

impl Reading {
    async fn step(mut self) -> Result<Option<(Bytes, Self)>, Error> {
        while self.at < self.end {
            let end = self.segment_end();
            let source = match self.source.take() {
                Some(source) => source,
                None => self.open(ByteRange::new(self.at, end)).await?,
            };
            let piece = match source {
                Source::Peer(mut body) => match body.next().await {
                    Ok(Some(bytes)) => {
                        self.source = Some(Source::Peer(body));
                        Some(bytes)
                    }
                    // An end before the end is a failure as good as any.
                    Ok(None) => {
                        self.pass_over(body.peer(), &PeerError::OutOfTurn);
                        None
                    }
                    Err(error) => {
                        self.pass_over(body.peer(), &error);
                        None
                    }
                },
                Source::Origin(mut body) => match body.next().await {
                    Some(piece) => {
                        self.source = Some(Source::Origin(body));
                        Some(piece?)
                    }
                    // Whoever reads finds that it is too short.
                    None => return Ok(None),
                },
            };
            let Some(piece) = piece else { continue };
            self.at += piece.len() as u64;
            if self.at >= end {
                self.finish().await;
            }
            return Ok(Some((piece, self)));
        }
        Ok(None)
    }

    /// The end of what is read from one source: of the segment, or of the read.
    fn segment_end(&self) -> u64 {
        let segment = (self.at / SEGMENT_SIZE + 1).saturating_mul(SEGMENT_SIZE);
        segment.min(self.end)
    }

    /// Takes the end from a source that has given all, so that its connection can be used
    /// again; one that has more to say is let go.
    async fn finish(&mut self) {
        if let Some(Source::Peer(mut body)) = self.source.take() {
            let _ = body.next().await;
        }
    }

    fn pass_over(&mut self, peer: &str, error: &PeerError) {
        ClusterStats::add(&self.cluster.stats.failures, 1);
        let error = error as &dyn std::error::Error;
        tracing::info!(error, peer, object = %self.id, "a peer was passed over");
        self.passed_over.push(peer.to_owned());
    }

    /// The best source of `range`, which lies in one segment.
    async fn open(&mut self, range: ByteRange) -> Result<Source, Error> {
        let request = ReadRequest {
            origin: self.inner.identity().to_owned(),
            key: self.key.to_vec(),
            etag: self.etag.as_str().to_owned(),
            size: self.size,
            range,
            present_only: false,
        };
        loop {
            let (first, second) = self.candidates(range);
            let Some(first) = first else { break };
            match ask(&self.cluster.stats, &first, second.as_ref(), &request).await {
                Ok(body) => return Ok(Source::Peer(body)),
                Err(error) => self.pass_over(first.name(), &error),
            }
        }
        let object = PinnedObject {
            key: &self.key,
            size: self.size,
            etag: &self.etag,
        };
        self.inner.read(object, range).await.map(Source::Origin)
    }

    /// The member to ask, and the one behind it; none if it is this one's turn.
    fn candidates(&self, range: ByteRange) -> (Option<Arc<Peer>>, Option<Arc<Peer>>) {
        let live = self.cluster.live();
        let key = SegmentKey::of(self.id, range.start());
        let ranked = live.rank(key, self.cluster.config.replicas + ASKED_BEFORE_ORIGIN);
        let mut peers = asked_first(ranked)
            .filter_map(|position| live.peers[position].clone())
            .filter(|peer| !self.passed_over.iter().any(|name| name == peer.name()));
        (peers.next(), peers.next())
    }
}

/// Asks `first`, and `second` as well when `first` takes longer than usual to begin:
/// who begins first is read from.
async fn ask(
    stats: &ClusterStats,
    first: &Arc<Peer>,
    second: Option<&Arc<Peer>>,
    request: &ReadRequest,
) -> Result<PeerBody, PeerError> {
    let asked = first.read(request);
    tokio::pin!(asked);
    let Some(second) = second else {
        return asked.await;
    };
    tokio::select! {
        biased;
        begun = &mut asked => return begun,
        () = tokio::time::sleep(first.hedge_after()) => {}
    }
    ClusterStats::add(&stats.hedges, 1);
    // Only if it has them: the first one may be slow because the origin is.
    let hedge = ReadRequest {
        present_only: true,
        ..request.clone()
    };
    let hedge = second.read(&hedge);
    tokio::pin!(hedge);
    tokio::select! {
        begun = &mut asked => match begun {
            Ok(body) => Ok(body),
            Err(_) => hedge.await,
        },
        begun = &mut hedge => match begun {
            Ok(body) => Ok(body),
            Err(_) => asked.await,
        },
    }
}
