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
const PAIRS: usize = 5;
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
    let before = rates(&cached)?;
    server.pause();
    let after = rates(&cached)?;
    let ratio = after.median() / before.median();
    let figure = format!("{ratio:.2} of the speed before ({after:.0} MiB/s)");
    report.line(
        ratio >= 0.8,
        "cached read while the origin is gone",
        figure,
        ">= 0.8, noise allowed",
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

fn rates(path: &Path) -> Result<Sample> {
    let mut rates = Vec::new();
    for _ in 0..PAIRS {
        page_cache::drop_all()?;
        rates.push(sequential::read(path)?.rate());
    }
    Ok(Sample::new(rates))
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
