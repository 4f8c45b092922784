//! What is cached on the node costs the same through a separate cache server as with the
//! cache in the process of the mount.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use forebay_tests::{ClusterShape, Dataset, Mount, MountCommand, PeerCluster};

use crate::data::{Data, Set};
use crate::report::Report;
use crate::sample::Sample;
use crate::show::Options;
use crate::subject::State;
use crate::workload::{Check, Load, Workload};
use crate::{metrics, page_cache};

const BOUND: f64 = 0.95;
/// So that what was cached is on the disk before it is read from there.
const SETTLE: Duration = Duration::from_secs(3);

/// Fills of the caches with large files for each round that was asked for: the same program
/// with the same file in two caches reads one of them from memory up to a fifth faster.
const FILLS: usize = 5;

/// A hot epoch takes some tenths of a second: so many rounds for each that was asked for.
const HOT_EPOCHS: usize = 3;

const LIMIT: Duration = Duration::from_secs(1800);

/// Files that the kernel reads by itself once they are complete.
const PASSED_THROUGH: &str = r#"forebay_fuse_opens_total{read="passthrough"}"#;

pub(super) fn run(report: &mut Report, options: &Options) -> Result<()> {
    large(report, options)?;
    small(report, options)
}

/// One round for each fill.
fn large(report: &mut Report, options: &Options) -> Result<()> {
    let mut tallies = [
        Tally::new(Workload::Sequential, State::Hot),
        Tally::new(Workload::Sequential, State::Warm),
        Tally::new(Workload::Random, State::Hot),
    ];
    let mut alike = Vec::new();
    let mut passed_through = Vec::new();
    for fill in 0..options.rounds * FILLS {
        let place = Place::new("local-hit-large", options, Set::Large, fill)?;
        for tally in &mut tallies {
            tally.add(&place.round(tally.workload, tally.state, fill, &place.separate)?);
        }
        // Before the control, which reads through the embedded mount once more.
        passed_through.push(place.passed_through()?);
        let control = place.round(Workload::Sequential, State::Hot, fill, &place.twin)?;
        alike.push(control.ratio);
    }
    tallies.iter().for_each(|tally| tally.tell(report));
    report.figure(
        "sequential, hot: embedded : embedded, the same program twice",
        Sample::new(alike),
    );
    let (separate, embedded): (Vec<f64>, Vec<f64>) = passed_through.into_iter().unzip();
    report.line(
        separate == embedded && separate.iter().all(|count| *count > 0.0),
        "files passed through by the kernel: separate server, embedded",
        format_args!(
            "{}, {}",
            separate.iter().sum::<f64>(),
            embedded.iter().sum::<f64>()
        ),
        "as many, and some",
    );
    Ok(())
}

/// All rounds with one fill: an epoch takes long, and is of twenty thousand places.
fn small(report: &mut Report, options: &Options) -> Result<()> {
    let place = Place::new("local-hit-small", options, Set::Small, 0)?;
    for (state, rounds) in [
        (State::Hot, options.rounds * HOT_EPOCHS),
        (State::Warm, options.rounds),
    ] {
        let mut tally = Tally::new(Workload::Epoch, state);
        for round in 0..rounds {
            tally.add(&place.round(Workload::Epoch, state, round, &place.separate)?);
        }
        tally.tell(report);
    }
    Ok(())
}

/// What the rounds of one workload came to.
struct Tally {
    workload: Workload,
    state: State,
    ratios: Vec<f64>,
    embedded: Vec<f64>,
}

/// A mount beside the embedded one.
struct Round {
    ratio: f64,
    embedded: [f64; 2],
}

impl Tally {
    fn new(workload: Workload, state: State) -> Self {
        Self {
            workload,
            state,
            ratios: Vec::new(),
            embedded: Vec::new(),
        }
    }

    fn add(&mut self, round: &Round) {
        self.ratios.push(round.ratio);
        self.embedded.extend(round.embedded);
    }

