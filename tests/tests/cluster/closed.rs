//! What the node's pods of Forebay do not give away.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use forebay_tests::cluster::{Cluster, Fixture, NODE};

const PODS: [&str; 2] = ["forebay-csi", "forebay-mount-host"];

#[test]
fn there_is_no_shell_in_the_pods_that_are_privileged() {
    let cluster = Cluster::find();
    for app in PODS {
        let pod = cluster.pod_of(app, NODE);
        for shell in ["sh", "/bin/sh", "bash", "busybox"] {
            let words = [
                "-n",
                "forebay-system",
                "exec",
                &pod,
                "--",
                shell,
                "-c",
                "true",
            ];
            let said = cluster.try_kubectl(&words).unwrap_err();
            assert!(
                said.contains("not found") || said.contains("no such file"),
                "{said}"
            );
        }
    }
}

#[test]
fn only_the_driver_and_the_mount_host_are_privileged() {
    let fixture = Fixture::with_cache_servers("privileged", 0);
    let path = "jsonpath={range .items[*]}{.metadata.name}={.spec.template.spec.containers[*].securityContext.privileged} {end}";
    let words = ["-n", "forebay-system", "get", "daemonsets", "-o", path];
    let printed = fixture.cluster.kubectl(&words);
    let mut privileged: Vec<_> = printed
        .split_whitespace()
        .filter_map(|pair| pair.strip_suffix("=true"))
        .collect();
    privileged.sort_unstable();
    assert_eq!(privileged, PODS);
    fixture.assert_nothing_left();
}

#[test]
fn every_socket_on_the_node_is_its_owners_only() {
    let fixture = Fixture::new("sockets");
    fixture.pod("sockets", "sleep 600", "");
    fixture.cluster.wait_phase("sockets", "Running");
    let root = fixture.cluster.inside(NODE);
    let mut found = Vec::new();
    for dir in [
        "run/forebay",
        "var/lib/kubelet/plugins/csi.forebay.dev",
        "var/lib/kubelet/plugins_registry",
    ] {
        sockets(&root.join(dir), &mut found);
    }
    // The driver's two, the mount host's, and those of the mount.
    assert!(found.len() >= 4, "{found:?}");
    let open = found.iter().filter(|(_, mode)| *mode != 0o600);
    assert_eq!(open.collect::<Vec<_>>(), Vec::<&(String, u32)>::new());
    fixture.assert_nothing_left();
}

#[test]
fn a_node_tells_its_topology() {
    let cluster = Cluster::find();
    let path = ".spec.drivers[?(@.name==\"csi.forebay.dev\")].topologyKeys[0]";
    let key = cluster.field("csinode", NODE, path);
    assert_eq!(key, "topology.csi.forebay.dev/node");
    let label = r".metadata.labels.topology\.csi\.forebay\.dev/node";
    assert_eq!(cluster.field("node", NODE, label), NODE);
}

/// Adds the sockets below `dir` and their modes.
fn sockets(dir: &Path, found: &mut Vec<(String, u32)>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(known) = std::fs::symlink_metadata(&path) else {
            continue;
        };
        if known.file_type().is_socket() {
            found.push((path.display().to_string(), known.mode() & 0o777));
        } else if known.is_dir() {
            sockets(&path, found);
        }
    }
}
