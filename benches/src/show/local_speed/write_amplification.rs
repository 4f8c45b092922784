//! Random reads of a large file: no more is fetched and kept than was asked for.

use anyhow::{Context, Result};
use forebay_tests::{Mount, MountCommand};

use crate::data::Set;
use crate::metrics;
use crate::report::Report;
use crate::show::Options;
use crate::site::{BUCKET, Site};
use crate::workload::{Load, Workload};

/// Bytes kept, and bytes fetched, for one that was asked for.
const BOUND: f64 = 1.1;
const METRICS: [(&str, &str); 2] = [
    (
        "bytes written to the cache",
        "forebay_fill_stored_bytes_total",
    ),
    (
        "bytes from the origin",
        "forebay_origin_received_bytes_total",
    ),
];

pub(super) fn run(report: &mut Report, options: &Options) -> Result<()> {
    let site = Site::new("write-amplification", options.scale, &[Set::Large])?;
    let mount = MountCommand::new(&format!("s3://{BUCKET}"), &site.dir("mount"))
        .endpoint(site.endpoint())
        .start();
    let before = readings(&mount)?;
    let pass = Load::new(Workload::Random, site.data()).run(&mount.path())?;
    let after = readings(&mount)?;
    mount.unmount();
    for ((name, _), (before, after)) in METRICS.iter().zip(before.into_iter().zip(after)) {
        let ratio = (after - before) / pass.bytes as f64;
        report.line(
            ratio <= BOUND,
            &format!("random 128 KiB of a large file, {name} : asked for"),
            format_args!("{ratio:.2}"),
            format_args!("<= {BOUND}"),
        );
    }
    Ok(())
}

fn readings(mount: &Mount) -> Result<Vec<f64>> {
    let page = metrics::page(mount)?;
    let reading = |(_, name): &(&str, &str)| {
        metrics::value(&page, name).with_context(|| format!("no {name}"))
    };
    METRICS.iter().map(reading).collect()
}
