//! Half a minute in which a node cannot reach the other members, or nobody at all.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::load::{Load, tell_wait};
use crate::data::Scale;
use crate::report::Report;
use crate::show::Options;

const CUT: Duration = Duration::from_secs(30);
/// To see that everything runs.
const CUT_BRIEFLY: Duration = Duration::from_secs(4);
/// Before and after.
const BESIDE: Duration = Duration::from_secs(4);
/// The node that is cut off.
const NODE: usize = 1;

/// What of its cable is cut.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// The other members: the origin can be reached.
    Members,
    /// Everything.
    All,
}

pub(super) fn run(report: &mut Report, options: &Options) -> Result<()> {
    let cut = match options.scale == Scale::TINY {
        true => CUT_BRIEFLY,
        false => CUT,
    };
    partition(report, options.scale, Reach::Members, cut)?;
    partition(report, options.scale, Reach::All, cut)
}

fn partition(report: &mut Report, scale: Scale, reach: Reach, cut: Duration) -> Result<()> {
    let what = match reach {
        Reach::Members => "cut off from the members",
        Reach::All => "cut off from members and origin",
    };
    let item = format!("{what} for {} s", cut.as_secs());
    let load = Load::start("partition", scale);
    sleep(BESIDE);
    let begun = Instant::now();
    sever(&load, reach);
    let noticed = load.others_see(load.nodes().len() - 1, &load.nodes()[NODE]);
    sleep(cut.saturating_sub(begun.elapsed()));
    load.nodes()[NODE].namespace().mend();
    let mended = Instant::now();
    load.nodes()
        .iter()
        .for_each(|node| node.sees(load.nodes().len()));
    sleep(BESIDE);
    let ended = Instant::now();
    let outcome = load.stop(report, &item)?;
    let others = outcome.longest(begun, ended, Some(NODE));
    tell_wait(
        report,
        &format!("{item}: longest wait on other nodes"),
        &[others],
    );
    match reach {
        Reach::Members => {
            let own = outcome.longest(begun, ended, None);
            tell_wait(report, &format!("{item}: longest wait on any node"), &[own]);
        }
        Reach::All => {
            let own = outcome.resumed(NODE, mended);
            tell_wait(
                report,
                &format!("{item}: its reads resume afterwards"),
                &[own],
            );
        }
    }
    tell_wait(report, &format!("{item}: out of the cluster"), &[noticed]);
    Ok(())
}

fn sever(load: &Load, reach: Reach) {
    let others: Vec<_> = load
        .nodes()
        .iter()
        .map(|node| node.namespace().address())
        .collect();
    let node = load.nodes()[NODE].namespace();
    match reach {
        Reach::All => node.cut(),
        Reach::Members => {
            let others: Vec<_> = others
                .into_iter()
                .filter(|at| *at != node.address())
                .collect();
            node.cut_from(&others);
        }
    }
}
