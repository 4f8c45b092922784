//! One large object, read from front to back: cold from S3, then from the cache.

use std::fs;
use std::path::Path;

use anyhow::Result;
use forebay_tests::{MountCommand, Scratch, SeaweedFs};
use tokio::runtime::Runtime;

use crate::object::upload;
use crate::raw_get::{self, S3Object, Sink};
use crate::report::Report;
use crate::sample::Sample;
use crate::{page_cache, sequential};

const SIZE: u64 = 2 << 30;
const NEED: u64 = 14 << 30;
/// How pages are given and where files lie moves a round by a half: the median of few says little.
const RUNS: usize = 11;
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
    let server = SeaweedFs::start(6 << 30);
    let bench = Bench::new(&server)?;
    let rounds: Vec<Round> = (0..RUNS)
        .map(|number| bench.round(number))
        .collect::<Result<_>>()?;
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

/// What all rounds share.
struct Bench {
    scratch: Scratch,
    object: S3Object,
    runtime: Runtime,
}

impl Bench {
    fn new(server: &SeaweedFs) -> Result<Self> {
        let object = S3Object {
            endpoint: server.endpoint().clone(),
            bucket: "cold".into(),
            key: "large.bin".into(),
            size: SIZE,
        };
        upload(&object.endpoint, &object.bucket, &object.key, SIZE, 1);
        Ok(Self {
            scratch: Scratch::new("cold-read", NEED),
            object,
            runtime: Runtime::new()?,
        })
    }

    /// The limit and the mount in turn; every other round the mount goes first.
    ///
    /// The order matters: pages that the step before has freed are cheaper to write to
    /// than those that this machine has to be given.
    fn round(&self, number: usize) -> Result<Round> {
        let discard = self.discard()?;
        let ((to_file, local), (cold, cached)) = if number.is_multiple_of(2) {
            let limit = self.to_file()?;
            (limit, self.through_mount()?)
        } else {
            let mount = self.through_mount()?;
            (self.to_file()?, mount)
        };
        Ok(Round {
            discard,
            to_file,
            cold,
            local,
            cached,
        })
    }

    /// What every cold step starts from: no page cache but that of the origin's own
    /// files, which stay in memory for all, and no file of the step before.
    fn prepare(&self) -> Result<()> {
        page_cache::drop_all()?;
        self.discard_once()?;
        Ok(())
    }

    fn discard(&self) -> Result<f64> {
        self.prepare()?;
        self.discard_once()
    }

    fn discard_once(&self) -> Result<f64> {
        let got = raw_get::get(&self.object, &Sink::Discard);
        Ok(self.runtime.block_on(got)?.as_secs_f64())
    }

    /// Times of a GET into a file, and of reading that file from the disk.
    fn to_file(&self) -> Result<(f64, f64)> {
        let local = self.scratch.path().join("local.bin");
        self.prepare()?;
        let sink = Sink::File(local.clone());
        let got = self.runtime.block_on(raw_get::get(&self.object, &sink))?;
        let to_file = got.as_secs_f64();
        page_cache::drop_all()?;
        let read = read_all(&local)?;
        fs::remove_file(&local)?;
        Ok((to_file, read))
    }

    /// Times of a read through a mount without a cache, and of one from its cache.
    fn through_mount(&self) -> Result<(f64, f64)> {
        let dir = self.scratch.dir("mount");
        let mount = MountCommand::new("s3://cold", &dir)
            .endpoint(&self.object.endpoint)
            .start();
        let path = mount.path().join("large.bin");
        self.prepare()?;
        let cold = read_all(&path)?;
        page_cache::drop_all()?;
        let cached = read_all(&path)?;
        mount.unmount();
        fs::remove_dir_all(&dir)?;
        Ok((cold, cached))
    }
}

fn read_all(path: &Path) -> Result<f64> {
    let pass = sequential::read(path)?;
    anyhow::ensure!(pass.bytes == SIZE, "read {} of {SIZE} bytes", pass.bytes);
    Ok(pass.time.as_secs_f64())
}
