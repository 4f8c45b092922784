//! The origin behind a cluster: a segment's owner is asked first.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use forebay_core::placement::{SEGMENT_SIZE, SegmentKey};
use forebay_core::{ByteRange, ETag, ObjectId, chunk};
use forebay_proto::peer::ReadRequest;
use futures::stream::{self, Stream, StreamExt};
use tokio::sync::OwnedSemaphorePermit;

use super::connection::PeerError;
use super::peer::{Peer, PeerBody};
use super::stats::ClusterStats;
use super::{ASKED_BEFORE_ORIGIN, Cluster, Live, asked_first};
use crate::origin::{
    Body, CheckedBody, Error, Origin, Page, PageRequest, Piece, PinnedObject, Placement,
};

/// After which time without a byte from the origin a member that has come is asked instead.
const ORIGIN_TAKES_LONG: Duration = Duration::from_millis(500);

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

    fn reading(&self, object: PinnedObject<'_>, range: ByteRange) -> Reading {
        Reading {
            wanted: Wanted {
                inner: Arc::clone(&self.inner),
                cluster: Arc::clone(&self.cluster),
                id: ObjectId::derive(self.identity(), object.key, object.etag, object.size),
                key: object.key.into(),
                etag: object.etag.clone(),
                size: object.size,
                passed_over: Vec::new(),
            },
            at: range.start(),
            end: range.end(),
            source: None,
            thread: None,
        }
    }

    /// The right to a thread for `reading`, if it is long, a member is there to be read
    /// from, and few have one.
    fn thread_for(&self, reading: &Reading) -> Option<OwnedSemaphorePermit> {
        let is_long = reading.end - reading.at > chunk::CHUNK_SIZE;
        let (member, _) = reading.wanted.candidates(&self.cluster.live(), reading.at);
        match is_long && member.is_some() {
            true => Arc::clone(&self.cluster.threads).try_acquire_owned().ok(),
            false => None,
        }
    }
}

impl Placement for Clustered {
    fn is_kept_here(&self, id: ObjectId, offset: u64) -> bool {
        let (live, replicas) = (self.cluster.live(), self.cluster.config.replicas);
        let ranked = live.rank(SegmentKey::of(id, offset), replicas);
        ranked.as_slice().contains(&0)
    }
}

#[async_trait]
impl Origin for Clustered {
    fn identity(&self) -> &str {
        self.inner.identity()
    }

    fn placement(&self) -> Option<&dyn Placement> {
        Some(self)
    }

    async fn list(&self, request: PageRequest<'_>) -> Result<Page, Error> {
        self.inner.list(request).await
    }

    async fn read(&self, object: PinnedObject<'_>, range: ByteRange) -> Result<Body, Error> {
        let pieces = self.reading(object, range).pieces();
        Ok(pieces.map(|piece| piece.map(|piece| piece.bytes)).boxed())
    }

    async fn read_checked(
        &self,
        object: PinnedObject<'_>,
        range: ByteRange,
    ) -> Result<CheckedBody, Error> {
        let mut reading = self.reading(object, range);
        reading.thread = self.thread_for(&reading);
        Ok(CheckedBody {
            holds_thread: reading.thread.is_some(),
            pieces: reading.pieces().boxed(),
        })
    }
}

/// A read that may go from one member to the next.
struct Reading {
    wanted: Wanted,
    at: u64,
    end: u64,
    source: Option<Source>,
    /// The right to hold up a thread while a member is read from.
    thread: Option<OwnedSemaphorePermit>,
}

/// What is read, and who may be asked for it.
struct Wanted {
    inner: Arc<dyn Origin>,
    cluster: Arc<Cluster>,
    id: ObjectId,
    key: Arc<[u8]>,
    etag: ETag,
    size: u64,
    /// Members that have failed this read. One that dies and comes back is another one.
    passed_over: Vec<Arc<Peer>>,
}

/// Where the next bytes come from.
enum Source {
    Peer(PeerBody),
    Origin(CheckedBody),
}

/// What a source gives.
enum Next {
    Piece(Piece),
    /// Another source is to be asked.
    Elsewhere,
    /// Nothing more.
    End,
}

