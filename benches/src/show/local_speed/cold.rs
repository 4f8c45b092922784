//! Nothing cached: beside GETs by the same library, and beside the best peer.

use anyhow::Result;

use super::judge::{alone, beside_limit, beside_peers, beside_s3_peers, course, held, setting};
use crate::contest::{Contest, Course, Round, Setting, Standings};
use crate::data::Set;
use crate::report::Report;
use crate::show::Options;
use crate::subject::{Forebay, RawGet, State};
use crate::workload::Workload;

/// Beside a GET whose bytes are written to a file.
const BESIDE_GET: f64 = 0.9;
/// Large files beside the best peer.
const BESIDE_PEER: f64 = 1.5;
/// An epoch of small files that nobody announced, beside the best peer that reads by S3.
const UNANNOUNCED: f64 = 2.0;
/// The time of a random read beside that of a GET of the same bytes.
const LATENCY: f64 = 1.1;
/// Workers of a data loader.
const WORKERS: usize = 4;

pub(super) fn large(report: &mut Report, options: &Options) -> Result<()> {
    let sequential = alone(Workload::Sequential);
    let (standings, cold) = contest(report, options, Set::Large, sequential)?;
    beside_limit(report, &standings, cold, Forebay::NAME, BESIDE_GET);
    if options.peers {
        beside_peers(report, &standings, cold, Forebay::NAME, BESIDE_PEER);
    }
    Ok(())
}

pub(super) fn random(report: &mut Report, options: &Options) -> Result<()> {
    let (standings, cold) = contest(report, options, Set::Large, alone(Workload::Random))?;
    let p50 = |round: &Round| round.p50.unwrap_or(f64::NAN);
    let p99 = |round: &Round| round.p99.unwrap_or(f64::NAN);
    latency(report, &standings, cold, "p50", p50);
    latency(report, &standings, cold, "p99", p99);
    Ok(())
}

/// A read takes no longer than a GET of the same bytes, or a little longer.
fn latency(
    report: &mut Report,
    standings: &Standings,
    cold: Setting,
    name: &str,
    figure: impl Fn(&Round) -> f64,
) {
    let ratio = standings.ratio(cold, Forebay::NAME, RawGet::NAME, figure);
    let met = ratio.median() <= LATENCY;
    let item = format!("{cold}, {name}, Forebay : raw GET");
    report.line(met, &item, &ratio, format_args!("<= {LATENCY}"));
}

pub(super) fn epoch(report: &mut Report, options: &Options) -> Result<()> {
    let epoch = course(Workload::Epoch, WORKERS);
    let (standings, cold) = contest(report, options, Set::Small, epoch)?;
    beside_limit(report, &standings, cold, Forebay::PLAN, BESIDE_GET);
    if options.peers {
        beside_s3_peers(report, &standings, cold, Forebay::NAME, UNANNOUNCED);
    }
    Ok(())
}

pub(super) fn columns(report: &mut Report, options: &Options) -> Result<()> {
    let columns = course(Workload::Columns, WORKERS);
    let (standings, cold) = contest(report, options, Set::Columns, columns)?;
    if options.peers {
        beside_peers(report, &standings, cold, Forebay::NAME, 1.0);
    }
    Ok(())
}

fn contest(
    report: &mut Report,
    options: &Options,
    set: Set,
    course: Course,
) -> Result<(Standings, Setting)> {
    let contest = Contest {
        set,
        cold: &[course],
        cached: &[],
        rounds: options.rounds,
        duels: 0,
    };
    let standings = held(report, options, &contest)?;
    Ok((standings, setting(course, State::Cold)))
}
