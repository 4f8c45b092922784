//! Readers at a mount of every node of a cluster, on more data than the caches hold, so
//! that bytes go from node to node all the time.
//!
//! The caches are in memory: here all nodes would share one disk and one journal of its file
//! system, and wait for what a single one of them syncs.

use std::time::{Duration, Instant};

use anyhow::Result;
use forebay_tests::{
    ClusterShape, Dataset, Kind, Mount, Node, PeerCluster, Readers, Seen, Shape, Sizes,
};

use crate::data::Scale;
use crate::report::Report;
use crate::show::faults;

const NODES: u8 = 4;
const KINDS: [Kind; 3] = [Kind::Sequential, Kind::Random, Kind::Small];
/// What a whole item may take.
const LIMIT: Duration = Duration::from_secs(1800);
/// What a reader may have to wait when a node fails, or a moment after it is back.
pub(super) const RESUMES: Duration = Duration::from_secs(2);

/// Large and small files, so many of such sizes, in directories of these names.
pub(super) fn large_and_small(large: (u32, u64), small: (u32, u64)) -> Dataset {
    let files = |(files, bytes): (u32, u64), seed| {
        Dataset::new(&Shape {
            files,
            directories: files.div_ceil(200),
            sizes: Sizes::Fixed(bytes),
            seed,
        })
    };
    files(large, 1)
        .below("large")
        .with(files(small, 2).below("small"))
}

/// A mount on each node that runs.
pub(super) fn mounts(cluster: &PeerCluster) -> Vec<Mount> {
    let running = cluster.nodes().iter();
    let running = running.filter(|node| node.server_pid().is_some());
    running
        .map(|node| node.mount("m").limit(LIMIT).start())
        .collect()
}

/// A cluster and its readers.
pub(super) struct Load {
    // Dropped in this order.
    readers: Vec<Readers>,
    mounts: Vec<Mount>,
    dataset: Dataset,
    pub(super) cluster: PeerCluster,
}

/// What the readers of each node have seen.
pub(super) struct Outcome {
    seen: Vec<Seen>,
}

impl Load {
    /// Starts a cluster and lets readers begin.
    pub(super) fn start(name: &str, scale: Scale) -> Self {
        let (files, largest, cache) = match scale == Scale::TINY {
            true => (60, 8 << 20, 64 << 20),
            false => (700, 12 << 20, 448 << 20),
        };
        let dataset = Dataset::new(&Shape {
            files,
            directories: 5,
            sizes: Sizes::Skewed(1000, largest),
            seed: 6,
        });
        let shape = ClusterShape {
            in_memory: true,
            ..ClusterShape::of(NODES, cache)
        };
        let cluster = PeerCluster::start(name, &shape, &dataset);
        let mounts = mounts(&cluster);
        let readers = mounts
            .iter()
            .map(|mount| Readers::start(&dataset, &mount.path(), &KINDS))
            .collect();
        Self {
            readers,
            mounts,
            dataset,
            cluster,
        }
    }

    pub(super) fn nodes(&self) -> &[Node] {
        self.cluster.nodes()
    }

    /// Waits until all nodes but those see `count` members; how long it took.
    pub(super) fn others_see(&self, count: usize, but: &Node) -> Duration {
        let begun = Instant::now();
        let others = self.nodes().iter();
        others
            .filter(|node| node.address() != but.address())
            .for_each(|node| node.sees(count));
        begun.elapsed()
    }

    /// Ends the readers, and adds to the report what all have seen: nothing wrong.
    pub(super) fn stop(mut self, report: &mut Report, item: &str) -> Result<Outcome> {
        let readers = std::mem::take(&mut self.readers);
        let count = readers.len() * KINDS.len();
        let seen: Vec<Seen> = readers.into_iter().map(Readers::stop).collect();
        let all: Vec<&Seen> = seen.iter().collect();
        faults::tell(report, item, count, &all);
        let wrong = self.dataset.mismatches(&self.mounts[0].path());
        report.line(
            wrong.is_empty(),
            &format!("{item}: files that are wrong afterwards"),
            wrong.len(),
            "0",
        );
        let moved = self.nodes().iter();
        let moved = moved.filter_map(|node| node.metric("forebay_peer_sent_bytes_total"));
        report.figure(
            &format!("{item}: from node to node since they were started"),
            format_args!("{:.0} MB", moved.sum::<f64>() / 1e6),
        );
        Ok(Outcome { seen })
    }
}

impl Outcome {
    /// The longest wait, for an operation that was under way between `from` and `to`, of
    /// the readers of all nodes but one, or of all.
    pub(super) fn longest(&self, from: Instant, to: Instant, but: Option<usize>) -> Duration {
        let nodes = self.seen.iter().enumerate();
        let waits = nodes
            .filter(|(node, _)| Some(*node) != but)
            .flat_map(|(_, seen)| &seen.slow)
            .filter(|slow| slow.ended >= from && began(slow) <= to);
        waits.map(|slow| slow.took).max().unwrap_or_default()
    }

    /// How long after `back` the last operation ended that was under way on `node` then.
    pub(super) fn resumed(&self, node: usize, back: Instant) -> Duration {
        let waits = self.seen[node].slow.iter();
        let waits = waits.filter(|slow| slow.ended >= back && began(slow) <= back);
        let late = waits.map(|slow| slow.ended.duration_since(back));
        late.max().unwrap_or_default()
    }
}

fn began(slow: &forebay_tests::Slow) -> Instant {
    slow.ended.checked_sub(slow.took).unwrap_or(slow.ended)
}

/// One line: no wait was longer than [`RESUMES`].
pub(super) fn tell_wait(report: &mut Report, item: &str, waits: &[Duration]) {
    let longest = waits.iter().copied().max().unwrap_or_default();
    report.line(
        longest < RESUMES,
        item,
        format_args!("{:.3} s (n={})", longest.as_secs_f64(), waits.len()),
        format_args!("< {} s", RESUMES.as_secs()),
    );
}

#[cfg(test)]
mod tests {
    use forebay_tests::Slow;

    use super::*;

    #[test]
    fn a_wait_counts_where_it_was_under_way() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let slow = |from, to| Slow {
            ended: at(to),
            took: Duration::from_secs(to - from),
        };
        let seen = |slow| Seen {
            slow: vec![slow],
            ..Seen::default()
        };
        let outcome = Outcome {
            seen: vec![seen(slow(1, 3)), seen(slow(2, 9))],
        };
        let seconds = Duration::from_secs;
        assert_eq!(outcome.longest(at(2), at(4), None), seconds(7));
        assert_eq!(outcome.longest(at(2), at(4), Some(1)), seconds(2));
        assert_eq!(outcome.longest(at(4), at(5), Some(1)), seconds(0));
        assert_eq!(outcome.resumed(1, at(8)), seconds(1));
        assert_eq!(outcome.resumed(0, at(8)), seconds(0));
    }
}
