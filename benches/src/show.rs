//! The lists of `cargo xtask show`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Result, anyhow};

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

/// Runs the items of a list whose names contain one of `only` (all, if it is empty).
pub fn run(items: &[Item], only: &[String], options: &Options) -> Report {
    println!("machine: {}", machine::describe());
    let chosen =
        |item: &&Item| only.is_empty() || only.iter().any(|part| item.name.contains(&**part));
    let mut report = Report::default();
    for item in items.iter().filter(chosen) {
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
