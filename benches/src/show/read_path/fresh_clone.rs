//! A clone of this commit, as a new user has it: both commands of the README.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};
use forebay_tests::Scratch;

use crate::report::Report;

const NEED: u64 = 12 << 30;

pub(super) fn run(report: &mut Report) -> Result<()> {
    let scratch = Scratch::new("clone", NEED);
    let clone = scratch.path().join("forebay");
    let repository = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let cloned = Command::new("git")
        .args(["clone", "--quiet", repository])
        .arg(&clone)
        .status();
    anyhow::ensure!(cloned.context("start git")?.success(), "git clone failed");
    for task in ["demo", "test"] {
        let begun = Instant::now();
        let status = Command::new("cargo")
            .args(["xtask", task])
            .current_dir(&clone)
            .env_remove("CARGO_TARGET_DIR")
            .status()
            .context("start cargo")?;
        let took = begun.elapsed().as_secs();
        let item = format!("cargo xtask {task} in a fresh clone");
        report.line(
            status.success(),
            &item,
            format_args!("{status} after {took} s"),
            "exit 0",
        );
    }
    Ok(())
}
