//! The Kubernetes that `cargo xtask cluster up` has started, with Forebay on it.

mod cache_servers;
mod fixture;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::wait::wait_until;

pub use cache_servers::CACHE_SERVER;
pub use fixture::{CHECK, Fixture, NODE, sha256};

/// Where servers on the machine are reached from the nodes.
pub const HOST: &str = "198.18.0.1";

/// How long a pod may take to come or go on a machine that does other things as well.
const PATIENCE: Duration = Duration::from_secs(120);
/// After so long without a success is looked for a failure.
const PIECE: Duration = Duration::from_secs(5);

/// The cluster.
#[derive(Clone, Debug)]
pub struct Cluster {
    kubectl: PathBuf,
    kubeconfig: PathBuf,
    dir: PathBuf,
}

impl Cluster {
    /// The cluster that is up.
    ///
    /// # Panics
    /// If there is none.
    pub fn find() -> Self {
        let variable = |name: &str| {
            let value = std::env::var_os(name).map(PathBuf::from);
            value.unwrap_or_else(|| panic!("{name} is not set: run `cargo xtask test-cluster`"))
        };
        Self {
            kubectl: variable("FOREBAY_CLUSTER_KUBECTL"),
            kubeconfig: variable("KUBECONFIG"),
            dir: variable("FOREBAY_CLUSTER_DIR"),
        }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.kubectl);
        command
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(words);
        command
    }

    /// Runs kubectl; what it printed, or what it said if it failed.
    ///
    /// # Errors
    /// What it said.
    pub fn try_kubectl(&self, words: &[&str]) -> Result<String, String> {
        let done = self.command(words).output().expect("kubectl runs");
        if done.status.success() {
            Ok(String::from_utf8_lossy(&done.stdout).into_owned())
        } else {
            Err(String::from_utf8_lossy(&done.stderr).into_owned())
        }
    }

    /// Runs kubectl and returns what it printed.
    ///
    /// # Panics
    /// If it fails.
    pub fn kubectl(&self, words: &[&str]) -> String {
        let done = self.try_kubectl(words);
        done.unwrap_or_else(|said| panic!("kubectl {}: {said}", words.join(" ")))
    }

    /// Applies objects in YAML.
    ///
    /// # Panics
    /// If they are refused.
    pub fn apply(&self, yaml: &str) {
        let mut command = self.command(&["apply", "-f", "-"]);
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
        let mut child = spawned.expect("kubectl runs");
        let mut input = child.stdin.take().expect("a pipe");
        input.write_all(yaml.as_bytes()).expect("kubectl reads");
        drop(input);
        assert!(
            child.wait().expect("kubectl ends").success(),
            "refused:\n{yaml}"
        );
    }

    /// A field of an object, by a JSONPath without braces; empty if there is none.
    pub fn field(&self, kind: &str, name: &str, path: &str) -> String {
        let output = format!("jsonpath={{{path}}}");
        self.try_kubectl(&["get", kind, name, "-o", &output])
            .unwrap_or_default()
    }

    /// Waits until a pod is in a phase.
    ///
    /// # Panics
    /// If it does not come to it, with what Kubernetes says of it.
    pub fn wait_phase(&self, pod: &str, phase: &str) {
        let reached = self.await_phase(pod, phase, PATIENCE);
        assert!(reached, "{pod} is not {phase}:\n{}", self.describe(pod));
    }

    /// Waits for a phase; false if it does not come. The API tells of it: to ask again and
    /// again would take a processor from what is waited for.
    fn await_phase(&self, pod: &str, phase: &str, limit: Duration) -> bool {
        let pod = format!("pod/{pod}");
        let phase = format!("--for=jsonpath={{.status.phase}}={phase}");
        let limit = format!("--timeout={}s", limit.as_secs());
        self.try_kubectl(&["wait", &pod, &phase, &limit]).is_ok()
    }

    /// Waits until a pod has succeeded, and returns what it printed.
    ///
    /// # Panics
    /// If it does not.
    pub fn wait_success(&self, pod: &str) -> String {
        // In pieces, so that a pod that fails is not waited for to the end.
        let pieces = PATIENCE.as_secs() / PIECE.as_secs();
        for _ in 0..pieces {
            if self.await_phase(pod, "Succeeded", PIECE)
                || self.field("pod", pod, ".status.phase") == "Failed"
            {
                break;
            }
        }
        let logs = self.try_kubectl(&["logs", pod]).unwrap_or_default();
        let phase = self.field("pod", pod, ".status.phase");
        assert_eq!(
            phase,
            "Succeeded",
            "{pod} printed:\n{logs}\n{}",
            self.describe(pod)
        );
        logs
    }

    /// Waits until every pod of a DaemonSet of Forebay is ready.
    ///
    /// # Panics
    /// If they are not.
    pub fn wait_rollout(&self, daemon_set: &str) {
        let name = format!("daemonset/{daemon_set}");
        self.kubectl(&[
            "-n",
            "forebay-system",
            "rollout",
            "status",
            &name,
            "--timeout=120s",
        ]);
    }

    /// Deletes a pod and waits until it has gone.
    pub fn delete_pod(&self, pod: &str) {
        self.kubectl(&["delete", "pod", pod, "--grace-period=1", "--timeout=120s"]);
    }

    /// What Kubernetes and the driver say of a pod.
    pub fn describe(&self, pod: &str) -> String {
        let described = self
            .try_kubectl(&["describe", "pod", pod])
            .unwrap_or_default();
        let words = [
            "-n",
            "forebay-system",
            "logs",
            "-l",
            "app=forebay-csi",
            "--tail=30",
        ];
        format!(
            "{described}\n{}",
            self.try_kubectl(&words).unwrap_or_default()
        )
    }

    /// Kills the Forebay pod of that app on a node, and asks nobody in it.
    ///
    /// # Panics
    /// If there is none.
    pub fn kill_pod_of(&self, app: &str, node: &str) -> String {
        let pod = self.pod_of(app, node);
        self.kubectl(&[
            "-n",
            "forebay-system",
            "delete",
            "pod",
            &pod,
            "--force",
            "--grace-period=0",
        ]);
        pod
    }

    /// Waits until another pod is in the place of `pod`, and all of its app are ready.
    ///
    /// # Panics
    /// If none comes.
    pub fn wait_replaced(&self, app: &str, node: &str, pod: &str) {
        let replaced = wait_until(PATIENCE, || {
            let now = self.pod_of(app, node);
            !now.is_empty() && !now.contains(pod)
        });
        assert!(replaced, "{pod} was not replaced");
        // Not the roll-out, which a DaemonSet that is replaced by hand does not have.
        let label = format!("app={app}");
        self.kubectl(&[
            "-n",
            "forebay-system",
            "wait",
            "pods",
            "-l",
            &label,
            "--for=condition=Ready",
            "--timeout=120s",
        ]);
    }

    /// The name of the Forebay pod of that app on a node.
    pub fn pod_of(&self, app: &str, node: &str) -> String {
        let label = format!("app={app}");
        let on = format!("spec.nodeName={node}");
        let words = [
            "-n",
            "forebay-system",
            "get",
            "pods",
            "-l",
            &label,
            "--field-selector",
            &on,
            "-o",
            "jsonpath={.items[*].metadata.name}",
        ];
        self.kubectl(&words)
    }

    /// The table of mounts of a node.
    ///
    /// # Panics
    /// If the node does not run.
    pub fn mounts(&self, node: &str) -> Vec<String> {
        let table = self.process_of(node).join("mountinfo");
        let table = std::fs::read_to_string(table).expect("the node runs");
        table.lines().map(str::to_owned).collect()
    }

    /// The files of a node as its own processes see them.
    ///
    /// # Panics
    /// If the node does not run.
    pub fn inside(&self, node: &str) -> PathBuf {
        self.process_of(node).join("root")
    }

    /// What the kernel tells of the process that keeps a node's mounts.
    fn process_of(&self, node: &str) -> PathBuf {
        let record = self.dir.join("pids").join(format!("{node}-mounts"));
        let record = std::fs::read_to_string(record).expect("the node has a record");
        let pid = record.split(' ').next().unwrap_or_default();
        Path::new("/proc").join(pid)
    }

    /// Places at which a node shows a dataset.
    pub fn forebay_mounts(&self, node: &str) -> Vec<String> {
        let ours = self
            .mounts(node)
            .into_iter()
            .filter(|line| line.contains("fuse.forebay"));
        ours.filter_map(|line| line.split(' ').nth(4).map(str::to_owned))
            .collect()
    }

    /// Where a node's own folders lie on the machine.
    pub fn node_root(&self, node: &str) -> PathBuf {
        self.dir.join("nodes").join(node).join("root")
    }

    /// Ends the kubelet of a node and starts it again.
    ///
    /// # Panics
    /// If it does not start.
    pub fn restart_kubelet(&self, node: &str) {
        let xtask = std::env::var_os("FOREBAY_XTASK").expect("set by `cargo xtask test-cluster`");
        let done = Command::new(xtask)
            .args(["cluster", "restart-kubelet", node])
            .status();
        assert!(done.is_ok_and(|status| status.success()), "{node}: kubelet");
    }
}
