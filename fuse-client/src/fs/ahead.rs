//! Looking ahead from file to file: neighbours, and plans.
//!
//! Opening a file, or reading one that is never opened, tells which files are wanted.
//! What follows from it is worked out at once, being arithmetic; advising the cache of
//! files means to lease each of them, and is left to one task
//! ([`DatasetFs::look_ahead`]).

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use forebay_core::ByteRange;
use forebay_core::cache::FileRef;
use forebay_core::manifest::Kind;
use tokio::sync::Notify;

use super::DatasetFs;
use super::epoch::Node;
use super::inode::{EpochId, Inode};
use crate::plan::{Follower, Heard, Order, PlanError, Spec};
use crate::prefetch::{Neighbours, Outlook};

/// Of a larger neighbour, only the beginning is fetched: one origin read.
const MOST_OF_NEIGHBOUR: u64 = 8 << 20;

/// Of a larger file in a plan likewise; its reader's own window takes over from there.
const MOST_OF_PLANNED: u64 = 64 << 20;

/// Plans at once: one for each process of a job on a large machine, and then some.
const MOST_PLANS: usize = 64;

/// Announcements that wait for the task. There are more only if it cannot keep up.
const MOST_WAITING: usize = 64;

/// How soon the cache is asked again after it had no room.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// Entries of one plan that are advised before it is another's turn.
const TURN: usize = 16;

/// What is known of the files that will be read next.
#[derive(Debug)]
pub(super) struct Ahead {
    /// As much as the cache takes at once; 0 for no prefetch.
    budget: u64,
    // All held for arithmetic only.
    neighbours: Mutex<Neighbours>,
    waiting: Mutex<VecDeque<Outlook>>,
    plans: Mutex<Vec<Plan>>,
    has_plans: AtomicBool,
    next_id: AtomicU64,
    wake: Notify,
}

/// A plan of a version, as it is followed.
#[derive(Debug)]
struct Plan {
    id: u64,
    name: String,
    epoch: EpochId,
    follower: Follower,
    /// Reads that the plan must be searched for.
    lost: Option<Vec<u32>>,
}

/// How far the readers of a plan are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanProgress {
    /// What the plan is called.
    pub name: String,
    /// How many files it has.
    pub entries: u64,
    /// How many of them the readers have left behind.
    pub position: u64,
    /// Bytes that lie before the readers and were advised.
    pub ahead_bytes: u64,
}

/// One step of a plan.
struct Step {
    plan: u64,
    at: usize,
    file: Node,
}

impl Ahead {
    pub(super) fn new(budget: u64) -> Self {
        Self {
            budget,
            neighbours: Mutex::default(),
            waiting: Mutex::default(),
            plans: Mutex::default(),
            has_plans: AtomicBool::new(false),
            next_id: AtomicU64::new(0),
            wake: Notify::new(),
        }
    }

    /// Notes that a file is wanted.
    pub(super) fn touched(&self, inode: Inode) {
        if self.budget == 0 || (self.has_plans.load(Ordering::Relaxed) && self.follow(inode)) {
            return;
        }
        let outlook = lock(&self.neighbours).observe(inode.as_raw());
        if outlook == Outlook::default() {
            return;
        }
        let mut waiting = lock(&self.waiting);
        if waiting.len() < MOST_WAITING {
            waiting.push_back(outlook);
            drop(waiting);
            self.wake.notify_one();
        }
    }

    /// Whether a plan expected this file.
    fn follow(&self, inode: Inode) -> bool {
        let Some((epoch, entry)) = inode.entry() else {
            return false;
        };
        let mut plans = lock(&self.plans);
        let window = self.window(plans.len());
        let mut followed = None;
        for plan in plans.iter_mut().filter(|plan| plan.epoch == epoch) {
            match plan.follower.observe(entry.0) {
                Heard::Followed => {
                    followed = Some((plan.id, plan.follower.is_finished()));
                    if plan.follower.is_hungry(window) {
                        self.wake.notify_one();
                    }
                    break;
                }
                Heard::Stray => {}
                Heard::Lost(strays) => {
                    plan.lost = Some(strays);
                    self.wake.notify_one();
                }
            }
        }
        if let Some((finished, true)) = followed {
            self.remove(&mut plans, |plan| plan.id == finished, "finished");
        }
        followed.is_some()
    }

    /// The window of each of so many plans: together half of the budget, so that readers
    /// of large files have windows, too.
    fn window(&self, plans: usize) -> u64 {
        (self.budget / 2 / plans.max(1) as u64).max(1)
    }

