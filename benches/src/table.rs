//! Tables in Markdown, readable as they are.

use std::fmt::Write;

use crate::contest::{Entry, Setting, Standings};
use crate::sample::Sample;
use crate::subject::{Role, State};

/// A header and rows of as many cells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub fn new<S: Into<String>>(header: impl IntoIterator<Item = S>) -> Self {
        Self {
            header: header.into_iter().map(Into::into).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; what is missing at its end stays empty.
    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        let mut row: Vec<String> = cells.into_iter().map(Into::into).collect();
        row.resize(self.header.len(), String::new());
        self.rows.push(row);
    }

    /// In Markdown: the first column to the left, the others, which are figures, to the
    /// right.
    pub fn markdown(&self) -> String {
        let lines = || std::iter::once(&self.header).chain(&self.rows);
        let width = |column: usize| {
            let cells = lines().map(|line| line[column].chars().count());
            cells.max().unwrap_or(0).max(3)
        };
        let widths: Vec<usize> = (0..self.header.len()).map(width).collect();
        let mut text = String::new();
        for (number, line) in lines().enumerate() {
            for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
                // Writing to a String cannot fail.
                let _ = match column {
                    0 => write!(text, "| {cell:<width$} "),
                    _ => write!(text, "| {cell:>width$} "),
                };
            }
            text.push_str("|\n");
            if number == 0 {
                text.push_str(&rule(&widths));
            }
        }
        text
    }
}

fn rule(widths: &[usize]) -> String {
    let mut text = String::new();
    for (column, width) in widths.iter().enumerate() {
        let dashes = "-".repeat(*width);
        text += &match column {
            0 => format!("|-{dashes}-"),
            _ => format!("|-{dashes}:"),
        };
    }
    text + "|\n"
}

/// One row a setting, one column a subject: medians.
pub fn summary(standings: &Standings) -> String {
    let names = standings.entries.iter().map(|entry| entry.name);
    let mut table = Table::new(["workload, unit"].into_iter().chain(names));
    for setting in standings.settings() {
        let cells = standings.entries.iter().map(|entry| {
            let rate = entry.sample(setting, |round| round.rate).median();
            figure(rate, 0)
        });
        let title = format!("{setting}, {}", setting.workload.unit());
        table.row(std::iter::once(title).chain(cells));
    }
    table.markdown()
}

/// Every figure with its spread, processor time and memory: a table a setting.
pub fn details(standings: &Standings) -> String {
    let mut text = String::new();
    for setting in standings.settings() {
        let unit = setting.workload.unit();
        let amount = if unit == "MiB/s" { "GiB" } else { "million" };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "#### {setting}\n");
        let mut table = Table::new([
            "subject".to_owned(),
            unit.to_owned(),
            "of the limit".to_owned(),
            format!("server CPU s/{amount}"),
            format!("reader CPU s/{amount}"),
            "server peak MiB".to_owned(),
            "p50, p99 ms".to_owned(),
        ]);
        for entry in &standings.entries {
            if !entry.sample(setting, |round| round.rate).is_empty() {
                table.row(detail(standings, entry, setting));
            }
        }
        text += &table.markdown();
        text.push('\n');
    }
    text
}

fn detail(standings: &Standings, entry: &Entry, setting: Setting) -> Vec<String> {
    let sample = |figure: fn(&crate::contest::Round) -> f64| entry.sample(setting, figure);
    let limit = standings
        .limit(setting)
        .map(|limit| standings.ratio(setting, entry.name, limit.name, |round| round.rate));
    let is_served = entry.role != Role::Limit;
    let of_server = |text: String| if is_served { text } else { String::new() };
    let millis = |seconds: Option<f64>| seconds.unwrap_or(f64::NAN) * 1e3;
    let p50 = sample(|round| round.p50.unwrap_or(f64::NAN));
    let latency = if p50.is_empty() {
        String::new()
    } else {
        let p99 = sample(|round| round.p99.unwrap_or(f64::NAN));
        format!(
            "{:.2}, {:.2}",
            millis(Some(p50.median())),
            millis(Some(p99.median()))
        )
    };
    vec![
        entry.name.to_owned(),
        spread(&sample(|round| round.rate), 0),
        limit.map_or_else(String::new, |ratio| figure(ratio.median(), 2)),
        of_server(figure(sample(|round| round.server_cpu).median(), 2)),
        figure(sample(|round| round.reader_cpu).median(), 2),
        of_server(figure(
            sample(|round| round.peak as f64 / f64::from(1 << 20)).max(),
            0,
        )),
        latency,
    ]
}

/// Who was measured, in which version, and who was not, and why.
pub fn subjects(standings: &Standings) -> String {
    let mut text = String::new();
    for entry in &standings.entries {
        // Writing to a String cannot fail.
        let _ = match &entry.failure {
            Some(failure) => writeln!(
                text,
                "- {} ({}): failed: {failure}",
                entry.name, entry.version
            ),
            None => writeln!(text, "- {} ({})", entry.name, entry.version),
        };
    }
    text
}

/// `median (least to most)`; nothing without values.
fn spread(sample: &Sample, digits: usize) -> String {
    if sample.is_empty() {
        return String::new();
    }
    format!(
        "{:.digits$} ({:.digits$} to {:.digits$})",
        sample.median(),
        sample.min(),
        sample.max()
    )
}

fn figure(value: f64, digits: usize) -> String {
    if value.is_nan() {
        return String::new();
    }
    format!("{value:.digits$}")
}

/// The settings of `state` that have a limit, for a chart.
pub fn with_limit(standings: &Standings, state: State) -> Vec<Setting> {
    let settings = standings.settings().into_iter();
    settings
        .filter(|setting| setting.state == state && standings.limit(*setting).is_some())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contest::example::standings;
    use crate::golden;

    #[test]
    fn the_summary_is_as_on_file() {
        golden::assert_is("table/summary.md", &summary(&standings()));
    }

    #[test]
    fn the_details_are_as_on_file() {
        golden::assert_is("table/details.md", &details(&standings()));
    }

    #[test]
    fn who_failed_is_named_with_the_reason() {
        let text = subjects(&standings());
        assert!(
            text.contains("- s3fs (1.2): failed: no such <program>"),
            "{text}"
        );
    }
}
