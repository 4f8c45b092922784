//! The lines of `cargo xtask show`: figure, bound, verdict.

use std::fmt::Display;

/// A list of items, printed as they are found.
#[derive(Debug, Default)]
pub struct Report {
    short: usize,
    items: usize,
}

impl Report {
    /// Prints one line: `ok` or `short`, the item, its figure and its bound.
    pub fn line(&mut self, met: bool, item: &str, figure: impl Display, bound: impl Display) {
        let verdict = if met { "ok   " } else { "short" };
        println!("{verdict}  {item}: {figure} (bound: {bound})");
        self.items += 1;
        self.short += usize::from(!met);
    }

    /// Prints an item that could not be measured: it counts as short.
    pub fn failed(&mut self, item: &str, error: &anyhow::Error) {
        self.line(
            false,
            item,
            format_args!("failed: {error:#}"),
            "runs to its end",
        );
    }

    /// Prints a figure that has no bound.
    pub fn figure(&self, item: &str, figure: impl Display) {
        println!("       {item}: {figure}");
    }

    /// Prints the totals and says whether every item was met.
    pub fn finish(self) -> bool {
        println!("{} items, {} short", self.items, self.short);
        self.short == 0 && self.items > 0
    }
}
