//! Dropping the kernel's page cache, so that a read comes from the disk.

use std::fs;

use anyhow::{Context, Result};

/// Writes dirty pages out and drops all clean ones, with the kernel's names for files.
///
/// # Errors
/// If the process may not (it takes root).
pub fn drop_all() -> Result<()> {
    rustix::fs::sync();
    fs::write("/proc/sys/vm/drop_caches", "3").context("drop the page cache (needs root)")
}
