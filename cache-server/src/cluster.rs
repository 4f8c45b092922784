//! Many nodes, one cache.
//!
//! Every cache server knows the same members and ranks them for each segment in the same
//! way (see [`forebay_core::placement`]); there is no master and nobody is asked who owns
//! what. A node that misses asks the segment's owner, which has the bytes or fetches them
//! from the origin, once for all who ask, and streams them on while it stores them. Who
//! cannot be reached is passed over: the next in rank is asked, and at last the origin
//! itself. What was read stays on the node that read it, too.
//!
//! To the miss path all of this is an origin: [`Clustered`] wraps the real one.
//!
//! **Members** come from a [`Membership`]: a list, DNS, or a feed that somebody writes.
//! Whether they live is found out by a heartbeat on a connection of its own; one that is
//! silent for [`health::pulse::DEAD_AFTER`] is passed over, and what was under way to it breaks
//! off and goes on elsewhere.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forebay_core::placement::{Member, Ranked, SegmentKey, rank};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

mod clustered;
mod connection;
mod control;
mod health;
mod inbox;
mod membership;
mod peer;
mod server;
#[cfg(test)]
mod simulation;
mod socket;
mod stats;
mod status;
mod stream;
mod tls;

pub use clustered::Clustered;
pub use membership::{Dns, Feed, MemberInfo, Membership, Roster};
pub use server::{MemberService, PeerServer};
pub use stats::ClusterStats;
pub use tls::{Tls, TlsError, TlsFiles};

pub(crate) use peer::Peer;

use connection::Connector;
use status::View;

/// How servers of a cluster know that they may talk to each other.
#[derive(Clone, Debug)]
pub enum Security {
    /// By certificates of one authority, in both directions.
    Mutual(Arc<Tls>),
    /// Not at all: for a network that nobody else can reach.
    Insecure,
}

/// What a member must know of itself and its cluster.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// The cluster's name: servers of another one are refused.
    pub name: String,
    /// This member's name: the address at which the others reach it.
    pub member: String,
    /// How many members keep each segment.
    pub replicas: usize,
    /// How they trust each other.
    pub security: Security,
}

/// The members that live, as one moment knows them.
pub(crate) struct Live {
    /// Counts the changes.
    epoch: u64,
    /// This one first.
    members: Vec<Member>,
    /// In the order of the members; `None` is this one.
    peers: Vec<Option<Arc<Peer>>>,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live")
            .field("epoch", &self.epoch)
            .field("peers", &self.peers)
            .finish_non_exhaustive()
    }
}

impl Live {
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// The member at that position; `None` is this one.
    pub(crate) fn member(&self, position: usize) -> Option<&Arc<Peer>> {
        self.peers.get(position)?.as_ref()
    }

    pub(crate) fn rank(&self, key: SegmentKey, count: usize) -> Ranked {
        rank(&self.members, key, count)
    }
}

/// Members that are asked before the origin, when those before them cannot be reached.
const ASKED_BEFORE_ORIGIN: usize = 3;

/// The positions of the members that are asked for a segment before its origin is, best
/// first: those that are ranked before this one, which is at position 0.
fn asked_first(ranked: Ranked) -> impl Iterator<Item = usize> {
    (0..)
        .map_while(move |place| ranked.as_slice().get(place).copied())
        .take_while(|&position| position != 0)
}

/// Reads of members that have a thread each; more of them share the runtime's. Others
/// need threads, too, such as those that send.
const MOST_THREADS: usize = 64;

/// A member's view of its cluster.
#[derive(Debug)]
pub struct Cluster {
    config: ClusterConfig,
    live: watch::Sender<Arc<Live>>,
    // Held for a clone.
    view: Mutex<View>,
    stats: Arc<ClusterStats>,
    draining: watch::Sender<bool>,
    threads: Arc<Semaphore>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// One member, as a status shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    /// Its name.
    pub name: String,
    /// Whether it is this one.
    pub is_self: bool,
}

impl Cluster {
    /// Joins the members of `membership`; watches them until `stop`.
    pub fn join(
        config: ClusterConfig,
        membership: &dyn Membership,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let alone = Live {
            epoch: 0,
            members: vec![Member::new(&config.member, 1, None)],
            peers: vec![None],
        };
        let cluster = Arc::new(Self {
            live: watch::Sender::new(Arc::new(alone)),
            view: Mutex::new(View::alone(&config.member)),
            stats: Arc::default(),
            draining: watch::Sender::new(false),
            threads: Arc::new(Semaphore::new(MOST_THREADS)),
            tasks: TaskTracker::new(),
            config,
            stop,
        });
        let connector = Connector::new(&cluster.config, Arc::clone(&cluster.stats));
        let watching = health::watch(
            Arc::downgrade(&cluster),
            membership.roster(),
            Arc::new(connector),
        );
        let stopped = cluster.stop.clone();
        cluster.tasks.spawn(async move {
            let _ = stopped.run_until_cancelled(watching).await;
        });
        cluster
    }

    /// What was asked of peers, and by them.
    pub fn stats(&self) -> &Arc<ClusterStats> {
        &self.stats
    }

    /// The members that live, this one included, and how often they have changed.
    pub fn members(&self) -> (u64, Vec<MemberStatus>) {
        let live = self.live();
        let members = live.peers.iter().map(|peer| MemberStatus {
            name: peer
                .as_ref()
                .map_or_else(|| self.config.member.clone(), |peer| peer.name().to_owned()),
            is_self: peer.is_none(),
        });
        (live.epoch, members.collect())
    }

    /// Waits until `count` members live, this one included.
    pub async fn members_reach(&self, count: usize) {
        let mut live = self.live.subscribe();
        // Fails only if the sender has gone, and we hold it.
        let _ = live.wait_for(|live| live.members.len() == count).await;
    }

    /// Says to the others that this member is about to leave, and waits until they must
    /// have heard: from then on they ask it for nothing new.
    pub async fn drain(&self) {
        self.draining.send_replace(true);
        let others = self.live().members.len() - 1;
        if others > 0 {
            tokio::time::sleep(health::PING_EVERY * 2 + Duration::from_millis(50)).await;
        }
    }

    /// This member's name.
    pub fn member_name(&self) -> &str {
        &self.config.member
    }

    /// What the cluster is called.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// How many members keep each segment.
    pub fn replicas(&self) -> usize {
        self.config.replicas
    }

    pub(crate) fn live(&self) -> Arc<Live> {
        Arc::clone(&self.live.borrow())
    }

    fn publish(&self, members: Vec<Member>, peers: Vec<Option<Arc<Peer>>>) {
        let epoch = self.live.borrow().epoch + 1;
        let names: Vec<_> = peers.iter().flatten().map(|peer| peer.name()).collect();
        tracing::info!(epoch, peers = ?names, "the members that live have changed");
        self.live.send_replace(Arc::new(Live {
            epoch,
            members,
            peers,
        }));
    }
}
