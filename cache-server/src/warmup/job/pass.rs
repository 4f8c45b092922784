//! One walk over what is to be brought or looked for: units to batches, batches to
//! members, answers to the books.

use std::collections::{BTreeMap, HashMap};

use forebay_core::ErrorKind;
use forebay_core::cache::CacheError;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::time::Instant;

use super::{Job, STRIKES};
use crate::node::Piece;
use crate::warmup::crew::{Crew, Hand};
use crate::warmup::pace::Pace;
use crate::warmup::unit::{Cut, Unit};

/// The most units of one call: with keys and validators, some hundred bytes each.
const MOST_UNITS: usize = 256;
/// Calls to one member at once: enough that it always has more to do than it may read at
/// once from the origin.
const CALLS_AT_ONCE: usize = 8;

/// What passes over the same files have in common.
#[derive(Debug)]
pub(super) struct Passes {
    pub(super) cut: Cut,
    pub(super) pace: Pace,
    /// How often each member could not be asked.
    strikes: BTreeMap<String, u32>,
    /// Members that have brought something and have not been asked to make it durable.
    pub(super) unsettled: BTreeMap<String, Hand>,
}

impl Passes {
    pub(super) fn new(cut: Cut, pace: Pace) -> Self {
        Self {
            cut,
            pace,
            strikes: BTreeMap::new(),
            unsettled: BTreeMap::new(),
        }
    }
}

/// What members are asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// To bring it.
    Bring,
    /// To bring it again; it was counted before.
    BringAgain,
    /// To look for it.
    Look,
}

/// A unit that a member has not got.
#[derive(Debug)]
pub(super) struct Back {
    pub(super) unit: Unit,
    pub(super) error: CacheError,
}

/// What one call is about.
#[derive(Debug)]
struct Batch {
    hand: Hand,
    /// With the size of the file.
    units: Vec<(Unit, u64)>,
    pieces: Vec<Piece>,
    bytes: u64,
}

/// A batch that was answered.
#[derive(Debug)]
struct Answered {
    batch: Batch,
    answer: Result<Vec<Result<u64, CacheError>>, CacheError>,
}

struct Pass<'a> {
    job: &'a Job,
    crew: &'a Crew,
    passes: &'a mut Passes,
    order: Order,
    calls: FuturesUnordered<BoxFuture<'a, Answered>>,
    in_flight: HashMap<String, usize>,
    back: Vec<Back>,
}

impl Job {
    /// Has the members do `order` with `units`; returns what has come back. With
    /// [`Order::Bring`], what failed for good is in the books.
    pub(super) async fn pass(
        &self,
        crew: &Crew,
        passes: &mut Passes,
        units: impl Iterator<Item = Unit> + Send,
        order: Order,
    ) -> Vec<Back> {
        let mut pass = Pass {
            job: self,
            crew,
            passes,
            order,
            calls: FuturesUnordered::new(),
            in_flight: HashMap::new(),
            back: Vec::new(),
        };
        let mut filling: HashMap<String, Batch> = HashMap::new();
        for unit in units {
            if let Some(batch) = pass.plan(unit, &mut filling) {
                pass.send(batch).await;
            }
        }
        for batch in filling.into_values() {
            pass.send(batch).await;
        }
        while let Some(answered) = pass.calls.next().await {
            pass.note(answered);
        }
        pass.back
    }
}

impl Pass<'_> {
    /// Gives `unit` to the batch of its member; returns the batch if it is full with it.
    fn plan(&self, unit: Unit, filling: &mut HashMap<String, Batch>) -> Option<Batch> {
        if self.job.books().has_failed(unit.entry) {
            return None;
        }
        let target = self.job.dataset.target(unit.entry)?;
        let strikes = &self.passes.strikes;
        let avoid = |name: &str| strikes.get(name).is_some_and(|&count| count >= STRIKES);
        let hand = self.crew.hand(&target, unit, avoid);
        let name = hand.name.clone();
        let batch = filling.entry(name.clone()).or_insert_with(|| Batch {
            hand,
            units: Vec::new(),
            pieces: Vec::new(),
            bytes: 0,
        });
        batch.units.push((unit, target.size));
        batch.pieces.push(Piece::new(target, unit.range)?);
        batch.bytes += unit.range.len();
        let full = batch.units.len() >= MOST_UNITS || batch.bytes >= self.passes.cut.call_bytes();
        if full { filling.remove(&name) } else { None }
    }

    /// Sends a batch as soon as its member and the pace allow it.
    async fn send(&mut self, mut batch: Batch) {
        let name = batch.hand.name.clone();
        loop {
            let in_flight = self.in_flight.get(&name).copied().unwrap_or(0);
            let busy = in_flight >= CALLS_AT_ONCE;
            let due = self.passes.pace.due();
            let early = self.order != Order::Look && due > Instant::now();
            if !busy && !early {
                break;
            }
            tokio::select! {
                Some(answered) = self.calls.next(), if !self.calls.is_empty() => self.note(answered),
                () = tokio::time::sleep_until(due), if !busy => {}
            }
        }
        *self.in_flight.entry(name).or_default() += 1;
        let (crew, only_look) = (self.crew, self.order == Order::Look);
        if !only_look {
            self.passes.pace.take(batch.bytes);
        }
        self.calls.push(Box::pin(async move {
            let pieces = std::mem::take(&mut batch.pieces);
            let answer = crew.bring(&batch.hand, pieces, only_look).await;
            Answered { batch, answer }
        }));
    }

    /// Enters an answer into the books.
    fn note(&mut self, Answered { batch, answer }: Answered) {
        let name = &batch.hand.name;
        if let Some(in_flight) = self.in_flight.get_mut(name) {
            *in_flight -= 1;
        }
        let answers = match answer {
            Ok(answers) => answers,
            Err(error) => {
                tracing::info!(%error, member = %name, "a member could not take its part of a warm-up");
                *self.passes.strikes.entry(name.clone()).or_default() += 1;
                let back = |(unit, _)| Back {
                    unit,
                    error: error.clone(),
                };
                return self.back.extend(batch.units.into_iter().map(back));
            }
        };
        let mut fetched_here = 0;
        let mut books = self.job.books();
        for ((unit, size), answer) in batch.units.into_iter().zip(answers) {
            match (answer, self.order) {
                (Ok(fetched), Order::Bring) => {
                    books.done(unit, size, self.passes.cut, name, fetched);
                    fetched_here += fetched;
                }
                (Ok(fetched), Order::BringAgain) => fetched_here += fetched,
                (Ok(_), Order::Look) => books.verified_bytes += unit.range.len(),
                // It ends: another one takes over.
                (Err(error), Order::Bring | Order::BringAgain)
                    if error.kind != ErrorKind::Cancelled =>
                {
                    books.failed(unit.entry, error);
                }
                (Err(error), _) => self.back.push(Back { unit, error }),
            }
        }
        drop(books);
        if self.order != Order::Look {
            let pace = &mut self.passes.pace;
            pace.give_back(batch.bytes - fetched_here.min(batch.bytes));
            self.passes.unsettled.insert(name.clone(), batch.hand);
        }
    }
}
