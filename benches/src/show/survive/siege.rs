//! A mount with readers of every kind, and how they fared.

use std::time::Duration;

use forebay_tests::{Bucket, Dataset, Mount, MountCommand, Shape, Sizes, Survived};

use crate::report::Report;
use crate::sample::Sample;

/// Room for the cache of [`dataset`] and what is copied beside it.
const ROOM: u64 = 4 << 30;
const LARGEST: u64 = 12 << 20;
/// What a whole item may take.
const LIMIT: Duration = Duration::from_secs(1800);
/// What a reader may have to wait, 99 times of 100.
const PAUSE: Duration = Duration::from_secs(1);

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

/// Adds what readers have seen to the report.
pub(super) fn tell(report: &mut Report, item: &str, mount: &Mount, survived: &[Survived]) {
    let faults: Vec<_> = survived.iter().flat_map(|one| &one.seen.faults).collect();
    let operations: u64 = survived.iter().map(|one| one.seen.operations).sum();
    let bytes: u64 = survived.iter().map(|one| one.seen.bytes).sum();
    let met = faults.is_empty() && operations > 0;
    let figure = format!(
        "{} in {operations} operations, {} MiB compared",
        faults.len(),
        bytes >> 20
    );
    let errors = format!("{item}: errors and wrong bytes of 8 readers");
    report.line(met, &errors, figure, "0");
    for fault in faults.iter().take(5) {
        println!("       {fault}");
    }
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
    report.line(
        met,
        &format!("{item}: longest wait of a reader"),
        figure,
        "p99 < 1 s",
    );
    if !met {
        println!("{}", mount.log());
    }
}
