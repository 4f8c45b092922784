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

    /// Reads through both in turn, every other round the other way round.
    fn tell(&self, report: &mut Report, workload: Workload, state: State) -> Result<()> {
        let mut rates = Vec::new();
        for round in 0..self.rounds {
            let in_turn = |pass: &dyn Fn(&Mount) -> Result<f64>| -> Result<(f64, f64)> {
                if round.is_multiple_of(2) {
                    return Ok((pass(&self.separate)?, pass(&self.embedded)?));
                }
                let embedded = pass(&self.embedded)?;
                Ok((pass(&self.separate)?, embedded))
            };
            let pass = |mount: &Mount| self.pass(mount, workload, round);
            rates.push(if state == State::Warm {
                in_turn(&|mount| {
                    page_cache::drop_all()?;
                    pass(mount)
                })?
            } else {
                // How a file came into memory makes a hot read faster or slower by a third: in
                // each round both come into it anew, and in the same way.
                page_cache::drop_all()?;
                in_turn(&pass)?;
                in_turn(&pass)?
            });
        }
        let ratio = Sample::new(rates.iter().map(|(separate, embedded)| separate / embedded));
        let name = format!("{}, {}", workload.title(), state.title());
        let embedded = Sample::new(rates.iter().map(|(_, embedded)| *embedded));
        report.figure(
            &format!("{name}: embedded, {}", workload.unit()),
            format_args!("{embedded:.0}"),
        );
        report.line(
            ratio.median() >= BOUND,
            &format!("{name}: separate server : embedded"),
            &ratio,
            BOUND,
        );
        Ok(())
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
