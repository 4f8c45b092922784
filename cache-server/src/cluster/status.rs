//! How the members are, as this one sees them and as they tell.
//!
//! Everybody who is listed is shown. Those that live are asked, all at once and for a
//! bounded time; one that does not answer is shown as such.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use forebay_proto::cache::v1::{MemberReport, MemberState};
use futures::future::join_all;

use super::Cluster;
use super::health::LastHeard;
use super::health::pulse::Health;
use super::membership::MemberInfo;
use super::peer::Peer;

/// How long a member may take to tell how it is.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// Who is listed, as the heartbeats last told.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) own: MemberInfo,
    /// By name.
    pub(super) others: Vec<Seen>,
}

impl View {
    /// Nobody but this member is known yet.
    pub(super) fn alone(member: &str) -> Self {
        Self {
            own: MemberInfo::new(member),
            others: Vec::new(),
        }
    }
}

/// Another member.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) info: MemberInfo,
    pub(super) health: Health,
    pub(super) heard: Arc<LastHeard>,
    /// None while it is dead.
    pub(super) peer: Option<Arc<Peer>>,
}

impl Cluster {
    pub(super) fn note(&self, view: View) {
        *self.view.lock().unwrap_or_else(PoisonError::into_inner) = view;
    }

    fn view(&self) -> View {
        let view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        view.clone()
    }

    /// Every member that is listed, this one first, with what it tells of itself; of this
    /// one that is `own`. Takes two seconds at most.
    pub async fn members_report(&self, own: MemberReport) -> Vec<MemberState> {
        let view = self.view();
        let health = match *self.draining.borrow() {
            true => Health::Draining,
            false => Health::Alive,
        };
        let this = MemberState {
            is_self: true,
            report: Some(own),
            ..state(&view.own, health)
        };
        let others = join_all(view.others.iter().map(Seen::ask)).await;
        std::iter::once(this).chain(others).collect()
    }
}

impl Seen {
    async fn ask(&self) -> MemberState {
        let (report, trouble) = match &self.peer {
            None => (None, String::new()),
            Some(peer) => match tokio::time::timeout(ANSWERS_WITHIN, peer.report()).await {
                Ok(Ok(report)) => (Some(report), String::new()),
                Ok(Err(error)) => (None, error.to_string()),
                Err(_) => {
                    let seconds = ANSWERS_WITHIN.as_secs();
                    (None, format!("it did not answer within {seconds} s"))
                }
            },
        };
        MemberState {
            heard_seconds: self.heard.ago().map(|ago| ago.as_secs_f64()),
            report,
            trouble,
            ..state(&self.info, self.health)
        }
    }
}

fn state(info: &MemberInfo, health: Health) -> MemberState {
    MemberState {
        name: info.name.clone(),
        zone: info.zone.clone().unwrap_or_default(),
        weight: info.weight,
        state: health.as_str().to_owned(),
        ..MemberState::default()
    }
}