    /// The next file of the plan number `number` that should be advised.
    fn next_step(&self, number: usize, fs: &DatasetFs) -> Option<Step> {
        let mut plans = lock(&self.plans);
        let window = self.window(plans.len());
        let plan = plans.get_mut(number)?;
        let (at, entry) = plan.follower.next(window)?;
        let root = fs.epochs.root_of(plan.epoch)?;
        Some(Step {
            plan: plan.id,
            at,
            file: root.sibling(forebay_core::manifest::EntryId(entry)),
        })
    }

    fn advised(&self, step: &Step, bytes: u64) {
        let mut plans = lock(&self.plans);
        if let Some(plan) = plans.iter_mut().find(|plan| plan.id == step.plan) {
            plan.follower.advised(step.at, bytes);
            if plan.follower.is_finished() {
                self.remove(&mut plans, |plan| plan.id == step.plan, "finished");
            }
        }
    }

    /// Takes plans away; the bytes that they had advised for nothing.
    fn remove(
        &self,
        plans: &mut Vec<Plan>,
        which: impl Fn(&Plan) -> bool,
        why: &'static str,
    ) -> u64 {
        let mut unused = 0;
        plans.retain(|plan| {
            if which(plan) {
                let (entries, position) = (plan.follower.len(), plan.follower.position());
                tracing::info!(name = plan.name, entries, position, why, "plan dropped");
                unused += plan.follower.ahead_bytes();
            }
            !which(plan)
        });
        self.has_plans.store(!plans.is_empty(), Ordering::Relaxed);
        unused
    }
}

impl DatasetFs {
    /// Follows the plan that `spec` says, in the version that new look-ups see, and returns
    /// what it means there. A plan of the same name is replaced.
    ///
    /// Blocks: a million files take a second.
    ///
    /// # Errors
    /// Any [`PlanError`]; the plan before is then followed as ever.
    pub fn set_plan(&self, spec: &Spec) -> Result<Order, PlanError> {
        let root = self.epochs.root();
        let order = spec.resolve(&root.manifest)?;
        let mut plans = lock(&self.ahead.plans);
        let unused = self
            .ahead
            .remove(&mut plans, |plan| plan.name == order.name, "replaced");
        self.stats.unused(unused);
        if order.is_empty() {
            return Ok(order);
        }
        if plans.len() >= MOST_PLANS {
            return Err(PlanError::TooMany {
                what: "the number of plans",
                value: plans.len() as u64 + 1,
                most: MOST_PLANS as u64,
            });
        }
        plans.push(Plan {
            id: self.ahead.next_id.fetch_add(1, Ordering::Relaxed),
            name: order.name.clone(),
            epoch: root.epoch,
            follower: Follower::new(order.entries.as_slice().into()),
            lost: None,
        });
        self.ahead.has_plans.store(true, Ordering::Relaxed);
        drop(plans);
        tracing::info!(
            name = order.name,
            entries = order.len(),
            bytes = order.bytes,
            "plan to be followed"
        );
        self.ahead.wake.notify_one();
        Ok(order)
    }

    /// The plans that are followed, the oldest first.
    pub fn plans(&self) -> Vec<PlanProgress> {
        let progress = |plan: &Plan| PlanProgress {
            name: plan.name.clone(),
            entries: plan.follower.len() as u64,
            position: plan.follower.position() as u64,
            ahead_bytes: plan.follower.ahead_bytes(),
        };
        lock(&self.ahead.plans).iter().map(progress).collect()
    }

    /// Follows no plan any more; how many there were.
    pub fn drop_plans(&self) -> usize {
        let mut plans = lock(&self.ahead.plans);
        let count = plans.len();
        let unused = self.ahead.remove(&mut plans, |_| true, "asked to");
        self.stats.unused(unused);
        count
    }

    /// Drops the plans of versions that new look-ups do not see: their readers go.
    pub(super) fn drop_old_plans(&self) {
        let current = self.epochs.root().epoch;
        let mut plans = lock(&self.ahead.plans);
        let old = |plan: &Plan| plan.epoch != current;
        let unused = self
            .ahead
            .remove(&mut plans, old, "the dataset was refreshed");
        self.stats.unused(unused);
    }

    /// Advises the cache of neighbours and of what plans say, for as long as it is polled.
    ///
    /// # Cancel safety
    /// Dropping it ends the advice; what was advised stays.
    pub(crate) async fn look_ahead(&self) {
        if self.ahead.budget == 0 {
            return;
        }
        loop {
            let refused = self.advise_all().await;
            let woken = self.ahead.wake.notified();
            if refused {
                // Whichever comes first: room, or news.
                let _ = tokio::time::timeout(ASK_AGAIN, woken).await;
            } else {
                woken.await;
            }
        }
    }

