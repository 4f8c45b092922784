//! One program after another in the place of the one that serves a mount.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use forebay_tests::{Kind, Mount, besiege, binary};

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
    let programs = [other_build()?, binary()];
    report.figure("upgrades between", format_args!("{programs:?}"));
    let bucket = siege::bucket();
    let dataset = siege::dataset(&bucket);
    let mount = siege::mount(&bucket, "upgrade").start();
    let mut turns = programs.iter().cycle().take(upgrades);
    let mut done = Vec::new();
    let survived = besiege(&mount, &dataset, &Kind::EIGHT, (upgrades, 2), |mount| {
        let program = turns.next().expect("as many turns as blows");
        done.push(upgrade(mount, program));
        siege::progress("upgrade", done.len(), upgrades);
    });
    let failed: Vec<_> = done.iter().filter_map(|done| done.as_ref().err()).collect();
    for error in failed.iter().take(5) {
        println!("       {error:#}");
    }
    let succeeded = done.len() - failed.len();
    report.line(
        succeeded == upgrades && mount.status()["restarts"] == 0,
        "upgrade: programs that took over",
        succeeded,
        upgrades,
    );
    siege::tell(report, "upgrade", &mount, &[survived]);
    mount.unmount();
    Ok(())
}

/// Puts `program` in the place of the one that serves.
fn upgrade(mount: &Mount, program: &Path) -> Result<()> {
    let (path, wanted) = (mount.path(), program.to_string_lossy());
    let output = mount.run(&["upgrade", &path.to_string_lossy(), "--binary", &wanted]);
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "forebay upgrade: {said}");
    let pid = mount.client_pid().context("a process serves")?;
    let serves = fs::read_link(format!("/proc/{pid}/exe"))?;
    ensure!(serves == program, "{} serves", serves.display());
    Ok(())
}

/// The debug build beside this release build.
fn other_build() -> Result<PathBuf> {
    let own = binary().canonicalize()?;
    let target = own.parent().and_then(Path::parent);
    let other = target
        .context("a build has a directory")?
        .join("debug/forebay");
    let same = fs::read(&other).is_ok_and(|other| fs::read(&own).is_ok_and(|own| own == other));
    ensure!(
        other.is_file() && !same,
        "{} is to be another build than {}: cargo build -p forebay",
        other.display(),
        own.display()
    );
    Ok(other)
}
