//! What a result is worth nothing without: machine, kernel, commit.

use std::process::Command;

/// One line that says where figures come from.
pub fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let uname = rustix::system::uname();
    let kernel = uname.release().to_string_lossy();
    let commit = Command::new("git")
        .args(["rev-parse", "--short", "HEAD"])
        .output()
        .ok();
    let commit = commit.map(|done| String::from_utf8_lossy(&done.stdout).trim().to_owned());
    let commit = commit
        .filter(|commit| !commit.is_empty())
        .unwrap_or_else(|| "unknown".into());
    format!("{cores} cores, Linux {kernel}, commit {commit}")
}
