//! Who of the listed members lives.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use forebay_core::placement::Member;
use forebay_proto::peer::{Reply, Request};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::Cluster;
use super::connection::{Connection, Connector, PeerError};
use super::membership::{MemberInfo, Roster};
use super::peer::Peer;

/// Between two heartbeats.
pub(super) const PING_EVERY: Duration = Duration::from_millis(300);
/// A member that has been silent for this time is dead: four heartbeats, and with the time
/// to find out less than two seconds.
pub(super) const DEAD_AFTER: Duration = Duration::from_millis(1200);

/// What a heartbeat has found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Alive,
    /// Alive, and about to leave.
    Draining,
    Dead,
}

/// A listed member, watched.
struct Watched {
    info: MemberInfo,
    health: Health,
    peer: Option<Arc<Peer>>,
    heartbeat: AbortHandle,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.heartbeat.abort();
        if let Some(peer) = &self.peer {
            peer.bury();
        }
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
    let mut own = MemberInfo::new(connector.member.clone());
    roster.mark_changed();
    loop {
        tokio::select! {
            changed = roster.changed() => {
                if changed.is_err() {
                    // Nobody will change the roster any more: it stays as it is.
                    std::future::pending::<()>().await;
                }
                let listed = Arc::clone(&roster.borrow_and_update());
                own = enrol(&listed, &mut watched, &connector, &tell);
            }
            found = told.recv() => {
                let Some((name, health)) = found else { return };
                let Some(member) = watched.get_mut(&name) else { continue };
                note(member, health, &connector);
            }
        }
        let Some(cluster) = cluster.upgrade() else {
            return;
        };
        publish(&cluster, &own, &watched);
    }
}

/// Brings `watched` in line with the roster; returns what it says of this member.
fn enrol(
    roster: &Roster,
    watched: &mut BTreeMap<String, Watched>,
    connector: &Arc<Connector>,
    tell: &mpsc::UnboundedSender<(String, Health)>,
) -> MemberInfo {
    let own = roster
        .members
        .iter()
        .find(|info| info.name == connector.member);
    let others = || {
        roster
            .members
            .iter()
            .filter(|info| info.name != connector.member)
    };
    watched.retain(|name, _| others().any(|info| info.name == *name));
    for info in others() {
        if let Some(known) = watched.get_mut(&info.name) {
            known.info = info.clone();
            continue;
        }
        let (connector, tell, name) = (Arc::clone(connector), tell.clone(), info.name.clone());
        let heartbeat = tokio::spawn(async move { heartbeat(&connector, name, &tell).await });
        let member = Watched {
            info: info.clone(),
            health: Health::Dead,
            peer: None,
            heartbeat: heartbeat.abort_handle(),
        };
        watched.insert(info.name.clone(), member);
    }
    own.cloned()
        .unwrap_or_else(|| MemberInfo::new(connector.member.clone()))
}

fn note(member: &mut Watched, health: Health, connector: &Arc<Connector>) {
    member.health = health;
    match health {
        Health::Dead => {
            if let Some(peer) = member.peer.take() {
                peer.bury();
            }
        }
        Health::Alive | Health::Draining => {
            let name = &member.info.name;
            let alive = || Peer::new(name, Arc::clone(connector));
            member.peer.get_or_insert_with(alive);
        }
    }
}

fn publish(cluster: &Cluster, own: &MemberInfo, watched: &BTreeMap<String, Watched>) {
    let member = |info: &MemberInfo| Member::new(&info.name, info.weight, info.zone.as_deref());
    let mut members = vec![member(own)];
    let mut peers = vec![None];
    for found in watched.values() {
        // What is under way to one that drains goes on; it is asked for nothing new.
        if let (Health::Alive, Some(peer)) = (found.health, &found.peer) {
            members.push(member(&found.info));
            peers.push(Some(Arc::clone(peer)));
        }
    }
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

/// Asks `name` for a sign of life for ever, and tells what changes.
async fn heartbeat(
    connector: &Connector,
    name: String,
    tell: &mpsc::UnboundedSender<(String, Health)>,
) {
    let mut told = Health::Dead;
    let mut last = Instant::now();
    let mut connection: Option<Connection> = None;
    let mut complained = false;
    loop {
        let began = Instant::now();
        let sign = tokio::time::timeout(DEAD_AFTER / 2, ping(connector, &name, &mut connection));
        let found = match sign.await {
            Ok(Ok(draining)) => {
                last = Instant::now();
                complained = false;
                match draining {
                    true => Health::Draining,
                    false => Health::Alive,
                }
            }
            failed => {
                connection = None;
                let refused = matches!(failed, Ok(Err(PeerError::Refused { .. })));
                if let Ok(Err(error)) = failed
                    && !complained
                    && (refused || told != Health::Dead)
                {
                    complained = true;
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, peer = %name, "no sign of life");
                }
                match last.elapsed() < DEAD_AFTER && told != Health::Dead {
                    true => told,
                    false => Health::Dead,
                }
            }
        };
        if found != told {
            told = found;
            if tell.send((name.clone(), found)).is_err() {
                return;
            }
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
