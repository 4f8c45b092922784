//! One warm-up from its plan to its end.

use std::fmt;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use forebay_core::cache::CacheError;
use forebay_core::manifest::{EntryId, Totals};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::counts::{Books, Counts, Failed, Share};
use super::crew::Crew;
use super::pace::Pace;
use super::unit::{Cut, Unit};
use super::{Phase, Spec};
use crate::dataset::Dataset;

mod pass;

use pass::{Order, Passes};

/// Units, one after the other.
type Units<'a> = Box<dyn Iterator<Item = Unit> + Send + 'a>;

/// Times that what could not be brought is given to others, and that what is found missing
/// after the members have changed is brought anew.
const ATTEMPTS: u32 = 5;
/// Before that: the time in which a dead member is found out.
const BEFORE_ANOTHER: Duration = Duration::from_millis(1500);
/// A member that could not be asked in so many attempts is avoided.
const STRIKES: u32 = 2;
/// Between two samples of the rate.
const SAMPLE_EVERY: Duration = Duration::from_millis(500);

/// A warm-up.
pub struct Job {
    spec: Spec,
    dataset: Arc<Dataset>,
    /// `None` is all of them.
    files: Option<Vec<EntryId>>,
    begun: Instant,
    // Both held for moments.
    books: Mutex<Books>,
    stage: Mutex<Stage>,
    cancel: CancellationToken,
    ended: CancellationToken,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (spec, stage) = (&self.spec, self.stage());
        f.debug_struct("Job")
            .field("spec", spec)
            .field("stage", &stage)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug)]
struct Stage {
    phase: Phase,
    /// How long it took, once it has ended.
    took: Option<Duration>,
}

/// How far a warm-up is.
#[derive(Clone, Debug)]
pub struct State {
    /// The phase.
    pub phase: Phase,
    /// The counts.
    pub counts: Counts,
    /// How long it has taken.
    pub took: Duration,
    /// Files that could not be brought, the first thousand with reasons.
    pub failed: Vec<Failed>,
    /// What each member has taken, by name.
    pub shares: Vec<Share>,
    /// Times that something was given to others.
    pub attempts: u32,
    /// What went wrong beside single files.
    pub trouble: Option<CacheError>,
}

impl State {
    /// How long the rest takes at the rate of late.
    pub fn eta(&self) -> Option<Duration> {
        let Counts {
            bytes_done,
            bytes_total,
            bytes_per_second,
            ..
        } = self.counts;
        let left = bytes_total.saturating_sub(bytes_done);
        let seconds = left as f64 / bytes_per_second as f64;
        let running = self.phase == Phase::Running && bytes_per_second > 0;
        running.then(|| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
    }
}

impl Job {
    pub(super) fn new(
        spec: Spec,
        dataset: Arc<Dataset>,
        files: Option<Vec<EntryId>>,
        cancel: CancellationToken,
    ) -> Self {
        let stage = Stage {
            phase: Phase::Running,
            took: None,
        };
        Self {
            spec,
            dataset,
            files,
            begun: Instant::now(),
            books: Mutex::default(),
            stage: Mutex::new(stage),
            cancel,
            ended: CancellationToken::new(),
        }
    }

    /// What is to be brought.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// How far it is.
    pub fn phase(&self) -> Phase {
        self.stage().phase
    }

    /// All about how far it is.
    pub fn state(&self) -> State {
        let Stage { phase, took } = self.stage();
        let books = self.books();
        State {
            phase,
            counts: books.counts,
            took: took.unwrap_or_else(|| self.begun.elapsed()),
            failed: books.reasons(),
            shares: books.shares(),
            attempts: books.attempts,
            trouble: books.trouble.clone(),
        }
    }

    /// The path of a file of its dataset.
    pub fn path(&self, entry: EntryId) -> Vec<u8> {
        self.dataset.manifest().path(entry)
    }

    /// Waits until it has ended.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Ends it; what was brought stays.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    pub(super) async fn run(&self, crew: &Crew) {
        let spec = &self.spec;
        tracing::info!(name = %spec.name, dataset = %spec.dataset, version = %spec.version, "warm-up begun");
        let ended = tokio::select! {
            biased;
            () = self.cancel.cancelled() => Phase::Cancelled,
            ended = self.work(crew) => ended,
            () = self.sample() => Phase::Failed,
        };
        let took = Some(self.begun.elapsed());
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = Stage { phase: ended, took };
        let Counts {
            files_done,
            files_failed,
            bytes_done,
            ..
        } = self.state().counts;
        tracing::info!(
            name = %spec.name,
            phase = ended.as_str(),
            files_done,
            files_failed,
            bytes_done,
            "warm-up ended"
        );
        self.ended.cancel();
    }

