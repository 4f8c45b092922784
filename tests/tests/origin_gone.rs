//! The origin goes away: what is cached is read, what is not waits as long as it may, and
//! nobody who waits is in the way of an end.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use forebay_loopback_s3::{Action, Fault};
use forebay_tests::{
    Bucket, Endpoint, Mount, MountCommand, Scratch, drop_pages, errno, stream, wait_until,
};
use rustix::io::Errno;

const MIB: u64 = 1 << 20;
const LIMIT: Duration = Duration::from_secs(30);
/// What "at once" means, with room for a busy machine.
const AT_ONCE: Duration = Duration::from_secs(2);

/// A mount with one file that is cached and one that is not.
fn half_cached(bucket: &Bucket, timeout: &str) -> Mount {
    bucket.put_stream("cached", 4 * MIB, 1);
    bucket.put_stream("missing", 4 * MIB, 2);
    let mount = bucket.mount("m").args(&["--origin-timeout", timeout]);
    let mount = mount.start();
    assert_cached(&mount);
    mount
}

#[track_caller]
fn assert_cached(mount: &Mount) {
    let path = mount.path().join("cached");
    drop_pages(&path);
    assert!(fs::read(&path).unwrap() == stream(1, 4 * MIB));
}

fn origin(mount: &Mount, field: &str) -> u64 {
    mount.status()["origin"][field].as_u64().unwrap()
}

#[test]
fn cached_bytes_are_read_and_others_wait_up_to_the_timeout() {
    // promise S-24: While the origin cannot be reached, cached bytes are read as ever; a read of others waits up to `--origin-timeout`, then fails with EIO.
    let bucket = Bucket::new("gone", 100 * MIB);
    let mount = half_cached(&bucket, "3s");
    bucket.server().pause();
    let requests = origin(&mount, "requests");
    let begun = Instant::now();
    assert_cached(&mount);
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    assert_eq!(origin(&mount, "requests"), requests);

    let begun = Instant::now();
    let missing = fs::read(mount.path().join("missing"));
    let took = begun.elapsed();
    assert_eq!(errno(&missing), Some(Errno::IO), "{missing:?}");
    assert!(
        took >= Duration::from_secs(3) && took < Duration::from_secs(5),
        "{took:?}"
    );
    assert!(origin(&mount, "errors") > 0);
    let alarms = mount.alarms();
    let line = alarms.last().unwrap();
    for words in ["path=missing", "cannot be reached", "gave up after 3"] {
        assert!(line.contains(words), "{words} is not in: {line}");
    }

    bucket.server().resume().unwrap();
    assert!(fs::read(mount.path().join("missing")).unwrap() == stream(2, 4 * MIB));
    mount.unmount();
}

#[test]
fn an_origin_that_comes_back_in_time_is_not_noticed() {
    let bucket = Bucket::new("gone", 100 * MIB);
    let mount = half_cached(&bucket, "20s");
    bucket.server().pause();
    let errors = origin(&mount, "errors");
    let path = mount.path().join("missing");
    let reader = thread::spawn(move || fs::read(path));
    assert!(wait_until(LIMIT, || origin(&mount, "errors") > errors + 1));
    bucket.server().resume().unwrap();
    assert!(reader.join().unwrap().unwrap() == stream(2, 4 * MIB));
    mount.assert_quiet();
    mount.unmount();
}

#[test]
fn an_origin_that_goes_while_it_sends_is_waited_for() {
    let bucket = Bucket::new("gone", 100 * MIB);
    let mount = half_cached(&bucket, "20s");
    bucket.spoil_reads(Fault::new(Action::StallAfter(MIB / 2, LIMIT)).key("missing"));
    let before = bucket.server().stats().object_bytes_sent;
    let path = mount.path().join("missing");
    let reader = thread::spawn(move || fs::read(path));
    let sent = || bucket.server().stats().object_bytes_sent;
    assert!(wait_until(LIMIT, || sent() >= before + MIB / 2));
    let errors = origin(&mount, "errors");
    bucket.server().pause();
    assert!(wait_until(LIMIT, || origin(&mount, "errors") > errors));
    bucket.server().resume().unwrap();
    assert!(reader.join().unwrap().unwrap() == stream(2, 4 * MIB));
    mount.assert_quiet();
    mount.unmount();
}

