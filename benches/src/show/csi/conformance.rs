//! csi-sanity, run by xtask.

use std::process::Command;

use anyhow::{Context, Result};

use crate::report::Report;
use crate::show::Options;

pub(super) fn run(report: &mut Report, _: &Options) -> Result<()> {
    let xtask = std::env::var_os("FOREBAY_XTASK").context("run by `cargo xtask show csi` only")?;
    let done = Command::new(xtask).arg("csi-sanity").output()?;
    let printed = String::from_utf8_lossy(&done.stdout);
    let lines = printed
        .lines()
        .filter_map(|line| line.strip_prefix("csi-sanity: "));
    let mut counts = None;
    for line in lines {
        if line.contains(" passed, ") {
            counts = Some(line.to_owned());
        } else {
            report.figure("csi-sanity", line.trim());
        }
    }
    let counts = counts.unwrap_or_else(|| String::from_utf8_lossy(&done.stderr).into_owned());
    report.line(done.status.success(), "csi-sanity", counts, "0 failed");
    Ok(())
}
