//! Mounts in the background, and all the ways in which a mount ends.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use forebay_loopback_s3::{Action, Fault, Operation};
use forebay_tests::{Bucket, MountCommand, errno, stream, wait_until};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const MIB: u64 = 1 << 20;
const LIMIT: Duration = Duration::from_secs(15);
/// What "at once" means, with room for a busy machine.
const AT_ONCE: Duration = Duration::from_secs(2);

/// A bucket with a few files of several chunks.
fn bucket() -> Bucket {
    let bucket = Bucket::new("cli", 200 * MIB);
    bucket.put_stream("train/a", 2 * MIB, 1);
    bucket.put_stream("train/b", MIB + 1, 2);
    bucket.put_stream("train/deep/c", 5, 3);
    bucket.put("val/empty", "");
    bucket
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn is_mounted(path: &Path) -> bool {
    let mounts = fs::read("/proc/self/mountinfo").unwrap();
    let path = path.as_os_str().as_bytes();
    mounts.windows(path.len()).any(|part| part == path)
}

/// Whether the process has gone, or waits for nothing but to be buried.
fn has_ended(pid: u64) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.map_or(true, |stat| stat.contains(") Z "))
}

/// A mount in the background. Dropping it takes it away, however the test ended.
struct Daemon(MountCommand);

impl Daemon {
    fn umount(&self) -> Output {
        self.0.run(&["umount", self.0.path().to_str().unwrap()])
    }

    fn status(&self) -> Output {
        self.0
            .run(&["status", self.0.path().to_str().unwrap(), "--json"])
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if is_mounted(&self.0.path()) {
            eprintln!("{:?}", self.umount());
        }
    }
}

#[test]
fn a_daemon_returns_when_the_mount_is_ready_and_lives_until_it_is_unmounted() {
    let bucket = bucket();
    let log = bucket.scratch().path().join("daemon.log");
    let args = ["--daemon", "--log-file", log.to_str().unwrap()];
    let daemon = Daemon(bucket.mount("m").args(&args));
    let path = daemon.0.path();
    let started = daemon.0.command().output().unwrap();
    assert!(started.status.success(), "{started:?}");
    assert!(is_mounted(&path));
    assert!(fs::read(path.join("train/a")).unwrap() == stream(1, 2 * MIB));
    let said = text(&started.stdout);
    assert!(said.starts_with("mounted s3://data"), "{said}");
    assert!(
        said.contains("4 files") && said.contains("forebay umount"),
        "{said}"
    );
    let status: Value = serde_json::from_slice(&daemon.status().stdout).unwrap();
    let pid = status["pid"].as_u64().unwrap();
    let umount = daemon.umount();
    assert!(umount.status.success(), "{umount:?}");
    assert!(!is_mounted(&path));
    // The place and the cache can be used again as soon as umount returns.
    let mount = bucket.mount("m").start();
    assert_eq!(mount.status()["cached_bytes"], 2 * MIB);
    mount.unmount();
    assert!(wait_until(LIMIT, || has_ended(pid)));
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains("mounted") && !log.contains("WARN"), "{log}");
    assert_eq!(daemon.umount().status.code(), Some(6));
}

#[test]
fn a_log_that_was_moved_away_is_begun_anew_by_all_processes_of_a_mount() {
    let bucket = bucket();
    let log = bucket.scratch().path().join("daemon.log");
    let moved = bucket.scratch().path().join("daemon.log.1");
    let args = ["--daemon", "--log-file", log.to_str().unwrap()];
    let daemon = Daemon(bucket.mount("m").supervised().args(&args));
    let started = daemon.0.command().output().unwrap();
    assert!(started.status.success(), "{started:?}");
    let status: Value = serde_json::from_slice(&daemon.status().stdout).unwrap();
    let supervisor = i32::try_from(status["supervisor_pid"].as_u64().unwrap()).unwrap();
    fs::rename(&log, &moved).unwrap();
    kill_process(Pid::from_raw(supervisor).unwrap(), Signal::HUP).unwrap();
    let said = |what: &str| {
        fs::read_to_string(&log)
            .unwrap_or_default()
            .matches(what)
            .count()
    };
    assert!(wait_until(LIMIT, || said("log file opened again") == 2));
    let path = daemon.0.path();
    assert!(fs::read(path.join("train/a")).unwrap() == stream(1, 2 * MIB));
    assert!(daemon.umount().status.success());
    assert!(wait_until(LIMIT, || said("unmounted") == 1));
    assert!(fs::read_to_string(moved).unwrap().contains("mounted"));
}

