//! `kill -9` of one server of four while readers read on every node.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::load::{Load, tell_wait};
use crate::data::Scale;
use crate::report::Report;
use crate::show::Options;

/// How long whoever supervises it takes to start another one.
const DOWN: Duration = Duration::from_secs(3);
/// Between two blows, so that bytes move between nodes again.
const BETWEEN: Duration = Duration::from_secs(3);
/// A process that is killed has lost nothing; eviction goes on meanwhile.
const KEPT: f64 = 0.9;

const CACHED: &str = "forebay_cache_used_bytes";

/// One blow.
struct Blow {
    node: usize,
    struck: Instant,
    back: Instant,
    /// Until the others had noticed.
    noticed: Duration,
    /// What the server had in its cache when it came back, beside what it had before.
    kept: f64,
}

pub(super) fn run(report: &mut Report, options: &Options) -> Result<()> {
    let load = Load::start("killed", options.scale);
    let all = load.nodes().len();
    let blows = if options.scale == Scale::TINY { 1 } else { all };
    sleep(BETWEEN);
    let blows: Vec<Blow> = (0..blows).map(|node| strike(&load, node)).collect();
    let item = "server killed";
    let outcome = load.stop(report, item)?;
    let others: Vec<_> = blows
        .iter()
        .map(|blow| outcome.longest(blow.struck, blow.back, Some(blow.node)))
        .collect();
    tell_wait(
        report,
        &format!("{item}: longest wait on other nodes"),
        &others,
    );
    let own: Vec<_> = blows
        .iter()
        .map(|blow| outcome.resumed(blow.node, blow.back))
        .collect();
    let own_item = format!("{item}: reads on its node resume after it is back");
    tell_wait(report, &own_item, &own);
    let noticed: Vec<_> = blows.iter().map(|blow| blow.noticed).collect();
    tell_wait(report, &format!("{item}: out of the cluster"), &noticed);
    let kept = blows
        .iter()
        .map(|blow| blow.kept)
        .fold(f64::INFINITY, f64::min);
    report.line(
        kept >= KEPT,
        &format!("{item}: of its cache when it is back, the least"),
        format_args!("{kept:.3}"),
        KEPT,
    );
    Ok(())
}

/// Kills the server of a node and starts it again a little later.
fn strike(load: &Load, number: usize) -> Blow {
    let node = &load.nodes()[number];
    let all = load.nodes().len();
    let before = node.first_metric(CACHED);
    let struck = Instant::now();
    node.kill_server();
    let noticed = load.others_see(all - 1, node);
    sleep(DOWN.saturating_sub(struck.elapsed()));
    node.start_server();
    let back = Instant::now();
    let kept = node.first_metric(CACHED) / before;
    load.nodes().iter().for_each(|node| node.sees(all));
    sleep(BETWEEN);
    Blow {
        node: number,
        struck,
        back,
        noticed,
        kept,
    }
}
