//! What a cluster of cache servers owes: each byte once from the origin, the speed of the
//! cable between two nodes, and nothing seen by readers while members go and come.
//!
//! Every node is a network namespace with a real cache server and a real mount in it. They
//! share the processors of one machine, and with them everything that is measured.

use super::Item;

mod cable;
mod certificates;
mod join_leave;
mod killed;
mod load;
mod local_hit;
mod one_read;
mod partition;
mod remote_hit;
mod warm_up;

/// The list, in the order in which it is run.
pub const ITEMS: &[Item] = &[
    Item {
        name: "one origin read",
        run: one_read::run,
    },
    Item {
        name: "remote hit",
        run: remote_hit::run,
    },
    Item {
        name: "local hit",
        run: local_hit::run,
    },
    Item {
        name: "server killed",
        run: killed::run,
    },
    Item {
        name: "partition",
        run: partition::run,
    },
    Item {
        name: "join and leave",
        run: join_leave::run,
    },
    Item {
        name: "warm-up",
        run: warm_up::run,
    },
    Item {
        name: "no certificates",
        run: certificates::run,
    },
];
