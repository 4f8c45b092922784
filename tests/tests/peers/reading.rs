//! Everybody reads.

use std::thread;

use crate::{dataset, mounted};

#[test]
fn nodes_that_read_all_at_once_get_the_right_bytes_and_the_origin_sends_each_once() {
    let dataset = dataset(1);
    let (mounts, cluster) = mounted("reading", 4, &dataset);
    thread::scope(|threads| {
        for mount in &mounts {
            threads.spawn(|| dataset.assert_at(&mount.path()));
        }
    });
    let (sent, bytes) = (cluster.origin_bytes(), dataset.bytes());
    assert!(
        sent >= bytes && sent <= bytes + bytes / 100,
        "{sent} of {bytes}"
    );
    for node in cluster.nodes() {
        let passed_on = node.metric("forebay_peer_sent_bytes_total");
        assert!(passed_on > Some(0.0), "{} owns nothing", node.address());
    }
    for mount in mounts {
        mount.assert_quiet();
        mount.unmount();
    }
}

#[test]
fn a_bad_cable_makes_reads_slow_and_nothing_else() {
    let dataset = dataset(2);
    let (mounts, cluster) = mounted("bad-cable", 3, &dataset);
    cluster.nodes()[1].namespace().lose(2);
    cluster.nodes()[2].namespace().limit(Some("400mbit"));
    thread::scope(|threads| {
        for mount in &mounts {
            threads.spawn(|| dataset.assert_at(&mount.path()));
        }
    });
}
