//! A million objects: ready at once from a stored manifest, in little memory.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use forebay_tests::{Endpoint, Mount, MountCommand, Scratch};

use crate::process;
use crate::report::Report;

const OBJECTS: u32 = 1_000_000;
const PER_DIRECTORY: u32 = 1000;
const READY: Duration = Duration::from_secs(1);
const MEMORY: u64 = 64 << 20;

pub(super) fn run(report: &mut Report) -> Result<()> {
    let scratch = Scratch::new("million", 2 << 30);
    let (server, endpoint) = Endpoint::loopback();
    server.create_bucket("million");
    for number in 0..OBJECTS {
        let key = format!("class-{:04}/sample-{number:07}.jpg", number / PER_DIRECTORY);
        server.put_synthetic("million", &key, 110 << 10, u64::from(number));
    }
    let command = || MountCommand::new("s3://million", scratch.path()).endpoint(&endpoint);
    let begun = Instant::now();
    let mount = command().start();
    report.figure(
        "listing and mounting, seconds",
        format_args!("{:.1}", seconds(begun)),
    );
    let version = mount.status()["version"]
        .as_str()
        .context("version in status")?
        .to_owned();
    mount.unmount();

    let begun = Instant::now();
    let mount = command().args(&["--version", &version]).start();
    let ready = begun.elapsed();
    let figure = format!("{:.2} s", ready.as_secs_f64());
    report.line(
        ready < READY,
        "ready from a stored manifest",
        figure,
        "< 1 s",
    );
    walk(report, &mount)?;
    mount.unmount();
    Ok(())
}

fn walk(report: &mut Report, mount: &Mount) -> Result<()> {
    let begun = Instant::now();
    let mut found = Command::new("sh");
    found.args(["-c", "find \"$1\" -type f | wc -l", "find"]);
    let found = found.arg(mount.path()).output().context("start find")?;
    let took = seconds(begun);
    let count: u64 = String::from_utf8_lossy(&found.stdout)
        .trim()
        .parse()
        .context("a count")?;
    report.line(count == u64::from(OBJECTS), "find | wc -l", count, OBJECTS);
    let rate = f64::from(OBJECTS) / took;
    report.figure("entries a second, first walk", format_args!("{rate:.0}"));
    let memory = process::memory(mount.pid())?;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let figure = format!(
        "{:.1} MiB (peak {:.1})",
        mib(memory.resident),
        mib(memory.peak)
    );
    report.line(
        memory.peak < MEMORY,
        "resident memory of the client",
        figure,
        "< 64 MiB",
    );
    Ok(())
}

fn seconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64()
}
