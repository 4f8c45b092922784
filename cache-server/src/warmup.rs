//! Warm-up across a cluster: each member brings what it keeps.
//!
//! Whoever is asked plans it. The planner walks the manifest, ranks each segment as the
//! readers will, and gives runs of **units** to the members that keep them, a bounded
//! number of calls to each at once. What a call names is an object in one version, so the
//! members need neither the manifest nor the dataset, only the origin in their own
//! configuration. A member admits the reads like any other prefetch: readers that wait go
//! first, and with several copies the origin is still read once.
//!
//! What a member cannot take, because it has died, goes to the next in rank. When all was
//! brought and is durable, every unit is looked for once more where it should be; only
//! what is found there makes a warm-up [`Phase::Complete`].
//!
//! Nothing is remembered about single files: a warm-up that begins again finds what is
//! there at the price of asking, some microseconds a file.

use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, PoisonError};

use forebay_core::cache::CacheError;
use forebay_core::manifest::{EntryId, VersionId};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cluster::Cluster;
use crate::node::NodeCache;

mod counts;
mod crew;
mod job;
mod pace;
mod unit;

pub use counts::{Counts, Failed, Share};
pub use job::{Job, State};

use crew::Crew;

/// Warm-ups that have ended and are still told of.
const ENDED_KEPT: usize = 32;

/// What is to be brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// What the warm-up is called.
    pub name: String,
    /// The dataset, as people call it.
    pub dataset: String,
    /// The version, which the node must know.
    pub version: VersionId,
    /// What of it, as people said it; empty for everything.
    pub patterns: Vec<String>,
    /// How many members shall have each byte; fewer if there are fewer.
    pub replicas: usize,
    /// The most bytes a second that all members fetch together.
    pub bytes_per_second: Option<NonZeroU64>,
}

/// How far a warm-up is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Files are being brought.
    Running,
    /// All were brought, and are looked for once more.
    Verifying,
    /// All are there and verified.
    Complete,
    /// It has ended, and some are not.
    Failed,
    /// It was ended before.
    Cancelled,
}

impl Phase {
    /// Its name, for people and programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Verifying => "verifying",
            Self::Complete => "complete",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing changes any more.
    pub const fn is_end(self) -> bool {
        match self {
            Self::Running | Self::Verifying => false,
            Self::Complete | Self::Failed | Self::Cancelled => true,
        }
    }
}

/// The warm-ups that a server plans.
pub struct Warmups {
    crew: Arc<Crew>,
    // Held for look-ups. The oldest first.
    jobs: Mutex<VecDeque<Arc<Job>>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl fmt::Debug for Warmups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Warmups").finish_non_exhaustive()
    }
}

impl Warmups {
    /// Plans for `node` and the other members of `cluster`, until `stop`.
    pub fn new(
        node: Arc<NodeCache>,
        cluster: Option<Arc<Cluster>>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            crew: Arc::new(Crew::new(node, cluster)),
            jobs: Mutex::default(),
            tasks: TaskTracker::new(),
            stop,
        }
    }

    /// Begins to bring `files`, or the whole version; `ended` is called once it has ended.
    /// One of the same name that runs is returned as it is.
    ///
    /// # Errors
    /// `NotFound` if the node does not know the version.
    pub fn start(
        &self,
        spec: Spec,
        files: Option<Vec<EntryId>>,
        ended: impl FnOnce(&Job) + Send + 'static,
    ) -> Result<Arc<Job>, CacheError> {
        let mut jobs = self.jobs();
        if let Some(running) = jobs.iter().find(|job| job.spec().name == spec.name)
            && !running.phase().is_end()
        {
            return Ok(Arc::clone(running));
        }
        let dataset = self.crew.node.dataset(spec.version)?;
        jobs.retain(|job| job.spec().name != spec.name);
        let has_ended = |job: &Arc<Job>| job.phase().is_end();
        if jobs.iter().filter(|job| has_ended(job)).count() >= ENDED_KEPT
            && let Some(oldest) = jobs.iter().position(has_ended)
        {
            jobs.remove(oldest);
        }
        let job = Arc::new(Job::new(spec, dataset, files, self.stop.child_token()));
        jobs.push_back(Arc::clone(&job));
        let (crew, running) = (Arc::clone(&self.crew), Arc::clone(&job));
        self.tasks.spawn(async move {
            running.run(&crew).await;
            ended(&running);
        });
        Ok(job)
    }

    /// The warm-up of this name.
    pub fn job(&self, name: &str) -> Option<Arc<Job>> {
        let jobs = self.jobs();
        jobs.iter().find(|job| job.spec().name == name).cloned()
    }

    /// All that run or have lately ended, the oldest first.
    pub fn list(&self) -> Vec<Arc<Job>> {
        self.jobs().iter().cloned().collect()
    }

    /// Waits until every warm-up has ended, once its stop was asked for.
    pub async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn jobs(&self) -> std::sync::MutexGuard<'_, VecDeque<Arc<Job>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
