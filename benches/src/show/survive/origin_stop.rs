//! The origin stops for a minute and comes back: who reads what is cached does not notice,
//! who reads what is not waits, and goes on.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;
use forebay_tests::{Bucket, Dataset, Kind, Mount, Readers, Seen, Shape, Sizes};

use super::siege;
use crate::data::Scale;
use crate::report::Report;
use crate::sample::Sample;
use crate::show::{Options, faults};

/// Longer than the origin is gone.
const ORIGIN_TIMEOUT: &str = "90s";
const GONE: Duration = Duration::from_secs(60);
/// To see that everything runs.
const GONE_BRIEFLY: Duration = Duration::from_secs(3);
/// How long cached files are read before and after, for the comparison.
const BESIDE: Duration = Duration::from_secs(10);

const CACHED: [Kind; 4] = [Kind::Sequential, Kind::Random, Kind::Mapped, Kind::Small];
const UNCACHED: [Kind; 4] = [Kind::Sequential, Kind::Random, Kind::Direct, Kind::Small];

/// A read of what is cached is no faster or slower than before, but for the noise of a
/// machine that has other things to do.
const UNAFFECTED: f64 = 0.8;
/// No reader of cached bytes waits so long.
const AT_ONCE: Duration = Duration::from_secs(1);
/// Between two tries to reach the origin lies 1 s at most.
const NOTICED: Duration = Duration::from_secs(5);

pub(super) fn run(report: &mut Report, options: &Options) -> Result<()> {
    let gone = if options.scale == Scale::TINY {
        GONE_BRIEFLY
    } else {
        GONE
    };
    let bucket = siege::bucket();
    let cached = dataset(&bucket, "cached/", 6);
    let uncached = dataset(&bucket, "uncached/", 7);
    let mount = siege::mount(&bucket, "origin-stop")
        .args(&["--origin-timeout", ORIGIN_TIMEOUT])
        .start();
    cached.assert_at(&mount.path().join("cached"));

    let before = rate(&read_cached(&mount, &cached, BESIDE), BESIDE);
    bucket.server().pause();
    let waiting = Readers::start(&uncached, &mount.path().join("uncached"), &UNCACHED);
    let meanwhile = read_cached(&mount, &cached, gone);
    bucket.server().resume()?;
    let back = Instant::now();
    let after = rate(&read_cached(&mount, &cached, BESIDE), BESIDE);
    let waited = waiting.stop();

    let item = "origin gone: cached reads";
    faults::tell(report, item, CACHED.len(), &[&meanwhile]);
    let longest = longest(&meanwhile);
    let figure = format_args!("{:.3} s", longest.as_secs_f64()).to_string();
    let longest_item = format!("{item}, longest wait");
    report.line(longest < AT_ONCE, &longest_item, figure, "< 1 s");
    let ratio =
        Sample::new([before, after].map(|rate_beside| rate(&meanwhile, gone) / rate_beside));
    report.line(
        ratio.max() >= UNAFFECTED,
        &format!("{item}, speed : speed while it is there"),
        &ratio,
        format_args!("{UNAFFECTED}: the same but for noise"),
    );

    let item = format!("origin gone for {} s: other reads", gone.as_secs());
    faults::tell(report, &item, UNCACHED.len(), &[&waited]);
    tell_waits(report, &item, &waited, gone, back);
    mount.unmount();
    Ok(())
}

/// Large and small files below `prefix`, 0.2 GiB.
fn dataset(bucket: &Bucket, prefix: &str, seed: u64) -> Dataset {
    let dataset = Dataset::new(&Shape {
        files: 200,
        directories: 3,
        sizes: Sizes::Skewed(100, 12 << 20),
        seed,
    });
    dataset.put_to(bucket.server(), Bucket::NAME, prefix);
    dataset
}

/// What readers see who read nothing but cached bytes for so long.
fn read_cached(mount: &Mount, dataset: &Dataset, time: Duration) -> Seen {
    let readers = Readers::start(dataset, &mount.path().join("cached"), &CACHED);
    sleep(time);
    readers.stop()
}

/// Bytes compared in a second.
fn rate(seen: &Seen, time: Duration) -> f64 {
    seen.bytes as f64 / time.as_secs_f64()
}

fn longest(seen: &Seen) -> Duration {
    let slow = seen.slow.iter().map(|slow| slow.took);
    slow.max().unwrap_or_default()
}

/// Each reader has waited for the origin, and went on soon after it was back.
fn tell_waits(report: &mut Report, item: &str, seen: &Seen, gone: Duration, back: Instant) {
    let waits = seen
        .slow
        .iter()
        .filter(|slow| slow.took >= gone / 2)
        .map(|slow| slow.ended.saturating_duration_since(back));
    let waits = Sample::new(waits.map(|late| late.as_secs_f64()));
    let met = waits.len() >= UNCACHED.len() && waits.max() < NOTICED.as_secs_f64();
    report.line(
        met,
        &format!("{item}, answered after it was back"),
        format_args!("{:.2} s at most (n={})", waits.max(), waits.len()),
        format_args!("each reader, < {} s", NOTICED.as_secs()),
    );
}
