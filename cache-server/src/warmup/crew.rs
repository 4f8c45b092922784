//! The members that bring what a warm-up plans, this one among them.

use std::sync::Arc;

use forebay_core::ErrorKind;
use forebay_core::cache::CacheError;
use forebay_core::placement::SegmentKey;

use super::unit::Unit;
use crate::cluster::{Cluster, Peer};
use crate::dataset::Target;
use crate::node::{NodeCache, Piece};

/// Members that are looked at beside those that keep a copy, when some of those do not
/// take what they are given.
const SPARE: usize = 3;

/// The members, as a planner sees them.
#[derive(Debug)]
pub(super) struct Crew {
    pub(super) node: Arc<NodeCache>,
    cluster: Option<Arc<Cluster>>,
}

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct Hand {
    pub(super) name: String,
    /// `None` is this server itself.
    peer: Option<Arc<Peer>>,
}

impl Crew {
    pub(super) fn new(node: Arc<NodeCache>, cluster: Option<Arc<Cluster>>) -> Self {
        Self { node, cluster }
    }

    /// Changes when the members do.
    pub(super) fn epoch(&self) -> u64 {
        let cluster = self.cluster.as_ref();
        cluster.map_or(0, |cluster| cluster.live().epoch())
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        let cluster = self.cluster.as_ref();
        cluster.map_or(1, |cluster| cluster.live().len())
    }

    /// Who is to have `unit` of `target`, of those that are not to be avoided.
    pub(super) fn hand(&self, target: &Target, unit: Unit, avoid: impl Fn(&str) -> bool) -> Hand {
        let Some(cluster) = &self.cluster else {
            let (name, peer) = (String::new(), None);
            return Hand { name, peer };
        };
        let live = cluster.live();
        let copy = usize::from(unit.copy);
        let key = SegmentKey::of(target.id, unit.range.start());
        let ranked = live.rank(key, copy + 1 + SPARE);
        let hand = |&at: &usize| {
            let peer = live.member(at).cloned();
            let name = peer
                .as_ref()
                .map_or(cluster.member_name(), |peer| peer.name());
            let name = name.to_owned();
            Hand { name, peer }
        };
        let hands = || ranked.as_slice().iter().map(hand);
        let willing = hands().filter(|hand| !avoid(&hand.name)).nth(copy);
        // With fewer members than copies, the last one has what it has. If none has a
        // weight, this one is as good as any.
        willing
            .or_else(|| hands().next_back())
            .unwrap_or_else(|| Hand {
                name: cluster.member_name().to_owned(),
                peer: None,
            })
    }

    /// Has `hand` bring `pieces`, or look for them: of each, the bytes that were not there
    /// before.
    ///
    /// # Errors
    /// If the member could not be asked: its pieces are another's then.
    pub(super) async fn bring(
        &self,
        hand: &Hand,
        pieces: Vec<Piece>,
        only_look: bool,
    ) -> Result<Vec<Result<u64, CacheError>>, CacheError> {
        match &hand.peer {
            None => {
                // On a task of its own: it is work for more than one thread.
                let node = Arc::clone(&self.node);
                let work = tokio::spawn(async move { node.bring(pieces, only_look).await });
                let work = tokio_util::task::AbortOnDropHandle::new(work).await;
                work.map_err(|error| CacheError::new(ErrorKind::Internal, error.to_string()))
            }
            Some(peer) => peer.bring(&pieces, only_look).await,
        }
    }

    /// Has `hand` make durable what it brought.
    pub(super) async fn settle(&self, hand: &Hand) -> Result<(), CacheError> {
        match &hand.peer {
            None => self.node.make_durable().await,
            Some(peer) => peer.settle().await,
        }
    }
}
