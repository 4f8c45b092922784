//! What cannot be mounted is refused with one clear line that names the next step, an exit
//! code, and in time.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use forebay_loopback_s3::{Action, Fault, Operation};
use forebay_tests::{Bucket, Endpoint, MountCommand, binary};

const IN_TIME: Duration = Duration::from_secs(15);

// The exit codes are a contract for scripts.
const USAGE: i32 = 2;
const SOURCE: i32 = 3;
const MOUNT: i32 = 4;
const NOT_MOUNTED: i32 = 6;

fn bucket() -> Bucket {
    let bucket = Bucket::new("bad", 100 << 20);
    bucket.put("prefix/file", "content");
    bucket
}

/// The one line about the error, which has all of `words`.
#[track_caller]
fn assert_one_line(code: Option<i32>, expected: i32, said: &str, words: &[&str]) {
    assert_eq!(code, Some(expected), "{said}");
    let is_error = |line: &&str| line.starts_with("forebay: error: ");
    let errors: Vec<_> = said.lines().filter(is_error).collect();
    assert_eq!(errors.len(), 1, "not one line: {said}");
    assert_eq!(
        said.lines().last(),
        Some(errors[0]),
        "not the last line: {said}"
    );
    assert!(!said.contains("panicked"), "{said}");
    for word in words {
        assert!(
            errors[0].contains(word),
            "{word:?} is not in: {}",
            errors[0]
        );
    }
}

#[track_caller]
fn refused(command: MountCommand, code: i32, words: &[&str]) {
    let (ended, said) = command.refused(IN_TIME);
    assert_one_line(ended.code(), code, &said, words);
}

/// `forebay` with these arguments, to its end.
#[track_caller]
fn forebay(args: &[&str], code: i32, words: &[&str]) {
    let bucket = bucket();
    let begun = Instant::now();
    let Output { status, stderr, .. } = bucket.mount("m").run(args);
    assert!(begun.elapsed() < IN_TIME, "{:?}", begun.elapsed());
    let said = String::from_utf8(stderr).unwrap();
    assert_one_line(status.code(), code, &said, words);
}

fn mount_of(bucket: &Bucket, source: &str) -> MountCommand {
    MountCommand::new(source, &bucket.scratch().dir("m")).endpoint(bucket.endpoint())
}

#[test]
fn a_wrong_bucket_is_named() {
    let bucket = bucket();
    let command = mount_of(&bucket, "s3://no-such-bucket/prefix");
    refused(
        command,
        SOURCE,
        &["s3://no-such-bucket/prefix", "no such bucket", "check"],
    );
}

#[test]
fn a_prefix_with_nothing_below_is_named() {
    let bucket = bucket();
    for source in ["s3://data/wrong", "s3://data/pre", "s3://data/prefix/file"] {
        let command = mount_of(&bucket, source);
        let (ended, said) = command.refused(IN_TIME);
        let last = said.lines().last().unwrap();
        assert_one_line(
            ended.code(),
            SOURCE,
            last,
            &[source, "nothing is below", "directory"],
        );
    }
}

#[test]
fn wrong_credentials_are_told() {
    let bucket = bucket();
    let denied = bucket.mount("secret").env("AWS_SECRET_ACCESS_KEY", "wrong");
    refused(
        denied,
        SOURCE,
        &["s3://data", "no access", "SignatureDoesNotMatch"],
    );
    let denied = bucket.mount("anonymous").args(&["--anonymous"]);
    refused(denied, SOURCE, &["s3://data", "no access", "AccessDenied"]);
    let fault = Fault::new(Action::status(403, "AccessDenied"));
    bucket
        .server()
        .faults()
        .push(fault.on(Operation::ListObjects).always());
    refused(
        bucket.mount("policy"),
        SOURCE,
        &["s3://data", "no access", "AccessDenied"],
    );
}

#[test]
fn no_network_is_told() {
    let bucket = bucket();
    let nowhere = Endpoint::new("http://127.0.0.1:1");
    let command = MountCommand::new("s3://data", &bucket.scratch().dir("m"));
    refused(
        command.endpoint(&nowhere),
        SOURCE,
        &["s3://data", "no answer", "127.0.0.1:1"],
    );
}

