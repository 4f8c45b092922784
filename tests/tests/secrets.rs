//! Secrets stay where they were given: in the environment of the process.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::Output;

use forebay_loopback_s3::{Action, Fault, LoopbackS3};
use forebay_tests::{Endpoint, Mount, MountCommand, Scratch, errno};

/// Words that nothing else contains.
const ACCESS: &str = "AKIARECOGNISABLE0000";
const SECRET: &str = "recognisable/secret+key/that/nobody/may/see";
const TOKEN: &str = "recognisable-session-token-that-nobody-may-see";
const PASSWORD: &str = "recognisable-password";

/// What must not be found: the secrets, and the same as they look in a URL or a header.
fn forbidden() -> Vec<String> {
    let escaped = SECRET.replace('/', "%2F").replace('+', "%2B");
    let secrets = [SECRET, TOKEN, PASSWORD, &escaped];
    // A signature is worth as much as the key, for as long as it is valid.
    let mut all: Vec<_> = secrets.map(str::to_owned).into();
    all.push("Signature=".to_owned());
    all
}

#[track_caller]
fn assert_clean(what: &str, text: &[u8]) {
    for word in forbidden() {
        let found = text
            .windows(word.len())
            .any(|part| part.eq_ignore_ascii_case(word.as_bytes()));
        assert!(!found, "{word} is in {what}");
    }
}

/// Every file below `dir`, and its name.
fn assert_clean_below(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let path = entry.path();
        assert_clean("a name", path.as_os_str().as_encoded_bytes());
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            assert_clean_below(&path);
        } else if kind.is_file() {
            assert_clean(&path.display().to_string(), &fs::read(&path).unwrap());
        }
    }
}

#[track_caller]
fn assert_output_clean(what: &str, output: &Output) {
    assert_clean(what, &output.stdout);
    assert_clean(what, &output.stderr);
}

fn secretly(command: MountCommand) -> MountCommand {
    // With everything that a person who looks for a fault would turn on.
    command
        .env("AWS_ACCESS_KEY_ID", ACCESS)
        .env("AWS_SECRET_ACCESS_KEY", SECRET)
        .env("AWS_SESSION_TOKEN", TOKEN)
        .env("AWS_REGION", Endpoint::REGION)
        .args(&[
            "--path-style",
            "--log-level",
            "trace",
            "--origin-timeout",
            "1s",
        ])
}

fn server() -> LoopbackS3 {
    let server = LoopbackS3::builder().credentials(ACCESS, SECRET).start();
    let server = server.unwrap();
    server.put("data", "file", "content");
    server.put("data", "denied", "content");
    server.put("data", "gone", "content");
    server
}

fn command_line(mount: &Mount) -> Vec<u8> {
    fs::read(format!("/proc/{}/cmdline", mount.pid())).unwrap()
}

#[test]
fn no_secret_is_in_a_log_a_status_an_error_a_process_list_or_on_the_disk() {
    let server = server();
    let scratch = Scratch::new("secrets", 100 << 20);
    let source = MountCommand::new("s3://data", scratch.path());
    let mount = secretly(source)
        .args(&["--endpoint", &server.endpoint()])
        .start();
    assert_eq!(fs::read(mount.path().join("file")).unwrap(), b"content");
    let denied = Fault::new(Action::status(403, "SignatureDoesNotMatch"));
    server.faults().push(denied.key("denied").always());
    assert!(errno(&fs::read(mount.path().join("denied"))).is_some());
    let dir = mount.path().display().to_string();
    let warmup = mount.run(&["warmup", &dir, "denied", "file", "--json"]);
    assert!(!warmup.status.success());
    assert_output_clean("warmup", &warmup);
    for args in [
        &["status", &dir][..],
        &["status", &dir, "--json"],
        &["versions", &dir],
        &["refresh", &dir],
        &["status"],
    ] {
        let output = mount.run(args);
        assert!(output.status.success(), "{output:?}");
        assert_output_clean(args[0], &output);
    }
    assert_clean("the command line", &command_line(&mount));
    server.pause();
    assert!(errno(&fs::read(mount.path().join("gone"))).is_some());
    assert_output_clean("refresh", &mount.run(&["refresh", &dir]));
    let log = mount.log();
    assert!(
        log.contains("TRACE") && log.contains("request failed"),
        "not the log"
    );
    assert_clean("the log", log.as_bytes());
    // The run directory, the cache and the log.
    for name in ["run", "cache"] {
        assert_clean_below(&scratch.path().join(name));
    }
    mount.unmount();
    assert_clean_below(scratch.path());
}

#[test]
fn no_secret_is_in_the_words_of_a_refusal() {
    let server = server();
    let scratch = Scratch::new("secrets", 100 << 20);
    let refused = |name: &str, source: &str, env: (&str, &str)| {
        let command = MountCommand::new(source, &scratch.dir(name));
        let command = secretly(command).args(&["--endpoint", &server.endpoint()]);
        let (ended, log) = command
            .env(env.0, env.1)
            .refused(std::time::Duration::from_secs(15));
        assert!(!ended.success());
        assert_clean(name, log.as_bytes());
        log
    };
    refused("bucket", "s3://no-such-bucket", ("UNUSED", ""));
    let other = SECRET.replace("key", "yek");
    let log = refused("secret", "s3://data", ("AWS_SECRET_ACCESS_KEY", &other));
    assert_clean("the wrong secret", log.replace(&other, SECRET).as_bytes());
    let url = format!("s3://{ACCESS}:{PASSWORD}@data/prefix");
    let log = refused("url", &url, ("UNUSED", ""));
    assert!(log.contains("carries credentials"), "{log}");
    let url = format!("https://user:{PASSWORD}@127.0.0.1/files");
    refused("http", &url, ("UNUSED", ""));
    let command = MountCommand::without_source(&scratch.dir("endpoint"));
    let endpoint = format!("http://user:{PASSWORD}@127.0.0.1:1");
    let command = secretly(command).args(&["--source", "s3://data", "--endpoint", &endpoint]);
    let (ended, log) = command.refused(std::time::Duration::from_secs(15));
    assert!(!ended.success());
    assert_clean("endpoint", log.as_bytes());
}
