//! A client in a container with little memory, under many readers.

use std::time::Duration;

use anyhow::Result;
use forebay_tests::Press;

use crate::report::Report;
use crate::show::Options;

const MEMORY: u64 = 128 << 20;
/// What the promise is made for: 10 GB, 64 readers.
const READ: u64 = 10_000_000_000;
/// A tenth of what is read, so that eviction never rests.
const CACHE: u64 = 1 << 30;
const LIMIT: Duration = Duration::from_secs(1800);

pub(super) fn run(report: &mut Report, _: &Options) -> Result<()> {
    let pressed = Press {
        memory: MEMORY,
        readers: 64,
        bytes: READ,
        cache: CACHE,
        limit: LIMIT,
    }
    .run("survive-memory");
    let faults = pressed.faults.len();
    let figure = format!("{} kills, {faults} readers with an error", pressed.kills);
    let met = pressed.kills == 0 && faults == 0 && pressed.evicted_bytes > 0;
    let item = "memory: 64 readers of 10 GB, client in 128 MiB";
    report.line(met, item, figure, "0, 0");
    for fault in pressed.faults.iter().take(5) {
        println!("       {fault}");
    }
    report.figure(
        "peak without page cache",
        format_args!(
            "{} MiB; {:.0} MB/s, {} GB evicted",
            pressed.peak_bytes >> 20,
            READ as f64 / 1e6 / pressed.took.as_secs_f64(),
            pressed.evicted_bytes / 1_000_000_000
        ),
    );
    Ok(())
}
