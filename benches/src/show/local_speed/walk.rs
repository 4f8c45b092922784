//! The first walk over a million entries, in little memory.

use anyhow::Result;
use forebay_tests::{Endpoint, MountCommand, Scratch};

use crate::data::{Data, Extent, Set};
use crate::page_cache;
use crate::process;
use crate::report::Report;
use crate::sample::Sample;
use crate::show::Options;
use crate::workload::{Load, Workload};

const ENTRIES: u32 = 1_000_000;
/// Entries a second, names and attributes.
const RATE: f64 = 200_000.0;
const MEMORY: u64 = 64 << 20;
const BUCKET: &str = "walk";

pub(super) fn run(report: &mut Report, options: &Options) -> Result<()> {
    let mut scale = options.scale;
    let is_full = scale == crate::data::Scale::FULL;
    scale.small = Extent {
        files: if is_full { ENTRIES } else { scale.small.files },
        bytes: 110 << 10,
    };
    let data = Data::new(scale, &[Set::Small]);
    let (server, endpoint) = Endpoint::loopback();
    server.create_bucket(BUCKET);
    for file in data.all() {
        server.put_synthetic(BUCKET, &file.path, file.size, file.seed);
    }
    let scratch = Scratch::new("walk", 2 << 30);
    let (mut rates, mut peak) = (Vec::new(), 0);
    for _ in 0..options.rounds {
        let mount = MountCommand::new(&format!("s3://{BUCKET}"), scratch.path())
            .endpoint(&endpoint)
            .start();
        page_cache::drop_all()?;
        process::reset_peak(mount.pid())?;
        let pass = Load::new(Workload::Walk, &data).run(&mount.path())?;
        rates.push(pass.rate());
        peak = peak.max(process::memory(mount.pid())?.peak);
        mount.unmount();
    }
    let rate = Sample::new(rates);
    let item = format!(
        "first walk over {} entries, entries a second",
        scale.small.files
    );
    report.line(
        rate.median() >= RATE,
        &item,
        format_args!("{rate:.0}"),
        RATE,
    );
    report.line(
        peak < MEMORY,
        "peak resident memory of the walk, MiB",
        format_args!("{:.1}", peak as f64 / f64::from(1 << 20)),
        "< 64",
    );
    Ok(())
}
