//! From the making of a pod to the first byte that it reads.
//!
//! Nothing of the dataset is mounted when a pod is made, so each of them waits for all of
//! it: the mount, its stage and its publication. What is read is in the node's cache.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use chrono::DateTime;
use forebay_tests::cluster::{Cluster, Fixture, NODE};

use crate::report::Report;
use crate::sample::Sample;
use crate::show::Options;

const PODS: usize = 20;
const BOUND_SECONDS: f64 = 0.5;

/// Reads a byte and says when, by the clock of the machine.
const READ: &str = "head -c 1 /data/SHA256SUMS >/dev/null 2>&1; cat /proc/uptime";
/// Reads everything, so that it is cached on the node.
const WARM: &str = "cat /data/SHA256SUMS >/dev/null";

/// Where the time of one pod went, in seconds.
struct Times {
    /// Until the first byte.
    all: f64,
    /// Until the scheduler has chosen the node.
    scheduled: Option<f64>,
    /// The call to stage the volume.
    stage: Option<f64>,
    /// The call to publish it.
    publish: Option<f64>,
    /// From the end of that call to the first byte: sandbox, container, shell.
    container: Option<f64>,
}

/// A part of the time: what it is called, and where it is found.
type Part = (&'static str, fn(&Times) -> Option<f64>);

pub(super) fn run(report: &mut Report, _: &Options) -> Result<()> {
    let fixture = Fixture::new("first-byte");
    fixture.pod("warm", WARM, "");
    fixture.cluster.wait_success("warm");
    fixture.cluster.delete_pod("warm");
    let claim = format!("persistentVolumeClaim: {{claimName: {}}}", fixture.name);
    let (mut plain, mut ours) = (Vec::new(), Vec::new());
    for number in 0..PODS {
        // In turn, so that both see the same machine.
        plain.push(measure(
            &fixture,
            &format!("plain-{number}"),
            "emptyDir: {}",
        )?);
        ours.push(measure(&fixture, &format!("ours-{number}"), &claim)?);
    }
    print(report, "emptyDir pod", &plain);
    print(report, "dataset pod", &ours);
    let p50 = |pods: &[Times]| Sample::new(pods.iter().map(|pod| pod.all)).percentile(0.5);
    let above = p50(&ours) - p50(&plain);
    report.line(
        above <= BOUND_SECONDS,
        "pod made to first byte, above an emptyDir pod, p50",
        format!("{above:.2} s"),
        format!("{BOUND_SECONDS} s"),
    );
    Ok(())
}

fn print(report: &mut Report, what: &str, pods: &[Times]) {
    let all = Sample::new(pods.iter().map(|pod| pod.all));
    report.figure(&format!("{what}, s"), format!("{all:.2}"));
    let parts: [Part; 4] = [
        ("scheduling", |pod| pod.scheduled),
        ("stage", |pod| pod.stage),
        ("publish", |pod| pod.publish),
        ("publish to first byte", |pod| pod.container),
    ];
    for (part, of) in parts {
        let sample = Sample::new(pods.iter().filter_map(of));
        if !sample.is_empty() {
            report.figure(&format!("  {what}: {part}, s"), format!("{sample:.3}"));
        }
    }
}

/// What one pod takes.
fn measure(fixture: &Fixture, pod: &str, volume: &str) -> Result<Times> {
    let cluster = &fixture.cluster;
    let (begun, clock) = (uptime(&std::fs::read_to_string("/proc/uptime")?)?, now()?);
    fixture.pod_of(pod, READ, volume, "");
    let printed = cluster.wait_success(pod);
    let read = uptime(printed.lines().last().unwrap_or_default())?;
    let all = read - begun;
    let calls = calls(cluster, clock);
    let call = |phase| calls.iter().rev().find(|call: &&Call| call.phase == phase);
    let times = Times {
        all,
        scheduled: scheduled(cluster, pod).map(|at| at - clock),
        stage: call("stage").map(|call| call.seconds),
        publish: call("publish").map(|call| call.seconds),
        container: call("publish").map(|call| clock + all - call.ended),
    };
    cluster.delete_pod(pod);
    Ok(times)
}

/// A call of the kubelet, as the driver has logged it.
struct Call {
    phase: &'static str,
    ended: f64,
    seconds: f64,
}

/// The calls that ended after `since`.
fn calls(cluster: &Cluster, since: f64) -> Vec<Call> {
    let driver = cluster.pod_of("forebay-csi", NODE);
    let words = ["-n", "forebay-system", "logs", &driver, "--tail=20"];
    let log = cluster.kubectl(&words);
    let calls = log.lines().filter_map(call);
    calls.filter(|call| call.ended > since).collect()
}

fn call(line: &str) -> Option<Call> {
    let phase = ["stage", "publish"]
        .into_iter()
        .find(|phase| line.contains(&format!("phase={phase} ")))?;
    let seconds = line.split_once("seconds=")?.1.split(' ').next()?;
    Some(Call {
        phase,
        ended: instant(line.split_whitespace().next()?)?,
        seconds: seconds.parse().ok()?,
    })
}

/// When the scheduler has chosen a node for the pod.
fn scheduled(cluster: &Cluster, pod: &str) -> Option<f64> {
    let of = format!("involvedObject.name={pod},reason=Scheduled");
    let path = "jsonpath={.items[0].eventTime}";
    let words = ["get", "events", "--field-selector", &of, "-o", path];
    instant(&cluster.try_kubectl(&words).ok()?)
}

/// Seconds of the clock, from RFC 3339.
fn instant(text: &str) -> Option<f64> {
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    Some(time.timestamp_micros() as f64 / 1e6)
}

fn now() -> Result<f64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64())
}

fn uptime(text: &str) -> Result<f64> {
    let first = text.split(' ').next().context("no uptime")?;
    first
        .trim()
        .parse()
        .with_context(|| format!("{text:?} is no uptime"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_read_from_the_drivers_log() {
        let line = "2026-11-24T03:00:01.500000Z  INFO forebay_csi_driver::node: done \
                    volume=\"first-byte\" phase=publish seconds=0.012";
        let call = call(line).unwrap();
        assert_eq!((call.phase, call.seconds), ("publish", 0.012));
        assert_eq!(call.ended.fract(), 0.5);
        assert!(
            super::call("2026-11-24T03:00:01Z INFO x: done phase=unpublish seconds=1").is_none()
        );
    }
}
