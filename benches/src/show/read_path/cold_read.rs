//! One large object, read from front to back: cold from S3, then from the cache.

use std::fs;
use std::path::Path;

use anyhow::Result;
use forebay_tests::{Endpoint, MountCommand, Scratch, SeaweedFs};
use tokio::runtime::Runtime;

use crate::object::upload;
use crate::raw_get::{self, S3Object, Sink};
use crate::report::Report;
use crate::sample::Sample;
use crate::{page_cache, sequential};

const SIZE: u64 = 2 << 30;
const NEED: u64 = 14 << 30;
const RUNS: usize = 5;
const COLD_BOUND: f64 = 0.7;
const CACHED_BOUND: f64 = 0.5;

/// Times of one round, in seconds.
struct Round {
    discard: f64,
    to_file: f64,
    cold: f64,
    local: f64,
    cached: f64,
}

pub(super) fn run(report: &mut Report) -> Result<()> {
    let scratch = Scratch::new("cold-read", NEED);
    let server = SeaweedFs::start(6 << 30);
    let endpoint = server.endpoint().clone();
    let runtime = Runtime::new()?;
    upload(&endpoint, "cold", "large.bin", SIZE, 1);
    let object = S3Object {
        endpoint: endpoint.clone(),
        bucket: "cold".into(),
        key: "large.bin".into(),
        size: SIZE,
    };
    let mut rounds = Vec::new();
    for number in 0..RUNS {
        rounds.push(round(&scratch, number, &endpoint, &object, &runtime)?);
    }
    let sample = |of: fn(&Round) -> f64| Sample::new(rounds.iter().map(of));
    let rate = |time: fn(&Round) -> f64| {
        Sample::new(
            rounds
                .iter()
                .map(|round| SIZE as f64 / f64::from(1 << 20) / time(round)),
        )
    };
    report.figure(
        "raw GET, thrown away, MiB/s",
        format_args!("{:.0}", rate(|r| r.discard)),
    );
    report.figure(
        "raw GET, written to a file, MiB/s",
        format_args!("{:.0}", rate(|r| r.to_file)),
    );
    report.figure(
        "cold read through the mount, MiB/s",
        format_args!("{:.0}", rate(|r| r.cold)),
    );
    report.figure(
        "local file, page cache dropped, MiB/s",
        format_args!("{:.0}", rate(|r| r.local)),
    );
    report.figure(
        "cached read, page cache dropped, MiB/s",
        format_args!("{:.0}", rate(|r| r.cached)),
    );
    report.figure(
        "cold read : raw GET thrown away",
        sample(|r| r.discard / r.cold),
    );
    let cold = sample(|r| r.to_file / r.cold);
    report.line(
        cold.median() >= COLD_BOUND,
        "cold read : raw GET to a file",
        &cold,
        COLD_BOUND,
    );
    let cached = sample(|r| r.local / r.cached);
    report.line(
        cached.median() >= CACHED_BOUND,
        "cached read : local file",
        &cached,
        CACHED_BOUND,
    );
    Ok(())
}

/// The limit and the mount in turn, each from a dropped page cache.
fn round(
    scratch: &Scratch,
    number: usize,
    endpoint: &Endpoint,
    object: &S3Object,
    runtime: &Runtime,
) -> Result<Round> {
    // The origin's own files stay in memory for all: a warm-up GET sees to it after
    // each drop.
    let origin_warm = || runtime.block_on(raw_get::get(object, &Sink::Discard));
    page_cache::drop_all()?;
    origin_warm()?;
    let discard = runtime
        .block_on(raw_get::get(object, &Sink::Discard))?
        .as_secs_f64();

    let local = scratch.path().join("local.bin");
    let to_file = runtime.block_on(raw_get::get(object, &Sink::File(local.clone())))?;
    page_cache::drop_all()?;
    let local_time = sequential::read(&local)?.time.as_secs_f64();
    fs::remove_file(&local)?;

    page_cache::drop_all()?;
    origin_warm()?;
    let dir = scratch.dir(&format!("round-{number}"));
    let mount = MountCommand::new("s3://cold", &dir)
        .endpoint(endpoint)
        .start();
    let path = mount.path().join("large.bin");
    let cold = read_all(&path)?;
    page_cache::drop_all()?;
    let cached = read_all(&path)?;
    mount.unmount();
    fs::remove_dir_all(&dir)?;
    Ok(Round {
        discard,
        to_file: to_file.as_secs_f64(),
        cold,
        local: local_time,
        cached,
    })
}

fn read_all(path: &Path) -> Result<f64> {
    let pass = sequential::read(path)?;
    anyhow::ensure!(pass.bytes == SIZE, "read {} of {SIZE} bytes", pass.bytes);
    Ok(pass.time.as_secs_f64())
}
