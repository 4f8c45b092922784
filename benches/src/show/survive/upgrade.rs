//! One program after another in the place of the one that serves a mount.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use forebay_tests::{Bucket, Kind, besiege, binary};

use super::siege;
use crate::data::Scale;
use crate::report::Report;
use crate::show::Options;

const UPGRADES: usize = 20;
const FEW: usize = 3;

pub(super) fn run(report: &mut Report, options: &Options) -> Result<()> {
    let upgrades = if options.scale == Scale::TINY {
        FEW
    } else {
        UPGRADES
    };
    let bucket = siege::bucket();
    let dataset = siege::dataset(&bucket);
    let programs = [other_build(&bucket)?, binary()];
    report.figure("upgrades between", format_args!("{programs:?}"));
    let mount = siege::mount(&bucket, "upgrade").start();
    let path = mount.path();
    let path = path.to_str().context("a scratch directory is UTF-8")?;
    let mut turns = programs.iter().cycle();
    let mut failed = Vec::new();
    let survived = besiege(&mount, &dataset, &Kind::EIGHT, (upgrades, 2), |mount| {
        let program = turns.next().and_then(|program| program.to_str());
        let program = program.expect("build directories are UTF-8");
        let output = mount.run(&["upgrade", path, "--binary", program]);
        if !output.status.success() {
            failed.push(String::from_utf8_lossy(&output.stderr).into_owned());
        }
    });
    ensure!(failed.is_empty(), "upgrades that failed: {failed:?}");
    siege::tell(report, "upgrade", &mount, &[survived]);
    mount.unmount();
    Ok(())
}

/// A debug build beside this release build; a copy of it where there is none.
fn other_build(bucket: &Bucket) -> Result<PathBuf> {
    let own = binary();
    let target = own.parent().and_then(|dir| dir.parent());
    let debug = target.map(|target| target.join("debug/forebay"));
    if let Some(debug) = debug.filter(|path| path.is_file() && *path != own) {
        return Ok(debug);
    }
    let copy = bucket.scratch().path().join("forebay");
    fs::copy(&own, &copy)?;
    Ok(copy)
}
