//! The memory of a virtual machine, kept from its host while something is measured.
//!
//! Where the host has asked for it (free page reporting of virtio-balloon), the kernel gives
//! it back what has been free for two seconds in blocks of 2 MiB and more. Such a block is
//! touched again at 0.4 GB/s, others at 3.9, and which of two programs meets which is chance:
//! it has made the same read three times as long. So before a list begins, all free memory is
//! touched, and one page of each block stays taken: no whole block is free any more, and all
//! that is measured finds memory that is there. A pipe holds those pages, too: what is in a pipe
//! cannot be moved, and the kernel would move them together to have whole blocks again.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result};
use rustix::fs::{FallocateFlags, MemfdFlags, fallocate, memfd_create};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

use crate::page_cache;

/// What is reported at once, and of which one page is held.
const BLOCK: u64 = 2 << 20;
const PAGE: u64 = 4 << 10;
/// Left alone, for whoever else runs.
const SPARE: u64 = 1 << 30;

/// How much a pipe is to take at once: what the kernel allows without being told otherwise.
const PIPE: usize = 1 << 20;

/// One page of each block of memory that was free.
#[derive(Debug)]
pub struct Comb {
    // Held, not read.
    _pipes: Vec<Pipe>,
}

type Pipe = (OwnedFd, OwnedFd);

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
        let held = touched(bytes).and_then(|pages| in_pipes(&pages, bytes));
        let pipes = held.with_context(|| format!("use {bytes} bytes of memory"))?;
        Ok(Some(Self { _pipes: pipes }))
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

/// The first page of each block of `pages`, in pipes.
fn in_pipes(pages: &File, bytes: u64) -> io::Result<Vec<Pipe>> {
    let mut pipes = Vec::new();
    let mut room = 0;
    for at in (0..bytes).step_by(BLOCK as usize) {
        if room == 0 {
            let pipe = pipe_with(PipeFlags::CLOEXEC)?;
            room = fcntl_setpipe_size(&pipe.1, PIPE)? / PAGE as usize;
            pipes.push(pipe);
        }
        let Some((_, into)) = pipes.last() else {
            continue;
        };
        splice(
            pages,
            Some(&mut { at }),
            into,
            None,
            PAGE as usize,
            SpliceFlags::empty(),
        )?;
        room -= 1;
    }
    Ok(pipes)
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
    // Where somebody has set a bound, half of it: of the rest much is used.
    let half = |path| Some(fs::read_to_string(path).ok()?.trim().parse::<u64>().ok()? / 2);
    let limits = [
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ];
    Ok(limits.into_iter().filter_map(half).fold(free, u64::min))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use rustix::io::ioctl_fionread;

    use super::*;

    #[test]
    fn a_comb_holds_one_page_of_each_block() {
        let comb = touched(4 * BLOCK).expect("8 MiB");
        assert_eq!(comb.metadata().expect("a file").blocks() * 512, 4 * PAGE);
    }

    #[test]
    fn the_pages_are_in_as_many_pipes_as_it_takes() {
        // Nothing is written: it takes no memory.
        let empty = File::from(memfd_create("empty", MemfdFlags::CLOEXEC).expect("a file"));
        empty.set_len(300 * BLOCK).expect("its length");
        let pipes = in_pipes(&empty, 300 * BLOCK).expect("pipes");
        let held = pipes
            .iter()
            .map(|(out, _)| ioctl_fionread(out).expect("a pipe"));
        assert_eq!((pipes.len(), held.sum::<u64>()), (2, 300 * PAGE));
    }
}
