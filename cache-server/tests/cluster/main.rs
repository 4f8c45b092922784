//! Several nodes and one origin: who is asked for what, and what happens when members go.

use std::time::{Duration, Instant};

use forebay_cache_server::cluster::Security;
use forebay_cache_server::origin::Fault;
use forebay_core::ByteRange;
use futures::future::join_all;

mod certificates;
mod copies;
mod fixture;

use fixture::{MIB, Node, Site};

async fn read_at_once(site: &Site, nodes: &[Node]) {
    let reads = nodes
        .iter()
        .zip(0..)
        .map(|(node, n)| site.read_all(node, n * 5));
    for read in join_all(reads).await {
        read.expect("no error reaches a reader");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_read_all_at_once_ask_the_origin_once() {
    let site = Site::new(24, 3 * MIB + 5);
    let nodes = site.nodes(4).await;
    read_at_once(&site, &nodes).await;
    assert_eq!(site.origin_bytes(), site.bytes());
    // Each owns something and has passed it on, and nothing was passed on in vain.
    let sent: Vec<_> = nodes
        .iter()
        .map(|node| node.cluster.stats().sent_bytes())
        .collect();
    assert!(sent.iter().all(|&sent| sent > 0), "{sent:?}");
    // Where the processors are busy a peer may seem slow to begin, and another sends the same.
    let hedges: u64 = nodes.iter().map(|node| node.cluster.stats().hedges()).sum();
    let (sent, needed) = (sent.iter().sum::<u64>(), 3 * site.bytes());
    let in_vain = hedges * (3 * MIB as u64 + 5);
    assert!(
        (needed..=needed + in_vain).contains(&sent),
        "{sent} bytes sent for {needed}, {hedges} hedges"
    );
    // What was read is kept where it was read.
    read_at_once(&site, &nodes).await;
    assert_eq!(site.origin_bytes(), site.bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_several_segments_has_several_owners() {
    let site = Site::new(1, 200 * MIB);
    let nodes = site.nodes(4).await;
    site.read_all(&nodes[0], 0).await.expect("read");
    let owners = nodes
        .iter()
        .filter(|node| node.cluster.stats().sent_bytes() > 0);
    assert!(owners.count() >= 1);
    assert_eq!(site.origin_bytes(), site.bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn small_objects_and_parts_of_large_ones_are_passed_on() {
    // Less than a chunk: packed, many in one file.
    let small = Site::new(60, 100_003);
    let nodes = small.nodes(3).await;
    read_at_once(&small, &nodes).await;
    assert_eq!(small.origin_bytes(), small.bytes());
    let large = Site::new(8, 3 * MIB + 5);
    let nodes = large.nodes(3).await;
    let content = |n: usize| fixture::pattern(n, 3 * MIB + 5);
    for (start, end) in [(5_000, 9_000), (MIB - 3, MIB + 3), (2 * MIB, 3 * MIB + 5)] {
        for (n, node) in (0..8).zip(nodes.iter().cycle()) {
            let range = ByteRange::new(start as u64, end as u64);
            let read = large.read_range(node, &format!("o{n}"), range).await;
            assert!(
                read.expect("read") == content(n)[start..end],
                "{range} of {n}"
            );
        }
    }
    read_at_once(&large, &nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_disk_has_got_wrong_is_not_passed_on() {
    let site = Site::new(12, 2 * MIB + 7);
    let nodes = site.nodes(2).await;
    read_at_once(&site, &nodes).await;
    nodes.iter().for_each(|node| site.spoil(node));
    let joined = site.node("test", Security::Insecure).await;
    // It knows the others, who may know it or not.
    let all: Vec<_> = nodes.into_iter().chain([joined]).collect();
    site.list(&all);
    all[2].sees(3).await;
    site.read_all(&all[2], 0).await.expect("from the origin");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_long_reads_at_once_than_threads_for_them_all_come() {
    let site = Site::new(150, MIB + 1);
    let nodes = site.nodes(2).await;
    // So that all of them wait at once.
    site.origin
        .always(Some(Fault::Delay(Duration::from_millis(500))));
    let keys: Vec<_> = (0..150).map(|n| format!("o{n}")).collect();
    let reads = join_all(keys.iter().map(|key| site.read(&nodes[0], key))).await;
    for (n, read) in reads.into_iter().enumerate() {
        let content = fixture::pattern(n, MIB + 1);
        assert!(read.expect("read") == content, "wrong bytes of {n}");
    }
    assert_eq!(site.origin_bytes(), site.bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_ends_while_a_member_keeps_it_waiting() {
    let site = Site::new(12, 3 * MIB);
    let nodes = site.nodes(2).await;
    // Who owns it has begun to work at it, and nothing comes.
    site.origin.always(Some(Fault::Hang));
    let keys: Vec<_> = (0..12).map(|n| format!("o{n}")).collect();
    let reads = join_all(keys.iter().map(|key| site.read(&nodes[0], key)));
    let end = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let began = Instant::now();
        nodes[0].cache.shutdown().await;
        began.elapsed()
    };
    let (reads, took) = tokio::join!(reads, end);
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(reads.iter().all(Result::is_err), "where from?");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_killed_is_passed_over_and_out_within_two_seconds() {
    let site = Site::new(24, 2 * MIB);
    let nodes = site.nodes(4).await;
    let (killed, left) = nodes.split_last().expect("four");
    let reads = read_at_once(&site, left);
    let kill = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        killed.kill();
        let died = Instant::now();
        join_all(left.iter().map(|node| node.sees(3))).await;
        died.elapsed()
    };
    let ((), out) = tokio::join!(reads, kill);
    assert!(out < Duration::from_secs(2), "{out:?}");
    assert!(site.origin_bytes() < 2 * site.bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_drains_is_asked_for_nothing_new_and_who_joins_takes_its_share() {
    let site = Site::new(24, MIB);
    let mut nodes = site.nodes(2).await;
    nodes[1].cluster.drain().await;
    nodes[0].sees(1).await;
    site.read_all(&nodes[0], 0).await.expect("read");
    assert_eq!(nodes[1].cluster.stats().sent_bytes(), 0);
    nodes.push(site.node("test", Security::Insecure).await);
    site.list(&nodes);
    nodes[0].sees(2).await;
    nodes[2].sees(2).await;
    site.read_all(&nodes[2], 0).await.expect("read");
    assert!(nodes[0].cluster.stats().sent_bytes() > 0, "it has them");
    assert!(site.origin_bytes() < 2 * site.bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_the_origin_is_served_by_an_owner_that_comes() {
    let site = Site::new(12, MIB);
    let nodes = [
        site.node("test", Security::Insecure).await,
        site.node("test", Security::Insecure).await,
    ];
    site.list(&nodes[..1]);
    nodes[0].sees(1).await;
    // Its own questions are never answered; the other's are.
    site.origin.on_reads(vec![Fault::Hang; 12]);
    let keys: Vec<_> = (0..12).map(|n| format!("o{n}")).collect();
    let reads = keys.iter().map(|key| site.read(&nodes[0], key));
    let first = futures::future::select_ok(reads.map(Box::pin));
    let come = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        site.list(&nodes);
    };
    let both = futures::future::join(first, come);
    let both = tokio::time::timeout(Duration::from_secs(10), both).await;
    let (first, ()) = both.expect("the other has come");
    assert_eq!(first.expect("read").0.len(), MIB);
    assert!(nodes[1].cluster.stats().sent_bytes() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_another_cluster_are_refused() {
    let site = Site::new(1, MIB);
    let nodes = vec![
        site.node("one", Security::Insecure).await,
        site.node("other", Security::Insecure).await,
    ];
    site.list(&nodes);
    tokio::time::sleep(Duration::from_millis(700)).await;
    nodes[0].sees(1).await;
    site.read_all(&nodes[0], 0).await.expect("from the origin");
}
