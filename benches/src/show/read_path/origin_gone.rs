//! The origin stops answering: cached data goes on, uncached reads end in time, and
//! nothing hangs.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use forebay_tests::{Endpoint, MountCommand, Scratch};

use crate::report::Report;
use crate::sample::Sample;
use crate::{page_cache, sequential};

const CACHED: u64 = 256 << 20;
const PAIRS: usize = 9;
const FULL_SPEED: f64 = 0.9;
/// The default of `--origin-timeout`, and what its retries may add.
const TIMEOUT: Duration = Duration::from_secs(60);
const SLACK: Duration = Duration::from_secs(5);
const AT_ONCE: Duration = Duration::from_secs(2);

pub(super) fn run(report: &mut Report) -> Result<()> {
    let scratch = Scratch::new("origin-gone", 2 << 30);
    let (server, endpoint) = Endpoint::loopback();
    server.create_bucket("gone");
    server.put_synthetic("gone", "cached", CACHED, 1);
    server.put_synthetic("gone", "uncached", CACHED, 2);
    let mount = MountCommand::new("s3://gone", scratch.path())
        .endpoint(&endpoint)
        .limit(Duration::from_secs(600))
        .start();
    let cached = mount.path().join("cached");
    let uncached = mount.path().join("uncached");
    sequential::read(&cached)?;
    // In turn, because the speed of a shared disk drifts.
    let mut ratios = Vec::new();
    for _ in 0..PAIRS {
        let before = rate(&cached)?;
        server.pause();
        ratios.push(rate(&cached)? / before);
        server.resume()?;
    }
    server.pause();
    let ratio = Sample::new(ratios);
    let met = ratio.median() >= FULL_SPEED;
    let item = "cached read, origin gone : origin there";
    report.line(
        met,
        item,
        &ratio,
        format_args!("{FULL_SPEED}: the same but for noise"),
    );

    let begun = Instant::now();
    let outcome = File::open(&uncached).and_then(|mut file| file.read(&mut [0; 4096]));
    let took = begun.elapsed();
    let errno = outcome
        .as_ref()
        .err()
        .and_then(std::io::Error::raw_os_error);
    let eio = rustix::io::Errno::IO.raw_os_error();
    let figure = format!("errno {errno:?} after {:.1} s", took.as_secs_f64());
    let met = errno == Some(eio) && took <= TIMEOUT + SLACK && took >= TIMEOUT / 2;
    report.line(
        met,
        "uncached read while the origin is gone",
        figure,
        "EIO after up to 60 s",
    );

    let mut reader = blocked_reader(&uncached)?;
    let begun = Instant::now();
    reader.kill()?;
    reader.wait()?;
    report_at_once(report, "kill -9 of a blocked reader", begun.elapsed());

    let mut reader = blocked_reader(&uncached)?;
    let begun = Instant::now();
    mount.unmount();
    report_at_once(report, "umount with a blocked reader", begun.elapsed());
    reader.wait()?;
    report_at_once(report, "the blocked reader ends with it", begun.elapsed());
    Ok(())
}

/// MiB per second of a read with the page cache dropped.
fn rate(path: &Path) -> Result<f64> {
    page_cache::drop_all()?;
    Ok(sequential::read(path)?.rate())
}

/// A process that waits in `read` for bytes that do not come.
fn blocked_reader(path: &PathBuf) -> Result<Child> {
    let child = Command::new("cat")
        .arg(path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut child = child.context("start cat")?;
    std::thread::sleep(Duration::from_secs(2));
    anyhow::ensure!(child.try_wait()?.is_none(), "the reader was meant to wait");
    Ok(child)
}

fn report_at_once(report: &mut Report, item: &str, took: Duration) {
    let figure = format!("{:.2} s", took.as_secs_f64());
    report.line(took < AT_ONCE, item, figure, "< 2 s");
}
