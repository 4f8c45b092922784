//! Whatever is wrong is told in one line, with a code of its own, within 15 seconds.

use std::fs;
use std::net::TcpListener;
use std::process::Command;

use forebay_loopback_s3::LoopbackS3;

use crate::harness::{Outcome, Place, finish, text};

/// `forebay mount` in a mount namespace of its own, after `setup` has changed it.
fn mount_after(place: &Place, setup: &str, words: &[&str]) -> Outcome {
    let script = format!("{setup} && exec \"$@\"");
    let mut command: Command = place.program("unshare");
    command.args([
        "--mount",
        "sh",
        "-c",
        &script,
        "sh",
        env!("CARGO_BIN_EXE_forebay"),
        "mount",
    ]);
    finish(command.args(words))
}

fn mount_s3(place: &Place, url: &str, endpoint: &str) -> Command {
    let mut command = place.command(&["mount", url, "mnt", "--endpoint", endpoint]);
    command.arg("--path-style");
    command
}

#[test]
fn a_misspelt_flag() {
    let outcome = Place::new().run(&["mount", "--cach-dir", "x"]);
    outcome.is_told(2, &["--cach-dir", "--cache-dir", "forebay mount --help"]);
}

#[test]
fn a_value_that_cannot_be_used() {
    let place = Place::new();
    let run = |flag, value| place.run(&["mount", "file:///", "mnt", flag, value]);
    run("--cache-size", "lots").is_told(2, &["lots", "--cache-size", "100GiB"]);
    run("--origin-timeout", "5").is_told(2, &["--origin-timeout", "60s"]);
    run("--file-mode", "rw").is_told(2, &["--file-mode", "octal"]);
    run("--metrics", "9000").is_told(2, &["--metrics", "host:port"]);
    run("--version", "xyz").is_told(2, &["--version", "hexadecimal"]);
    run("--include", "a{").is_told(2, &["--include", "glob"]);
    run("--policy", "fifo").is_told(2, &["--policy", "s3-fifo"]);
    run("--scrub-rate", "fast").is_told(2, &["fast", "--scrub-rate", "100GiB"]);
    run("--prefetch-budget", "1MiB").is_told(2, &["--prefetch-budget", "8MiB or more"]);
}

#[test]
fn a_value_in_the_environment_that_cannot_be_used() {
    let place = Place::new();
    let mut command = place.command(&["mount", "file:///", "mnt"]);
    finish(command.env("FOREBAY_CACHE_SIZE", "lots")).is_told(2, &["lots", "--cache-size"]);
}

#[test]
fn a_config_file_with_a_key_or_value_that_is_wrong_or_none_at_all() {
    let place = Place::new();
    let run = |content: &str| {
        fs::write(place.path("f.toml"), content).unwrap();
        place.run(&["mount", "file:///", "mnt", "--config", "f.toml"])
    };
    run("cache_dir = \"x\"").is_told(2, &["f.toml", "\"cache_dir\"", "did you mean cache-dir?"]);
    run("cache-size = \"lots\"").is_told(2, &["f.toml", "cache-size", "lots", "100GiB"]);
    run("a = = b").is_told(2, &["f.toml:1:"]);
    let missing = place.run(&["mount", "file:///", "mnt", "--config", "none.toml"]);
    missing.is_told(2, &["none.toml", "No such file"]);
}

#[test]
fn a_source_that_is_none() {
    let place = Place::new();
    place.run(&["mount", "mnt"]).is_told(2, &["no source"]);
    place
        .run(&["mount", "bucket/prefix", "mnt"])
        .is_told(2, &["s3://bucket/prefix"]);
    place
        .run(&["mount", "s3://", "mnt"])
        .is_told(2, &["no bucket"]);
    let twice = ["mount", "s3://a", "mnt", "--source", "b=s3://b"];
    place.run(&twice).is_told(2, &["SOURCE and --source"]);
}

#[test]
fn a_source_that_does_not_exist() {
    let place = Place::new();
    place
        .run(&["mount", "file:///nowhere/at/all", "mnt"])
        .is_told(3, &["/nowhere/at/all"]);
}

#[test]
fn a_bucket_or_prefix_that_does_not_exist() {
    let server = LoopbackS3::builder().start().unwrap();
    server.put("data", "train/a", "content");
    let place = Place::new();
    let run = |url: &str| finish(mount_s3(&place, url, &server.endpoint()).arg("--anonymous"));
    run("s3://daat").is_told(3, &["s3://daat", "bucket"]);
    run("s3://data/tarin").is_told(3, &["s3://data/tarin", "prefix"]);
}

#[test]
fn credentials_that_are_wrong_or_missing() {
    let server = LoopbackS3::builder()
        .credentials("key", "right")
        .start()
        .unwrap();
    server.put("data", "a", "content");
    let place = Place::new();
    let mut command = mount_s3(&place, "s3://data", &server.endpoint());
    command
        .env("AWS_ACCESS_KEY_ID", "key")
        .env("AWS_SECRET_ACCESS_KEY", "wr0ng-secret");
    let outcome = finish(&mut command);
    outcome.is_told(3, &["s3://data"]);
    assert!(!outcome.err.contains("wr0ng-secret"), "{outcome:?}");
    let anonymous = finish(mount_s3(&place, "s3://data", &server.endpoint()).arg("--anonymous"));
    anonymous.is_told(3, &["s3://data"]);
}

