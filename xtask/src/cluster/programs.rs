//! The programs of a cluster: Kubernetes' own from Go modules, the others from Debian.
//!
//! Kubernetes' programs are built once, which takes some minutes and 3 GB of Go's build
//! cache, and are kept below `.servers/`. The versions and checksums of every module are
//! in `xtask/kubernetes/go.mod` and `go.sum`.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::command;
use crate::debian::{self, Package};

/// The release that is run. With 1.35 kubelet refuses control groups of version 1.
const KUBERNETES: &str = "1.34.4";

/// csi-sanity, the conformance tests of the Container Storage Interface.
const CSI_TEST: &str = "v5.4.0";

/// What is built, and from where.
const PROGRAMS: [&str; 6] = [
    "kubectl",
    "kube-scheduler",
    "kube-proxy",
    "kubelet",
    "kube-controller-manager",
    "kube-apiserver",
];

const PACKAGES: [Package; 9] = [
    Package {
        name: "etcd-server",
        programs: &["etcd"],
    },
    Package {
        name: "containerd",
        programs: &["containerd", "ctr"],
    },
    Package {
        name: "runc",
        programs: &["runc"],
    },
    Package {
        name: "containernetworking-plugins",
        programs: &["../lib/cni/ptp"],
    },
    Package {
        name: "nftables",
        programs: &["nft"],
    },
    Package {
        name: "iproute2",
        programs: &["ip"],
    },
    Package {
        name: "busybox-static",
        programs: &["busybox"],
    },
    Package {
        name: "openssl",
        programs: &["openssl"],
    },
    // conntrack is what kube-proxy clears stale connections with.
    Package {
        name: "conntrack",
        programs: &["conntrack"],
    },
];

/// Where a built program is.
pub(crate) fn path(program: &str) -> PathBuf {
    dir().join(program)
}

fn dir() -> PathBuf {
    command::root().join(".servers/kubernetes").join(KUBERNETES)
}

/// Installs and builds whatever is missing.
pub(super) fn install() -> Result<()> {
    debian::install(&PACKAGES)?;
    for program in PROGRAMS {
        if !path(program).is_file() {
            build(program)?;
        }
    }
    Ok(())
}

/// Builds one of Kubernetes' programs.
fn build(program: &str) -> Result<()> {
    println!("cluster: building {program} {KUBERNETES}; all six take some 7 minutes, once");
    let version = "k8s.io/component-base/version";
    let flags = format!(
        "-ldflags=-s -w -X {version}.gitVersion=v{KUBERNETES} -X {version}.gitMajor=1 -X {version}.gitMinor=34"
    );
    let package = format!("k8s.io/kubernetes/cmd/{program}");
    let module = command::root().join("xtask/kubernetes");
    // Built beside its place: an interrupted build leaves nothing that looks whole.
    let draft = dir().join(format!("{program}.partial"));
    command::run(
        &go()?,
        &[
            "build",
            "-C",
            command::utf8(&module)?,
            "-trimpath",
            // Two at a time: the largest packages take a gigabyte each to compile.
            "-p=2",
            &flags,
            "-o",
            command::utf8(&draft)?,
            &package,
        ],
    )?;
    std::fs::rename(&draft, path(program))?;
    Ok(())
}

/// The conformance tests of CSI, built if they are not there.
pub(crate) fn csi_sanity() -> Result<PathBuf> {
    let dir = command::root().join(".servers/csi-sanity").join(CSI_TEST);
    let program = dir.join("csi-sanity");
    if !program.is_file() {
        println!("csi-sanity: building {CSI_TEST}");
        let package = format!("github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity@{CSI_TEST}");
        let bin = [("GOBIN", command::utf8(&dir)?)];
        command::run_with(&go()?, &["install", "-trimpath", "-p=2", &package], &bin)?;
    }
    Ok(program)
}

/// Go, from the path or where its own installer puts it; Debian's if there is none.
fn go() -> Result<String> {
    let candidates = ["go", "/usr/local/go/bin/go", "/usr/lib/go-1.24/bin/go"];
    let runs = |go: &&&str| command::quiet(go, &["version"]).is_ok();
    if let Some(go) = candidates.iter().find(runs) {
        return Ok((*go).to_owned());
    }
    bail!(
        "Kubernetes {KUBERNETES} is built with Go 1.24 or newer, and there is no `go`; \
         install it, for instance with `apt-get install golang-1.24-go` from Debian's backports"
    )
}
