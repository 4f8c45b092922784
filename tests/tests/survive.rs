//! Processes die and are replaced below readers, who see a pause and nothing else.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::process::Output;
use std::thread;
use std::time::{Duration, Instant};

use forebay_tests::{
    Bucket, Dataset, Kind, MemoryGroup, Mount, MountCommand, Random, Shape, Sizes, besiege, binary,
    errno, kill, processes_with, stream, stream_at, wait_until,
};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};

const MIB: u64 = 1 << 20;
const SOON: Duration = Duration::from_secs(30);
const LIMIT: Duration = Duration::from_secs(240);

/// Large and small files, in directories of which one is long.
fn dataset(bucket: &Bucket) -> Dataset {
    let dataset = Dataset::new(&Shape {
        files: 700,
        directories: 5,
        sizes: Sizes::Skewed(100, 12 * MIB),
        seed: 5,
    });
    dataset.put_to(bucket.server(), Bucket::NAME, "");
    dataset
}

fn mount(bucket: &Bucket) -> MountCommand {
    bucket.mount("m").supervised().limit(LIMIT)
}

fn number(mount: &Mount, field: &str) -> u64 {
    mount.status()[field].as_u64().unwrap()
}

fn warnings(mount: &Mount) -> String {
    mount.status()["warnings"].to_string()
}

fn run(mount: &Mount, args: &[&str]) -> Output {
    let path = mount.path();
    mount.run(&[&args[..1], &[path.to_str().unwrap()], &args[1..]].concat())
}

