//! The nodes' network: a bridge, and for each node a namespace and a cable to it.

use anyhow::Result;

use super::layout::{BRIDGE, HOST, HOST_PREFIX, Layout, Node};
use crate::command;

/// Makes the bridge and a network namespace a node.
pub(super) fn make(layout: &Layout, nodes: u8) -> Result<()> {
    ip(&format!("link add {BRIDGE} type bridge"))?;
    ip(&format!("addr add {HOST}/{HOST_PREFIX} dev {BRIDGE}"))?;
    ip(&format!("link set {BRIDGE} up"))?;
    for index in 1..=nodes {
        add(&layout.node(index), nodes, layout)?;
    }
    Ok(())
}

fn add(node: &Node, nodes: u8, layout: &Layout) -> Result<()> {
    let Node { name, .. } = node;
    let cable = cable(node);
    ip(&format!("netns add {name}"))?;
    ip(&format!(
        "link add {cable} type veth peer name eth0 netns {name}"
    ))?;
    ip(&format!("link set {cable} master {BRIDGE} up"))?;
    ip(&format!("-n {name} link set lo up"))?;
    ip(&format!(
        "-n {name} addr add {}/{HOST_PREFIX} dev eth0",
        node.address()
    ))?;
    ip(&format!("-n {name} link set eth0 up"))?;
    ip(&format!("-n {name} route add default via {HOST}"))?;
    ip(&format!("route add {} via {}", node.pods(), node.address()))?;
    let others = (1..=nodes).filter(|&other| other != node.index);
    for other in others.map(|other| layout.node(other)) {
        ip(&format!(
            "-n {name} route add {} via {}",
            other.pods(),
            other.address()
        ))?;
    }
    let forward = "net.ipv4.ip_forward=1";
    command::quiet("nsenter", &[&netns(node), "sysctl", "-q", "-w", forward]).map(drop)
}

/// Takes all of it away; what is not there is not missed.
pub(super) fn remove(nodes: &[Node]) {
    for node in nodes {
        let _ = ip(&format!("netns delete {}", node.name));
        let _ = ip(&format!("link delete {}", cable(node)));
    }
    let _ = ip(&format!("link delete {BRIDGE}"));
}

/// The option of nsenter(1) that leads into the node's network.
pub(super) fn netns(node: &Node) -> String {
    format!("--net=/run/netns/{}", node.name)
}

/// What of the network is still there.
pub(super) fn left() -> Result<Vec<String>> {
    let links = command::output("ip", &["-brief", "link"])?;
    let spaces = command::output("ip", &["netns", "list"])?;
    let ours = links
        .lines()
        .chain(spaces.lines())
        .filter(|line| line.starts_with("forebay"));
    Ok(ours.map(str::to_owned).collect())
}

fn cable(node: &Node) -> String {
    format!("forebay-v{}", node.index)
}

fn ip(words: &str) -> Result<()> {
    let words: Vec<_> = words.split(' ').collect();
    command::quiet("ip", &words).map(drop)
}
