//! A node: its mount namespace, containerd, kubelet and kube-proxy.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::layout::{Layout, Node, PODS};
use super::{network, process, programs};
use crate::command;

/// Folders that each node has for itself at the standard path. Without their own, the
/// kubelet of one node deletes what belongs to another.
const OWN: [&str; 9] = [
    "/var/lib/kubelet",
    "/var/lib/cni",
    "/var/lib/forebay",
    "/var/cache/forebay",
    "/var/log/pods",
    "/var/log/containers",
    "/run/containerd",
    "/run/netns",
    "/run/forebay",
];

const CGROUPS: &str = "/sys/fs/cgroup";
const START: Duration = Duration::from_secs(30);

/// Starts the node's processes. It registers itself with the API.
pub(super) fn start(layout: &Layout, node: &Node) -> Result<()> {
    for path in OWN {
        fs::create_dir_all(node.own(path))?;
        make_standard(layout, path)?;
    }
    make_cgroups(&node.name)?;
    hold_mounts(layout, node)?;
    start_containerd(layout, node)?;
    start_kubelet(layout, node)?;
    start_kube_proxy(layout, node)
}

/// Makes a standard folder on the machine, for the node's own to be mounted on, and
/// notes that it was not there before.
fn make_standard(layout: &Layout, path: &str) -> Result<()> {
    if Path::new(path).exists() {
        return Ok(());
    }
    fs::create_dir_all(path).with_context(|| format!("create {path}"))?;
    let noted = fs::read_to_string(layout.made()).unwrap_or_default();
    super::write(&layout.made(), &format!("{noted}{path}\n"))
}

/// Ends the kubelet of the node of that name and starts it again.
pub(crate) fn restart_kubelet(layout: &Layout, name: &str) -> Result<()> {
    let nodes = layout.all_nodes();
    let Some(node) = nodes.iter().find(|node| node.name == name) else {
        let names: Vec<_> = nodes.iter().map(|node| node.name.as_str()).collect();
        bail!("there is no node {name}; there are: {}", names.join(", "));
    };
    process::find(layout, &node.process("kubelet"))?.end()?;
    start_kubelet(layout, node)
}

/// A process that keeps the node's mount namespace.
fn hold_mounts(layout: &Layout, node: &Node) -> Result<()> {
    let script = node.dir.join("hold.sh");
    super::write(&script, include_str!("node.sh"))?;
    let ready = node.own("ready");
    let _ = fs::remove_file(&ready);
    let mut args = vec![
        network::netns(node),
        "unshare".into(),
        "--mount".into(),
        "--propagation=slave".into(),
        "sh".into(),
        script.display().to_string(),
        node.dir.join("root").display().to_string(),
    ];
    args.extend(OWN.map(str::to_owned));
    let name = node.process("mounts");
    process::start(layout, &name, "nsenter", &args)?;
    if !process::until(START, || ready.exists()) {
        bail!(
            "the folders of {} are not mounted; see {}",
            node.name,
            layout.log(&name).display()
        );
    }
    Ok(())
}

/// Starts a program in the node's network and mount namespaces.
fn start_inside(
    layout: &Layout,
    node: &Node,
    what: &str,
    program: &str,
    args: &[String],
) -> Result<()> {
    let holder = process::find(layout, &node.process("mounts"))?;
    let mut words = vec![
        network::netns(node),
        format!("--mount=/proc/{}/ns/mnt", holder.pid),
        program.to_owned(),
    ];
    words.extend_from_slice(args);
    process::start(layout, &node.process(what), "nsenter", &words).map(drop)
}

fn start_containerd(layout: &Layout, node: &Node) -> Result<()> {
    let dir = &node.dir;
    let config = dir.join("containerd.toml");
    super::write(&config, &containerd_config(node))?;
    super::write(&dir.join("cni/10-forebay.conflist"), &cni_config(node))?;
    // Shims and runc are looked for here, and where Debian has them.
    let args = ["--config".to_owned(), config.display().to_string()];
    start_inside(layout, node, "containerd", "containerd", &args)?;
    let socket = node.containerd().display().to_string();
    let answers = || command::quiet("ctr", &["--address", &socket, "version"]).is_ok();
    if !process::until(START, answers) {
        let log = layout.log(&node.process("containerd"));
        bail!(
            "containerd of {} does not answer; see {}",
            node.name,
            log.display()
        );
    }
    Ok(())
}

