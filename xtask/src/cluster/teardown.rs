//! The end of a cluster, and the proof that nothing of it is left.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::layout::{Layout, Node};
use super::{network, node, process};
use crate::command;

const PATIENCE: Duration = Duration::from_secs(10);
/// The most that could have been made, for a cluster whose notes are lost.
const MOST_NODES: u8 = 9;

/// Ends everything and removes it. Works on a cluster that is half made or half dead,
/// and on none.
pub(super) fn down(layout: &Layout) -> Result<()> {
    let nodes: Vec<_> = (1..=MOST_NODES).map(|index| layout.node(index)).collect();
    if process::find(layout, "kube-apiserver").is_ok_and(|server| server.is_alive()) {
        delete_pods(layout);
    }
    let mut processes = process::recorded(&layout.pids())?;
    // Kubelets first, or they start again what is ended; the namespaces' holders last.
    processes.sort_by_key(|process| rank(&process.name));
    for process in processes.iter().filter(|process| rank(&process.name) == 0) {
        process.end()?;
    }
    for node in &nodes {
        kill_group(node)?;
    }
    for process in processes.iter().filter(|process| rank(&process.name) > 0) {
        if process.name.ends_with("-mounts") {
            kill_inside(process.pid)?;
        }
        process.end()?;
    }
    network::remove(&nodes);
    for node in &nodes {
        remove_groups(node)?;
    }
    remove_made(layout);
    remove(layout.root())?;
    verify(layout, &nodes)
}

fn rank(process: &str) -> u8 {
    match process {
        name if name.ends_with("-kubelet") || name.ends_with("-kube-proxy") => 0,
        name if name.ends_with("-containerd") => 1,
        name if name.ends_with("-mounts") => 3,
        _ => 2,
    }
}

/// While there is somebody to take the pods' volumes away in order.
fn delete_pods(layout: &Layout) {
    println!("cluster: deleting pods");
    let kinds = "daemonsets,deployments,statefulsets,jobs,pods";
    let all = [
        "delete",
        kinds,
        "--all",
        "--all-namespaces",
        "--grace-period=1",
        "--timeout=30s",
    ];
    // A cluster that does not answer any more is taken down all the same.
    if let Err(error) = layout.kubectl(&all) {
        println!("cluster: pods were not deleted in order: {error:#}");
    }
}

/// Kills what runs in the control group of a node: its containers, and what they started.
fn kill_group(node: &Node) -> Result<()> {
    let groups = node::cgroups(&node.name);
    let empty = || {
        let members: Vec<_> = groups.iter().flat_map(|group| members(group)).collect();
        kill(&members);
        members.is_empty()
    };
    if !process::until(PATIENCE, empty) {
        bail!("containers of {} do not end", node.name);
    }
    Ok(())
}

fn members(group: &Path) -> Vec<u32> {
    let procs = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let mut found: Vec<_> = procs.lines().filter_map(|pid| pid.parse().ok()).collect();
    found.extend(below(group).iter().flat_map(|group| members(group)));
    found
}

fn below(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| entry.path()).collect()
}

/// Kills who shares the mount namespace of the process `holder`: containers' shims.
fn kill_inside(holder: u32) -> Result<()> {
    let Ok(space) = fs::read_link(format!("/proc/{holder}/ns/mnt")) else {
        return Ok(());
    };
    let inside = || {
        let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let shares = |pid: &u32| {
            *pid != holder
                && fs::read_link(format!("/proc/{pid}/ns/mnt")).is_ok_and(|its| its == space)
        };
        pids.filter(shares).collect::<Vec<_>>()
    };
    if fs::read_link("/proc/self/ns/mnt").is_ok_and(|ours| ours == space) {
        bail!("pid {holder} shares our mount namespace: it is not the holder of a node's");
    }
    let empty = || {
        let members = inside();
        kill(&members);
        members.is_empty()
    };
    if !process::until(PATIENCE, empty) {
        bail!("shims of a node do not end");
    }
    Ok(())
}

fn kill(pids: &[u32]) {
    for pid in pids {
        // It may have ended since it was listed.
        let _ = command::quiet("kill", &["-KILL", &pid.to_string()]);
    }
}

fn remove_groups(node: &Node) -> Result<()> {
    for group in node::cgroups(&node.name) {
        // The kernel needs a moment after the last process has gone.
        if !process::until(PATIENCE, || remove_group(&group)) {
            bail!("control group {} cannot be removed", group.display());
        }
    }
    Ok(())
}

fn remove_group(group: &Path) -> bool {
    for child in below(group) {
        remove_group(&child);
    }
    match fs::remove_dir(group) {
        Ok(()) => true,
        Err(error) => error.kind() == ErrorKind::NotFound,
    }
}

fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}

/// Standard folders that only the cluster needed. One that somebody else uses by now is
/// not empty, and stays.
fn remove_made(layout: &Layout) {
    let made = fs::read_to_string(layout.made()).unwrap_or_default();
    for path in made.lines() {
        let _ = fs::remove_dir(path);
    }
}

/// Looks for what should be gone.
fn verify(layout: &Layout, nodes: &[Node]) -> Result<()> {
    let root = layout.root();
    let mut left = network::left()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let ours = |line: &&str| line.contains(&root.display().to_string());
    left.extend(mounts.lines().filter(ours).map(str::to_owned));
    let groups = nodes.iter().flat_map(|node| node::cgroups(&node.name));
    left.extend(
        groups
            .filter(|group| group.exists())
            .map(|group| group.display().to_string()),
    );
    if root.exists() {
        left.push(root.display().to_string());
    }
    left.extend(processes_of(root));
    if !left.is_empty() {
        bail!(
            "the cluster has left something behind:\n  {}",
            left.join("\n  ")
        );
    }
    println!("cluster: down; no process, mount, network, control group or file of it is left");
    Ok(())
}

/// Processes whose command line names the cluster's folder.
fn processes_of(root: &Path) -> Vec<String> {
    let needle = root.display().to_string();
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let lines = pids.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse::<u32>().ok()?;
        let line = fs::read_to_string(entry.path().join("cmdline"))
            .ok()?
            .replace('\0', " ");
        (pid != std::process::id() && line.contains(&needle)).then(|| format!("pid {pid}: {line}"))
    });
    lines.collect()
}
