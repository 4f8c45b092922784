//! What readers see while processes die below them, the origin goes away and the cache is
//! damaged.

use super::Item;

mod corruption;
mod keeper_memory;
mod kill;
mod memory;
mod origin_stop;
mod siege;
mod upgrade;

/// The list, in the order in which it is run.
pub const ITEMS: &[Item] = &[
    Item {
        name: "keeper memory",
        run: keeper_memory::run,
    },
    Item {
        name: "little memory",
        run: memory::run,
    },
    Item {
        name: "kill -9",
        run: kill::run,
    },
    Item {
        name: "upgrade",
        run: upgrade::run,
    },
    Item {
        name: "origin stopped",
        run: origin_stop::run,
    },
    Item {
        name: "corruption",
        run: corruption::run,
    },
];
