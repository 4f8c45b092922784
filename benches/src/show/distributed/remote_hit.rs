//! A node streams what another node has: beside iperf3 between the same two.
//!
//! One node keeps everything; the other keeps nothing for others and reads, through a
//! mount, a file that it has never seen in each round. iperf3 has its turn before or
//! after it. It only moves bytes from memory to memory; here they are also checked, kept
//! in the reader's cache and handed through the kernel to a process, on the same processors.
//! The caches are in memory: a disk that writes more slowly than the cable carries would be
//! all that is measured.

use anyhow::{Context, Result, ensure};
use forebay_tests::{ClusterShape, Dataset, Mount, Node, PeerCluster, Shape, Sizes, Trust};

use super::cable;
use crate::data::Scale;
use crate::report::Report;
use crate::sample::Sample;
use crate::show::Options;
use crate::{process, sequential};

const BOUND: f64 = 0.9;
const IPERF_SECONDS: u32 = 3;
/// What the usual network card of a server does.
const USUAL_CABLE: &str = "10gbit";

pub(super) fn run(report: &mut Report, options: &Options) -> Result<()> {
    let files = Files::of(options);
    let site = Site::start("remote-hit", Trust::Everybody, &files)?;
    site.tell(report, "memory to memory", Some(BOUND))?;
    site.owner().namespace().limit(Some(USUAL_CABLE));
    site.tell(report, "10 Gbit/s", Some(BOUND))?;
    drop(site);
    // iperf3 encrypts nothing, so this has no bound beside it.
    let site = Site::start("remote-hit-tls", Trust::Certificates, &files)?;
    site.tell(report, "memory to memory, mutual TLS", None)
}

/// How much is read.
struct Files {
    rounds: usize,
    size: u64,
}

impl Files {
    fn of(options: &Options) -> Self {
        let size = match options.scale == Scale::TINY {
            true => 24 << 20,
            false => 512 << 20,
        };
        Self {
            rounds: options.rounds,
            size,
        }
    }

    /// A file for each round over each of two cables, and one that is read before.
    fn dataset(&self) -> Dataset {
        Dataset::new(&Shape {
            files: self.rounds as u32 * 2 + 1,
            directories: 0,
            sizes: Sizes::Fixed(self.size),
            seed: 1,
        })
    }
}

/// A node that has all files, one that has none, and a mount there.
struct Site {
    mount: Mount,
    dataset: Dataset,
    rounds: usize,
    /// The number of the file that nobody has read yet.
    unread: std::cell::Cell<usize>,
    cluster: PeerCluster,
}

impl Site {
    fn start(name: &str, trust: Trust, files: &Files) -> Result<Self> {
        let dataset = files.dataset();
        let shape = ClusterShape {
            guests: 1,
            trust,
            in_memory: true,
            ..ClusterShape::of(2, dataset.bytes() * 9 / 8)
        };
        let cluster = PeerCluster::start(name, &shape, &dataset);
        let site = Self {
            mount: cluster.nodes()[0].mount("m").start(),
            dataset,
            rounds: files.rounds,
            unread: std::cell::Cell::new(0),
            cluster,
        };
        let warmed = site.owner().warm_up(&[]);
        ensure!(warmed["complete"] == true, "warm-up: {warmed:#}");
        // Connections are made, and threads started.
        site.stream()?;
        Ok(site)
    }

    fn reader(&self) -> &Node {
        &self.cluster.nodes()[0]
    }

    fn owner(&self) -> &Node {
        &self.cluster.nodes()[1]
    }

    /// Measures in as many rounds, and tells the ratio.
    fn tell(&self, report: &mut Report, how: &str, bound: Option<f64>) -> Result<()> {
        let before = self.cluster.origin_bytes();
        let used = self.processor_time()?;
        let rounds: Vec<_> = (0..self.rounds)
            .map(|round| self.round(round))
            .collect::<Result<_>>()?;
        let used: Vec<f64> = self
            .processor_time()?
            .into_iter()
            .zip(used)
            .map(|(after, before)| (after - before) * 1e3 / self.mib_read())
            .collect();
        let asked = self.cluster.origin_bytes() - before;
        ensure!(asked == 0, "{asked} bytes came from the origin");
        let cable = Sample::new(rounds.iter().map(|(cable, _)| *cable));
        let stream = Sample::new(rounds.iter().map(|(_, stream)| *stream));
        report.figure(&format!("{how}: iperf3, MiB/s"), format_args!("{cable:.0}"));
        report.figure(
            &format!("{how}: remote hit, MiB/s"),
            format_args!("{stream:.0}"),
        );
        report.figure(
            &format!("{how}: processor time of owner, reader's server and mount, ms/MiB"),
            format_args!("{:.2}, {:.2}, {:.2}", used[0], used[1], used[2]),
        );
        let ratio = Sample::new(rounds.iter().map(|(cable, stream)| stream / cable));
        let item = format!("{how}: remote hit : iperf3");
        match bound {
            Some(bound) => report.line(ratio.median() >= bound, &item, &ratio, bound),
            None => report.figure(&item, &ratio),
        }
        Ok(())
    }

    /// Of the owner's server, the reader's, and its mount, in seconds.
    fn processor_time(&self) -> Result<[f64; 3]> {
        let server = |node: &Node| -> Result<f64> {
            let pid = node.server_pid().context("a server runs")?;
            Ok(process::cpu_time(pid)?.as_secs_f64())
        };
        let mount = process::cpu_time(self.mount.pid())?.as_secs_f64();
        Ok([server(self.owner())?, server(self.reader())?, mount])
    }

    /// What is read over one cable.
    fn mib_read(&self) -> f64 {
        let size = self.dataset.files().first().map_or(0, |file| file.size);
        self.rounds as f64 * size as f64 / f64::from(1 << 20)
    }

    /// What iperf3 and a reader get, in MiB a second; every other round the reader goes
    /// first.
    fn round(&self, number: usize) -> Result<(f64, f64)> {
        let (from, to) = (self.owner().namespace(), self.reader().namespace());
        let cable = || cable::iperf3(from, to, IPERF_SECONDS);
        if number.is_multiple_of(2) {
            let cable = cable()?;
            return Ok((cable, self.stream()?));
        }
        let stream = self.stream()?;
        Ok((cable()?, stream))
    }

    /// Reads a file that is new here, and then compares it.
    fn stream(&self) -> Result<f64> {
        let number = self.unread.get();
        self.unread.set(number + 1);
        let file = self.dataset.files().get(number).context("a file is left")?;
        let path = self.mount.path().join(&file.path);
        let pass = sequential::read(&path)?;
        ensure!(pass.bytes == file.size, "read {} bytes", pass.bytes);
        let compared = file.compare(&path);
        compared.map_err(|found| anyhow::anyhow!("{}: {found:?}", file.path))?;
        Ok(pass.rate())
    }
}
