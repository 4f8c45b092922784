//! Where the parts of the cluster are: folders, addresses, names.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::programs;
use crate::command;

/// The bridge that the nodes are on, and the machine's own address on it.
pub(super) const BRIDGE: &str = "forebay0";
pub(super) const HOST: &str = "198.18.0.1";
pub(super) const HOST_PREFIX: u8 = 24;
/// Where Services have their addresses, and the first of them, which is the API's.
pub(super) const SERVICES: &str = "10.96.0.0/16";
pub(super) const API_SERVICE: &str = "10.96.0.1";
/// Where Pods have theirs; a /24 of it for each node.
pub(super) const PODS: &str = "10.244.0.0/16";
/// Ports of the control plane, away from those of a Kubernetes that may be there already.
pub(super) const API_PORT: u16 = 16443;
pub(super) const ETCD_PORT: u16 = 12379;
pub(super) const ETCD_PEER_PORT: u16 = 12380;

/// The folders of a cluster.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    root: PathBuf,
}

/// A node of it.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Its name, also that of its network namespace and its cgroup.
    pub(crate) name: String,
    /// Its number, from 1.
    pub(super) index: u8,
    /// What is its own.
    pub(super) dir: PathBuf,
}

impl Layout {
    /// The cluster of this machine.
    pub(crate) fn of_environment() -> Result<Self> {
        let root = std::env::var_os("FOREBAY_CLUSTER_DIR")
            .map_or_else(|| PathBuf::from("/tmp/forebay-cluster"), PathBuf::from);
        let root = std::path::absolute(root).context("FOREBAY_CLUSTER_DIR")?;
        Ok(Self { root })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Makes the folder, and notes how many nodes there are to be.
    pub(super) fn make(&self, nodes: u8) -> Result<()> {
        super::write(&self.root.join("nodes-wanted"), &nodes.to_string())?;
        fs::create_dir_all(self.pids()).context("create the folder of pids")
    }

    /// How many nodes there are; `None` if there is no cluster.
    pub(crate) fn nodes(&self) -> Option<u8> {
        let text = fs::read_to_string(self.root.join("nodes-wanted")).ok()?;
        text.trim().parse().ok()
    }

    pub(crate) fn node(&self, index: u8) -> Node {
        let name = format!("forebay-n{index}");
        Node {
            dir: self.root.join("nodes").join(&name),
            name,
            index,
        }
    }

    /// All nodes of the cluster that is up.
    pub(crate) fn all_nodes(&self) -> Vec<Node> {
        let nodes = self.nodes().unwrap_or(0);
        (1..=nodes).map(|index| self.node(index)).collect()
    }

    pub(super) fn pids(&self) -> PathBuf {
        self.root.join("pids")
    }

    /// The list of folders outside this one that the cluster has made.
    pub(super) fn made(&self) -> PathBuf {
        self.root.join("made")
    }

    /// The log of the process of that name.
    pub(super) fn log(&self, process: &str) -> PathBuf {
        self.root.join("logs").join(format!("{process}.log"))
    }

    pub(super) fn pki(&self) -> PathBuf {
        self.root.join("pki")
    }

    /// The key or certificate of that file name.
    pub(super) fn pki_file(&self, name: &str) -> String {
        self.pki().join(name).display().to_string()
    }

    /// How the user of that name reaches the API.
    pub(crate) fn kubeconfig(&self, user: &str) -> PathBuf {
        self.root.join("kubeconfig").join(user)
    }

    /// Runs kubectl as the administrator and returns what it printed.
    pub(crate) fn kubectl(&self, args: &[&str]) -> Result<String> {
        let kubectl = programs::path("kubectl").display().to_string();
        let config = format!("--kubeconfig={}", self.kubeconfig("admin").display());
        let mut words = vec![config.as_str(), "--request-timeout=20s"];
        words.extend(args);
        command::quiet(&kubectl, &words)
    }
}

impl Node {
    /// Its address on the bridge.
    pub(super) fn address(&self) -> String {
        format!("198.18.0.{}", 10 + self.index)
    }

    /// Where its Pods have their addresses.
    pub(super) fn pods(&self) -> String {
        format!("10.244.{}.0/24", self.index)
    }

    /// The name of a process of this node.
    pub(super) fn process(&self, what: &str) -> String {
        format!("{}-{what}", self.name)
    }

    /// The socket of its containerd, the same name in and outside its mount namespace.
    pub(super) fn containerd(&self) -> PathBuf {
        self.dir.join("containerd.sock")
    }

    /// A folder of its own that it shows at the standard path `standard`.
    pub(super) fn own(&self, standard: &str) -> PathBuf {
        self.dir.join("root").join(standard.trim_start_matches('/'))
    }
}
