//! How a mount ends, and what comes after.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::time::{Duration, Instant};

use forebay_loopback_s3::LoopbackS3;
use rustix::process::Signal;

use crate::harness::{Place, kill, until, wait};

#[test]
fn the_foreground_says_when_it_is_ready_and_ends_cleanly_on_a_signal() {
    for signal in [Signal::INT, Signal::TERM] {
        let place = Place::new();
        let mut command = place.command(&["mount", &place.source(), "mnt"]);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert!(line.starts_with("mounted "), "{line}");
        assert!(line.ends_with("; Ctrl-C unmounts\n"), "{line}");
        assert_eq!(fs::read_to_string(place.path("mnt/a")).unwrap(), "alpha");
        kill(child.id().try_into().unwrap(), signal);
        assert!(wait(&mut child).success());
        assert!(!place.is_mounted());
        assert_eq!(fs::read_dir(place.path("run")).unwrap().count(), 0);
    }
}

#[test]
fn what_was_read_is_not_fetched_again_after_a_remount() {
    let place = Place::new();
    place.mount(&place.source(), &[]).is_ok();
    let content = fs::read(place.path("mnt/d/b")).unwrap();
    place.run(&["umount", "mnt"]).is_ok();
    place.mount(&place.source(), &[]).is_ok();
    assert_eq!(place.status()["cached_files"], 1);
    assert_eq!(fs::read(place.path("mnt/d/b")).unwrap(), content);
    assert_eq!(place.status()["origin"]["bytes"], 0);
    place.run(&["umount", "mnt"]).is_ok();
}

#[test]
fn a_memory_tier_that_was_not_needed_leaves_nothing() {
    let shared = || {
        let names = fs::read_dir("/dev/shm")
            .unwrap()
            .flatten()
            .map(|entry| entry.file_name());
        names.collect::<std::collections::BTreeSet<_>>()
    };
    let place = Place::new();
    place
        .mount(&place.source(), &["--memory-size", "16MiB"])
        .is_ok();
    let during = shared();
    assert_eq!(fs::read_to_string(place.path("mnt/a")).unwrap(), "alpha");
    place.run(&["umount", "mnt"]).is_ok();
    assert!(during.difference(&shared()).next().is_some());
}

#[test]
fn a_mount_in_use_is_unmounted_at_once_and_its_files_fail() {
    let place = Place::new();
    place.mount(&place.source(), &[]).is_ok();
    let mut open = File::open(place.path("mnt/d/b")).unwrap();
    let begun = Instant::now();
    let outcome = place.run(&["umount", "mnt"]);
    outcome.is_ok();
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(outcome.out.contains("was in use"), "{outcome:?}");
    assert!(!place.is_mounted());
    assert!(open.read_to_end(&mut Vec::new()).is_err());
}

#[test]
fn a_read_that_waits_for_a_silent_origin_does_not_hold_up_an_unmount() {
    let server = LoopbackS3::builder().start().unwrap();
    server.put("data", "a", "content");
    let place = Place::new();
    place
        .mount(
            "s3://data",
            &["--endpoint", &server.endpoint(), "--anonymous"],
        )
        .is_ok();
    server.pause();
    let path = place.path("mnt/a");
    let reader = std::thread::spawn(move || fs::read(path));
    let waiting = || place.status()["origin"]["errors"].as_u64() > Some(0);
    until("the read asks the origin", waiting);
    let begun = Instant::now();
    place.run(&["umount", "mnt"]).is_ok();
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    assert!(reader.join().unwrap().is_err());
}

#[test]
fn an_interrupted_warm_up_ends_and_is_cancelled() {
    let server = LoopbackS3::builder().start().unwrap();
    server.put("data", "a", "content");
    let place = Place::new();
    place
        .mount(
            "s3://data",
            &["--endpoint", &server.endpoint(), "--anonymous"],
        )
        .is_ok();
    server.pause();
    let mut child = place
        .command(&["warmup", "mnt"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let asks = || place.status()["origin"]["errors"].as_u64() > Some(0);
    until("the warm-up asks the origin", asks);
    kill(child.id().try_into().unwrap(), Signal::INT);
    assert_eq!(wait(&mut child).code(), Some(7));
    until("the mount gives it up", || {
        place.log().contains("warm-up cancelled")
    });
    place.run(&["umount", "mnt"]).is_ok();
}

#[test]
fn what_a_killed_process_left_is_told_and_cleaned_up() {
    let place = Place::new();
    place.mount(&place.source(), &["--no-supervise"]).is_ok();
    kill(place.pid(), Signal::KILL);
    until("the process is dead", || {
        place.run(&["status", "mnt"]).code == Some(6)
    });
    place
        .run(&["status", "mnt"])
        .is_told(6, &["has gone", "forebay umount"]);
    place
        .run(&["mount", &place.source(), "mnt"])
        .is_told(4, &["forebay umount"]);
    let all = place.run(&["status"]);
    all.is_ok();
    assert!(all.err.contains("its process has gone"), "{all:?}");
    place.run(&["umount", "mnt"]).is_ok();
    assert!(!place.is_mounted());
    assert_eq!(fs::read_dir(place.path("run")).unwrap().count(), 0);
    place.mount(&place.source(), &[]).is_ok();
    place.run(&["umount", "mnt"]).is_ok();
}

#[test]
fn a_stopped_process_does_not_hold_up_an_unmount() {
    let place = Place::new();
    place.mount(&place.source(), &[]).is_ok();
    let pid = place.pid();
    kill(pid, Signal::STOP);
    let outcome = place.run(&["umount", "mnt"]);
    outcome.is_ok();
    assert!(outcome.out.contains("does not answer"), "{outcome:?}");
    assert!(outcome.took < Duration::from_secs(15), "{outcome:?}");
    assert!(!place.is_mounted());
    kill(pid, Signal::CONT);
    let gone = || fs::read_dir(place.path("run")).is_ok_and(|run| run.count() == 0);
    until("the process notices and ends", gone);
}

#[test]
fn somebody_elses_umount_ends_the_process() {
    let place = Place::new();
    place.mount(&place.source(), &[]).is_ok();
    assert!(
        place
            .program("umount")
            .arg("mnt")
            .status()
            .unwrap()
            .success()
    );
    let gone = || fs::read_dir(place.path("run")).is_ok_and(|run| run.count() == 0);
    until("the process ends", gone);
}

#[test]
fn cached_data_is_mounted_again_while_the_origin_is_away() {
    let server = LoopbackS3::builder().start().unwrap();
    server.put("data", "a", "content");
    let place = Place::new();
    let endpoint = server.endpoint();
    let options = ["--endpoint", &endpoint, "--anonymous"];
    place.mount("s3://data", &options).is_ok();
    assert_eq!(fs::read_to_string(place.path("mnt/a")).unwrap(), "content");
    place.run(&["umount", "mnt"]).is_ok();

    server.pause();
    let mounted = place.mount("s3://data", &options);
    mounted.is_ok();
    assert_eq!(fs::read_to_string(place.path("mnt/a")).unwrap(), "content");
    assert_eq!(place.status()["origin_unreachable_at_mount"], true);
    assert!(place.log().contains("WARN"), "{}", place.log());
    place.run(&["refresh", "mnt"]).is_told(3, &["s3://data"]);
    place.run(&["umount", "mnt"]).is_ok();

    // A bucket that is gone is another matter than a server that is away.
    server.resume().unwrap();
    place
        .mount("s3://daat", &options)
        .is_told(3, &["s3://daat"]);
}
