//! What is cached on the node costs the same through a separate cache server as with the
//! cache in the process of the mount.
//!
//! Both read the very same cached files, which they take over from each other: one place on
//! a disk is read up to twice as fast as another, and stays so.

use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use forebay_tests::{ClusterShape, Dataset, Mount, MountCommand, Node, PeerCluster};

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

/// Rounds with large files for each that was asked for. Where in memory the pages of a file
/// lie moves a pass of some tenths of a second, and each turn places them anew.
const LARGE: usize = 5;

/// Rounds of an epoch for each that was asked for.
const SMALL: usize = 2;

const LIMIT: Duration = Duration::from_secs(300);

/// Files that the kernel reads by itself once they are complete.
const PASSED_THROUGH: &str = r#"forebay_fuse_opens_total{read="passthrough"}"#;

pub(super) fn run(report: &mut Report, options: &Options) -> Result<()> {
    large(report, options)?;
    small(report, options)
}

fn large(report: &mut Report, options: &Options) -> Result<()> {
    let place = Place::new("local-hit-large", options, Set::Large)?;
    let mut tallies = [Workload::Sequential, Workload::Random].map(Tally::new);
    let [separate, embedded] = rounds(&place, &mut tallies, options.rounds * LARGE)?;
    tallies.iter().for_each(|tally| tally.tell(report));
    report.line(
        separate == embedded && separate > 0.0,
        "files passed through by the kernel: separate server, embedded",
        format_args!("{separate}, {embedded}"),
        "as many, and some",
    );
    Ok(())
}

fn small(report: &mut Report, options: &Options) -> Result<()> {
    let place = Place::new("local-hit-small", options, Set::Small)?;
    let mut tally = Tally::new(Workload::Epoch);
    rounds(
        &place,
        std::slice::from_mut(&mut tally),
        options.rounds * SMALL,
    )?;
    tally.tell(report);
    Ok(())
}

/// Two turns of each in every round, the second two in the opposite order: a virtual machine
/// is given memory by its host in a way that makes every other read of a file slower, up to
/// twice. How many files each has handed over to the kernel.
fn rounds(place: &Place, tallies: &mut [Tally], count: usize) -> Result<[f64; 2]> {
    let mut passed_through = [0.0; 2];
    for round in 0..count {
        let turns = [Mode::Separate, Mode::Embedded];
        for mode in turns.into_iter().chain(turns.into_iter().rev()) {
            let mount = place.begin(mode)?;
            for tally in &mut *tallies {
                let rates = &mut tally.of[mode as usize];
                place.passes(&mount, round, tally.workload, rates)?;
            }
            let page = metrics::page(&mount)?;
            // There is no such figure where nothing is opened.
            let opens = metrics::value(&page, PASSED_THROUGH).unwrap_or(0.0);
            passed_through[mode as usize] += opens;
            place.end(mode, mount)?;
        }
    }
    Ok(passed_through)
}

/// Where the cache is.
#[derive(Clone, Copy)]
enum Mode {
    /// In a server on the node.
    Separate,
    /// In the process of the mount.
    Embedded,
}

/// The rates of one workload: through the separate server, and embedded.
struct Tally {
    workload: Workload,
    of: [Rates; 2],
}

/// The rates of one workload in one mode, two of each round.
#[derive(Default)]
struct Rates {
    warm: Vec<f64>,
    hot: Vec<f64>,
}

impl Tally {
    fn new(workload: Workload) -> Self {
        Self {
            workload,
            of: Default::default(),
        }
    }

    fn tell(&self, report: &mut Report) {
        let [separate, embedded] = &self.of;
        self.tell_of(report, State::Hot, &separate.hot, &embedded.hot);
        self.tell_of(report, State::Warm, &separate.warm, &embedded.warm);
    }

    fn tell_of(&self, report: &mut Report, state: State, separate: &[f64], embedded: &[f64]) {
        let name = format!("{}, {}", self.workload.title(), state.title());
        report.figure(
            &format!("{name}: embedded, {}", self.workload.unit()),
            format_args!("{:.0}", Sample::new(embedded.to_vec())),
        );
        let ratio = Sample::of_both_ways(separate, embedded);
        report.line(
            ratio.median() >= BOUND,
            &format!("{name}: separate server : embedded"),
            &ratio,
            BOUND,
        );
        // What tells nothing apart: both turns of a round are of the same program.
        report.figure(
            &format!("{name}: embedded : embedded, one turn after the other"),
            Sample::new(embedded.chunks(2).map(|turns| turns[1] / turns[0])),
        );
    }
}

/// A cache with all of the data in it, and nobody who serves it.
struct Place {
    cluster: PeerCluster,
    data: Data,
    set: Set,
    room: u64,
}

impl Place {
    fn new(name: &str, options: &Options, set: Set) -> Result<Self> {
        let data = Data::new(options.scale, &[set]);
        let dataset = Dataset::of(data.files(set).to_vec());
        let room = dataset.bytes() * 5 / 4 + (64 << 20);
        let cluster = PeerCluster::start(name, &ClusterShape::of(1, room), &dataset);
        let place = Self {
            cluster,
            data,
            set,
            room,
        };
        let mount = place.node().mount("m").limit(LIMIT).start();
        place.read_all(&mount)?;
        thread::sleep(SETTLE);
        place.end(Mode::Separate, mount)?;
        Ok(place)
    }

    fn node(&self) -> &Node {
        &self.cluster.nodes()[0]
    }

    /// A mount in whose cache all of the data is, and is known to be right.
    fn begin(&self, mode: Mode) -> Result<Mount> {
        let fetched = self.cluster.origin_bytes();
        let mount = match mode {
            Mode::Separate => {
                self.node().start_server();
                self.node().mount("m").limit(LIMIT).start()
            }
            Mode::Embedded => self.embedded().start(),
        };
        self.read_all(&mount)?;
        let again = self.cluster.origin_bytes() - fetched;
        ensure!(again == 0, "{again} bytes were not in the cache");
        Ok(mount)
    }

    fn embedded(&self) -> MountCommand {
        MountCommand::new("s3://data", &self.node().dir().join("embedded"))
            .inside(self.node().namespace())
            .cache(&self.node().dir().join("cache"))
            .args(&["--cache-size", &self.room.to_string()])
            .endpoint(self.cluster.endpoint())
            .limit(LIMIT)
    }

    /// Takes the mount down, and leaves the cache to the next one.
    fn end(&self, mode: Mode, mount: Mount) -> Result<()> {
        mount.unmount();
        if let Mode::Separate = mode {
            let ended = self.node().end_server();
            ensure!(ended.success(), "the cache server: {ended}");
        }
        Ok(())
    }

    fn read_all(&self, mount: &Mount) -> Result<()> {
        Load::whole(self.set, &self.data).run(&mount.path())?;
        Ok(())
    }

    /// A pass from the disk, and another from memory, where nothing else lies: the pages of
    /// the mount before have been freed, and are where this one's go.
    fn passes(
        &self,
        mount: &Mount,
        round: usize,
        workload: Workload,
        to: &mut Rates,
    ) -> Result<()> {
        let load = Load {
            check: Check::Pages(round as u64),
            ..Load::new(workload, &self.data)
        };
        page_cache::drop_all()?;
        to.warm.push(load.run(&mount.path())?.rate());
        to.hot.push(load.run(&mount.path())?.rate());
        Ok(())
    }
}
