//! The lists of `cargo xtask show`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Result, anyhow};

use crate::machine;
use crate::report::Report;

pub mod read_path;

/// One item of a list: its name, and what measures it.
#[derive(Clone, Copy, Debug)]
pub struct Item {
    /// The name, by which it can be chosen.
    pub name: &'static str,
    /// Measures, and adds its lines to the report.
    pub run: fn(&mut Report) -> Result<()>,
}

/// Runs the items of a list whose names contain one of `only` (all, if it is empty), and
/// says whether every line was met.
pub fn run(items: &[Item], only: &[String]) -> bool {
    println!("machine: {}", machine::describe());
    let chosen =
        |item: &&Item| only.is_empty() || only.iter().any(|part| item.name.contains(&**part));
    let mut report = Report::default();
    for item in items.iter().filter(chosen) {
        println!("{}", item.name);
        // The harness panics where a test would end; here the next item goes on.
        let outcome = catch_unwind(AssertUnwindSafe(|| (item.run)(&mut report)));
        match outcome {
            Ok(Ok(())) => {}
            Ok(Err(error)) => report.failed(item.name, &error),
            Err(panic) => report.failed(item.name, &anyhow!("{}", words(&*panic))),
        }
    }
    report.finish()
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("panicked")
        .to_owned()
}
