//! From the making of a pod to the first byte that it reads.

use anyhow::{Context, Result};
use forebay_tests::cluster::{Fixture, NODE};

use crate::report::Report;
use crate::sample::Sample;
use crate::show::Options;

const PODS: usize = 20;
const BOUND_SECONDS: f64 = 0.5;

/// Reads a byte and says when, by the clock of the machine.
const READ: &str = "head -c 1 /data/SHA256SUMS >/dev/null 2>&1; cat /proc/uptime";
/// Reads everything, so that it is cached on the node.
const WARM: &str = "cat /data/SHA256SUMS >/dev/null";

pub(super) fn run(report: &mut Report, _: &Options) -> Result<()> {
    let fixture = Fixture::new("first-byte");
    fixture.pod("warm", WARM, "");
    fixture.cluster.wait_success("warm");
    fixture.cluster.delete_pod("warm");
    let claim = format!("persistentVolumeClaim: {{claimName: {}}}", fixture.name);
    let (mut plain, mut ours) = (Vec::new(), Vec::new());
    for number in 0..PODS {
        // In turn, so that both see the same machine.
        plain.push(seconds(
            &fixture,
            &format!("plain-{number}"),
            "emptyDir: {}",
        )?);
        ours.push(seconds(&fixture, &format!("ours-{number}"), &claim)?);
    }
    let driver = fixture.cluster.pod_of("forebay-csi", NODE);
    let log = fixture
        .cluster
        .kubectl(&["-n", "forebay-system", "logs", &driver, "--tail=400"]);
    let phase = |name: &str| {
        let lines = log.lines().filter(|line| {
            line.contains(&format!("phase={name} ")) && line.contains("\"first-byte\"")
        });
        Sample::new(lines.filter_map(|line| {
            line.split_once("seconds=")?
                .1
                .split(' ')
                .next()?
                .parse()
                .ok()
        }))
    };
    let (plain, ours) = (Sample::new(plain), Sample::new(ours));
    report.figure("emptyDir pod, s", format!("{plain:.2}"));
    report.figure("dataset pod, s", format!("{ours:.2}"));
    report.figure("  of it stage, s", format!("{:.3}", phase("stage")));
    report.figure("  of it publish, s", format!("{:.3}", phase("publish")));
    let above = ours.percentile(0.5) - plain.percentile(0.5);
    report.line(
        above <= BOUND_SECONDS,
        "pod made to first byte, above an emptyDir pod, p50",
        format!("{above:.2} s"),
        format!("{BOUND_SECONDS} s"),
    );
    Ok(())
}

/// What one pod takes, its scheduling and the start of its container included.
fn seconds(fixture: &Fixture, pod: &str, volume: &str) -> Result<f64> {
    let begun = uptime(&std::fs::read_to_string("/proc/uptime")?)?;
    fixture.pod_of(pod, READ, volume, "");
    let read = uptime(&fixture.cluster.wait_success(pod))?;
    fixture.cluster.delete_pod(pod);
    Ok(read - begun)
}

fn uptime(text: &str) -> Result<f64> {
    let first = text.split(' ').next().context("no uptime")?;
    first
        .trim()
        .parse()
        .with_context(|| format!("{text:?} is no uptime"))
}
