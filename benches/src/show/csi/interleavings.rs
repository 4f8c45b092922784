//! 1,000 random interleavings of calls with kills.

use std::time::Instant;

use anyhow::Result;
use forebay_tests::csi::{Interleaving, Played};

use crate::report::Report;
use crate::show::Options;

const PLAYS: u64 = 1000;
/// Failures that are told in full.
const SHOWN: usize = 3;

pub(super) fn run(report: &mut Report, _: &Options) -> Result<()> {
    let begun = Instant::now();
    let mut interleaving = Interleaving::new();
    let mut total = Played::default();
    let mut wrong = 0;
    for seed in 0..PLAYS {
        match interleaving.play(seed) {
            Ok(played) => {
                total.calls += played.calls;
                total.driver_kills += played.driver_kills;
                total.mount_kills += played.mount_kills;
                total.cut_off += played.cut_off;
            }
            Err(what) => {
                wrong += 1;
                if wrong <= SHOWN {
                    println!("{what}");
                }
                // A node that is known to be in order, for the next.
                interleaving = Interleaving::new();
            }
        }
    }
    let Played {
        calls,
        driver_kills,
        mount_kills,
        cut_off,
    } = total;
    report.figure(
        "played",
        format!(
            "{calls} calls, {cut_off} cut off, {driver_kills} kills of the driver, {mount_kills} of \
             the mounts, in {:.0?}",
            begun.elapsed()
        ),
    );
    let figure = format!("{wrong} of {PLAYS} left a mount, a process or a wrong state");
    report.line(wrong == 0, "random interleavings", figure, "0");
    Ok(())
}
