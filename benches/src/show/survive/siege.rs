//! A mount with readers of every kind, and how they fared.

use std::time::Duration;

use forebay_tests::{Bucket, Dataset, Kind, Mount, MountCommand, Seen, Shape, Sizes, Survived};

use crate::report::Report;
use crate::sample::Sample;
use crate::show::faults;

/// Room for the cache of [`dataset`] and what is copied beside it.
const ROOM: u64 = 4 << 30;
const LARGEST: u64 = 12 << 20;
/// What a whole item may take.
const LIMIT: Duration = Duration::from_secs(1800);
/// What a reader may have to wait, 99 times of 100.
const PAUSE: Duration = Duration::from_secs(1);
/// As much of a log as one looks at.
const LOG_LINES: usize = 40;

pub(super) fn bucket() -> Bucket {
    Bucket::new("survive", ROOM)
}

/// Some hundred files from 100 bytes to 12 MiB, 0.7 GiB in all.
pub(super) fn dataset(bucket: &Bucket) -> Dataset {
    let dataset = Dataset::new(&Shape {
        files: 700,
        directories: 5,
        sizes: Sizes::Skewed(100, LARGEST),
        seed: 5,
    });
    dataset.put_to(bucket.server(), Bucket::NAME, "");
    dataset
}

/// A mount as users make it.
pub(super) fn mount(bucket: &Bucket, name: &str) -> MountCommand {
    bucket.mount(name).supervised().limit(LIMIT)
}

/// Prints how far an item has come, now and then.
pub(super) fn progress(item: &str, done: usize, of: usize) {
    if done.is_multiple_of(10) || done == of {
        eprintln!("       {item}: {done} of {of}");
    }
}

/// Adds to the report what readers have seen of several sieges.
pub(super) fn tell(report: &mut Report, item: &str, mount: &Mount, survived: &[Survived]) {
    let seen: Vec<&Seen> = survived.iter().map(|one| &one.seen).collect();
    faults::tell(report, item, Kind::EIGHT.len(), &seen);
    let pauses = survived.iter().flat_map(|one| &one.pauses);
    let pauses = Sample::new(pauses.map(Duration::as_secs_f64));
    let figure = format!(
        "p50 {:.3} s, p99 {:.3} s, max {:.3} s (n={})",
        pauses.median(),
        pauses.percentile(0.99),
        pauses.max(),
        pauses.len()
    );
    let met = pauses.percentile(0.99) < PAUSE.as_secs_f64();
    let longest = format!("{item}: longest wait of a reader");
    report.line(met, &longest, figure, "p99 < 1 s");
    if !met {
        tell_log(mount);
    }
}

/// Prints the end of what the processes of a mount have said.
fn tell_log(mount: &Mount) {
    let log = mount.log();
    let lines: Vec<&str> = log.lines().collect();
    for line in &lines[lines.len().saturating_sub(LOG_LINES)..] {
        println!("       {line}");
    }
}
