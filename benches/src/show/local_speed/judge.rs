//! Lines from standings: ours beside a limit, beside the best peer, and what it costs.

use anyhow::Result;

use crate::contest::{Contest, Course, Entry, Round, Setting, Standings};
use crate::report::Report;
use crate::sample::Sample;
use crate::show::Options;
use crate::site::Site;
use crate::subject::{self, Forebay, Role, State, WeedMount};
use crate::workload::Workload;

/// A workload on one thread.
pub(super) const fn alone(workload: Workload) -> Course {
    course(workload, 1)
}

/// A workload on some threads.
pub(super) const fn course(workload: Workload, threads: usize) -> Course {
    Course { workload, threads }
}

/// What a course is from one state.
pub(super) fn setting(course: Course, state: State) -> Setting {
    Setting {
        workload: course.workload,
        threads: course.threads,
        state,
    }
}

/// Holds a contest, says who failed, and gives every setting its lines about cost and
/// plain mode.
pub(super) fn held(
    report: &mut Report,
    options: &Options,
    contest: &Contest<'_>,
) -> Result<Standings> {
    let site = Site::new("local-speed", options.scale, &[contest.set])?;
    let subjects = if options.peers {
        subject::all(&site)
    } else {
        subject::without_peers(&site)
    };
    let standings = contest.hold(&site, &subjects);
    for entry in &standings.entries {
        if let Some(failure) = &entry.failure {
            let item = format!("{} {}", entry.name, entry.version);
            match entry.role {
                Role::Ours => report.failed(&item, &anyhow::anyhow!("{failure}")),
                _ => report.figure(&item, format_args!("failed: {failure}")),
            }
        }
    }
    for setting in standings.settings() {
        rates(report, &standings, setting);
        if options.peers {
            plain(report, &standings, setting);
            cost(report, &standings, setting);
        }
    }
    Ok(standings)
}

/// The speed of everyone, for whoever reads the ratios.
fn rates(report: &mut Report, standings: &Standings, setting: Setting) {
    for entry in &standings.entries {
        let rate = entry.sample(setting, |round| round.rate);
        if rate.is_empty() {
            continue;
        }
        let cpu = entry.sample(setting, Round::cpu).median();
        let figure = format!(
            "{rate:.0}, CPU {cpu:.2} s, peak {:.0} MiB",
            peak(entry, setting)
        );
        let item = format!("{setting}, {}, {}", setting.workload.unit(), entry.name);
        report.figure(&item, figure);
    }
}

/// `name` is at least `bound` times as fast as what limits it in the same rounds. Cached, in
/// rounds both ways: the host of a virtual machine may well slow down every other read of a
/// file, whoever's it is.
pub(super) fn beside_limit(
    report: &mut Report,
    standings: &Standings,
    setting: Setting,
    name: &str,
    bound: f64,
) {
    let Some(limit) = standings.limit(setting) else {
        return;
    };
    let ratio = match setting.state {
        State::Cold => standings.ratio(setting, name, limit.name, |round| round.rate),
        State::Warm | State::Hot => standings.ratio_both_ways(setting, name, limit.name),
    };
    at_least(
        report,
        &format!("{setting}, {name} : {}", limit.name),
        &ratio,
        bound,
    );
}

/// `name` is at least `bound` times as fast as the best peer in the same rounds.
pub(super) fn beside_peers(
    report: &mut Report,
    standings: &Standings,
    setting: Setting,
    name: &str,
    bound: f64,
) {
    beside(report, standings, setting, name, bound, &|_| true);
}

/// The same of the peers that read by S3: `weed mount` asks the volume server itself, which
/// the bucket of a cloud does not have.
pub(super) fn beside_s3_peers(
    report: &mut Report,
    standings: &Standings,
    setting: Setting,
    name: &str,
    bound: f64,
) {
    let reads_by_s3 = |entry: &Entry| entry.name != WeedMount::NAME;
    beside(report, standings, setting, name, bound, &reads_by_s3);
}

fn beside(
    report: &mut Report,
    standings: &Standings,
    setting: Setting,
    name: &str,
    bound: f64,
    counts: &dyn Fn(&Entry) -> bool,
) {
    let Some(peer) = standings.best_peer(setting, counts) else {
        return;
    };
    let ratio = standings.ratio(setting, name, peer.name, |round| round.rate);
    let item = format!("{setting}, {name} : the best peer, {}", peer.name);
    at_least(report, &item, &ratio, bound);
}

fn at_least(report: &mut Report, item: &str, ratio: &Sample, bound: f64) {
    if ratio.is_empty() {
        report.line(false, item, "not measured", bound);
    } else {
        report.line(ratio.median() >= bound, item, ratio, bound);
    }
}

/// What an older kernel gives is not slower than any peer.
fn plain(report: &mut Report, standings: &Standings, setting: Setting) {
    beside_peers(report, standings, setting, Forebay::PLAIN, 1.0);
}

/// Processor time and memory are less than every peer's.
fn cost(report: &mut Report, standings: &Standings, setting: Setting) {
    let cpu = |entry: &Entry| entry.sample(setting, Round::cpu).median();
    let name = "CPU seconds for the same work";
    less_than_peers(report, standings, setting, name, cpu);
    let peak = |entry: &Entry| peak(entry, setting);
    less_than_peers(report, standings, setting, "peak RSS in MiB", peak);
}

fn less_than_peers(
    report: &mut Report,
    standings: &Standings,
    setting: Setting,
    name: &str,
    figure: impl Fn(&Entry) -> f64,
) {
    let least = standings
        .peers(setting)
        .map(|entry| (figure(entry), entry.name))
        .min_by(|a, b| a.0.total_cmp(&b.0));
    let (Some((least, peer)), Some(ours)) = (least, standings.entry(Forebay::NAME)) else {
        return;
    };
    let value = figure(ours);
    report.line(
        value < least,
        &format!("{setting}, {name}"),
        format_args!("{value:.2}"),
        format_args!("< {least:.2}, {peer}"),
    );
}

fn peak(entry: &Entry, setting: Setting) -> f64 {
    let peak = entry.sample(setting, |round| round.peak as f64 / f64::from(1 << 20));
    peak.max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contest::example;

    #[test]
    fn a_ratio_below_its_bound_is_short() {
        let standings = example::standings();
        let warm = example::setting(State::Warm);
        let mut report = Report::default();
        beside_limit(&mut report, &standings, warm, "Forebay", 0.98);
        beside_limit(&mut report, &standings, warm, "rclone", 0.98);
        beside_peers(&mut report, &standings, warm, "Forebay", 2.0);
        let table = report.markdown();
        let verdicts: Vec<bool> = table
            .lines()
            .skip(2)
            .map(|line| line.contains("short"))
            .collect();
        assert_eq!(verdicts, [false, true, false]);
    }

    #[test]
    fn what_was_not_measured_is_short() {
        let mut report = Report::default();
        let cold = example::setting(State::Cold);
        beside_peers(&mut report, &example::standings(), cold, Forebay::PLAN, 1.0);
        assert!(report.markdown().contains("not measured"));
        assert!(!report.finish());
    }
}
