//! Cache servers on several machines, as far as one machine can be several: what readers
//! see while members read at once, die, are cut off, restart and are lied to.

mod certificates;
mod failures;
mod reading;

use forebay_tests::{ClusterShape, Dataset, Mount, PeerCluster, Shape, Sizes};

const MIB: u64 = 1 << 20;
/// What each node may cache: more than there is.
const CACHE: u64 = 256 * MIB;

/// Some 60 MiB in files of all sizes.
fn dataset(seed: u64) -> Dataset {
    Dataset::new(&Shape {
        files: 60,
        directories: 4,
        sizes: Sizes::Skewed(1000, 8 * MIB),
        seed,
    })
}

/// A cluster of `nodes` nodes over `dataset`, and a mount on each of them.
fn mounted(test: &str, nodes: u8, dataset: &Dataset) -> (Vec<Mount>, PeerCluster) {
    let cluster = PeerCluster::start(test, &ClusterShape::of(nodes, CACHE), dataset);
    let nodes = cluster.nodes().iter();
    (nodes.map(|node| node.mount("m").start()).collect(), cluster)
}
