//! What commands print: text for people, aligned, and JSON for scripts.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use serde::Serialize;

use crate::exit::{Exit, Failure};

/// Prints to the standard output. A reader that has seen enough (`| head`) is no error.
///
/// # Errors
/// If the output cannot be written for another reason.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Failed, error))
        }
        _ => Ok(()),
    }
}

/// Prints `value` as indented JSON.
///
/// # Errors
/// As [`print()`].
pub fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Failure::new(Exit::Failed, e))?;
    print(&(text + "\n"))
}

/// Prints `value` as JSON on one line.
///
/// # Errors
/// As [`print()`].
pub fn print_json_line(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value).map_err(|e| Failure::new(Exit::Failed, e))?;
    print(&(text + "\n"))
}

/// A number with separators: `1,281,167`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `number` of what is named so in the singular: `1 file`, `2 files`.
pub fn counted(number: u64, noun: &str) -> String {
    let plural = match (number, noun.strip_suffix('y')) {
        (1, _) => noun.to_owned(),
        (_, Some(stem)) => format!("{stem}ies"),
        (_, None) => format!("{noun}s"),
    };
    format!("{} {plural}", count(number))
}

/// `part` of `whole` in percent, in steps of a tenth and never rounded up: only all is
/// 100. All of nothing is 100, too.
pub fn percent(part: u64, whole: u64) -> f64 {
    if part >= whole {
        return 100.0;
    }
    (part as f64 * 1000.0 / whole as f64).floor().min(999.0) / 10.0
}

/// Rows of cells as lines with aligned columns, the first to the left and the others to
/// the right.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            // Writing to a String cannot fail.
            let _ = match column {
                0 => write!(line, "{cell:<width$}"),
                _ => write!(line, "  {cell:>width$}"),
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Labels and values, one a line, below a title.
pub fn fields(title: &str, fields: &[(&str, String)]) -> String {
    let width = fields
        .iter()
        .map(|(label, _)| label.len())
        .max()
        .unwrap_or(0);
    let mut text = format!("{title}\n");
    for (label, value) in fields {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {label:<width$}  {value}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_separators_every_three_digits() {
        let printed = [0, 12, 999, 1000, 1_281_167].map(count);
        assert_eq!(printed, ["0", "12", "999", "1,000", "1,281,167"]);
    }

    #[test]
    fn one_is_singular() {
        assert_eq!(counted(1, "file"), "1 file");
        assert_eq!(counted(0, "file"), "0 files");
        assert_eq!(counted(2, "directory"), "2 directories");
    }

    #[test]
    fn almost_all_is_not_a_hundred_percent() {
        assert_eq!(percent(0, 0), 100.0);
        assert_eq!(percent(1, 4), 25.0);
        assert_eq!(percent(999_999_999, 1_000_000_000), 99.9);
        assert_eq!(percent(u64::MAX - 1, u64::MAX), 99.9);
    }

    #[test]
    fn columns_are_aligned() {
        let rows = [
            vec!["a".to_owned(), "1".to_owned()],
            vec!["bcd".to_owned(), "100".to_owned()],
        ];
        assert_eq!(table(&rows), "a      1\nbcd  100\n");
    }

    #[test]
    fn fields_are_aligned_below_their_title() {
        let text = fields("t", &[("a", "1".into()), ("long", "2".into())]);
        assert_eq!(text, "t\n  a     1\n  long  2\n");
    }
}
