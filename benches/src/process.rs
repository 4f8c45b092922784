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

/// Processor time of this process so far, all its threads together.
///
/// # Errors
/// If `/proc` is not there.
pub fn own_cpu_time() -> Result<Duration> {
    cpu_time(std::process::id())
}

/// A process and all that it has started and they have, as far as they still run.
pub fn family(pid: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let parents: Vec<(u32, u32)> = pids.filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let mut family = vec![pid];
    let mut at = 0;
    while let Some(&elder) = family.get(at) {
        let children = parents.iter().filter(|(_, parent)| *parent == elder);
        family.extend(children.map(|(child, _)| *child));
        at += 1;
    }
    family
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(1)?.parse().ok()
}

/// Makes the peak of resident memory of process `pid` what it has now (proc(5),
/// `clear_refs`).
///
/// # Errors
/// If there is no such process.
pub fn reset_peak(pid: u32) -> Result<()> {
    let path = format!("/proc/{pid}/clear_refs");
    fs::write(&path, "5").with_context(|| format!("write {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_has_the_children_of_children() {
        let script = "sleep 100 & wait";
        let mut child = std::process::Command::new("sh")
            .args(["-c", script])
            .spawn()
            .unwrap();
        let grown = || family(std::process::id()).len() >= 3;
        assert!(forebay_tests::wait_until(Duration::from_secs(5), grown));
        let family = family(child.id());
        assert_eq!((family.len(), family[0]), (2, child.id()));
        let sleeper = rustix::process::Pid::from_raw(family[1] as i32).unwrap();
        rustix::process::kill_process(sleeper, rustix::process::Signal::KILL).unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_peak_that_was_reset_is_what_there_is_now() {
        let much = vec![1_u8; 256 << 20];
        drop(std::hint::black_box(much));
        let before = memory(std::process::id()).unwrap().peak;
        reset_peak(std::process::id()).unwrap();
        assert!(memory(std::process::id()).unwrap().peak + (128 << 20) < before);
    }

    #[test]
    fn this_process_has_used_memory() {
        let memory = memory(std::process::id()).unwrap();
        assert!(memory.resident > 0 && memory.peak >= memory.resident);
        cpu_time(std::process::id()).unwrap();
    }
}