#[test]
fn an_origin_that_fails_for_a_moment_is_listed_all_the_same() {
    let bucket = bucket();
    for code in ["SlowDown", "InternalError"] {
        let fault = Fault::new(Action::status(503, code)).times(2);
        bucket
            .server()
            .faults()
            .push(fault.on(Operation::ListObjects));
    }
    let mount = bucket.mount("m").start();
    assert_eq!(
        fs::read(mount.path().join("prefix/file")).unwrap(),
        b"content"
    );
    mount.unmount();
}

#[test]
fn an_origin_that_cannot_be_listed_is_refused_in_time() {
    let bucket = bucket();
    let fault = Fault::new(Action::status(503, "ServiceUnavailable"));
    bucket
        .server()
        .faults()
        .push(fault.on(Operation::ListObjects).always());
    refused(
        bucket.mount("m"),
        SOURCE,
        &["s3://data", "no answer", "503"],
    );
}

#[test]
fn a_listing_that_breaks_in_the_middle_is_never_shown_in_part() {
    let bucket = Bucket::new("bad", 100 << 20);
    for number in 0..2500 {
        bucket.put(&format!("{number:04}"), "content");
    }
    let later_page = || {
        // The probe and the first page are let through.
        let fault = Fault::new(Action::status(403, "AccessDenied"));
        fault.on(Operation::ListObjects).after(2)
    };
    bucket.server().faults().push(later_page().always());
    refused(bucket.mount("m"), SOURCE, &["s3://data", "AccessDenied"]);
    bucket.server().faults().clear();
    let manifests = bucket.mount("m").cache_dir().join("manifests");
    let of_dataset = fs::read_dir(manifests).unwrap().next().unwrap().unwrap();
    assert_eq!(
        fs::read_dir(of_dataset.path()).unwrap().count(),
        0,
        "something is left"
    );
    let mount = bucket.mount("m").start();
    assert_eq!(mount.status()["files"], 2500);
    assert_eq!(fs::read_dir(mount.path()).unwrap().count(), 2500);
    mount.unmount();
}

#[test]
fn places_that_cannot_be_used_are_named() {
    let bucket = bucket();
    let missing = bucket.scratch().path().join("missing/log");
    let missing = missing.to_str().unwrap();
    let command = bucket.mount("log").args(&["--log-file", missing]);
    refused(command, USAGE, &[missing, "--log-file"]);
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let command = bucket.mount("metrics").args(&["--metrics", &address]);
    refused(command, 1, &[&address, "--metrics"]);
    let file = bucket.scratch().path().join("file");
    fs::write(&file, "").unwrap();
    let run_dir = bucket
        .mount("run")
        .env("FOREBAY_RUN_DIR", file.to_str().unwrap());
    refused(run_dir, 1, &["run directory", "FOREBAY_RUN_DIR"]);
}

#[test]
fn a_directory_that_is_not_there_is_named_as_a_source() {
    let bucket = bucket();
    let missing = bucket.scratch().path().join("missing");
    let source = format!("file://{}", missing.display());
    let command = MountCommand::new(&source, &bucket.scratch().dir("m"));
    refused(command, SOURCE, &[&source, "no such bucket or directory"]);
}

#[test]
fn a_mount_point_that_cannot_be_one_is_named() {
    let bucket = bucket();
    let path = |name: &str| bucket.scratch().path().join(name).display().to_string();
    let cache = path("cache");
    fs::write(path("file"), "").unwrap();
    let endpoint = &bucket.endpoint().url;
    let mount = |dir: &str, words: &[&str]| {
        let args = [
            "mount",
            "s3://data",
            dir,
            "--cache-dir",
            &cache,
            "--endpoint",
            endpoint,
        ];
        let Output { status, stderr, .. } = bucket.mount("m").run(&args);
        let said = String::from_utf8(stderr).unwrap();
        let words = [&[dir], words].concat();
        assert_one_line(status.code(), MOUNT, &said, &words);
    };
    mount(&path("missing"), &["does not exist"]);
    mount(&path("file"), &["not a directory"]);
    mount("/proc", &["mount point already"]);
}

