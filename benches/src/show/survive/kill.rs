//! `kill -9` of the process that serves a mount, again and again.

use anyhow::Result;
use forebay_tests::{Kind, besiege};

use super::siege;
use crate::data::Scale;
use crate::report::Report;
use crate::show::Options;

/// Each open mode, and how often the process is killed in it: a hundred times in all.
const MODES: [(&str, usize); 3] = [("passthrough", 34), ("no-open", 33), ("plain", 33)];
/// How often it is to see that everything runs.
const FEW: usize = 3;

pub(super) fn run(report: &mut Report, options: &Options) -> Result<()> {
    let bucket = siege::bucket();
    let dataset = siege::dataset(&bucket);
    let mut all = Vec::new();
    for (mode, kills) in MODES {
        let kills = if options.scale == Scale::TINY {
            FEW
        } else {
            kills
        };
        let mount = siege::mount(&bucket, mode)
            .args(&["--open-mode", mode])
            .start();
        let item = format!("kill -9, {mode}");
        let mut done = 0;
        let survived = besiege(&mount, &dataset, &Kind::EIGHT, (kills, 1), |mount| {
            mount.kill_client();
            done += 1;
            siege::progress(&item, done, kills);
        });
        let restarts = mount.status()["restarts"].as_u64();
        report.line(
            restarts == Some(kills as u64),
            &format!("{item}: processes that took over"),
            restarts.unwrap_or_default(),
            kills,
        );
        all.push(survived);
        siege::tell(report, &item, &mount, &all[all.len() - 1..]);
        if all.len() == MODES.len() {
            siege::tell(report, "kill -9, all modes", &mount, &all);
        }
        mount.unmount();
    }
    Ok(())
}
