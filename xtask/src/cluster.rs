//! `cargo xtask cluster`: a real Kubernetes of several nodes on one machine.
//!
//! The control plane runs in the machine's own network. Each node is a network namespace
//! on one bridge and a mount namespace in which the standard folders of a node
//! (`/var/lib/kubelet` and others) are folders of its own; a containerd, a kubelet and a
//! kube-proxy run in it. So every node shows the standard paths, and one DaemonSet serves
//! all. No container engine, no systemd and no image registry are needed.
//!
//! Everything lies in one directory (`FOREBAY_CLUSTER_DIR`, by default
//! `/tmp/forebay-cluster`); `down` ends what is recorded there and checks that nothing
//! is left.

mod certificates;
mod control_plane;
pub(crate) mod image;
mod layout;
mod network;
mod node;
mod process;
pub(crate) mod programs;
mod teardown;

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Subcommand;

pub(crate) use layout::Layout;

/// How long the nodes may take to be ready; 3 s on an idle machine.
const READY: Duration = Duration::from_secs(180);

/// What can be asked of the cluster.
#[derive(Subcommand)]
pub(crate) enum Cluster {
    /// Builds or installs the programs if need be and starts the cluster.
    ///
    /// Needs root. A cluster that is up already is left as it is.
    Up {
        /// How many nodes.
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=9))]
        nodes: u8,
    },
    /// Ends the cluster and removes everything that it made.
    Down,
    /// Shows what runs; exit 1 if a part of the cluster is dead.
    Status,
    /// Builds a release of Forebay and puts its image on every node.
    Image,
    /// Ends the kubelet of a node and starts it again.
    RestartKubelet {
        /// The node, as `kubectl get nodes` shows it.
        node: String,
    },
}

/// Does what is asked.
pub(crate) fn run(task: &Cluster) -> Result<()> {
    let layout = Layout::of_environment()?;
    match task {
        Cluster::Up { nodes } => up(&layout, *nodes),
        Cluster::Down => teardown::down(&layout),
        Cluster::Status => status(&layout),
        Cluster::Image => image::build_and_load(&layout),
        Cluster::RestartKubelet { node } => node::restart_kubelet(&layout, node),
    }
}

/// Starts a cluster of `nodes` nodes, unless it is up.
pub(crate) fn up(layout: &Layout, nodes: u8) -> Result<()> {
    match layout.nodes() {
        Some(up) if up == nodes && dead(layout)?.is_empty() => {
            println!("cluster: {nodes} nodes are up already");
            return say_how_to_use(layout);
        }
        Some(up) if up != nodes && dead(layout)?.is_empty() => bail!(
            "a cluster of {up} nodes is up; end it with `cargo xtask cluster down` to start one of {nodes}"
        ),
        Some(_) => {
            println!("cluster: parts of an earlier one are dead; starting anew");
            teardown::down(layout)?;
        }
        None => {}
    }
    programs::install()?;
    layout.make(nodes)?;
    // What was half made is taken away by `down`, which the next `up` calls by itself.
    start(layout, nodes).context("the cluster did not come up; see the logs below its directory, then `cargo xtask cluster down`")
}

fn start(layout: &Layout, nodes: u8) -> Result<()> {
    let begun = Instant::now();
    step("certificates");
    certificates::make(layout, nodes)?;
    step("network");
    network::make(layout, nodes)?;
    step("control plane");
    control_plane::start(layout)?;
    let base_image = image::busybox(layout)?;
    for index in 1..=nodes {
        let node = layout.node(index);
        step(&node.name);
        node::start(layout, &node)?;
        image::import(&node, &base_image)?;
    }
    wait_until_ready(layout, nodes)?;
    println!("cluster: ready after {:.0?}", begun.elapsed());
    say_how_to_use(layout)
}

fn step(what: &str) {
    println!("cluster: starting {what}");
}

fn say_how_to_use(layout: &Layout) -> Result<()> {
    let kubectl = programs::path("kubectl");
    println!(
        "cluster: KUBECONFIG={} {} get nodes",
        layout.kubeconfig("admin").display(),
        kubectl.display()
    );
    Ok(())
}

fn wait_until_ready(layout: &Layout, nodes: u8) -> Result<()> {
    let deadline = Instant::now() + READY;
    loop {
        let states = layout.kubectl(&[
            "get",
            "nodes",
            "-o",
            "jsonpath={range .items[*]}{.status.conditions[?(@.type==\"Ready\")].status} {end}",
        ]);
        let ready = states.map_or(0, |states| states.matches("True").count());
        if ready == usize::from(nodes) {
            return Ok(());
        }
        if let Some(dead) = dead(layout)?.first() {
            bail!("{dead} has ended; see {}", layout.log(dead).display());
        }
        if Instant::now() > deadline {
            bail!("only {ready} of {nodes} nodes are ready after {READY:?}");
        }
        std::thread::sleep(Duration::from_millis(300));
    }
}

/// The names of the recorded processes that do not live.
fn dead(layout: &Layout) -> Result<Vec<String>> {
    let recorded = process::recorded(&layout.pids())?;
    let dead = recorded.into_iter().filter(|process| !process.is_alive());
    Ok(dead.map(|process| process.name).collect())
}

fn status(layout: &Layout) -> Result<()> {
    let Some(nodes) = layout.nodes() else {
        println!("cluster: down");
        return Ok(());
    };
    println!("cluster: {nodes} nodes, below {}", layout.root().display());
    for process in process::recorded(&layout.pids())? {
        let state = if process.is_alive() { "up" } else { "DEAD" };
        println!("  {state:<5} {:<28} pid {}", process.name, process.pid);
    }
    let dead = dead(layout)?;
    if !dead.is_empty() {
        bail!(
            "{} dead; `cargo xtask cluster up` starts anew",
            dead.join(", ")
        );
    }
    print!(
        "{}",
        layout.kubectl(&["get", "nodes,pods", "-A", "-o", "wide"])?
    );
    Ok(())
}

/// Writes a file and the folders above it.
fn write(path: &std::path::Path, text: &str) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
    }
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}
