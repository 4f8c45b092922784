//! A cached file of the dataset and the same bytes in a hostPath volume, read in one pod.

use anyhow::{Context, Result};
use forebay_tests::cluster::{Cluster, Fixture, NODE};

use crate::page_cache;
use crate::report::Report;
use crate::sample::Sample;
use crate::show::Options;

const BOUND: f64 = 0.95;
const ROUNDS: usize = 7;
const SIZE: u64 = 256 << 20;
const POD: &str = "speed";
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
    let volume = format!("persistentVolumeClaim: {{claimName: {}}}", fixture.name);
    fixture.pod_beside(POD, "sleep 3600", &volume, HOST_DIR);
    fixture.cluster.wait_phase(POD, "Running");
    // Once to fetch it; then what is complete is opened anew.
    for _ in 0..2 {
        read(&fixture.cluster, "/data/large")?;
    }
    for (state, is_cold) in [("page cache dropped", true), ("hot", false)] {
        let mut ratios = Vec::new();
        for round in 0..ROUNDS {
            let timed = |path: &str| -> Result<f64> {
                if is_cold {
                    page_cache::drop_all()?;
                } else {
                    read(&fixture.cluster, path)?;
                }
                read(&fixture.cluster, path)
            };
            // In turn: who is first must not matter.
            let (ours, theirs) = if round % 2 == 0 {
                let ours = timed("/data/large")?;
                (ours, timed("/host/large")?)
            } else {
                let theirs = timed("/host/large")?;
                (timed("/data/large")?, theirs)
            };
            ratios.push(theirs / ours);
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

/// Seconds that reading a file takes in the pod, by dd's own clock.
fn read(cluster: &Cluster, path: &str) -> Result<f64> {
    let script = format!("dd if={path} of=/dev/null bs=1M 2>&1");
    let said = cluster.kubectl(&["exec", POD, "--", "sh", "-c", &script]);
    // … bytes (256.0MB) copied, 0.123456 seconds, 2.0GB/s
    let seconds = said
        .split_once("copied, ")
        .and_then(|(_, rest)| rest.split(' ').next());
    let seconds = seconds.and_then(|text| text.parse().ok());
    seconds.with_context(|| format!("dd said {said:?}"))
}