/// Nothing of the mount is left: no mount, process, socket or file.
#[track_caller]
fn assert_nothing_left(bucket: &Bucket) {
    let dir = bucket.scratch().dir("m");
    let left = || processes_with(&dir);
    assert!(wait_until(SOON, || left().is_empty()), "{:#?}", left());
    for name in ["mnt", "run"] {
        let entries = fs::read_dir(dir.join(name)).unwrap();
        let left: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

fn unmount_and_leave_nothing(mount: Mount, bucket: &Bucket) {
    mount.unmount();
    assert_nothing_left(bucket);
}

fn readers_survive_kill_9(open_mode: &str, blows: usize) {
    let bucket = Bucket::new("survive", 2 << 30);
    let dataset = dataset(&bucket);
    let mount = mount(&bucket).args(&["--open-mode", open_mode]).start();
    let survived = besiege(&mount, &dataset, &Kind::EIGHT, (blows, 1), |mount| {
        mount.kill_client();
    });
    survived.assert_unharmed(&mount);
    assert_eq!(number(&mount, "restarts"), blows as u64);
    assert_eq!(number(&mount, "corrupt_chunks"), 0);
    dataset.assert_at(&mount.path());
    eprintln!("{open_mode}: pauses {:?}", survived.pauses);
    unmount_and_leave_nothing(mount, &bucket);
}

#[test]
fn readers_of_every_kind_survive_kill_9_with_files_passed_through() {
    // promise S-41: When the process that serves a supervised mount dies, readers see a pause: open files, mappings and listings go on, and no byte is wrong.
    readers_survive_kill_9("passthrough", 8);
}

#[test]
fn readers_of_every_kind_survive_kill_9_with_files_opened_without_asking() {
    readers_survive_kill_9("no-open", 6);
}

#[test]
fn readers_of_every_kind_survive_kill_9_with_files_that_are_asked_for() {
    readers_survive_kill_9("plain", 6);
}

fn leave_no_core(pid: u32) {
    let pid = Pid::from_raw(pid.cast_signed());
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    prlimit(pid, Resource::Core, none).unwrap();
}

#[test]
fn a_process_that_panics_or_is_out_of_memory_is_followed_by_another() {
    let bucket = Bucket::new("survive", 200 << 20);
    bucket.put_stream("cached", MIB, 1);
    bucket.put_stream("large", 64 * MIB, 2);
    let mount = mount(&bucket).start();
    let cached = mount.path().join("cached");
    assert_eq!(fs::read(&cached).unwrap(), stream(1, MIB));
    // As a panic ends it, and as a defect below would.
    for (restarts, signal) in [(1, Signal::ABORT), (2, Signal::ILL)] {
        let client = mount.client_pid().unwrap();
        leave_no_core(client);
        kill(client, signal);
        assert_eq!(fs::read(&cached).unwrap(), stream(1, MIB));
        assert!(wait_until(SOON, || number(&mount, "restarts") == restarts));
    }
    // Too little for what a read of a large file takes; the next one has what it wants.
    let group = MemoryGroup::new("starved", 4 * MIB);
    fs::write(group.processes(), mount.client_pid().unwrap().to_string()).unwrap();
    assert!(fs::read(mount.path().join("large")).unwrap() == stream(2, 64 * MIB));
    assert_eq!(group.kills(), 1);
    assert!(wait_until(SOON, || number(&mount, "restarts") == 3));
    unmount_and_leave_nothing(mount, &bucket);
}

#[test]
fn readers_of_every_kind_survive_upgrades() {
    // promise S-42: `forebay upgrade` is seen by readers as a pause and nothing else; if the new program cannot take over, the old one serves on.
    let bucket = Bucket::new("survive", 2 << 30);
    let dataset = dataset(&bucket);
    let other = bucket.scratch().path().join("forebay");
    fs::copy(binary(), &other).unwrap();
    let programs = [other.clone(), binary()];
    let mount = mount(&bucket).start();
    let mut turn = 0;
    let survived = besiege(&mount, &dataset, &Kind::EIGHT, (6, 2), |mount| {
        let program = programs[turn % 2].to_str().unwrap();
        let upgraded = run(mount, &["upgrade", "--binary", program, "--json"]);
        assert!(upgraded.status.success(), "{upgraded:?}");
        turn += 1;
    });
    survived.assert_unharmed(&mount);
    assert_eq!(number(&mount, "restarts"), 0);
    eprintln!("upgrade: pauses {:?}", survived.pauses);
    // The program that serves is the one asked for, and stays so through a crash.
    let exe = |mount: &Mount| fs::read_link(format!("/proc/{}/exe", mount.client_pid().unwrap()));
    let program = other.to_str().unwrap();
    assert!(
        run(&mount, &["upgrade", "--binary", program])
            .status
            .success()
    );
    assert_eq!(exe(&mount).unwrap(), other);
    mount.kill_client();
    assert!(wait_until(SOON, || number(&mount, "restarts") == 1));
    assert_eq!(exe(&mount).unwrap(), other);
    unmount_and_leave_nothing(mount, &bucket);
}

#[test]
fn a_program_that_cannot_take_over_changes_nothing() {
    let bucket = Bucket::new("survive", 100 << 20);
    bucket.put_stream("file", MIB, 1);
    let mount = mount(&bucket).start();
    let pid = number(&mount, "fuse_client_pid");
    for (program, words) in [
        ("/bin/false", "ended without a word"),
        ("/nonexistent/forebay", "cannot be started"),
        ("/etc", "cannot be started"),
    ] {
        let refused = run(&mount, &["upgrade", "--binary", program]);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && said.contains(words), "{said}");
        assert!(said.contains(program), "{said}");
    }
    assert_eq!(number(&mount, "fuse_client_pid"), pid);
    assert_eq!(fs::read(mount.path().join("file")).unwrap(), stream(1, MIB));
    unmount_and_leave_nothing(mount, &bucket);
}

#[test]
fn a_mount_without_a_supervisor_cannot_be_upgraded_and_says_so() {
    let bucket = Bucket::new("survive", 100 << 20);
    bucket.put("file", "content");
    let mount = bucket.mount("m").start();
    let refused = run(&mount, &["upgrade"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("has no supervisor"), "{said}");
    assert_eq!(mount.status()["supervisor_pid"], 0);
    assert_eq!(mount.status()["keeper_pid"], 0);
    assert_eq!(warnings(&mount), "[]");
    mount.unmount();
}

#[test]
fn a_read_that_waits_for_the_origin_is_answered_by_the_next_process() {
    let bucket = Bucket::new("survive", 100 << 20);
    bucket.put_stream("file", 3 * MIB, 1);
    let mount = mount(&bucket).start();
    bucket.server().pause();
    let path = mount.path().join("file");
    let reading = thread::spawn(move || fs::read(path));
    let waits = || mount.status()["origin"]["requests"].as_u64() > Some(1);
    assert!(wait_until(SOON, waits));
    mount.kill_client();
    assert!(wait_until(SOON, || number(&mount, "restarts") == 1));
    assert!(!reading.is_finished());
    bucket.server().resume().unwrap();
    assert_eq!(reading.join().unwrap().unwrap(), stream(1, 3 * MIB));
    unmount_and_leave_nothing(mount, &bucket);
}

#[test]
fn where_the_kernel_cannot_repeat_requests_those_in_flight_fail_and_the_mount_lives() {
    // promise S-43: On a kernel before 6.9, a request that is being answered when the process dies fails with ECONNABORTED, unless the kernel tries it again by itself, as it does with reads of pages; the mount, open files and all other requests go on.
    let bucket = Bucket::new("survive", 100 << 20);
    bucket.put_stream("file", 3 * MIB, 1);
    bucket.put_stream("other", 3 * MIB, 2);
    let old = mount(&bucket).env("FOREBAY_TEST_WITHOUT_RESEND", "1");
    let mount = old.start();
    let open = File::open(mount.path().join("other")).unwrap();
    bucket.server().pause();
    let path = mount.path().join("file");
    let direct = OFlags::DIRECT.bits().cast_signed();
    let direct = File::options().read(true).custom_flags(direct).open(path);
    let direct = direct.unwrap();
    let reading = thread::spawn(move || direct.read_at(&mut [0; 4096], 0));
    let waits = || mount.status()["origin"]["requests"].as_u64() > Some(1);
    assert!(wait_until(SOON, waits));
    mount.kill_client();
    let failed = reading.join().unwrap();
    assert_eq!(errno(&failed), Some(Errno::CONNABORTED), "{failed:?}");
    assert!(wait_until(SOON, || number(&mount, "restarts") == 1));
    bucket.server().resume().unwrap();
    let mut bytes = vec![0; 4096];
    open.read_exact_at(&mut bytes, MIB).unwrap();
    assert_eq!(bytes, stream_at(2, MIB, 4096));
    assert_eq!(
        fs::read(mount.path().join("file")).unwrap(),
        stream(1, 3 * MIB)
    );
    let told = mount.log().matches("cannot repeat requests").count();
    assert_eq!(told, 1, "{}", mount.log());
    unmount_and_leave_nothing(mount, &bucket);
}

#[test]
fn versions_survive_with_the_inodes_that_they_have() {
    let bucket = Bucket::new("survive", 100 << 20);
    bucket.put("dir/file", "old content");
    let mount = mount(&bucket).start();
    let path = mount.path().join("dir/file");
    let mut old = File::open(&path).unwrap();
    bucket.put("dir/file", "the new content");
    bucket.put("dir/second", "more");
    let refreshed = mount.ask("refresh", &[]);
    mount.kill_client();
    assert!(wait_until(SOON, || number(&mount, "restarts") == 1));
    assert_eq!(mount.status()["version"], refreshed["drift"]["to_version"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), "the new content");
    let mut content = String::new();
    // Its object has been overwritten, and nobody has read it before: told, not mixed.
    let outcome = old.read_to_string(&mut content);
    assert!(outcome.is_err() || content == "old content", "{content}");
    assert_eq!(fs::read_dir(mount.path().join("dir")).unwrap().count(), 2);
    // And another refresh after it.
    bucket.put("dir/third", "x");
    mount.ask("refresh", &[]);
    mount.kill_client();
    assert!(wait_until(SOON, || number(&mount, "restarts") == 2));
    assert_eq!(fs::read_dir(mount.path().join("dir")).unwrap().count(), 3);
    unmount_and_leave_nothing(mount, &bucket);
}

#[test]
fn a_mount_whose_supervisor_is_killed_is_served_on_and_unmounts() {
    let bucket = Bucket::new("survive", 100 << 20);
    bucket.put_stream("file", MIB, 1);
    let mount = mount(&bucket).start();
    let before = mount.status();
    assert_eq!(before["supervisor_pid"], mount.pid());
    assert_eq!(warnings(&mount), "[]");
    kill(mount.pid(), Signal::KILL);
    assert!(wait_until(SOON, || warnings(&mount).contains("supervisor has gone")));
    assert_eq!(mount.status()["supervisor_pid"], 0);
    assert_eq!(mount.status()["fuse_client_pid"], before["fuse_client_pid"]);
    assert_eq!(fs::read(mount.path().join("file")).unwrap(), stream(1, MIB));
    let refused = run(&mount, &["upgrade"]);
    assert!(!refused.status.success(), "{refused:?}");
    let unmounted = run(&mount, &["umount"]);
    assert!(unmounted.status.success(), "{unmounted:?}");
    assert_nothing_left(&bucket);
}

#[test]
fn a_keeper_that_is_killed_is_replaced_and_the_mount_survives_after_that() {
    let bucket = Bucket::new("survive", 100 << 20);
    bucket.put_stream("file", MIB, 1);
    let mount = mount(&bucket).start();
    let keeper = u32::try_from(number(&mount, "keeper_pid")).unwrap();
    kill(keeper, Signal::KILL);
    assert!(wait_until(SOON, || warnings(&mount).contains("keeper has gone")));
    let replaced = || {
        let pid = number(&mount, "keeper_pid");
        pid != 0 && pid != u64::from(keeper)
    };
    assert!(wait_until(SOON, replaced));
    assert_eq!(warnings(&mount), "[]");
    let mut open = File::open(mount.path().join("file")).unwrap();
    mount.kill_client();
    assert!(wait_until(SOON, || number(&mount, "restarts") == 1));
    let mut content = Vec::new();
    open.read_to_end(&mut content).unwrap();
    assert_eq!(content, stream(1, MIB));
    unmount_and_leave_nothing(mount, &bucket);
}

#[test]
fn a_mount_that_loses_process_and_keeper_at_once_ends_and_says_so() {
    let bucket = Bucket::new("survive", 100 << 20);
    bucket.put_stream("file", MIB, 1);
    let mount = mount(&bucket).start();
    let keeper = u32::try_from(number(&mount, "keeper_pid")).unwrap();
    let open = File::open(mount.path().join("file")).unwrap();
    kill(keeper, Signal::KILL);
    mount.kill_client();
    let ended = mount.wait(SOON).unwrap();
    assert_eq!(ended.code(), Some(4), "{}", mount.log());
    assert!(mount.log().contains("no keeper had it"), "{}", mount.log());
    let failed = open.read_at(&mut [0; 10], 0);
    assert_eq!(errno(&failed), Some(Errno::NOTCONN));
    assert_nothing_left(&bucket);
}

#[test]
fn unmounting_works_whatever_is_dead_or_stopped() {
    let bucket = Bucket::new("survive", 100 << 20);
    bucket.put_stream("file", MIB, 1);
    let kill_client = |mount: &Mount| mount.kill_client();
    let kill_supervisor = |mount: &Mount| kill(mount.pid(), Signal::KILL);
    let kill_keeper = |mount: &Mount| {
        kill(
            u32::try_from(number(mount, "keeper_pid")).unwrap(),
            Signal::KILL,
        );
    };
    let stop_client = |mount: &Mount| kill(mount.client_pid().unwrap(), Signal::STOP);
    let stop_supervisor = |mount: &Mount| kill(mount.pid(), Signal::STOP);
    type Blow<'a> = &'a dyn Fn(&Mount);
    let states: [&[Blow]; 8] = [
        &[&kill_client],
        &[&kill_supervisor],
        &[&kill_keeper],
        &[&kill_keeper, &kill_supervisor],
        &[&kill_supervisor, &kill_client],
        &[&kill_keeper, &kill_supervisor, &kill_client],
        &[&stop_supervisor, &kill_client],
        &[&stop_client, &kill_supervisor],
    ];
    for (number, state) in states.iter().enumerate() {
        let mount = mount(&bucket).start();
        let file = File::open(mount.path().join("file")).unwrap();
        file.read_exact_at(&mut [0; 10], 0).unwrap();
        let client = mount.client_pid().unwrap();
        state.iter().for_each(|blow| blow(&mount));
        let unmounted = run(&mount, &["umount"]);
        assert!(unmounted.status.success(), "{number}: {unmounted:?}");
        drop(file);
        for pid in [mount.pid(), client] {
            kill(pid, Signal::CONT);
        }
        assert_nothing_left(&bucket);
        drop(mount);
    }
}

#[test]
fn process_after_process_that_dies_is_told_and_followed() {
    let bucket = Bucket::new("survive", 100 << 20);
    bucket.put_stream("file", MIB, 1);
    let mount = mount(&bucket).start();
    let mut random = Random::new(3);
    for _ in 0..8 {
        let before = mount.client_pid();
        mount.kill_client();
        assert!(wait_until(SOON, || mount.client_pid() != before));
        thread::sleep(Duration::from_millis(random.below(30)));
    }
    assert!(wait_until(SOON, || mount.serving_pid().is_some()));
    assert!(warnings(&mount).contains("process after process dies"));
    assert!(mount.log().contains("others are started all the same"));
    assert_eq!(fs::read(mount.path().join("file")).unwrap(), stream(1, MIB));
    unmount_and_leave_nothing(mount, &bucket);
}

#[test]
fn readers_of_a_mount_that_nobody_can_serve_get_an_error_in_time() {
    // promise S-44: While no process can be started to serve a mount, requests wait as long as for an origin, then fail with EIO; they are served again as soon as one can.
    let bucket = Bucket::new("survive", 100 << 20);
    bucket.put_stream("file", 3 * MIB, 1);
    let mount = mount(&bucket).args(&["--origin-timeout", "4s"]).start();
    let run_dir = fs::read_dir(bucket.scratch().dir("m").join("run")).unwrap();
    let record = run_dir.map(|dir| dir.unwrap().path().join("served.json"));
    let record = record.collect::<Vec<_>>().remove(0);
    let good = fs::read_to_string(&record).unwrap();
    let version = mount.status()["version"].as_str().unwrap().to_owned();
    fs::write(&record, good.replace(&version, "no version")).unwrap();
    let open = File::open(mount.path().join("file")).unwrap();
    mount.kill_client();
    let begun = Instant::now();
    let failed = open.read_at(&mut [0; 4096], 2 * MIB);
    let took = begun.elapsed();
    assert_eq!(errno(&failed), Some(Errno::IO), "{}", mount.log());
    assert!(took > Duration::from_secs(3) && took < SOON, "{took:?}");
    let failed = fs::metadata(mount.path().join("absent"));
    assert_eq!(errno(&failed), Some(Errno::IO), "{failed:?}");
    let told = run(&mount, &["status"]);
    let told = String::from_utf8_lossy(&told.stderr);
    assert!(told.contains("nobody serves"), "{told}");
    assert!(
        told.contains("no version") || told.contains("in the record"),
        "{told}"
    );
    fs::write(&record, good).unwrap();
    let read = || open.read_at(&mut [0; 4096], MIB).is_ok();
    assert!(wait_until(SOON, read), "{}", mount.log());
    drop(open);
    assert_eq!(
        fs::read(mount.path().join("file")).unwrap(),
        stream(1, 3 * MIB)
    );
    unmount_and_leave_nothing(mount, &bucket);
}

#[test]
fn a_keeper_is_small() {
    let bucket = Bucket::new("survive", 100 << 20);
    bucket.put("file", "content");
    let mount = mount(&bucket).start();
    let keeper = number(&mount, "keeper_pid");
    let rollup = fs::read_to_string(format!("/proc/{keeper}/smaps_rollup")).unwrap();
    let field = |name: &str| {
        let line = rollup
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    // Of its own; a debug build maps many times as much of the program file.
    assert!(field("Anonymous:") < 3 << 10, "{rollup}");
    let status = fs::read_to_string(format!("/proc/{keeper}/status")).unwrap();
    assert!(status.contains("Threads:\t1\n"), "{status}");
    // Detached from everything: a session of its own, deaf to a hang-up, no file open
    // but its streams, its socket and what it holds.
    let stat = fs::read_to_string(format!("/proc/{keeper}/stat")).unwrap();
    assert_eq!(stat.split(' ').nth(5), Some(&*keeper.to_string()), "{stat}");
    kill(u32::try_from(keeper).unwrap(), Signal::HUP);
    let open: Vec<_> = fs::read_dir(format!("/proc/{keeper}/fd"))
        .unwrap()
        .map(|entry| fs::read_link(entry.unwrap().path()).unwrap())
        .collect();
    let held = open.iter().filter(|path| path.ends_with("fuse")).count();
    assert_eq!(held, 1, "{open:?}");
    assert_eq!(number(&mount, "keeper_pid"), keeper);
    unmount_and_leave_nothing(mount, &bucket);
}
