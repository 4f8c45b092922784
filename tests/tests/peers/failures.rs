//! Members go, and come back.

use std::thread::sleep;
use std::time::{Duration, Instant};

use forebay_tests::{Kind, Mount, PeerCluster, Readers, Seen, wait_until};

use crate::{dataset, mounted};

/// For what happens within two seconds on a machine that has nothing else to do.
const LIMIT: Duration = Duration::from_secs(20);
const KINDS: [Kind; 2] = [Kind::Sequential, Kind::Small];

/// Lets readers read at every mount while `blow` happens.
fn under_load(seed: u64, test: &str, nodes: u8, blow: impl FnOnce(&PeerCluster, &[Mount])) {
    let dataset = dataset(seed);
    let (mounts, cluster) = mounted(test, nodes, &dataset);
    let readers: Vec<_> = mounts
        .iter()
        .map(|mount| Readers::start(&dataset, &mount.path(), &KINDS))
        .collect();
    sleep(Duration::from_millis(500));
    blow(&cluster, &mounts);
    sleep(Duration::from_millis(500));
    for (readers, mount) in readers.into_iter().zip(&mounts) {
        assert_unharmed(&readers.stop(), mount);
    }
    // Whatever happened, all of it can be read now.
    dataset.assert_at(&mounts[0].path());
}

#[track_caller]
fn assert_unharmed(seen: &Seen, mount: &Mount) {
    assert!(
        seen.faults.is_empty(),
        "{:#?}\n{}",
        seen.faults,
        mount.log()
    );
    assert!(seen.operations > 0, "nobody has read anything");
    let longest = seen.slow.iter().map(|slow| slow.took).max();
    assert!(longest <= Some(LIMIT), "a reader waited {longest:?}");
}

#[test]
fn a_server_that_is_killed_is_out_at_once_and_comes_back_with_its_cache() {
    under_load(3, "killed", 3, |cluster, mounts| {
        let cached = || mounts[2].status()["cached_bytes"].as_u64();
        let node = &cluster.nodes()[2];
        assert!(wait_until(LIMIT, || cached() > Some(0)));
        // What is not durable yet when it dies need not be there afterwards.
        sleep(Duration::from_secs(2));
        let before = cached();
        let died = Instant::now();
        node.kill_server();
        cluster.nodes()[..2].iter().for_each(|other| other.sees(2));
        assert!(died.elapsed() < LIMIT);
        node.start_server();
        cluster.nodes().iter().for_each(|node| node.sees(3));
        let after = cached();
        assert!(
            after >= before.map(|bytes| bytes / 2),
            "{after:?} of {before:?}"
        );
    });
}

#[test]
fn a_node_that_is_cut_off_waits_and_goes_on_when_it_is_not() {
    under_load(4, "cut-off", 3, |cluster, _| {
        let namespace = cluster.nodes()[1].namespace();
        namespace.cut();
        let others = [&cluster.nodes()[0], &cluster.nodes()[2]];
        others.iter().for_each(|other| other.sees(2));
        namespace.mend();
        cluster.nodes().iter().for_each(|node| node.sees(3));
    });
}

#[test]
fn members_that_do_not_see_each_other_read_from_the_origin() {
    under_load(5, "split", 3, |cluster, _| {
        let [a, b, c] = cluster.nodes() else {
            panic!("three")
        };
        let others = [b, c].map(|node| node.namespace().address());
        a.namespace().cut_from(&others);
        a.sees(1);
        b.sees(2);
        a.namespace().mend();
        a.sees(3);
    });
}

#[test]
fn servers_that_restart_one_by_one_are_not_missed() {
    under_load(6, "rolling", 3, |cluster, _| {
        for node in cluster.nodes() {
            let ended = node.end_server();
            assert!(ended.success(), "{ended}\n{}", node.log());
            node.start_server();
            cluster.nodes().iter().for_each(|node| node.sees(3));
        }
    });
}
