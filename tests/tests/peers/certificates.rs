//! Who has no certificate, or a wrong one, reads not a byte: at no port and no socket.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use forebay_tests::peers::stranger::{
    Shows, Stranger, Words, connects, listening_ports, listening_sockets,
};
use forebay_tests::{Authority, ClusterShape, File, Node, PeerCluster, wait_until};

use crate::{CACHE, dataset};

/// Longer than a server waits between two looks at its certificates.
const RELOADED: Duration = Duration::from_secs(25);

fn sent(cluster: &PeerCluster) -> f64 {
    let nodes = cluster.nodes().iter();
    nodes
        .filter_map(|node| node.metric("forebay_peer_sent_bytes_total"))
        .sum()
}

#[test]
fn servers_without_the_right_certificate_are_alone() {
    let dataset = dataset(7);
    let shape = ClusterShape {
        started: 2,
        ..ClusterShape::of(4, CACHE)
    };
    let cluster = PeerCluster::start("strangers", &shape, &dataset);
    let [a, b, wrong, without] = cluster.nodes() else {
        panic!("four")
    };
    let mount = a.mount("m").start();
    dataset.assert_at(&mount.path());
    let before = sent(&cluster);
    assert!(before > 0.0 && b.metric("forebay_peer_sent_bytes_total") > Some(0.0));
    wrong.certify(&Authority::new());
    without.go_without_certificate();
    for stranger in [wrong, without] {
        stranger.start_server();
        let mount = stranger.mount("m").start();
        // From the origin, for which it has the keys.
        dataset.assert_at(&mount.path());
        stranger.sees(1);
        let received = stranger.metric("forebay_peer_received_bytes_total");
        assert_eq!(received, Some(0.0), "{}", stranger.address());
    }
    assert_eq!(sent(&cluster), before, "not a byte for strangers");
    a.sees(2);
}

/// A node with data, and somebody who asks it for a file.
fn asked(test: &str) -> (PeerCluster, File, Stranger) {
    let dataset = dataset(8);
    let cluster = PeerCluster::start(test, &ClusterShape::of(1, CACHE), &dataset);
    let file = dataset.files()[0].clone();
    let stranger = Stranger::new(&cluster, &cluster.nodes()[0], &file);
    (cluster, file, stranger)
}

#[test]
fn every_port_and_socket_of_a_server_is_closed_to_strangers() {
    let (cluster, file, stranger) = asked("ports");
    let node = &cluster.nodes()[0];
    let pid = node.server_pid().unwrap();
    assert_eq!(
        listening_ports(pid),
        [Node::PORT],
        "a port that nobody has tested"
    );
    let ours = cluster.authority();
    let of_member = stranger.ask(ours, Shows::Certificate(ours));
    assert!(of_member.len() as u64 > file.size, "a member is answered");
    let settings = stranger.ask_in(Words::Control, ours, Shows::Certificate(ours));
    assert!(settings.len() > 7, "a member is answered: {settings:?}");
    let theirs = Authority::new();
    for words in [Words::Data, Words::Control] {
        for shows in [Shows::Nothing, Shows::Certificate(&theirs)] {
            let answer = stranger.ask_in(words, ours, shows);
            assert!(answer.is_empty(), "{words:?}, {shows:?}");
        }
        // An alert of seven bytes says that this was no TLS.
        let alert = stranger.ask_in(words, ours, Shows::Plain);
        assert!(alert.len() <= 7, "{words:?}: {alert:?}");
    }

    let sockets = [node.socket(), node.metrics_socket()];
    assert_eq!(listening_sockets(pid, node.dir()), sockets.len());
    for dir in [cluster.network().scratch().path(), node.dir()] {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
    }
    for socket in sockets {
        assert!(connects(&socket, 0));
        assert!(!connects(&socket, 65534), "{}", socket.display());
    }
}

#[test]
fn a_new_certificate_is_used_without_a_restart_and_the_old_one_no_more() {
    let (cluster, file, member) = asked("reload");
    let node = &cluster.nodes()[0];
    let (old, new) = (cluster.authority(), Authority::new());
    let first = member.shown(old).unwrap();
    assert_eq!(member.shown(&new), None);
    node.certify(&new);
    let reloaded = wait_until(RELOADED, || member.shown(&new).is_some());
    assert!(reloaded, "{}", node.log());
    assert_ne!(member.shown(&new), Some(first));
    let answer = member.ask(&new, Shows::Certificate(&new));
    assert!(answer.len() as u64 > file.size, "its holder is answered");
    // Who trusts the server and is of the old authority is refused.
    assert!(member.ask(&new, Shows::Certificate(old)).is_empty());
}