#[test]
fn a_daemon_that_will_not_be_ready_returns_its_error() {
    let bucket = bucket();
    let wrong = MountCommand::new("s3://no-such-bucket", &bucket.scratch().dir("m"));
    let wrong = wrong.endpoint(bucket.endpoint()).args(&["--daemon"]);
    let Output {
        status,
        stderr,
        stdout,
    } = wrong.command().output().unwrap();
    assert_eq!(status.code(), Some(3));
    assert_eq!(text(&stdout), "");
    let said = text(&stderr);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(
        said.contains("s3://no-such-bucket: no such bucket"),
        "{said}"
    );
    assert!(!is_mounted(&wrong.path()));
}

#[test]
fn a_dead_mount_is_told_taken_away_and_mounted_again_with_its_cache() {
    let bucket = bucket();
    let mount = bucket.mount("m").start();
    let path = mount.path();
    assert!(fs::read(path.join("train/a")).unwrap() == stream(1, 2 * MIB));
    mount.crash();
    assert_eq!(errno(&fs::read(path.join("train/a"))), Some(Errno::NOTCONN));
    assert_eq!(errno(&fs::read_dir(&path)), Some(Errno::NOTCONN));
    let dir = path.to_str().unwrap();
    for command in ["status", "warmup", "refresh", "versions"] {
        let Output { status, stderr, .. } = mount.run(&[command, dir]);
        let said = text(&stderr);
        assert_eq!(status.code(), Some(6), "{said}");
        assert!(said.contains(&format!("forebay umount {dir}")), "{said}");
    }
    let over_it = bucket.mount("m").command().output().unwrap();
    assert_eq!(over_it.status.code(), Some(4), "{over_it:?}");
    assert!(
        text(&over_it.stderr).contains("forebay umount"),
        "{over_it:?}"
    );
    let umount = mount.run(&["umount", dir]);
    assert!(umount.status.success(), "{umount:?}");
    assert!(!is_mounted(&path));
    assert_eq!(mount.run(&["umount", dir]).status.code(), Some(6));
    let mount = bucket.mount("m").start();
    assert!(fs::read(path.join("train/a")).unwrap() == stream(1, 2 * MIB));
    assert_eq!(mount.status()["origin"]["bytes"], 0);
    mount.unmount();
}

