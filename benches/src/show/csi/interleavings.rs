//! 1,000 random interleavings of calls with kills.

use std::panic::resume_unwind;
use std::thread;
use std::time::Instant;

use anyhow::Result;
use forebay_tests::csi::{Interleaving, Played};

use crate::report::Report;
use crate::show::Options;

const PLAYS: u64 = 1000;
/// How many nodes, each with a driver of its own, are played on at once: a play waits for
/// processes more than it works.
const NODES: u64 = 4;
/// Failures of a node that are told in full.
const SHOWN: usize = 3;

pub(super) fn run(report: &mut Report, _: &Options) -> Result<()> {
    let begun = Instant::now();
    let outcomes: Vec<_> = thread::scope(|scope| {
        let nodes: Vec<_> = (0..NODES)
            .map(|first| scope.spawn(move || play_on_one_node(first)))
            .collect();
        let joined = nodes.into_iter().map(thread::ScopedJoinHandle::join);
        joined
            .map(|outcome| outcome.unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    });
    let (mut total, mut wrong) = (Played::default(), 0);
    for (played, of_node) in outcomes {
        add(&mut total, played);
        wrong += of_node;
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
             the mounts, on {NODES} nodes in {:.0?}",
            begun.elapsed()
        ),
    );
    let figure = format!("{wrong} of {PLAYS} left a mount, a process or a wrong state");
    report.line(wrong == 0, "random interleavings", figure, "0");
    Ok(())
}

/// Plays every seed that is `first` and a multiple of the number of nodes; what was
/// played, and how many went wrong.
fn play_on_one_node(first: u64) -> (Played, usize) {
    let mut interleaving = Interleaving::new();
    let (mut total, mut wrong) = (Played::default(), 0);
    for seed in (first..PLAYS).step_by(NODES as usize) {
        match interleaving.play(seed) {
            Ok(played) => add(&mut total, played),
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
    (total, wrong)
}

fn add(total: &mut Played, played: Played) {
    total.calls += played.calls;
    total.driver_kills += played.driver_kills;
    total.mount_kills += played.mount_kills;
    total.cut_off += played.cut_off;
}
