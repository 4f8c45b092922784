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

/// A hot read takes some tenths of a second: so many rounds for each that was asked for.
const HOT_ROUNDS: usize = 3;

const LIMIT: Duration = Duration::from_secs(1800);

/// Files that the kernel reads by itself once they are complete.
const PASSED_THROUGH: &str = r#"forebay_fuse_opens_total{read="passthrough"}"#;

pub(super) fn run(report: &mut Report, options: &Options) -> Result<()> {
    let large = Place::new("local-hit-large", options, Set::Large)?;
    large.tell(report, Workload::Sequential, State::Hot)?;
    large.tell(report, Workload::Sequential, State::Warm)?;
    large.tell(report, Workload::Random, State::Hot)?;
    large.tell_passthrough(report)?;
    drop(large);
    let small = Place::new("local-hit-small", options, Set::Small)?;
    small.tell(report, Workload::Epoch, State::Hot)?;
    small.tell(report, Workload::Epoch, State::Warm)
}

/// The same data in two caches: a server's, and a mount's own.
struct Place {
    separate: Mount,
    embedded: Mount,
    data: Data,
    rounds: usize,
    // The mounts go first.
    _cluster: PeerCluster,
}

impl Place {
    fn new(name: &str, options: &Options, set: Set) -> Result<Self> {
        let data = Data::new(options.scale, &[set]);
        let dataset = Dataset::of(data.files(set).to_vec());
        let room = dataset.bytes() * 5 / 4 + (64 << 20);
        let cluster = PeerCluster::start(name, &ClusterShape::of(1, room), &dataset);
        let dir = cluster.network().scratch().dir("embedded");
        let size = room.to_string();
        let embedded = MountCommand::new("s3://data", &dir)
            .args(&["--cache-size", &size])
            .endpoint(cluster.endpoint())
            .limit(LIMIT)
            .start();
        let place = Self {
            separate: cluster.nodes()[0].mount("m").limit(LIMIT).start(),
            embedded,
            data,
            rounds: options.rounds,
            _cluster: cluster,
        };
        for mount in [&place.separate, &place.embedded] {
            Load::whole(set, &place.data).run(&mount.path())?;
        }
        thread::sleep(SETTLE);
        rustix::fs::sync();
        Ok(place)
    }

    /// Reads through both in turn, in each round once in either order: whose pages come into
    /// memory first is read faster from there, by up to a third.
    fn tell(&self, report: &mut Report, workload: Workload, state: State) -> Result<()> {
        let rounds = match state {
            State::Hot => self.rounds * HOT_ROUNDS,
            State::Warm | State::Cold => self.rounds,
        };
        let (mut ratios, mut embedded) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            let one = self.turn(workload, state, round, [&self.separate, &self.embedded])?;
            let other = self.turn(workload, state, round, [&self.embedded, &self.separate])?;
            ratios.push((one[0] / one[1] * other[1] / other[0]).sqrt());
            embedded.extend([one[1], other[0]]);
        }
        let ratio = Sample::new(ratios);
        let name = format!("{}, {}", workload.title(), state.title());
        report.figure(
            &format!("{name}: embedded, {}", workload.unit()),
            format_args!("{:.0}", Sample::new(embedded)),
        );
        report.line(
            ratio.median() >= BOUND,
            &format!("{name}: separate server : embedded"),
            &ratio,
            BOUND,
        );
        Ok(())
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

    /// Both have handed the cached file over to the kernel.
    fn tell_passthrough(&self, report: &mut Report) -> Result<()> {
        let opens = |mount: &Mount| -> Result<f64> {
            let page = metrics::page(mount)?;
            metrics::value(&page, PASSED_THROUGH).context("opens are counted")
        };
        let (separate, embedded) = (opens(&self.separate)?, opens(&self.embedded)?);
        report.line(
            separate > 0.0 && separate == embedded,
            "files passed through by the kernel: separate server, embedded",
            format_args!("{separate}, {embedded}"),
            "as many, and some",
        );
        Ok(())
    }
}