#[test]
fn a_server_that_refuses_connections() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let place = Place::new();
    let endpoint = format!("http://{free}");
    let outcome = finish(mount_s3(&place, "s3://data", &endpoint).arg("--anonymous"));
    outcome.is_told(3, &["s3://data", &free.to_string()]);
}

#[test]
fn a_server_that_never_answers() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = Place::new();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let outcome = finish(mount_s3(&place, "s3://data", &endpoint).arg("--anonymous"));
    outcome.is_told(3, &["s3://data", &endpoint[7..]]);
}

#[test]
fn no_network_at_all() {
    let place = Place::new();
    let mut command = place.program("unshare");
    command.args([
        "--net",
        env!("CARGO_BIN_EXE_forebay"),
        "mount",
        "s3://data",
        "mnt",
    ]);
    command.args(["--anonymous", "--endpoint", "http://s3.invalid:9000"]);
    finish(&mut command).is_told(3, &["s3://data"]);
}

#[test]
fn no_fuse_device() {
    let place = Place::new();
    let source = place.source();
    let outcome = mount_after(&place, "mount -t tmpfs none /dev", &[&source, "mnt"]);
    outcome.is_told(4, &["/dev/fuse", "modprobe fuse"]);
}

#[test]
fn a_mount_point_that_is_busy_missing_or_no_directory() {
    let place = Place::new();
    let source = place.source();
    let run = |dir: &str| place.run(&["mount", &source, dir]);
    run("/proc").is_told(4, &["/proc", "mount point already"]);
    run("nowhere").is_told(4, &["nowhere does not exist"]);
    run("source/a").is_told(4, &["not a directory"]);
}

#[test]
fn a_mount_point_that_forebay_has_already() {
    let place = Place::new();
    place.mount(&place.source(), &[]).is_ok();
    let again = place.run(&["mount", &place.source(), "mnt", "--cache-dir", "other"]);
    again.is_told(4, &[&place.pid().to_string(), "forebay umount"]);
    place.run(&["umount", "mnt"]).is_ok();
}

#[test]
fn a_cache_directory_in_use_by_another_mount() {
    let place = Place::new();
    place.mount(&place.source(), &[]).is_ok();
    fs::create_dir(place.path("other")).unwrap();
    let second = place.run(&["mount", &place.source(), "other"]);
    second.is_told(5, &["in use", &place.pid().to_string(), "--cache-dir"]);
    place.run(&["umount", "mnt"]).is_ok();
}

#[test]
fn a_cache_directory_without_rights_or_that_is_a_file() {
    let place = Place::new();
    let source = place.source();
    let run = |dir: &str| place.run(&["mount", &source, "mnt", "--cache-dir", dir]);
    run("/proc/forebay").is_told(5, &["/proc/forebay", "--cache-dir"]);
    run("source/a").is_told(5, &["source/a", "--cache-dir"]);
    fs::create_dir(place.path("ro")).unwrap();
    let read_only = format!("mount -t tmpfs -o ro none {}", text(&place.path("ro")));
    let outcome = mount_after(&place, &read_only, &[&source, "mnt", "--cache-dir", "ro"]);
    outcome.is_told(5, &["Read-only file system", "--cache-dir"]);
}

#[test]
fn a_cache_directory_without_room() {
    let place = Place::new();
    let source = place.source();
    fs::create_dir(place.path("small")).unwrap();
    let small = format!(
        "mount -t tmpfs -o size=1m none {}",
        text(&place.path("small"))
    );
    let outcome = mount_after(&place, &small, &[&source, "mnt", "--cache-dir", "small"]);
    outcome.is_told(5, &["no room", "--cache-dir"]);
}

#[test]
fn more_memory_than_there_is() {
    let place = Place::new();
    let source = place.source();
    let outcome = mount_after(
        &place,
        "mount -t tmpfs -o size=32m none /dev/shm",
        &[&source, "mnt", "--memory-size", "1GiB"],
    );
    outcome.is_told(5, &["no room", "--memory-size"]);
}

#[test]
fn a_metrics_address_that_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let place = Place::new();
    let outcome = place.mount(&place.source(), &["--metrics", &address]);
    outcome.is_told(1, &[&address, "--metrics"]);
    assert!(!place.is_mounted());
}

#[test]
fn a_directory_that_is_not_mounted() {
    let place = Place::new();
    for words in [
        ["umount", "mnt"].as_slice(),
        &["status", "mnt"],
        &["warmup", "mnt"],
        &["versions", "mnt"],
        &["refresh", "mnt"],
        &["umount", "/nowhere/at/all"],
    ] {
        place.run(words).is_told(6, &["not mounted at"]);
    }
}

#[test]
fn the_background_process_passes_on_why_it_failed() {
    let place = Place::new();
    place
        .mount("file:///nowhere/at/all", &[])
        .is_told(3, &["/nowhere/at/all"]);
    place
        .mount(&place.source(), &["--cache-dir", "source/a"])
        .is_told(5, &["source/a"]);
    let words = [
        "mount",
        &place.source(),
        "mnt",
        "--daemon",
        "--log-file",
        "nowhere/log",
    ];
    let log = place.run(&words);
    log.is_told(2, &["nowhere/log"]);
    assert!(!place.is_mounted());
}
