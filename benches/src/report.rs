//! The lines of `cargo xtask show`: figure, bound, verdict.

use std::fmt::Display;

use crate::table::Table;

/// A list of items, printed as they are found.
#[derive(Debug)]
pub struct Report {
    short: usize,
    items: usize,
    table: Table,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            short: 0,
            items: 0,
            table: Table::new(["item", "figure", "bound", ""]),
        }
    }
}

impl Report {
    /// Prints one line: `ok` or `short`, the item, its figure and its bound.
    pub fn line(&mut self, met: bool, item: &str, figure: impl Display, bound: impl Display) {
        let verdict = if met { "ok   " } else { "short" };
        println!("{verdict}  {item}: {figure} (bound: {bound})");
        let cells = [&item as &dyn Display, &figure, &bound, &verdict.trim_end()];
        self.table.row(cells.map(ToString::to_string));
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
    pub fn figure(&mut self, item: &str, figure: impl Display) {
        println!("       {item}: {figure}");
        self.table.row([item.to_owned(), figure.to_string()]);
    }

    /// Every line so far, as a table in Markdown.
    pub fn markdown(&self) -> String {
        self.table.markdown()
    }

    /// Prints the totals and says whether every item was met.
    pub fn finish(self) -> bool {
        println!("{} items, {} short", self.items, self.short);
        self.short == 0 && self.items > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_with_a_short_line_is_not_met_and_has_every_line_in_its_table() {
        let mut report = Report::default();
        report.line(true, "a : b", 0.97, 0.95);
        report.line(false, "c : d", "none", 0.9);
        report.figure("e", 5);
        let table = report.markdown();
        assert_eq!(table.lines().count(), 5);
        assert!(
            table.contains("| c : d |   none |   0.9 | short |"),
            "{table}"
        );
        assert!(!report.finish());
    }

    #[test]
    fn an_empty_report_is_not_met() {
        assert!(!Report::default().finish());
    }
}
