//! A cached file of the dataset and the same bytes in a hostPath volume, read in one pod.

use anyhow::{Result, ensure};
use forebay_tests::cluster::{Cluster, Fixture, NODE};

use crate::page_cache;
use crate::report::Report;
use crate::sample::Sample;
use crate::show::Options;

const BOUND: f64 = 0.95;
const ROUNDS: usize = 31;
/// Long enough to read that opening it does not count.
const SIZE: u64 = 1 << 30;
/// A hot read takes some hundredths of a second, which the clock's own cost would blur.
const HOT_READS: usize = 4;
const POD: &str = "speed";
const OURS: &str = "/data/large";
const THEIRS: &str = "/host/large";
const SMALL: &str = "/data/SHA256SUMS";
/// Where the node keeps the file to compare with.
const HOST_DIR: &str = "/var/lib/forebay/speed";

pub(super) fn run(report: &mut Report, _: &Options) -> Result<()> {
    let fixture = Fixture::with_large("read-speed", SIZE);
    let host = fixture
        .cluster
        .node_root(NODE)
        .join(HOST_DIR.trim_start_matches('/'));
    std::fs::create_dir_all(&host)?;
    std::fs::write(host.join("large"), Fixture::large(SIZE))?;
    std::fs::write(host.join("small"), "small")?;
    let volume = format!("persistentVolumeClaim: {{claimName: {}}}", fixture.name);
    fixture.pod_beside(POD, "sleep 3600", &volume, HOST_DIR);
    fixture.cluster.wait_phase(POD, "Running");
    // Once to fetch it; then what is complete is opened anew.
    for _ in 0..2 {
        read(&fixture.cluster, OURS, 1)?;
    }
    for (state, is_cold) in [("page cache dropped", true), ("hot", false)] {
        let mut ratios = Vec::new();
        for _ in 0..ROUNDS {
            // Who comes second finds what the disk or its host remembers: each does once.
            let both_ways = |timed: &dyn Fn(&str) -> Result<f64>| -> Result<f64> {
                let (ours, theirs) = (timed(OURS)?, timed(THEIRS)?);
                let (theirs, ours) = (theirs + timed(THEIRS)?, ours + timed(OURS)?);
                Ok(theirs / ours)
            };
            let cold = |path: &str| {
                page_cache::drop_all()?;
                // The programs of both ways are in memory again; the data is not.
                let words = ["exec", POD, "--", "head", "-c", "1", SMALL, "/host/small"];
                fixture.cluster.kubectl(&words);
                read(&fixture.cluster, path, 1)
            };
            let hot = |path: &str| read(&fixture.cluster, path, HOT_READS);
            ratios.push(if is_cold {
                both_ways(&cold)?
            } else {
                // Where in memory a file lies makes a read faster or slower by a tenth: both are
                // somewhere else in each round.
                page_cache::drop_all()?;
                read(&fixture.cluster, OURS, 1)?;
                read(&fixture.cluster, THEIRS, 1)?;
                both_ways(&hot)?
            });
        }
        let ratios = Sample::new(ratios);
        report.line(
            ratios.median() >= BOUND,
            &format!("read speed in a pod : hostPath, {state}"),
            format!("{ratios:.2}"),
            BOUND,
        );
    }
    std::fs::remove_dir_all(&host)?;
    Ok(())
}

/// Seconds that reading a file takes in the pod, the mean of so many times.
fn read(cluster: &Cluster, path: &str, times: usize) -> Result<f64> {
    let dd = format!("dd if={path} of=/dev/null bs=1M 2>/dev/null; ").repeat(times);
    // busybox has no other clock that tells more than hundredths of a second. It ends with
    // an error where nobody disciplines the clock.
    let script = format!("adjtimex; {dd}adjtimex; true");
    let said = cluster.kubectl(&["exec", POD, "--", "sh", "-c", &script]);
    let instants = instants(&said);
    ensure!(instants.len() == 2, "adjtimex said {said:?}");
    Ok((instants[1] - instants[0]) / times as f64)
}

/// The clock's seconds, as often as adjtimex has printed them.
fn instants(said: &str) -> Vec<f64> {
    let field = |name: &str| {
        let lines = said.lines().map(str::trim);
        let values = lines.filter_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
        values.collect::<Vec<_>>()
    };
    let (seconds, micros) = (field("time.tv_sec:"), field("time.tv_usec:"));
    let both = seconds.iter().zip(micros);
    both.map(|(seconds, micros)| seconds + micros / 1e6)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_read_from_what_adjtimex_prints() {
        let said = "    mode:         0\n    time.tv_sec:  1795493374\n    time.tv_usec: 500000\n";
        assert_eq!(instants(&said.repeat(2)), [1_795_493_374.5; 2]);
        assert_eq!(instants(""), Vec::<f64>::new());
    }
}
