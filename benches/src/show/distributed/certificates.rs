//! Who has no certificate, or one of another authority, reads nothing: at every port and
//! socket at which a server listens.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result};
use forebay_tests::peers::stranger::{
    Shows, Stranger, Words, connects, listening_ports, listening_sockets,
};
use forebay_tests::{Authority, ClusterShape, Dataset, Node, PeerCluster, Shape, Sizes};

use crate::report::Report;
use crate::show::Options;

const CACHE: u64 = 256 << 20;
/// What TLS says to somebody whom it refuses: an alert (RFC 8446, 6), which tells nothing
/// of what is here.
const ALERT: usize = 7;
/// Nobody.
const STRANGER: u32 = 65534;

pub(super) fn run(report: &mut Report, _: &Options) -> Result<()> {
    let dataset = Dataset::new(&Shape {
        files: 30,
        directories: 2,
        sizes: Sizes::Skewed(1000, 4 << 20),
        seed: 9,
    });
    at_port(report, &dataset)?;
    at_sockets(report, &dataset)?;
    as_server(report, &dataset)
}

/// Asks at the port in the words of the data plane and of the control plane.
fn at_port(report: &mut Report, dataset: &Dataset) -> Result<()> {
    let cluster = PeerCluster::start("port", &ClusterShape::of(1, CACHE), dataset);
    let node = &cluster.nodes()[0];
    let ports = listening_ports(node.server_pid().context("it runs")?);
    report.line(
        ports == [Node::PORT],
        "ports at which a server listens",
        format_args!("{ports:?}"),
        format_args!("[{}], which is tried below", Node::PORT),
    );
    let stranger = Stranger::new(&cluster, node, &dataset.files()[0]);
    let (ours, theirs) = (cluster.authority(), Authority::new());
    for words in [Words::Data, Words::Control] {
        let member = stranger.ask_in(words, ours, Shows::Certificate(ours));
        report.line(
            member.len() > ALERT,
            &format!("{words:?} asked by a member: bytes answered"),
            member.len(),
            "some",
        );
        let wrong = [
            ("without TLS", Shows::Plain),
            ("without a certificate", Shows::Nothing),
            ("with a certificate of others", Shows::Certificate(&theirs)),
        ];
        for (how, shows) in wrong {
            let answer = stranger.ask_in(words, ours, shows);
            report.line(
                answer.len() <= ALERT,
                &format!("{words:?} asked {how}: bytes answered"),
                answer.len(),
                format_args!("0, or an alert of {ALERT}"),
            );
        }
    }
    Ok(())
}

/// Connects to the sockets as another user of the machine.
fn at_sockets(report: &mut Report, dataset: &Dataset) -> Result<()> {
    let cluster = PeerCluster::start("sockets", &ClusterShape::of(1, CACHE), dataset);
    let node = &cluster.nodes()[0];
    // The directories are not what keeps strangers out.
    for dir in [cluster.network().scratch().path(), node.dir()] {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
    }
    let sockets = [node.socket(), node.metrics_socket()];
    let listening = listening_sockets(node.server_pid().context("it runs")?, node.dir());
    report.line(
        listening == sockets.len(),
        "sockets at which a server listens",
        listening,
        format_args!("{}, which are tried below", sockets.len()),
    );
    for socket in sockets {
        let name = socket.file_name().unwrap_or_default().to_string_lossy();
        let (root, other) = (connects(&socket, 0), connects(&socket, STRANGER));
        report.line(
            root && !other,
            &format!("{name}: root connects, another user connects"),
            format_args!("{root}, {other}"),
            "true, false",
        );
    }
    Ok(())
}

/// A whole server with the wrong certificate, or none, among the members.
fn as_server(report: &mut Report, dataset: &Dataset) -> Result<()> {
    let shape = ClusterShape {
        started: 2,
        ..ClusterShape::of(4, CACHE)
    };
    let cluster = PeerCluster::start("strangers", &shape, dataset);
    let [a, _, wrong, without] = cluster.nodes() else {
        anyhow::bail!("four nodes")
    };
    let warmed = a.warm_up(&[]);
    anyhow::ensure!(warmed["complete"] == true, "warm-up: {warmed:#}");
    wrong.certify(&Authority::new());
    without.go_without_certificate();
    for (how, stranger) in [("the wrong certificate", wrong), ("none", without)] {
        stranger.start_server();
        let mount = stranger.mount("m").start();
        // From the origin, for which it has the keys.
        let differ = dataset.mismatches(&mount.path());
        let received = stranger.metric("forebay_peer_received_bytes_total");
        report.line(
            differ.is_empty() && received == Some(0.0),
            &format!("a server with {how} reads everything: bytes from members"),
            format_args!("{}", received.unwrap_or(f64::NAN)),
            "0",
        );
    }
    Ok(())
}
