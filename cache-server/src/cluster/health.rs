//! Who of the listed members lives.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use forebay_core::placement::Member;
use forebay_proto::peer::{Reply, Request};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::Cluster;
use super::connection::{Connection, Connector, PeerError};
use super::membership::{MemberInfo, Roster};
use super::peer::Peer;
use super::status::{Seen, View};

pub(super) mod pulse;
pub(super) mod roll;

pub(super) use pulse::PING_EVERY;
use pulse::{Health, PING_TIMEOUT, Pulse};
use roll::Roll;

/// When a member was last heard of.
#[derive(Debug, Default)]
pub(super) struct LastHeard(Mutex<Option<Instant>>);

impl LastHeard {
    fn now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// How long ago that was; `None` if it never was.
    pub(super) fn ago(&self) -> Option<std::time::Duration> {
        let heard = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.map(|at| at.elapsed())
    }
}

/// What there is of another listed member.
struct Watched {
    peer: Option<Arc<Peer>>,
    heard: Arc<LastHeard>,
    heartbeat: AbortHandle,
}

impl Watched {
    fn bury(&mut self) {
        if let Some(peer) = self.peer.take() {
            peer.bury();
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.heartbeat.abort();
        self.bury();
    }
}

/// Watches the members of `roster` and tells the cluster who lives, until either goes.
pub(super) async fn watch(
    cluster: Weak<Cluster>,
    mut roster: watch::Receiver<Arc<Roster>>,
    connector: Arc<Connector>,
) {
    let (tell, mut told) = mpsc::unbounded_channel();
    let mut watched: BTreeMap<String, Watched> = BTreeMap::new();
    let mut roll = Roll::new(MemberInfo::new(connector.member.clone()));
    roster.mark_changed();
    loop {
        tokio::select! {
            changed = roster.changed() => {
                if changed.is_err() {
                    // Nobody will change the roster any more: it stays as it is.
                    std::future::pending::<()>().await;
                }
                let listed = Arc::clone(&roster.borrow_and_update());
                roll.list(&listed);
                enrol(&roll, &mut watched, &connector, &tell);
            }
            found = told.recv() => {
                let Some((name, health)) = found else { return };
                let Some(member) = watched.get_mut(&name) else { continue };
                roll.note(&name, health);
                match health {
                    Health::Dead => member.bury(),
                    Health::Alive | Health::Draining => {
                        let alive = || Peer::new(&name, Arc::clone(&connector));
                        member.peer.get_or_insert_with(alive);
                    }
                }
            }
        }
        let Some(cluster) = cluster.upgrade() else {
            return;
        };
        publish(&cluster, &roll, &watched);
    }
}

/// Listens for the heart of everybody on the roll, and of nobody else.
fn enrol(
    roll: &Roll,
    watched: &mut BTreeMap<String, Watched>,
    connector: &Arc<Connector>,
    tell: &mpsc::UnboundedSender<(String, Health)>,
) {
    watched.retain(|name, _| roll.has(name));
    for name in roll.others() {
        if watched.contains_key(name) {
            continue;
        }
        let (connector, tell, of) = (Arc::clone(connector), tell.clone(), name.to_owned());
        let heard = Arc::<LastHeard>::default();
        let hears = Arc::clone(&heard);
        let heartbeat = async move { heartbeat(&connector, of, &hears, &tell).await };
        let heartbeat = tokio::spawn(heartbeat);
        let member = Watched {
            peer: None,
            heard,
            heartbeat: heartbeat.abort_handle(),
        };
        watched.insert(name.to_owned(), member);
    }
}

fn publish(cluster: &Cluster, roll: &Roll, watched: &BTreeMap<String, Watched>) {
    cluster.note(view(roll, watched));
    let live = roll.live().filter_map(|info| {
        let peer = match info.name == roll.own().name {
            true => None,
            // One of whom a sign of life was heard has a peer.
            false => Some(Arc::clone(watched.get(&info.name)?.peer.as_ref()?)),
        };
        let member = Member::new(&info.name, info.weight, info.zone.as_deref());
        Some((member, peer))
    });
    let (members, peers): (Vec<_>, Vec<_>) = live.unzip();
    let count = members.len() as u64;
    cluster.stats.members.store(count, Ordering::Relaxed);
    let live = cluster.live();
    let same_peer = |(a, b): (&Option<Arc<Peer>>, &Option<Arc<Peer>>)| match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        _ => false,
    };
    let same_peers =
        live.peers.len() == peers.len() && live.peers.iter().zip(&peers).all(same_peer);
    if !same_peers || live.members != members {
        cluster.publish(members, peers);
    }
}

/// Everybody who is listed, whether they live or not.
fn view(roll: &Roll, watched: &BTreeMap<String, Watched>) -> View {
    let others = roll.listed().filter_map(|(info, health)| {
        let member = watched.get(&info.name)?;
        Some(Seen {
            info: info.clone(),
            health,
            heard: Arc::clone(&member.heard),
            peer: member.peer.clone(),
        })
    });
    View {
        own: roll.own().clone(),
        others: others.collect(),
    }
}

/// Asks `name` for a sign of life for ever, and tells what changes.
async fn heartbeat(
    connector: &Connector,
    name: String,
    heard: &LastHeard,
    tell: &mpsc::UnboundedSender<(String, Health)>,
) {
    let first = Instant::now();
    let mut pulse = Pulse::new();
    let mut connection: Option<Connection> = None;
    let mut complained = false;
    loop {
        let began = Instant::now();
        let sign = tokio::time::timeout(PING_TIMEOUT, ping(connector, &name, &mut connection));
        let change = match sign.await {
            Ok(Ok(draining)) => {
                complained = false;
                heard.now();
                pulse.heard(first.elapsed(), draining)
            }
            failed => {
                connection = None;
                let refused = matches!(failed, Ok(Err(PeerError::Refused { .. })));
                if let Ok(Err(error)) = failed
                    && !complained
                    && (refused || pulse.health() != Health::Dead)
                {
                    complained = true;
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, peer = %name, "no sign of life");
                }
                pulse.missed(first.elapsed())
            }
        };
        if let Some(found) = change
            && tell.send((name.clone(), found)).is_err()
        {
            return;
        }
        tokio::time::sleep_until(began + PING_EVERY).await;
    }
}

async fn ping(
    connector: &Connector,
    name: &str,
    kept: &mut Option<Connection>,
) -> Result<bool, PeerError> {
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => connector.connect(name).await?,
    };
    connection.send(&Request::Ping).await?;
    match connection.receive().await? {
        Reply::Pong { draining } => {
            *kept = Some(connection);
            Ok(draining)
        }
        _ => Err(PeerError::OutOfTurn),
    }
}
