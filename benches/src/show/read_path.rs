//! The read path: a bucket, mounted, read cold and warm, on one machine.

use super::Item;

mod bad_input;
mod checksums;
mod cold_read;
mod fresh_clone;
mod million;
mod origin_gone;

/// The list, in the order in which it is run: what takes minutes first to last.
pub const ITEMS: &[Item] = &[
    Item {
        name: "bad input",
        run: bad_input::run,
    },
    Item {
        name: "origin gone",
        run: origin_gone::run,
    },
    Item {
        name: "million objects",
        run: million::run,
    },
    Item {
        name: "cold read",
        run: cold_read::run,
    },
    Item {
        name: "checksums",
        run: checksums::run,
    },
    Item {
        name: "fresh clone",
        run: fresh_clone::run,
    },
];