fn start_kubelet(layout: &Layout, node: &Node) -> Result<()> {
    let config = node.dir.join("kubelet.yaml");
    super::write(&config, &kubelet_config(layout, node))?;
    let args = [
        format!("--config={}", config.display()),
        format!("--kubeconfig={}", layout.kubeconfig(&node.name).display()),
        format!("--hostname-override={}", node.name),
        format!("--node-ip={}", node.address()),
    ];
    let program = programs::path("kubelet").display().to_string();
    start_inside(layout, node, "kubelet", &program, &args)
}

fn start_kube_proxy(layout: &Layout, node: &Node) -> Result<()> {
    let config = node.dir.join("kube-proxy.yaml");
    super::write(&config, &kube_proxy_config(layout, node))?;
    let program = programs::path("kube-proxy").display().to_string();
    let args = [format!("--config={}", config.display())];
    start_inside(layout, node, "kube-proxy", &program, &args)
}

/// The folders of a control group: one, or one a controller where the machine has
/// version 1.
pub(super) fn cgroups(name: &str) -> Vec<PathBuf> {
    let top = Path::new(CGROUPS);
    if top.join("cgroup.controllers").exists() {
        return vec![top.join(name)];
    }
    let entries = fs::read_dir(top).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| entry.path().join(name)).collect()
}

fn make_cgroups(name: &str) -> Result<()> {
    for dir in cgroups(name) {
        fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
        // A group of this controller takes nobody before it is told its processors.
        for setting in ["cpuset.cpus", "cpuset.mems"] {
            let above = dir.parent().unwrap_or(&dir).join(setting);
            if dir.join(setting).exists()
                && let Ok(value) = fs::read(above)
            {
                fs::write(dir.join(setting), value)?;
            }
        }
    }
    Ok(())
}

fn containerd_config(node: &Node) -> String {
    let dir = node.dir.display();
    format!(
        r#"version = 2
root = "{dir}/containerd"
state = "/run/containerd/daemon"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper"]
[grpc]
address = "{socket}"
[plugins."io.containerd.internal.v1.opt"]
path = "{dir}/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
disable_tcp_service = true
# The machine may lack CAP_SYS_RESOURCE; without this, no sandbox starts there.
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{dir}/cni"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
default_runtime_name = "runc"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
"#,
        socket = node.containerd().display(),
        pause = super::image::BUSYBOX,
    )
}

fn cni_config(node: &Node) -> String {
    format!(
        r#"{{"cniVersion": "0.4.0", "name": "forebay", "plugins": [
  {{"type": "ptp", "ipMasq": false, "ipam": {{"type": "host-local", "dataDir": "/var/lib/cni/networks",
    "ranges": [[{{"subnet": "{}"}}]], "routes": [{{"dst": "0.0.0.0/0"}}]}}}}
]}}
"#,
        node.pods()
    )
}

fn kubelet_config(layout: &Layout, node: &Node) -> String {
    format!(
        r#"apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {{enabled: false}}
  webhook: {{enabled: true}}
  x509: {{clientCAFile: {ca}}}
authorization: {{mode: Webhook}}
cgroupDriver: cgroupfs
cgroupRoot: /{name}
failCgroupV1: false
failSwapOn: false
resolvConf: ""
containerRuntimeEndpoint: unix://{socket}
imageServiceEndpoint: unix://{socket}
evictionHard: {{memory.available: 50Mi, nodefs.available: 1%, imagefs.available: 1%}}
imageGCHighThresholdPercent: 100
nodeStatusUpdateFrequency: 5s
volumeStatsAggPeriod: 5s
shutdownGracePeriod: 0s
"#,
        ca = layout.pki_file("ca.crt"),
        name = node.name,
        socket = node.containerd().display(),
    )
}

fn kube_proxy_config(layout: &Layout, node: &Node) -> String {
    format!(
        r#"apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clusterCIDR: {PODS}
hostnameOverride: {name}
clientConnection: {{kubeconfig: {config}}}
conntrack: {{maxPerCore: 0}}
"#,
        name = node.name,
        config = layout.kubeconfig("kube-proxy").display(),
    )
}

/// Links every name to one program, as busybox wants it.
pub(super) fn link_all(names: &str, dir: &Path) -> Result<()> {
    for name in names.lines().filter(|name| *name != "busybox") {
        symlink("busybox", dir.join(name)).with_context(|| format!("link {name}"))?;
    }
    Ok(())
}
