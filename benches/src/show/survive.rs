//! What readers see while processes die below them.

use super::Item;

mod keeper_memory;
mod kill;
mod siege;
mod upgrade;

/// The list, in the order in which it is run.
pub const ITEMS: &[Item] = &[
    Item {
        name: "keeper memory",
        run: keeper_memory::run,
    },
    Item {
        name: "kill -9",
        run: kill::run,
    },
    Item {
        name: "upgrade",
        run: upgrade::run,
    },
];
