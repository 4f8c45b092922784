//! The CSI driver: conformance and random interleavings on this machine, pods on a real
//! Kubernetes.

use super::Item;

mod conformance;
mod first_byte;
mod interleavings;
mod many_pods;
mod read_speed;

/// The list.
pub const ITEMS: &[Item] = &[
    Item {
        name: "csi-sanity",
        run: conformance::run,
    },
    Item {
        name: "interleavings",
        run: interleavings::run,
    },
    Item {
        name: "first byte",
        run: first_byte::run,
    },
    Item {
        name: "many pods",
        run: many_pods::run,
    },
    Item {
        name: "read speed",
        run: read_speed::run,
    },
];