impl Reading {
    fn pieces(self) -> impl Stream<Item = Result<Piece, Error>> + Send + 'static {
        stream::try_unfold(self, Self::step)
    }

    async fn step(mut self) -> Result<Option<(Piece, Self)>, Error> {
        while self.at < self.end {
            let end = self.segment_end();
            let source = match self.source.take() {
                Some(source) => source,
                None => self.open(ByteRange::new(self.at, end)).await?,
            };
            let next = match source {
                Source::Peer(body) => self.next_of_peer(body).await,
                Source::Origin(body) => self.next_of_origin(body).await?,
            };
            let piece = match next {
                Next::Piece(piece) => piece,
                Next::Elsewhere => continue,
                // Whoever reads finds that it is too short.
                Next::End => return Ok(None),
            };
            self.at += piece.bytes.len() as u64;
            if self.at >= end {
                self.finish().await;
            }
            return Ok(Some((piece, self)));
        }
        Ok(None)
    }

    async fn open(&mut self, range: ByteRange) -> Result<Source, Error> {
        let mut source = self.wanted.open(range).await?;
        if let (Source::Peer(body), Some(_)) = (&mut source, &self.thread) {
            // A socket that was lost says so when it is read from.
            let _ = body.hold();
        }
        Ok(source)
    }

    async fn next_of_peer(&mut self, mut body: PeerBody) -> Next {
        let error = match body.next().await {
            Ok(Some(piece)) => {
                self.source = Some(Source::Peer(body));
                return Next::Piece(piece);
            }
            // An end before the end is a failure as good as any.
            Ok(None) => PeerError::OutOfTurn,
            Err(error) => error,
        };
        self.wanted.pass_over(Arc::clone(body.peer()), &error);
        Next::Elsewhere
    }

    async fn next_of_origin(&mut self, mut body: CheckedBody) -> Result<Next, Error> {
        let next = self
            .wanted
            .unless_owner_comes(self.at, body.pieces.next())
            .await;
        match next {
            Some(Some(piece)) => {
                self.source = Some(Source::Origin(body));
                piece.map(Next::Piece)
            }
            Some(None) => Ok(Next::End),
            None => Ok(Next::Elsewhere),
        }
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
}

impl Wanted {
    fn pass_over(&mut self, peer: Arc<Peer>, error: &PeerError) {
        ClusterStats::add(&self.cluster.stats.failures, 1);
        let error = error as &dyn std::error::Error;
        tracing::info!(error, peer = peer.name(), object = %self.id, "a peer was passed over");
        self.passed_over.push(peer);
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
            let (first, second) = self.candidates(&self.cluster.live(), range.start());
            if let Some(first) = first {
                match ask(&self.cluster.stats, &first, second.as_ref(), &request).await {
                    Ok(body) => return Ok(Source::Peer(body)),
                    Err(error) => self.pass_over(first, &error),
                }
                continue;
            }
            let object = PinnedObject {
                key: &self.key,
                size: self.size,
                etag: &self.etag,
            };
            let read = self.inner.read_checked(object, range);
            if let Some(read) = self.unless_owner_comes(range.start(), read).await {
                return read.map(Source::Origin);
            }
        }
    }

    /// The member to ask for what lies at `at`, and the one behind it; none if it is this
    /// one's turn.
    fn candidates(&self, live: &Live, at: u64) -> (Option<Arc<Peer>>, Option<Arc<Peer>>) {
        let key = SegmentKey::of(self.id, at);
        let ranked = live.rank(key, self.cluster.config.replicas + ASKED_BEFORE_ORIGIN);
        let mut peers = asked_first(ranked)
            .filter_map(|position| live.peers[position].clone())
            .filter(|peer| {
                !self
                    .passed_over
                    .iter()
                    .any(|other| Arc::ptr_eq(other, peer))
            });
        (peers.next(), peers.next())
    }

    /// The outcome of `work`, which the origin does; `None` if it takes long and a member
    /// lives, or lives again, that is to be asked for what lies at `at` before the origin
    /// is: who was cut off from both hears of the members sooner.
    async fn unless_owner_comes<T>(&self, at: u64, work: impl Future<Output = T>) -> Option<T> {
        let owner_comes = async {
            tokio::time::sleep(ORIGIN_TAKES_LONG).await;
            let mut live = self.cluster.live.subscribe();
            let came = live.wait_for(|live| self.candidates(live, at).0.is_some());
            let ended = came.await.is_err();
            if ended {
                // Of a cluster that has ended nobody comes.
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            done = work => Some(done),
            () = owner_comes => None,
        }
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
