//! What a node has beside what it keeps for the others, and what a scan does to it.

use forebay_cache_server::eviction::PolicyKind;

use super::fixture::{MIB, Node, Site};
use super::read_at_once;

/// Copies of what others keep, on each node.
fn copies(nodes: &[Node]) -> Vec<u64> {
    let copied = |node: &Node| node.cache.store().copied_bytes();
    nodes.iter().map(copied).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_keeps_is_there_and_the_rest_are_copies() {
    let site = Site::new(24, MIB);
    let nodes = site.nodes(3).await;
    read_at_once(&site, &nodes).await;
    // Each object is kept by one and copied by two.
    assert_eq!(copies(&nodes).iter().sum::<u64>(), 2 * site.bytes());
    // Who is left keeps everything.
    nodes[1].kill();
    nodes[2].kill();
    nodes[0].sees(1).await;
    site.read_all(&nodes[0], 0).await.expect("read");
    assert_eq!(copies(&nodes[..1]), [0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_large_object_each_node_keeps_its_segments() {
    // Three segments, the last one shorter.
    let site = Site::new(1, 140 * MIB);
    let nodes = site.nodes(2).await;
    read_at_once(&site, &nodes).await;
    assert_eq!(site.origin_bytes(), site.bytes());
    assert_eq!(copies(&nodes).iter().sum::<u64>(), site.bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_are_evicted_before_what_the_node_keeps() {
    let mut site = Site::new(64, MIB);
    // Not enough for all, and for some more than half.
    site.quota = 56 * MIB as u64;
    let nodes = site.nodes(2).await;
    for _ in 0..3 {
        for (n, node) in nodes.iter().enumerate() {
            site.read_all(node, n * 32).await.expect("read");
        }
    }
    let evicted: Vec<_> = nodes
        .iter()
        .map(|node| node.cache.store().stats().evicted_objects)
        .collect();
    assert!(evicted.iter().all(|&count| count > 0), "{evicted:?}");
    assert_eq!(site.origin_bytes(), site.bytes(), "all of it was copies");
}

/// Bytes of the first `hot` objects that were asked of the origin.
fn read_of(site: &Site, hot: usize) -> u64 {
    let keys: Vec<_> = (0..hot).map(|n| format!("o{n}").into_bytes()).collect();
    let reads = site.origin.reads();
    let of_hot = reads.iter().filter(|read| keys.contains(&read.key));
    of_hot.map(|read| read.range.len()).sum()
}

/// Has three nodes read some objects again and again, then scans more than all three can
/// hold; how many bytes of the former the origin was asked for when they are read once
/// more.
async fn read_again_after_a_scan(policy: PolicyKind) -> u64 {
    const HOT: usize = 12;
    const SCANNED: usize = 160;
    let mut site = Site::new(HOT + SCANNED, MIB);
    (site.quota, site.policy) = (24 * MIB as u64, policy);
    let nodes = site.nodes(3).await;
    let read = async |node: &Node, n: usize| {
        site.read(node, &format!("o{n}")).await.expect("read");
    };
    for round in 0..4 {
        if round == 3 {
            assert_eq!(read_of(&site, HOT), (HOT * MIB) as u64);
            for n in HOT..HOT + SCANNED {
                read(&nodes[n % nodes.len()], n).await;
            }
        }
        for node in &nodes {
            for n in 0..HOT {
                read(node, n).await;
            }
        }
    }
    read_of(&site, HOT) - (HOT * MIB) as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_of_more_than_the_cluster_holds_leaves_what_is_used_again() {
    assert_eq!(read_again_after_a_scan(PolicyKind::S3Fifo).await, 0);
    // Which is the policy's doing.
    assert!(read_again_after_a_scan(PolicyKind::Lru).await > 0);
}
