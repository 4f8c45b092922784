//! 50 pods of one dataset on one node.

use std::time::Duration;

use anyhow::{Result, ensure};
use forebay_tests::cluster::{Fixture, NODE};
use forebay_tests::wait_until;

use crate::process;
use crate::report::Report;
use crate::show::Options;

const PODS: usize = 50;
const START: Duration = Duration::from_secs(300);

pub(super) fn run(report: &mut Report, _: &Options) -> Result<()> {
    let fixture = Fixture::new("many-pods");
    for number in 0..PODS {
        let script = "cat /data/* >/dev/null 2>&1; sleep 600";
        fixture.pod(&format!("many-{number}"), script, "");
    }
    let running = || {
        let words = [
            "get",
            "pods",
            "-l",
            "test=many-pods",
            "-o",
            "jsonpath={.items[*].status.phase}",
        ];
        let phases = fixture.cluster.try_kubectl(&words).unwrap_or_default();
        phases.matches("Running").count()
    };
    let all = wait_until(START, || running() == PODS);
    ensure!(all, "only {} of {PODS} pods run", running());
    let mounts = fixture.cluster.forebay_mounts(NODE);
    let shared = mounts
        .iter()
        .filter(|place| place.contains("/csi.forebay.dev/mounts/"))
        .count();
    let published = mounts
        .iter()
        .filter(|place| place.ends_with("/mount"))
        .count();
    let clients = fixture.clients().len();
    let resident = |pids: Vec<u32>| -> Result<String> {
        let mut bytes = 0;
        for pid in pids {
            bytes += process::memory(pid)?.resident;
        }
        Ok(format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)))
    };
    report.figure(
        "resident memory of the fuse-client",
        resident(fixture.clients())?,
    );
    report.figure(
        "resident memory with its supervisor and keeper",
        resident(fixture.servers())?,
    );
    report.line(
        shared == 1 && clients == 1 && published == PODS,
        "50 pods of one dataset on one node",
        format!("{clients} fuse-client, {shared} mount, {published} binds"),
        "1 fuse-client, 1 mount, 50 binds",
    );
    fixture.assert_nothing_left();
    Ok(())
}