/// A process that waits for bytes that do not come.
fn blocked_reader(mount: &Mount, path: &Path) -> Child {
    let requests = origin(mount, "requests");
    let reader = Command::new("cat")
        .arg(path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    assert!(wait_until(LIMIT, || origin(mount, "requests") > requests));
    reader
}

/// The letter that the kernel gives a process' state; `None` if it is gone.
fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

#[test]
fn a_reader_that_waits_dies_at_once_when_it_is_killed() {
    let bucket = Bucket::new("gone", 100 * MIB);
    let mount = half_cached(&bucket, "60s");
    bucket.server().pause();
    for path in ["missing", "missing"] {
        let mut reader = blocked_reader(&mount, &mount.path().join(path));
        let begun = Instant::now();
        reader.kill().unwrap();
        assert!(!reader.wait().unwrap().success());
        assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    }
    assert_cached(&mount);
    mount.unmount();
}

#[test]
fn an_unmount_ends_all_waits_at_once() {
    let bucket = Bucket::new("gone", 100 * MIB);
    let mount = half_cached(&bucket, "60s");
    bucket.server().pause();
    let mut reader = blocked_reader(&mount, &mount.path().join("missing"));
    let (path, pid) = (mount.path(), mount.pid());
    let begun = Instant::now();
    let umount = mount.run(&["umount", path.to_str().unwrap()]);
    let took = begun.elapsed();
    assert!(umount.status.success(), "{umount:?}");
    assert!(took < 2 * AT_ONCE, "{took:?}");
    assert!(wait_until(AT_ONCE, || reader.try_wait().unwrap().is_some()));
    assert!(!reader.wait().unwrap().success());
    assert!(mount.wait(AT_ONCE).is_some_and(|ended| ended.success()));
    assert_eq!(state(pid), None);
    assert_eq!(fs::read_dir(path).unwrap().count(), 0, "still mounted");
}

#[test]
fn a_signal_ends_a_mount_with_readers_that_wait_at_once() {
    let bucket = Bucket::new("gone", 100 * MIB);
    let mount = half_cached(&bucket, "60s");
    bucket.server().pause();
    let mut reader = blocked_reader(&mount, &mount.path().join("missing"));
    let ended = mount.terminate(2 * AT_ONCE);
    assert!(ended.is_some_and(|ended| ended.success()), "{ended:?}");
    assert!(wait_until(AT_ONCE, || reader.try_wait().unwrap().is_some()));
    // What was cached has not suffered.
    bucket.server().resume().unwrap();
    drop(mount);
    let mount = bucket.mount("m").start();
    assert_cached(&mount);
    assert_eq!(origin(&mount, "bytes"), 0);
    mount.unmount();
}

#[test]
fn the_version_listed_last_is_mounted_without_its_origin_and_says_so() {
    let bucket = Bucket::new("gone", 100 * MIB);
    let mount = half_cached(&bucket, "1s");
    let version = mount.status()["version"].clone();
    assert_eq!(mount.status()["origin_unreachable_at_mount"], false);
    mount.unmount();
    bucket.server().pause();
    let mount = bucket.mount("m").args(&["--origin-timeout", "1s"]);
    let begun = Instant::now();
    let mount = mount.start();
    assert!(begun.elapsed() < Duration::from_secs(15));
    let status = mount.status();
    assert_eq!(status["version"], version);
    assert_eq!(status["origin_unreachable_at_mount"], true);
    let alarms = mount.alarms();
    assert!(
        alarms.iter().any(|line| line.contains("out of reach")),
        "{alarms:?}"
    );
    assert_cached(&mount);
    assert_eq!(
        errno(&fs::read(mount.path().join("missing"))),
        Some(Errno::IO)
    );
    bucket.server().resume().unwrap();
    assert!(fs::read(mount.path().join("missing")).unwrap() == stream(2, 4 * MIB));
    mount.unmount();
}

#[test]
fn without_a_stored_version_a_mount_without_its_origin_is_refused_in_time() {
    let bucket = Bucket::new("gone", 100 * MIB);
    bucket.put("file", "content");
    bucket.server().pause();
    assert_refused(bucket.mount("m"));
}

#[test]
fn an_origin_that_accepts_and_never_answers_is_refused_in_time() {
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let endpoint = Endpoint::new(format!("http://{}", silent.local_addr().unwrap()));
    let scratch = Scratch::new("gone", 100 * MIB);
    assert_refused(MountCommand::new("s3://data", scratch.path()).endpoint(&endpoint));
}

/// One clear line and the exit code for a source, within the promised 15 seconds.
#[track_caller]
fn assert_refused(command: MountCommand) {
    let (ended, log) = command.refused(Duration::from_secs(15));
    assert_eq!(ended.code(), Some(3), "{log}");
    let errors: Vec<_> = log.lines().filter(|line| line.contains("error")).collect();
    assert_eq!(errors.len(), 1, "{log}");
    for words in ["s3://data", "no answer", "endpoint"] {
        assert!(errors[0].contains(words), "{words:?} is not in: {log}");
    }
}