#[test]
fn a_mount_that_does_not_answer_is_taken_away_in_time() {
    let bucket = bucket();
    let mount = bucket.mount("m").start();
    let pid = Pid::from_raw(i32::try_from(mount.pid()).unwrap()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    let path = mount.path();
    let begun = Instant::now();
    let umount = mount.run(&["umount", path.to_str().unwrap()]);
    assert!(umount.status.success(), "{umount:?}");
    assert!(begun.elapsed() < LIMIT, "{:?}", begun.elapsed());
    assert!(
        text(&umount.stdout).contains("does not answer"),
        "{umount:?}"
    );
    assert!(!is_mounted(&path));
    kill_process(pid, Signal::CONT).unwrap();
    assert!(mount.wait(LIMIT).is_some());
}

#[test]
fn a_mount_that_does_not_answer_is_killed_if_that_is_wanted() {
    let bucket = bucket();
    let mount = bucket.mount("m").start();
    let pid = Pid::from_raw(i32::try_from(mount.pid()).unwrap()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    let path = mount.path();
    let umount = mount.run(&["umount", "--kill", path.to_str().unwrap()]);
    assert!(umount.status.success(), "{umount:?}");
    assert!(text(&umount.stdout).contains("were killed"), "{umount:?}");
    assert!(!is_mounted(&path));
    assert!(mount.wait(LIMIT).is_some());
}

#[test]
fn an_unmount_of_a_mount_in_use_frees_the_place_and_ends_the_process() {
    let bucket = bucket();
    let mount = bucket.mount("m").start();
    let path = mount.path();
    let file = File::open(path.join("train/a")).unwrap();
    let umount = mount.run(&["umount", path.to_str().unwrap()]);
    assert!(umount.status.success(), "{umount:?}");
    assert!(text(&umount.stdout).contains("was in use"), "{umount:?}");
    assert!(!is_mounted(&path));
    assert!(mount.wait(LIMIT).is_some_and(|ended| ended.success()));
    let mut buffer = [0; 10];
    let gone = file.read_at(&mut buffer, MIB);
    assert_eq!(errno(&gone), Some(Errno::NOTCONN));
}

#[test]
fn a_mount_unmounted_by_umount_8_ends_and_keeps_its_cache() {
    let bucket = bucket();
    let mount = bucket.mount("m").start();
    assert!(fs::read(mount.path().join("train/a")).unwrap() == stream(1, 2 * MIB));
    // The kernel says a moment after the close that the file is not open any more.
    let umount = || {
        let path = mount.path();
        let done = Command::new("umount").arg(path).output().unwrap();
        done.status.success()
    };
    assert!(wait_until(LIMIT, umount));
    assert!(mount.wait(LIMIT).is_some_and(|ended| ended.success()));
    drop(mount);
    let mount = bucket.mount("m").start();
    assert!(fs::read(mount.path().join("train/a")).unwrap() == stream(1, 2 * MIB));
    assert_eq!(mount.status()["origin"]["bytes"], 0);
    mount.unmount();
}

/// A mount whose listing does not end by itself.
fn endless(bucket: &Bucket, args: &[&str]) -> MountCommand {
    let delay = Fault::new(Action::Delay(Duration::from_secs(600)));
    let faults = bucket.server().faults();
    faults.push(delay.on(Operation::ListObjects).always());
    bucket.mount("m").args(args)
}

/// How many pages of listings the server has been asked for.
fn listings(bucket: &Bucket) -> u64 {
    bucket.server().stats().count(Operation::ListObjects)
}

#[track_caller]
fn assert_can_be_mounted(bucket: &Bucket) {
    bucket.server().faults().clear();
    let mount = bucket.mount("m").start();
    assert!(fs::read(mount.path().join("train/a")).unwrap() == stream(1, 2 * MIB));
    mount.unmount();
}

#[test]
fn a_mount_that_is_interrupted_while_it_lists_leaves_nothing_behind() {
    let bucket = bucket();
    for signal in [Signal::INT, Signal::TERM, Signal::KILL] {
        let mut command = endless(&bucket, &[]).command();
        let before = listings(&bucket);
        let mut mounting = command.stderr(Stdio::null()).spawn().unwrap();
        assert!(wait_until(LIMIT, || listings(&bucket) > before));
        kill_process(Pid::from_child(&mounting), signal).unwrap();
        assert!(wait_until(AT_ONCE, || mounting
            .try_wait()
            .unwrap()
            .is_some()));
        assert!(!mounting.wait().unwrap().success());
        assert!(!is_mounted(&bucket.mount("m").path()));
        assert_can_be_mounted(&bucket);
    }
}

#[test]
fn a_daemon_whose_starter_dies_gives_up() {
    let bucket = bucket();
    let mut command = endless(&bucket, &["--daemon"]).command();
    let mut starter = command.spawn().unwrap();
    assert!(wait_until(LIMIT, || listings(&bucket) > 0));
    starter.kill().unwrap();
    starter.wait().unwrap();
    // The one in the background has the run directory until it ends.
    let dir = bucket.mount("m").path();
    let is_free = || {
        let umount = bucket.mount("m").run(&["umount", dir.to_str().unwrap()]);
        !text(&umount.stderr).contains("still being mounted")
    };
    assert!(wait_until(LIMIT, is_free));
    assert_can_be_mounted(&bucket);
}
