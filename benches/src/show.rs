//! The lists of `cargo xtask show`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Result, anyhow, ensure};

use crate::data::Scale;
use crate::report::Report;
use crate::{machine, panic_words};

pub mod csi;
pub mod distributed;
mod faults;
pub mod local_speed;
pub mod read_path;
pub mod survive;

/// How a list is run, where its items have a choice.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whether other programs are measured, too.
    pub peers: bool,
    /// How much data.
    pub scale: Scale,
    /// Rounds of each comparison.
    pub rounds: usize,
}

/// One item of a list: its name, and what measures it.
#[derive(Clone, Copy, Debug)]
pub struct Item {
    /// The name, by which it can be chosen.
    pub name: &'static str,
    /// Measures, and adds its lines to the report.
    pub run: fn(&mut Report, &Options) -> Result<()>,
}

/// The items of a list whose names contain one of `only` (all, if it is empty).
///
/// # Errors
/// If one of `only` is in no name: a run that measures nothing would look like a success.
pub fn chosen(items: &'static [Item], only: &[String]) -> Result<Vec<&'static Item>> {
    for part in only {
        let names: Vec<_> = items.iter().map(|item| item.name).collect();
        ensure!(
            names.iter().any(|name| name.contains(&**part)),
            "--only {part:?} is in the name of no item; there are: {}",
            names.join(", ")
        );
    }
    let is_chosen = |name: &str| only.is_empty() || only.iter().any(|part| name.contains(&**part));
    Ok(items.iter().filter(|item| is_chosen(item.name)).collect())
}

/// Runs items in their order.
pub fn run(items: &[&Item], options: &Options) -> Report {
    println!("machine: {}", machine::describe());
    let mut report = Report::default();
    for item in items {
        println!("{}", item.name);
        // The harness panics where a test would end; here the next item goes on.
        let outcome = catch_unwind(AssertUnwindSafe(|| (item.run)(&mut report, options)));
        match outcome {
            Ok(Ok(())) => {}
            Ok(Err(error)) => report.failed(item.name, &error),
            Err(panic) => report.failed(item.name, &anyhow!("{}", panic_words(&*panic))),
        }
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(only: &[&str]) -> Result<Vec<&'static str>> {
        let only: Vec<_> = only.iter().map(|&part| part.to_owned()).collect();
        let items = chosen(read_path::ITEMS, &only)?;
        Ok(items.iter().map(|item| item.name).collect())
    }

    #[test]
    fn items_are_chosen_by_parts_of_their_names_and_a_part_of_none_is_refused() {
        assert_eq!(names(&[]).unwrap().len(), read_path::ITEMS.len());
        assert_eq!(
            names(&["fresh", "cold"]).unwrap(),
            ["cold read", "fresh clone"]
        );
        let error = names(&["cold", "warm"]).unwrap_err().to_string();
        assert!(
            error.contains("\"warm\"") && error.contains("fresh clone"),
            "{error}"
        );
    }
}
