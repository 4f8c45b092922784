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

/// Rounds with each fill of the caches with large files. Where in memory the pages of a file
/// lie moves a pass of some tenths of a second by a quarter, and each round places them anew.
const ROUNDS: usize = 10;

/// Rounds of an epoch for each that was asked for.
const EPOCHS: usize = 3;

const LIMIT: Duration = Duration::from_secs(1800);

/// Files that the kernel reads by itself once they are complete.
const PASSED_THROUGH: &str = r#"forebay_fuse_opens_total{read="passthrough"}"#;

pub(super) fn run(report: &mut Report, options: &Options) -> Result<()> {
    large(report, options)?;
    small(report, options)
}

fn large(report: &mut Report, options: &Options) -> Result<()> {
    let mut tallies = [Workload::Sequential, Workload::Random].map(Tally::new);
    let mut control = Tally::new(Workload::Sequential);
    let mut passed_through = Vec::new();
    for fill in 0..options.rounds {
        let place = Place::new("local-hit-large", options, Set::Large, fill)?;
        for round in 0..ROUNDS {
            for tally in &mut tallies {
                tally.add(&place, &place.separate, round)?;
            }
        }
        // Before the control, which reads through the embedded mount as well.
        passed_through.push(place.passed_through()?);
        let twin = place.twin()?;
        for round in 0..ROUNDS {
            control.add(&place, &twin, round)?;
        }
    }
    tallies.iter().for_each(|tally| tally.tell(report));
    for (state, same) in [(State::Hot, control.hot), (State::Warm, control.warm)] {
        let state = state.title();
        report.figure(
            &format!("sequential, {state}: embedded : embedded, the same program twice"),
            Sample::new(same.ratios),
        );
    }
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
    let mut tally = Tally::new(Workload::Epoch);
    for round in 0..options.rounds * EPOCHS {
        tally.add(&place, &place.separate, round)?;
    }
    tally.tell(report);
    Ok(())
}

/// What the rounds of one workload came to.
struct Tally {
    workload: Workload,
    warm: Ratios,
    hot: Ratios,
}

/// A mount beside the embedded one, from one state.
#[derive(Default)]
struct Ratios {
    ratios: Vec<f64>,
    embedded: Vec<f64>,
}

/// The rates of two passes of a mount, one after the other.
#[derive(Clone, Copy)]
struct Rates {
    warm: f64,
    hot: f64,
}

impl Tally {
    fn new(workload: Workload) -> Self {
        Self {
            workload,
            warm: Ratios::default(),
            hot: Ratios::default(),
        }
    }

    /// A round: `other` and the embedded mount in turn, twice. Never the same one twice on end:
    /// what the disk was just asked for, it has at hand.
    fn add(&mut self, place: &Place, other: &Mount, round: usize) -> Result<()> {
        let pass = |mount| place.passes(mount, self.workload, round);
        let turn = || Ok::<_, anyhow::Error>([pass(other)?, pass(&place.embedded)?]);
        let turns = [turn()?, turn()?];
        let (others, embedded) = (turns.map(|turn| turn[0]), turns.map(|turn| turn[1]));
        let warm = |rates: Rates| rates.warm;
        self.warm.add(others.map(warm), embedded.map(warm));
        let hot = |rates: Rates| rates.hot;
        self.hot.add(others.map(hot), embedded.map(hot));
        Ok(())
    }

    fn tell(&self, report: &mut Report) {
        self.tell_of(report, State::Hot, &self.hot);
        self.tell_of(report, State::Warm, &self.warm);
    }

    fn tell_of(&self, report: &mut Report, state: State, ratios: &Ratios) {
        let ratio = Sample::new(ratios.ratios.clone());
        let name = format!("{}, {}", self.workload.title(), state.title());
        report.figure(
            &format!("{name}: embedded, {}", self.workload.unit()),
            format_args!("{:.0}", Sample::new(ratios.embedded.clone())),
        );
        report.line(
            ratio.median() >= BOUND,
            &format!("{name}: separate server : embedded"),
            &ratio,
            BOUND,
        );
    }
}

impl Ratios {
    /// The rates of a round's two turns.
    fn add(&mut self, other: [f64; 2], embedded: [f64; 2]) {
        let ratio = other[0] * other[1] / (embedded[0] * embedded[1]);
        self.ratios.push(ratio.sqrt());
        self.embedded.extend(embedded);
    }
}

/// The same data in two caches: a server's, and a mount's own.
struct Place {
    separate: Mount,
    embedded: Mount,
    data: Data,
    set: Set,
    room: u64,
    // The mounts go first.
    cluster: PeerCluster,
}

impl Place {
    /// Fills the caches one after the other, every other time the embedded one first.
    fn new(name: &str, options: &Options, set: Set, fill: usize) -> Result<Self> {
        let data = Data::new(options.scale, &[set]);
        let dataset = Dataset::of(data.files(set).to_vec());
        let room = dataset.bytes() * 5 / 4 + (64 << 20);
        let cluster = PeerCluster::start(name, &ClusterShape::of(1, room), &dataset);
        let place = Self {
            separate: cluster.nodes()[0].mount("m").limit(LIMIT).start(),
            embedded: embedded(&cluster, "embedded", room),
            data,
            set,
            room,
            cluster,
        };
        let mut mounts = [&place.separate, &place.embedded];
        mounts.rotate_left(fill % 2);
        place.fill(&mounts)?;
        Ok(place)
    }

    /// Another mount with a cache of its own, filled as well.
    fn twin(&self) -> Result<Mount> {
        let twin = embedded(&self.cluster, "twin", self.room);
        self.fill(&[&twin])?;
        Ok(twin)
    }

    fn fill(&self, mounts: &[&Mount]) -> Result<()> {
        for mount in mounts {
            Load::whole(self.set, &self.data).run(&mount.path())?;
        }
        thread::sleep(SETTLE);
        rustix::fs::sync();
        Ok(())
    }

    /// A pass from the disk, and another from memory, where nothing else lies: the pages of
    /// the mount before have just been freed, and are where this one's go.
    fn passes(&self, mount: &Mount, workload: Workload, round: usize) -> Result<Rates> {
        let load = Load {
            check: Check::Pages(round as u64),
            ..Load::new(workload, &self.data)
        };
        page_cache::drop_all()?;
        Ok(Rates {
            warm: load.run(&mount.path())?.rate(),
            hot: load.run(&mount.path())?.rate(),
        })
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

fn embedded(cluster: &PeerCluster, name: &str, room: u64) -> Mount {
    MountCommand::new("s3://data", &cluster.network().scratch().dir(name))
        .args(&["--cache-size", &room.to_string()])
        .endpoint(cluster.endpoint())
        .limit(LIMIT)
        .start()
}