#[test]
fn a_mount_point_in_use_is_refused_and_the_mount_there_goes_on() {
    let bucket = bucket();
    let mount = bucket.mount("m").start();
    let path = mount.path().display().to_string();
    let other = bucket.scratch().dir("other cache");
    let again = bucket.mount("m").cache(&other);
    let Output { status, stderr, .. } = again.command().output().unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert_one_line(status.code(), MOUNT, &said, &[&path, "forebay umount"]);
    assert_eq!(
        fs::read(mount.path().join("prefix/file")).unwrap(),
        b"content"
    );
    mount.unmount();
}

#[test]
fn a_machine_without_dev_fuse_is_told_what_is_missing() {
    let bucket = bucket();
    let command = bucket.mount("m").command();
    // In a mount namespace of its own the program sees an empty /dev.
    let mut hidden = Command::new("unshare");
    hidden.args([
        "-m",
        "sh",
        "-c",
        "mount -t tmpfs none /dev && exec \"$0\" \"$@\"",
    ]);
    hidden.arg(binary()).args(command.get_args());
    for (name, value) in command.get_envs() {
        hidden.env(name, value.unwrap());
    }
    let Output { status, stderr, .. } = hidden.output().unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert_one_line(status.code(), MOUNT, &said, &["/dev/fuse"]);
}

#[test]
fn a_wrong_command_line_is_told_in_one_line() {
    forebay(
        &["mount", "s3://data", "/mnt", "--cach-dir", "/x"],
        USAGE,
        &["--cach-dir", "--cache-dir"],
    );
    forebay(
        &["mount", "s3://data", "/mnt", "--cache-size", "much"],
        USAGE,
        &["--cache-size", "much"],
    );
    forebay(
        &["mount", "s3://data", "/mnt", "--origin-timeout", "5"],
        USAGE,
        &["--origin-timeout"],
    );
    forebay(
        &["mount", "s3://data", "/mnt", "--version", "xyz"],
        USAGE,
        &["--version", "xyz"],
    );
    forebay(
        &["mount", "s3://data", "/mnt", "--include", "a["],
        USAGE,
        &["--include", "a["],
    );
    forebay(&["mount", "/mnt"], USAGE, &["no source"]);
    forebay(
        &["mount", "bucket/prefix", "/mnt"],
        USAGE,
        &["bucket/prefix", "s3://bucket"],
    );
    forebay(&["mount", "s3://", "/mnt"], USAGE, &["no bucket"]);
    forebay(
        &["mount", "s3://data", "/mnt", "--source", "a=s3://b"],
        USAGE,
        &["--source"],
    );
    forebay(
        &[
            "mount", "/mnt", "--source", "a=s3://b", "--source", "a=s3://c",
        ],
        USAGE,
        &["\"a\"", "twice"],
    );
    forebay(&["mont"], USAGE, &["mont", "mount"]);
    forebay(&[], USAGE, &["command"]);
}

#[test]
fn a_wrong_config_file_is_told_with_the_file_and_the_place() {
    let bucket = bucket();
    let file = bucket.scratch().path().join("forebay.toml");
    let config = file.display().to_string();
    let mount = |text: &str, words: &[&str]| {
        fs::write(&file, text).unwrap();
        let args = ["mount", "/mnt", "--config", &config];
        let Output { status, stderr, .. } = bucket.mount("m").run(&args);
        let said = String::from_utf8(stderr).unwrap();
        assert_one_line(status.code(), USAGE, &said, &[&[&*config], words].concat());
    };
    mount("cache-siz = \"1GiB\"\n", &["cache-siz", "cache-size"]);
    mount("cache-size = \"many\"\n", &["cache-size", "many"]);
    mount("this is no TOML", &[]);
    fs::remove_file(&file).unwrap();
    let Output { status, stderr, .. } = bucket
        .mount("m")
        .run(&["mount", "/mnt", "--config", &config]);
    let said = String::from_utf8(stderr).unwrap();
    assert_one_line(status.code(), USAGE, &said, &[&config]);
}

#[test]
fn a_command_about_no_mount_says_so() {
    for command in ["status", "umount", "warmup", "versions", "refresh"] {
        forebay(
            &[command, "/nowhere"],
            NOT_MOUNTED,
            &["/nowhere", "not mounted"],
        );
    }
}
