//! A disk below the cache that breaks: it refuses to read, to write, to sync.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use forebay_tests::{Bucket, Mount, drop_pages, find_program, kill, stream, wait_until};
use rustix::process::Signal;

const MIB: u64 = 1 << 20;
const SOON: Duration = Duration::from_secs(30);

/// Large ones in files of their own, and small ones in packs.
const FILES: [(&str, u64); 6] = [
    ("before/large", 3 * MIB + 5),
    ("before/small", 100_000),
    ("before/tiny", 10),
    ("during/large", 3 * MIB + 6),
    ("during/small", 100_001),
    ("during/tiny", 11),
];

/// System calls of a process that fail with EIO for as long as this lives.
struct Failing(Child);

impl Failing {
    /// What fails is said as in `strace --inject`.
    fn calls(pid: u32, what: &str) -> Self {
        let strace = find_program("", "strace").expect("run cargo xtask servers install");
        let strace = Command::new(strace)
            .args(["-f", "-qq", "-o", "/dev/null", "-p", &pid.to_string()])
            .args(["-e", &format!("trace={}", what.split(':').next().unwrap())])
            .args(["-e", &format!("inject={what}")])
            .stdin(Stdio::null())
            .spawn();
        let failing = Self(strace.unwrap());
        let traced = || !status(pid).contains("TracerPid:\t0");
        assert!(
            wait_until(SOON, traced),
            "strace does not get hold of {pid}"
        );
        // The threads follow the first.
        let threads = || fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
        let all_traced = || {
            threads().all(|thread| {
                let status = fs::read_to_string(thread.path().join("status"));
                status.map_or(true, |status| !status.contains("TracerPid:\t0"))
            })
        };
        assert!(wait_until(SOON, all_traced));
        failing
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        // It lets go of the process before it ends.
        kill(self.0.id(), Signal::TERM);
        let _ = self.0.wait();
    }
}

fn status(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default()
}

fn assert_right(mount: &Mount, part: &str, when: &str) {
    for (seed, (name, size)) in FILES.iter().enumerate() {
        if !name.starts_with(part) {
            continue;
        }
        let path = mount.path().join(name);
        drop_pages(&path);
        let read = fs::read(&path).unwrap_or_else(|error| panic!("{name}, {when}: {error}"));
        assert!(read == stream(seed as u64, *size), "{name}, {when}");
    }
}

fn readers_are_served_while_it_fails(what: &str) {
    let bucket = Bucket::new("disk", 200 * MIB);
    for (seed, (name, size)) in FILES.iter().enumerate() {
        bucket.put_stream(name, *size, seed as u64);
    }
    let mount = bucket.mount("m").args(&["--open-mode", "plain"]).start();
    assert_right(&mount, "before", "before");
    let failing = Failing::calls(mount.pid(), what);
    assert_right(&mount, "", "while it fails");
    drop(failing);
    assert_right(&mount, "", "after it has failed");
    mount.unmount();
    let mount = bucket.mount("m").start();
    assert_right(&mount, "", "after a restart");
    mount.unmount();
}

#[test]
fn a_read_that_the_disk_refuses_once_is_fetched_again() {
    readers_are_served_while_it_fails("pread64:error=EIO:when=1");
}

#[test]
fn what_the_disk_does_not_take_is_read_through() {
    // promise S-45: A cache's disk that refuses to write or to sync fails no read; what it refuses to read once is fetched again.
    readers_are_served_while_it_fails("pwrite64,pwritev:error=EIO");
}

#[test]
fn a_disk_that_does_not_sync_harms_no_reader() {
    readers_are_served_while_it_fails("fsync,fdatasync,sync_file_range,syncfs:error=EIO");
}
