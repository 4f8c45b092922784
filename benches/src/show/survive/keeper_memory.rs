//! The memory of a keeper, which a node has beside every mount.

use anyhow::{Context, Result};

use super::siege;
use crate::process;
use crate::report::Report;
use crate::show::Options;

const BOUND: u64 = 3 << 20;

pub(super) fn run(report: &mut Report, _: &Options) -> Result<()> {
    let bucket = siege::bucket();
    bucket.put("file", "content");
    let mount = siege::mount(&bucket, "keeper").start();
    let keeper = mount.status()["keeper_pid"]
        .as_u64()
        .context("keeper_pid")?;
    let memory = process::memory(u32::try_from(keeper)?)?;
    let kib = memory.resident >> 10;
    let met = memory.resident < BOUND;
    report.line(
        met,
        "keeper: resident memory",
        format_args!("{kib} KiB"),
        "3 MiB",
    );
    mount.unmount();
    Ok(())
}
