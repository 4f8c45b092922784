//! Who belongs to a cluster, whether they live or not.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::watch;

/// A member as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemberInfo {
    /// Its name: `host:port`, where the others reach it. The same for all of them.
    pub name: String,
    /// How much it takes, relative to the others.
    pub weight: u32,
    /// Where it is: replicas go to different zones.
    pub zone: Option<String>,
}

impl MemberInfo {
    /// A member of weight 1 without a zone.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            weight: 1,
            zone: None,
        }
    }
}

/// The members that are listed now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    /// Counts the changes.
    pub epoch: u64,
    /// The members, by their names.
    pub members: Vec<MemberInfo>,
}

/// A source of members.
pub trait Membership: Send + Sync + fmt::Debug {
    /// The roster, now and after each change. It may lack the member that asks.
    fn roster(&self) -> watch::Receiver<Arc<Roster>>;
}

/// Members as somebody writes them: a fixed list, written once, or what a watch of a
/// control plane tells.
#[derive(Clone, Debug)]
pub struct Feed {
    roster: watch::Sender<Arc<Roster>>,
}

impl Feed {
    /// Begins with these members.
    pub fn new(members: Vec<MemberInfo>) -> Self {
        let feed = Self {
            roster: watch::Sender::new(Arc::default()),
        };
        feed.publish(members);
        feed
    }

    /// Says who the members are from now on. Nothing happens if they are the same.
    pub fn publish(&self, mut members: Vec<MemberInfo>) {
        members.sort_unstable();
        members.dedup_by(|a, b| a.name == b.name);
        self.roster.send_if_modified(|roster| {
            let changed = roster.members != members;
            if changed {
                let epoch = roster.epoch + 1;
                *roster = Arc::new(Roster { epoch, members });
            }
            changed
        });
    }
}

impl Membership for Feed {
    fn roster(&self) -> watch::Receiver<Arc<Roster>> {
        self.roster.subscribe()
    }
}

/// Members behind one name of DNS: each of its addresses is one.
#[derive(Debug)]
pub struct Dns {
    feed: Feed,
    task: tokio::task::JoinHandle<()>,
}

/// Between two look-ups. Who joins is found within this time; who dies is found by the
/// heartbeat.
const LOOK_UP_EVERY: Duration = Duration::from_secs(5);

/// Looks the addresses of a name up.
trait LookUp: FnMut(String) -> BoxFuture<'static, io::Result<Vec<String>>> + Send + 'static {}
impl<F> LookUp for F where
    F: FnMut(String) -> BoxFuture<'static, io::Result<Vec<String>>> + Send + 'static
{
}

impl Dns {
    /// Looks `name` (`host:port`) up, now and every five seconds. A look-up that fails
    /// changes nothing.
    pub fn start(name: String) -> Self {
        Self::asking(name, |name| {
            async move {
                let found = tokio::net::lookup_host(name).await?;
                Ok(found.map(|address| address.to_string()).collect())
            }
            .boxed()
        })
    }

    fn asking(name: String, mut look_up: impl LookUp) -> Self {
        let feed = Feed::new(Vec::new());
        let written = feed.clone();
        let task = tokio::spawn(async move {
            let mut tick = tokio::time::interval(LOOK_UP_EVERY);
            let mut failed = false;
            loop {
                tick.tick().await;
                match look_up(name.clone()).await {
                    Ok(found) => {
                        failed = false;
                        written.publish(found.into_iter().map(MemberInfo::new).collect());
                    }
                    Err(error) if !failed => {
                        failed = true;
                        tracing::warn!(%error, %name, "members could not be looked up");
                    }
                    Err(_) => {}
                }
            }
        });
        Self { feed, task }
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Membership for Dns {
    fn roster(&self) -> watch::Receiver<Arc<Roster>> {
        self.feed.roster()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_roster_changes_when_its_members_do() {
        let feed = Feed::new(vec![MemberInfo::new("b:1"), MemberInfo::new("a:1")]);
        let mut roster = feed.roster();
        let first = roster.borrow_and_update().clone();
        assert_eq!(first.members[0].name, "a:1");
        feed.publish(vec![MemberInfo::new("a:1"), MemberInfo::new("b:1")]);
        assert!(!roster.has_changed().unwrap());
        feed.publish(vec![MemberInfo::new("a:1")]);
        assert!(roster.has_changed().unwrap());
        assert_eq!(roster.borrow().epoch, first.epoch + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn members_come_and_go_with_the_addresses_and_stay_when_nobody_answers() {
        let mut answers = vec![
            Ok(vec!["10.0.0.2:1", "10.0.0.1:1"]),
            Err(io::ErrorKind::TimedOut.into()),
            Ok(vec!["10.0.0.2:1", "10.0.0.3:1"]),
        ]
        .into_iter();
        let dns = Dns::asking("peers:1".into(), move |name| {
            assert_eq!(name, "peers:1");
            let answer: io::Result<Vec<&str>> = answers.next().expect("not asked that often");
            let answer = answer.map(|found| found.into_iter().map(str::to_owned).collect());
            futures::future::ready(answer).boxed()
        });
        let mut roster = dns.roster();
        let names = |roster: &Roster| -> Vec<_> {
            let members = roster.members.iter();
            members.map(|member| member.name.clone()).collect()
        };
        roster.changed().await.expect("alive");
        let first = Arc::clone(&roster.borrow_and_update());
        assert_eq!(names(&first), ["10.0.0.1:1", "10.0.0.2:1"]);
        tokio::time::sleep(LOOK_UP_EVERY + Duration::from_millis(1)).await;
        assert!(!roster.has_changed().expect("alive"), "nobody answered");
        roster.changed().await.expect("alive");
        let second = Arc::clone(&roster.borrow_and_update());
        assert_eq!(names(&second), ["10.0.0.2:1", "10.0.0.3:1"]);
        assert!(second.epoch > first.epoch);
    }

    #[tokio::test]
    async fn the_addresses_of_a_name_are_members() {
        let dns = Dns::start("localhost:7070".into());
        let mut roster = dns.roster();
        let found = roster.wait_for(|roster| !roster.members.is_empty());
        let found = tokio::time::timeout(Duration::from_secs(10), found).await;
        let found = found.expect("resolved").expect("alive").clone();
        assert!(
            found
                .members
                .iter()
                .all(|member| member.name.ends_with(":7070"))
        );
    }
}
