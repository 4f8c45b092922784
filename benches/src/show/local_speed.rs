//! Reads at the speed of the local disk, and ahead of every other program.
//!
//! Each item is a contest: the limits, Forebay in its modes and its peers over the same
//! data in the same rounds. Every comparison of speed is of medians of paired rounds.

use super::Item;

mod cached;
mod cold;
mod judge;
mod walk;
mod write_amplification;

/// The list, in the order in which it is run.
pub const ITEMS: &[Item] = &[
    Item {
        name: "cached large file",
        run: cached::large,
    },
    Item {
        name: "cached mmap",
        run: cached::mmap,
    },
    Item {
        name: "cached epoch",
        run: cached::epoch,
    },
    Item {
        name: "cached columns",
        run: cached::columns,
    },
    Item {
        name: "cold large file",
        run: cold::large,
    },
    Item {
        name: "cold random",
        run: cold::random,
    },
    Item {
        name: "cold epoch",
        run: cold::epoch,
    },
    Item {
        name: "cold columns",
        run: cold::columns,
    },
    Item {
        name: "walk",
        run: walk::run,
    },
    Item {
        name: "write amplification",
        run: write_amplification::run,
    },
];
