//! Random damage to the files and the index of a cache.
//!
//! The test of the cache server that does this is run with more rounds than it has among
//! the others, and the figures are those that it prints.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::data::Scale;
use crate::report::Report;
use crate::show::Options;

const CORRUPTIONS: u64 = 1000;
const FEW: u64 = 20;

const TEST: &str = "no_random_corruption_is_served_and_each_is_counted";

/// What the test says in the end: how often it has done damage, how often that was
/// counted, how many bytes it has compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Outcome {
    inflicted: u64,
    counted: u64,
    compared_mib: u64,
}

impl Outcome {
    /// Reads `corruptions: N inflicted, N counted, N MiB compared`, wherever it stands in a
    /// line.
    fn parse(line: &str) -> Option<Self> {
        let (_, figures) = line.split_once("corruptions: ")?;
        let mut numbers = figures.split(", ").map(|figure| {
            let number = figure.split(' ').next()?;
            number.parse().ok()
        });
        Some(Self {
            inflicted: numbers.next()??,
            counted: numbers.next()??,
            compared_mib: numbers.next()??,
        })
    }
}

pub(super) fn run(report: &mut Report, options: &Options) -> Result<()> {
    let wanted = if options.scale == Scale::TINY {
        FEW
    } else {
        CORRUPTIONS
    };
    let mut test = Command::new("cargo")
        .args(["test", "--quiet", "--locked", "-p", "forebay-cache-server"])
        .args(["--test", "node", TEST, "--", "--nocapture"])
        .env("FOREBAY_CORRUPTIONS", wanted.to_string())
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .stdout(Stdio::piped())
        .spawn()
        .context("start cargo")?;
    let printed = test.stdout.take().context("its output is a pipe")?;
    let mut found = Outcome::default();
    for line in BufReader::new(printed).lines() {
        let line = line.context("read what the test prints")?;
        found = Outcome::parse(&line).unwrap_or(found);
    }
    let ended = test.wait().context("wait for the test")?;
    let wrong = if ended.success() {
        format!("0 wrong bytes in {} MiB compared", found.compared_mib)
    } else {
        format!("the test ended with {ended}")
    };
    let met = ended.success() && found.inflicted >= wanted && found.compared_mib > 0;
    report.line(
        met,
        &format!("{wanted} random corruptions of cache files and index: served"),
        wrong,
        "0 wrong bytes",
    );
    report.line(
        found.inflicted >= wanted && found.counted == found.inflicted,
        "corruptions that were counted",
        format_args!("{} of {}", found.counted, found.inflicted),
        "each",
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_behind_what_the_harness_prints() {
        let outcome = Outcome {
            inflicted: 60,
            counted: 59,
            compared_mib: 7,
        };
        let line = "test x ... corruptions: 60 inflicted, 59 counted, 7 MiB compared";
        assert_eq!(Outcome::parse(line), Some(outcome));
        assert_eq!(Outcome::parse("corruptions: many inflicted"), None);
        assert_eq!(Outcome::parse("test x ... ok"), None);
    }
}
