//! The memory of a virtual machine, kept from its host while something is measured.
//!
//! Where the host has asked for it (free page reporting of virtio-balloon), the kernel gives
//! it back what has been free for two seconds in blocks of 2 MiB and more. Such a block is
//! touched again at 0.4 GB/s, others at 3.9, and which of two programs meets which is chance:
//! it has made the same read three times as long. So before a list begins, all free memory is
//! touched, and one page of each block stays taken: no whole block is free any more, and all
//! that is measured finds memory that is there.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result};
use rustix::fs::{FallocateFlags, MemfdFlags, fallocate, memfd_create};

use crate::page_cache;

/// What is reported at once, and of which one page is held.
const BLOCK: u64 = 2 << 20;
const PAGE: u64 = 4 << 10;
/// Left alone, for whoever else runs.
const SPARE: u64 = 1 << 30;

/// One page of each block of memory that was free.
#[derive(Debug)]
pub struct Comb {
    // Held, not read.
    _pages: File,
}

impl Comb {
    /// Touches all free memory and holds a comb of it, which ends when it is dropped. `None`
    /// where no host takes memory back.
    ///
    /// # Errors
    /// Of the system; dropping the page cache takes root.
    pub fn hold() -> Result<Option<Self>> {
        if !is_taken_back() {
            return Ok(None);
        }
        page_cache::drop_all()?;
        let bytes = free()?.saturating_sub(SPARE) / BLOCK * BLOCK;
        let gib = bytes >> 30;
        eprintln!("touching {gib} GiB of memory, which the host of this machine takes back");
        let pages = touched(bytes).with_context(|| format!("use {bytes} bytes of memory"))?;
        Ok(Some(Self { _pages: pages }))
    }
}

/// The comb of `bytes`.
fn touched(bytes: u64) -> io::Result<File> {
    let file = File::from(memfd_create("comb", MemfdFlags::CLOEXEC)?);
    let block = vec![1; BLOCK as usize];
    for at in (0..bytes).step_by(BLOCK as usize) {
        file.write_all_at(&block, at)?;
    }
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    for at in (0..bytes).step_by(BLOCK as usize) {
        fallocate(&file, punch, at + PAGE, BLOCK - PAGE)?;
    }
    Ok(file)
}

/// Whether the host has asked for free pages: bit 5 of the balloon's features
/// (VIRTIO_BALLOON_F_REPORTING), which the kernel shows as digits, the first bit first.
fn is_taken_back() -> bool {
    let devices = fs::read_dir("/sys/bus/virtio/drivers/virtio_balloon");
    let devices = devices.into_iter().flatten().flatten();
    devices
        .filter_map(|device| fs::read_to_string(device.path().join("features")).ok())
        .any(|features| features.as_bytes().get(5) == Some(&b'1'))
}

/// Free memory of the machine, or of the container that this is, in bytes.
fn free() -> Result<u64> {
    let info = fs::read_to_string("/proc/meminfo").context("read /proc/meminfo")?;
    let kib = info
        .lines()
        .find_map(|line| line.strip_prefix("MemFree:")?.trim().strip_suffix(" kB"))
        .context("/proc/meminfo has no MemFree")?;
    let free = kib.parse::<u64>().context("MemFree")? << 10;
    // Of which this may not use more, where somebody has set a bound.
    let limit = |path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let limits = [
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ];
    Ok(limits.into_iter().filter_map(limit).fold(free, u64::min))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comb_holds_one_page_of_each_block() {
        use std::os::unix::fs::MetadataExt;
        let comb = touched(4 * BLOCK).expect("8 MiB");
        assert_eq!(comb.metadata().expect("a file").blocks() * 512, 4 * PAGE);
    }
}
