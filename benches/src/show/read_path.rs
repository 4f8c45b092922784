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
        run: |report, _| bad_input::run(report),
    },
    Item {
        name: "origin gone",
        run: |report, _| origin_gone::run(report),
    },
    Item {
        name: "million objects",
        run: |report, _| million::run(report),
    },
    Item {
        name: "cold read",
        run: |report, _| cold_read::run(report),
    },
    Item {
        name: "checksums",
        run: |report, _| checksums::run(report),
    },
    Item {
        name: "fresh clone",
        run: |report, _| fresh_clone::run(report),
    },
];
