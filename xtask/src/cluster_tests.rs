//! The tests on a real Kubernetes.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::cluster::{Layout, image, programs, up};
use crate::{command, servers};

/// How long the pods of Forebay may take to be ready.
const READY: Duration = Duration::from_secs(120);

const MANIFEST: &str = "deploy/kubernetes/forebay.yaml";

/// Starts a cluster if none is up, puts this tree's Forebay on it, and runs the tests. The
/// cluster stays: a second run begins at once.
pub(crate) fn test(filter: Option<&str>) -> Result<()> {
    servers::install()?;
    let layout = prepare(2)?;
    let env = environment(&layout)?;
    let env = env.each_ref().map(|(name, value)| (*name, value.as_str()));
    let mut args = vec![
        "test",
        "--locked",
        "--package",
        "forebay-tests",
        "--test",
        "cluster",
        "--",
    ];
    // One after the other: they watch what is left on one node.
    args.push("--test-threads=1");
    args.extend(filter);
    command::run_with("cargo", &args, &env)
}

/// The variables by which the tests' harness finds the cluster.
pub(crate) fn environment(layout: &Layout) -> Result<[(&'static str, String); 4]> {
    let xtask = std::env::current_exe().context("find this program")?;
    let text = |path: &Path| command::utf8(path).map(str::to_owned);
    Ok([
        ("FOREBAY_CLUSTER_KUBECTL", text(&programs::path("kubectl"))?),
        ("KUBECONFIG", text(&layout.kubeconfig("admin"))?),
        ("FOREBAY_CLUSTER_DIR", text(layout.root())?),
        ("FOREBAY_XTASK", text(&xtask)?),
    ])
}

/// A cluster with this tree's Forebay on it.
pub(crate) fn prepare(nodes: u8) -> Result<Layout> {
    let layout = Layout::of_environment()?;
    let nodes = layout.nodes().unwrap_or(nodes);
    up(&layout, nodes)?;
    image::build_and_load(&layout)?;
    let manifest = command::root().join(MANIFEST);
    layout.kubectl(&["apply", "-f", command::utf8(&manifest)?])?;
    for daemon_set in ["forebay-mount-host", "forebay-csi"] {
        // The image has the name that it had before: pods must be made anew to run it.
        let label = format!("app={daemon_set}");
        layout.kubectl(&[
            "-n",
            "forebay-system",
            "delete",
            "pods",
            "-l",
            &label,
            "--grace-period=5",
        ])?;
        wait_ready(&layout, &label)?;
    }
    println!("cluster: Forebay is ready on every node");
    Ok(layout)
}

/// Waits for pods, which may not even exist yet.
fn wait_ready(layout: &Layout, label: &str) -> Result<()> {
    let ready = [
        "-n",
        "forebay-system",
        "wait",
        "pods",
        "-l",
        label,
        "--for=condition=Ready",
    ];
    let ready = [&ready[..], &["--timeout=60s", "--request-timeout=90s"]].concat();
    let deadline = Instant::now() + READY;
    loop {
        match layout.kubectl(&ready) {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(500)),
        }
    }
}
