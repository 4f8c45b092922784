//! What scripts rely on: the fields of the status, the config file, printed pages.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Command, Output};

use forebay_tests::{Bucket, Mount, MountCommand, stream};
use serde_json::Value;

const MIB: u64 = 1 << 20;

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

#[test]
fn the_status_has_every_field_of_the_contract() {
    let bucket = bucket();
    bucket.put("odd/../key", "skipped");
    let mount = bucket.mount("m").start();
    assert!(fs::read(mount.path().join("train/a")).unwrap() == stream(1, 2 * MIB));
    let status = mount.status();
    let expected: [(&str, Value); 7] = [
        ("mountpoint", mount.path().to_str().unwrap().into()),
        ("files", 4.into()),
        ("bytes", (3 * MIB + 6).into()),
        ("cached_bytes", (2 * MIB).into()),
        // The empty file counts as cached: it needs no room.
        ("cached_files", 2.into()),
        ("pid", mount.pid().into()),
        ("corrupt_chunks", 0.into()),
    ];
    for (field, value) in expected {
        assert_eq!(status[field], value, "{field} of {status:#}");
    }
    assert_eq!(status["sources"][0]["name"], "");
    let url = status["sources"][0]["url"].as_str().unwrap();
    assert!(url.starts_with("s3://data"), "{url}");
    assert_eq!(status["version"].as_str().unwrap().len(), 32);
    assert_eq!(status["skipped"]["total"], 1);
    assert_eq!(status["skipped"]["by_reason"]["dot-component"], 1);
    assert_eq!(status["skipped"]["sample"][0]["key"], "odd/../key");
    assert_eq!(status["skipped"]["sample"][0]["reason"], "dot-component");
    assert_eq!(status["origin"]["bytes"], 2 * MIB);
    assert_eq!(status["origin"]["errors"], 0);
    assert!(status["origin"]["requests"].as_u64().unwrap() > 2);
    // Without a directory: all mounts that this run directory has.
    let all: Value = serde_json::from_slice(&mount.run(&["status", "--json"]).stdout).unwrap();
    assert_eq!(all.as_array().unwrap().len(), 1);
    assert_eq!(all[0]["version"], status["version"]);
    let people = text(&mount.run(&["status"]).stdout);
    for words in [
        "s3://data",
        "4 files",
        "1 object (1 dot-component)",
        "2.0 MiB",
    ] {
        assert!(people.contains(words), "{words:?} is not in: {people}");
    }
    mount.unmount();
}

#[test]
fn the_config_file_says_what_flags_say_and_flags_go_before() {
    let bucket = bucket();
    let file = bucket.scratch().path().join("forebay.toml");
    let endpoint = &bucket.endpoint().url;
    let config = format!(
        "endpoint = {endpoint:?}\npath-style = true\ninclude = [\"train/**\"]\n\
         cache-size = \"64MiB\"\nfile-mode = \"0400\"\n\n\
         [[source]]\nname = \"set\"\nurl = \"s3://data\"\n"
    );
    fs::write(&file, config).unwrap();
    let mut command = MountCommand::without_source(&bucket.scratch().dir("m"));
    for (name, value) in bucket.endpoint().environment() {
        command = command.env(name, value);
    }
    let args = ["--config", file.to_str().unwrap(), "--include", "set/val/*"];
    let mount = command.args(&args).start();
    let status = mount.status();
    assert_eq!(status["cache"]["capacity_bytes"], 64 * MIB);
    assert_eq!(status["sources"][0]["name"], "set");
    assert_eq!(status["files"], 1, "the flag has not gone before the file");
    let stat = fs::metadata(mount.path().join("set/val/empty")).unwrap();
    assert_eq!(stat.permissions().mode() & 0o777, 0o400);
    mount.unmount();
}

#[test]
fn owner_modes_and_who_may_read_are_as_the_options_say() {
    let bucket = bucket();
    let args = [
        "--uid",
        "1234",
        "--gid",
        "2345",
        "--file-mode",
        "0440",
        "--dir-mode",
        "0755",
    ];
    let mount = bucket.mount("m").args(&args).start();
    let file = fs::metadata(mount.path().join("train/a")).unwrap();
    let dir = fs::metadata(mount.path().join("train")).unwrap();
    assert_eq!(
        (file.uid(), file.gid(), file.mode() & 0o7777),
        (1234, 2345, 0o440)
    );
    assert_eq!(
        (dir.uid(), dir.gid(), dir.mode() & 0o7777),
        (1234, 2345, 0o755)
    );
    mount.unmount();
    let as_nobody = |mount: &Mount| {
        let mut cat = Command::new("setpriv");
        cat.args(["--reuid=65534", "--regid=65534", "--clear-groups", "cat"]);
        cat.arg(mount.path().join("train/deep/c")).output().unwrap()
    };
    // Whoever may not enter the directory of the test cannot read in any case.
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(bucket.scratch().path(), open).unwrap();
    let mount = bucket.mount("m").start();
    assert!(!as_nobody(&mount).status.success());
    mount.unmount();
    let mount = bucket.mount("m").args(&["--allow-other"]).start();
    assert_eq!(as_nobody(&mount).stdout, stream(3, 5));
    mount.unmount();
}

#[test]
fn the_demo_reads_everything_cold_and_warm_and_cleans_up() {
    let bucket = Bucket::new("cli", 600 * MIB);
    let temporary = bucket.scratch().dir("temporary");
    let demo = bucket.mount("m").env("TMPDIR", temporary.to_str().unwrap());
    let Output {
        status,
        stdout,
        stderr,
    } = demo.run(&["demo", "--json"]);
    assert!(status.success(), "{}", text(&stderr));
    let passes: Value = serde_json::from_slice(&stdout).unwrap();
    let bytes = |pass: usize| passes[pass]["origin_bytes"].as_u64().unwrap();
    assert_eq!(passes[0]["bytes"], bytes(0), "{passes:#}");
    assert!(bytes(0) > MIB);
    assert_eq!((bytes(1), bytes(2)), (0, 0), "{passes:#}");
    assert_eq!(fs::read_dir(temporary).unwrap().count(), 0);
}

#[test]
fn pages_for_people_and_shells_are_printed() {
    let bucket = Bucket::new("cli", MIB);
    let forebay = |args: &[&str]| {
        let Output { status, stdout, .. } = bucket.mount("m").run(args);
        assert!(status.success(), "{args:?}");
        text(&stdout)
    };
    for shell in ["bash", "zsh", "fish"] {
        let script = forebay(&["completions", shell]);
        assert!(
            script.contains("origin-timeout") && script.contains("warmup"),
            "{shell}"
        );
    }
    let page = forebay(&["man"]);
    assert!(page.contains(".TH") && page.contains("forebay"), "{page}");
    let pages = bucket.scratch().dir("pages");
    forebay(&["man", "--dir", pages.to_str().unwrap()]);
    let mount = fs::read_to_string(pages.join("forebay-mount.1")).unwrap();
    assert!(mount.contains("origin\\-timeout"), "{mount}");
    let example = forebay(&["config", "print", "--example", "mount"]);
    assert!(example.contains("[[source]]"), "{example}");
    assert!(forebay(&["--version"]).starts_with("forebay "));
    for command in [
        "mount", "umount", "status", "warmup", "versions", "refresh", "demo",
    ] {
        assert!(
            forebay(&[command, "--help"]).contains("Usage:"),
            "{command}"
        );
    }
}
