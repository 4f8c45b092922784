//! Small files that a client opens at their places, without asking its server.

use std::fs;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use forebay_cache_client::Client;
use forebay_cache_server::fill::FillConfig;
use forebay_core::ByteRange;
use forebay_core::cache::{Cache, Lease};
use futures::FutureExt;

use crate::fixture::{MIB, Node, bytes_of};
use crate::separate::{Separate, until};

const SIZE: usize = 100_000;
const ALL: ByteRange = ByteRange::at(0, SIZE as u64);

fn content(number: usize) -> Vec<u8> {
    (0..SIZE).map(|i| (i * 7 + number * 13) as u8).collect()
}

fn name(group: &str, number: usize) -> String {
    format!("{group}{number:04}")
}

fn group(group: &str, count: usize) -> Vec<(String, Vec<u8>)> {
    let objects = (0..count).map(|number| (name(group, number), content(number)));
    objects.collect()
}

/// A node with these objects, of which it has none yet.
async fn node(objects: &[(String, Vec<u8>)], quota: usize) -> Node {
    let objects: Vec<_> = objects
        .iter()
        .map(|(name, bytes)| (name.as_str(), bytes.clone()))
        .collect();
    Node::start_with(&objects, FillConfig::default(), quota as u64).await
}

async fn bring(node: &Node, group: &str, count: usize) {
    for number in 0..count {
        let read = node.read(&name(group, number), ALL).await.unwrap();
        assert!(read == content(number), "{group} {number}");
    }
}

/// A lease that takes no message.
fn at_place(client: &Client, node: &Node, path: &str) -> Option<Lease> {
    let leased = client.lease(node.file(path)).now_or_never()?;
    Some(leased.unwrap())
}

fn reads(client: &Client, lease: &Lease, number: usize) {
    let found = client.ready(lease, ALL).expect("known to be present");
    assert!(bytes_of(&found, ALL) == content(number), "{number}");
}

/// Leases file `number` of group "a" of the server, and reads it.
async fn brings(client: &Client, node: &Node, number: usize) {
    let lease = client.lease(node.file(&name("a", number))).await.unwrap();
    let found = client.ensure(&lease, ALL).await.unwrap();
    assert!(bytes_of(&found, ALL) == content(number), "{number}");
}

/// A client that has leased one file of the group and was told the places of all.
async fn told(separate: &Separate, node: &Node, group: &str) -> Arc<Client> {
    let client = Arc::clone(&separate.client);
    client.lease(node.file(&name(group, 0))).await.unwrap();
    until("the places are told", || {
        at_place(&client, node, &name(group, 1)).is_some()
    })
    .await;
    client
}

#[tokio::test]
async fn small_files_around_one_that_was_leased_are_opened_without_a_message() {
    let node = node(&group("a", 50), 1 << 30).await;
    bring(&node, "a", 40).await;
    let separate = Separate::start(&node).await;
    let client = told(&separate, &node, "a").await;
    let stats = separate.stats();
    until("the first lease is given back", || stats.leases() == 0).await;
    for number in 0..40 {
        let lease = at_place(&client, &node, &name("a", number)).expect("its place is known");
        reads(&client, &lease, number);
    }
    assert_eq!(stats.leases(), 0);
    // What is not here yet has no place, and comes as ever.
    assert!(at_place(&client, &node, &name("a", 45)).is_none());
    brings(&client, &node, 45).await;
}

#[tokio::test]
async fn an_evicted_pack_is_closed_by_its_readers_when_they_are_done() {
    let objects = [group("a", 40), group("b", 300)].concat();
    let node = node(&objects, 8 * MIB).await;
    bring(&node, "a", 40).await;
    let separate = Separate::start(&node).await;
    let client = told(&separate, &node, "a").await;
    let reading = at_place(&client, &node, &name("a", 3)).unwrap();
    bring(&node, "b", 300).await;
    until("the places are withdrawn", || {
        (0..40).all(|number| at_place(&client, &node, &name("a", number)).is_none())
    })
    .await;
    reads(&client, &reading, 3);
    assert_eq!(deleted(&node), 1, "only what is being read is kept");
    drop(reading);
    until("the evicted packs give their room back", || {
        deleted(&node) == 0
    })
    .await;
}