    /// Advises of all that is due; true if the cache had no room for some of a plan.
    async fn advise_all(&self) -> bool {
        loop {
            let next = lock(&self.ahead.waiting).pop_front();
            let Some(outlook) = next else { break };
            if let Some(range) = outlook.abandoned {
                self.stats.unused(self.bytes_of(range));
            }
            if let Some(range) = outlook.ahead {
                self.advise_neighbours(range).await;
            }
        }
        self.find_lost().await;
        let mut refused = false;
        loop {
            let mut advised = 0;
            let plans = lock(&self.ahead.plans).len();
            for number in 0..plans {
                let (count, full) = self.advise_planned(number).await;
                advised += count;
                refused |= full;
            }
            if advised == 0 || refused {
                return refused;
            }
        }
    }

    async fn advise_neighbours(&self, range: Range<u64>) {
        let mut room = (self.ahead.budget / 4).max(1);
        for file in range.clone() {
            let Ok(node) = self.epochs.node(Inode::from_raw(file)) else {
                return;
            };
            let bytes = head_of(&node, MOST_OF_NEIGHBOUR);
            if bytes > room || !self.advise(&node, bytes).await {
                // Those that were not reached are announced again with a later read.
                return lock(&self.ahead.neighbours).cut(range.end, file);
            }
            room -= bytes;
        }
    }

    /// Advises of a few files of one plan: how many, and whether there was no room.
    async fn advise_planned(&self, number: usize) -> (usize, bool) {
        let most = MOST_OF_PLANNED.min((self.ahead.budget / 2).max(1));
        for count in 0..TURN {
            let Some(step) = self.ahead.next_step(number, self) else {
                return (count, false);
            };
            let bytes = head_of(&step.file, most);
            if !self.advise(&step.file, bytes).await {
                return (count, true);
            }
            self.ahead.advised(&step, bytes);
        }
        (TURN, false)
    }

    /// Advises of the first `bytes` of a file; false if the cache has no room for them.
    async fn advise(&self, node: &Node, bytes: u64) -> bool {
        if bytes == 0 {
            return true;
        }
        let file = FileRef {
            version: node.manifest.version(),
            entry: node.entry,
        };
        // Whoever reads the file will hear of the error.
        let Ok(lease) = self.cache.lease(file).await else {
            return true;
        };
        self.cache.advise(&lease, ByteRange::new(0, bytes)) >= bytes
    }

    /// Searches the plans whose readers are elsewhere than was thought.
    async fn find_lost(&self) {
        let lost: Vec<_> = lock(&self.ahead.plans)
            .iter_mut()
            .filter_map(|plan| {
                let strays = plan.lost.take()?;
                Some((plan.id, plan.follower.entries(), strays))
            })
            .collect();
        for (id, entries, strays) in lost {
            let search = move || Follower::search(&entries, &strays);
            let Ok(Some(place)) = tokio::task::spawn_blocking(search).await else {
                continue;
            };
            let mut plans = lock(&self.ahead.plans);
            if let Some(plan) = plans.iter_mut().find(|plan| plan.id == id) {
                let from = plan.follower.position();
                self.stats.unused(plan.follower.jump(place));
                tracing::debug!(
                    name = plan.name,
                    from,
                    place,
                    "readers found elsewhere in a plan"
                );
            }
        }
    }

    /// The bytes of the files with these numbers, as far as they would be advised.
    fn bytes_of(&self, range: Range<u64>) -> u64 {
        let size = |file| {
            let node = self.epochs.node(Inode::from_raw(file)).ok()?;
            Some(head_of(&node, MOST_OF_NEIGHBOUR))
        };
        range.filter_map(size).sum()
    }
}

/// How much of a file is fetched ahead, `most` at most: nothing of a directory.
fn head_of(node: &Node, most: u64) -> u64 {
    let attr = node.manifest.attr(node.entry);
    let file = attr.filter(|attr| attr.kind == Kind::File);
    file.map_or(0, |attr| attr.size.min(most))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs [`DatasetFs::look_ahead`] until `ended` resolves.
pub(crate) async fn look_ahead_until(fs: Arc<DatasetFs>, ended: impl Future<Output = ()>) {
    tokio::select! {
        () = ended => {}
        () = fs.look_ahead() => {}
    }
}

#[cfg(test)]
mod tests;