    fn tell(&self, report: &mut Report) {
        let ratio = Sample::new(self.ratios.clone());
        let name = format!("{}, {}", self.workload.title(), self.state.title());
        report.figure(
            &format!("{name}: embedded, {}", self.workload.unit()),
            format_args!("{:.0}", Sample::new(self.embedded.clone())),
        );
        report.line(
            ratio.median() >= BOUND,
            &format!("{name}: separate server : embedded"),
            &ratio,
            BOUND,
        );
    }
}

/// The same data in three caches: a server's, a mount's own, and another mount's own.
struct Place {
    separate: Mount,
    embedded: Mount,
    twin: Mount,
    data: Data,
    // The mounts go first.
    _cluster: PeerCluster,
}

impl Place {
    /// Fills the caches one after the other, beginning with another one each time.
    fn new(name: &str, options: &Options, set: Set, fill: usize) -> Result<Self> {
        let data = Data::new(options.scale, &[set]);
        let dataset = Dataset::of(data.files(set).to_vec());
        let room = dataset.bytes() * 5 / 4 + (64 << 20);
        let cluster = PeerCluster::start(name, &ClusterShape::of(1, room), &dataset);
        let size = room.to_string();
        let embedded = |name: &str| {
            MountCommand::new("s3://data", &cluster.network().scratch().dir(name))
                .args(&["--cache-size", &size])
                .endpoint(cluster.endpoint())
                .limit(LIMIT)
                .start()
        };
        let place = Self {
            separate: cluster.nodes()[0].mount("m").limit(LIMIT).start(),
            embedded: embedded("embedded"),
            twin: embedded("twin"),
            data,
            _cluster: cluster,
        };
        let mut mounts = [&place.separate, &place.embedded, &place.twin];
        mounts.rotate_left(fill % 3);
        for mount in mounts {
            Load::whole(set, &place.data).run(&mount.path())?;
        }
        thread::sleep(SETTLE);
        rustix::fs::sync();
        Ok(place)
    }

    /// Reads through `other` and the embedded mount in turn, once in either order: whose
    /// pages come into memory first is read faster from there, by up to a third.
    fn round(
        &self,
        workload: Workload,
        state: State,
        round: usize,
        other: &Mount,
    ) -> Result<Round> {
        let forward = self.turn(workload, state, round, [other, &self.embedded])?;
        let back = self.turn(workload, state, round, [&self.embedded, other])?;
        Ok(Round {
            ratio: (forward[0] / forward[1] * back[1] / back[0]).sqrt(),
            embedded: [forward[1], back[0]],
        })
    }

    /// The rates of two mounts, one after the other.
    fn turn(
        &self,
        workload: Workload,
        state: State,
        round: usize,
        mounts: [&Mount; 2],
    ) -> Result<[f64; 2]> {
        let pass = |mount: &Mount| self.pass(mount, workload, round);
        let [first, second] = mounts;
        page_cache::drop_all()?;
        let first_rate = pass(first)?;
        if state == State::Warm {
            page_cache::drop_all()?;
            return Ok([first_rate, pass(second)?]);
        }
        // Both are in memory now, anew and in the same way.
        pass(second)?;
        Ok([pass(first)?, pass(second)?])
    }

    fn pass(&self, mount: &Mount, workload: Workload, round: usize) -> Result<f64> {
        let load = Load {
            check: Check::Pages(round as u64),
            ..Load::new(workload, &self.data)
        };
        Ok(load.run(&mount.path())?.rate())
    }

    /// How many files the separate server's mount and the embedded one have handed over to
    /// the kernel.
    fn passed_through(&self) -> Result<(f64, f64)> {
        let opens = |mount: &Mount| -> Result<f64> {
            let page = metrics::page(mount)?;
            metrics::value(&page, PASSED_THROUGH).context("opens are counted")
        };
        Ok((opens(&self.separate)?, opens(&self.embedded)?))
    }
}