/// Files of the node's tier that are unlinked and open in this process.
fn deleted(node: &Node) -> usize {
    let tier = node.tier();
    let open = fs::read_dir("/proc/self/fd").unwrap();
    open.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .filter(|path| path.starts_with(&tier) && path.to_string_lossy().ends_with("(deleted)"))
        .count()
}

#[tokio::test]
async fn bytes_that_the_server_finds_wrong_are_not_read_at_their_place_any_more() {
    let node = node(&group("a", 20), 1 << 30).await;
    bring(&node, "a", 20).await;
    let separate = Separate::start(&node).await;
    let client = told(&separate, &node, "a").await;
    let packs = fs::read_dir(node.tier().join("packs")).unwrap();
    for pack in packs {
        let path = pack.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        let wanted = content(7);
        if let Some(at) = bytes.windows(SIZE).position(|part| part == wanted) {
            let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
            file.write_all_at(b"wrong", at as u64 + 1000).unwrap();
        }
    }
    node.cache.store().scrub();
    assert_eq!(node.cache.store().stats().corrupt_chunks, 1);
    until("the places are withdrawn", || {
        at_place(&client, &node, &name("a", 7)).is_none()
    })
    .await;
    for number in 0..20 {
        brings(&client, &node, number).await;
    }
}

#[tokio::test]
async fn bytes_that_a_client_distrusts_are_compared_and_brought_anew() {
    let node = node(&group("a", 20), 1 << 30).await;
    bring(&node, "a", 20).await;
    let separate = Separate::start(&node).await;
    let client = told(&separate, &node, "a").await;
    let lease = at_place(&client, &node, &name("a", 7)).unwrap();
    let pack = fs::read_dir(node.tier().join("packs")).unwrap();
    for pack in pack {
        // Cut short: the client cannot read what it was told is there.
        let pack = fs::OpenOptions::new()
            .write(true)
            .open(pack.unwrap().path());
        pack.unwrap().set_len(1000).unwrap();
    }
    client.distrust(&lease, ALL).await;
    assert!(client.ready(&lease, ALL).is_none());
    let found = client.ensure(&lease, ALL).await.unwrap();
    assert!(bytes_of(&found, ALL) == content(7));
    assert!(node.cache.store().stats().corrupt_chunks > 0);
}

#[tokio::test]
async fn places_outlast_the_server_and_not_the_next_connection() {
    let mut node = node(&group("a", 20), 1 << 30).await;
    bring(&node, "a", 20).await;
    let separate = Separate::start(&node).await;
    let client = told(&separate, &node, "a").await;
    separate.stop().await;
    node.stop().await;
    for number in 0..20 {
        let lease = at_place(&client, &node, &name("a", number)).expect("its place is known");
        reads(&client, &lease, number);
    }
    let kept = at_place(&client, &node, &name("a", 5)).unwrap();
    node.open_again();
    let next = Separate::serve(&node, &client);
    until("the client has reconnected", || {
        at_place(&client, &node, &name("a", 2)).is_none()
    })
    .await;
    reads(&client, &kept, 5);
    brings(&client, &node, 2).await;
    drop(next);
}

#[tokio::test]
async fn what_is_opened_at_its_place_counts_as_used() {
    const GROUP: usize = 22;
    let objects = [group("h", GROUP), group("c", GROUP), group("z", 200)].concat();
    let node = node(&objects, 16 * MIB).await;
    bring(&node, "h", GROUP).await;
    bring(&node, "c", GROUP).await;
    let separate = Separate::start(&node).await;
    let client = told(&separate, &node, "h").await;
    for _ in 0..10 {
        for number in 0..GROUP {
            assert!(at_place(&client, &node, &name("h", number)).is_some());
        }
    }
    // The server hears of it once a second.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    bring(&node, "z", 200).await;
    let cached = |group| {
        let files = (0..GROUP).map(|number| node.file(&name(group, number)));
        let bytes = files.map(|file| node.cache.cached_bytes(file).now_or_never());
        bytes.filter(|bytes| !matches!(bytes, Some(Ok(0)))).count()
    };
    let (hot, cold) = (cached("h"), cached("c"));
    assert!(
        hot >= GROUP / 2 && cold == 0,
        "{hot} and {cold} of {GROUP} files"
    );
}