    async fn sample(&self) {
        let mut tick = tokio::time::interval(SAMPLE_EVERY);
        loop {
            let now = tick.tick().await;
            self.books().sample(now);
        }
    }

    async fn work(&self, crew: &Crew) -> Phase {
        let copies = self.spec.replicas.clamp(1, crew.len().max(1));
        let rate = self.spec.bytes_per_second;
        let copies = u8::try_from(copies).unwrap_or(u8::MAX);
        let cut = Cut::new(copies, rate.map(NonZeroU64::get));
        self.count(cut);
        let mut passes = Passes::new(cut, Pace::new(rate));
        let mut order = Order::Bring;
        let mut units: Units<'_> = self.units(cut);
        for attempt in 1.. {
            let epoch = crew.epoch();
            self.bring(crew, &mut passes, units, order).await;
            self.set_phase(Phase::Verifying);
            let unsettled = settle(crew, &mut passes).await;
            self.books().verified_bytes = 0;
            let missing = self
                .pass(crew, &mut passes, self.units(cut), Order::Look)
                .await;
            let all_there = missing.is_empty() && unsettled.is_none();
            // Owners may have changed after their share was brought.
            if all_there || crew.epoch() == epoch || attempt == ATTEMPTS {
                let mut books = self.books();
                missing
                    .into_iter()
                    .for_each(|back| books.failed(back.unit.entry, back.error));
                books.trouble = unsettled;
                break;
            }
            self.books().attempts += 1;
            self.set_phase(Phase::Running);
            units = Box::new(missing.into_iter().map(|back| back.unit));
            order = Order::BringAgain;
        }
        match self.books().close() {
            true => Phase::Complete,
            false => Phase::Failed,
        }
    }

    /// Brings `units`, and goes on with others where a member cannot be asked.
    async fn bring(&self, crew: &Crew, passes: &mut Passes, units: Units<'_>, order: Order) {
        let mut back = self.pass(crew, passes, units, order).await;
        for _ in 1..ATTEMPTS {
            if back.is_empty() {
                return;
            }
            self.books().attempts += 1;
            tokio::time::sleep(BEFORE_ANOTHER).await;
            let units = std::mem::take(&mut back).into_iter().map(|back| back.unit);
            back = self.pass(crew, passes, units, order).await;
        }
        let mut books = self.books();
        back.into_iter()
            .for_each(|back| books.failed(back.unit.entry, back.error));
    }

    fn count(&self, cut: Cut) {
        let totals = match &self.files {
            None => self.dataset.manifest().totals(),
            Some(files) => {
                let sizes = files.iter().map(|&entry| self.size(entry));
                Totals {
                    files: files.len() as u64,
                    bytes: sizes.sum(),
                    ..self.dataset.manifest().totals()
                }
            }
        };
        let mut books = self.books();
        books.counts.files_total = totals.files;
        books.counts.bytes_total = totals.bytes * u64::from(cut.copies());
    }

    /// The units of all files, in the order of the manifest.
    fn units(&self, cut: Cut) -> Units<'_> {
        let units = move |entry| cut.units(entry, self.size(entry));
        match &self.files {
            None => Box::new(self.dataset.manifest().files().flat_map(units)),
            Some(files) => Box::new(files.iter().copied().flat_map(units)),
        }
    }

    fn size(&self, entry: EntryId) -> u64 {
        let attr = self.dataset.manifest().attr(entry);
        attr.map_or(0, |attr| attr.size)
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stage(&self) -> Stage {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_phase(&self, phase: Phase) {
        let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        stage.phase = phase;
    }
}

/// Has every member make its part durable; the last error if one does not.
async fn settle(crew: &Crew, passes: &mut Passes) -> Option<CacheError> {
    let mut unsettled = None;
    for (name, hand) in std::mem::take(&mut passes.unsettled) {
        if let Err(error) = crew.settle(&hand).await {
            tracing::warn!(%error, member = %name, "what a member brought is not durable");
            unsettled = Some(error);
        }
    }
    unsettled
}
