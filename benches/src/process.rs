//! What a process has used: memory and processor time, from /proc.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// Resident memory of a process, in bytes: now, and at its highest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// `VmRSS`.
    pub resident: u64,
    /// `VmHWM`.
    pub peak: u64,
}

/// Reads the resident memory of process `pid`.
///
/// # Errors
/// If there is no such process.
pub fn memory(pid: u32) -> Result<Memory> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
        Some(kib * 1024)
    };
    Ok(Memory {
        resident: field("VmRSS:").context("VmRSS")?,
        peak: field("VmHWM:").context("VmHWM")?,
    })
}

/// Processor time of process `pid` so far, user and system together.
///
/// # Errors
/// If there is no such process.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    // The name in parentheses may hold blanks; the fields behind it are plain. utime and
    // stime are fields 14 and 15 of the line, 12 and 13 behind the name (proc(5)).
    let (_, fields) = stat.rsplit_once(')').context("stat without a name")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |index: usize| -> Result<u64> {
        fields
            .get(index)
            .context("stat too short")?
            .parse()
            .context("stat without ticks")
    };
    let per_second = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_secs_f64(
        (ticks(11)? + ticks(12)?) as f64 / per_second as f64,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_memory() {
        let memory = memory(std::process::id()).unwrap();
        assert!(memory.resident > 0 && memory.peak >= memory.resident);
        cpu_time(std::process::id()).unwrap();
    }
}
