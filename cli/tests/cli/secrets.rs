//! Secrets are nowhere: not in logs, output, status, metrics, files or the process list.

use std::fs;
use std::path::Path;

use forebay_loopback_s3::LoopbackS3;

use crate::harness::{Place, finish};

const SECRET: &str = "hunter2-8d1f0c5e";
const TOKEN: &str = "token-5b7ac3f1";

#[test]
fn a_mount_with_secrets_in_its_environment_shows_them_nowhere() {
    let server = LoopbackS3::builder()
        .credentials("key", SECRET)
        .start()
        .unwrap();
    server.put("data", "a", "content");
    let place = Place::new();
    let endpoint = server.endpoint();
    let mut words = vec!["mount", "s3://data", "mnt", "--daemon", "--log-file", "log"];
    words.extend(["--endpoint", &endpoint, "--log-level", "trace"]);
    let mut command = place.command(&words);
    command
        .env("AWS_ACCESS_KEY_ID", "key")
        .env("AWS_SECRET_ACCESS_KEY", SECRET);
    let mounted = finish(&mut command);
    mounted.is_ok();
    assert_eq!(fs::read_to_string(place.path("mnt/a")).unwrap(), "content");

    let pid = place.pid();
    let mut seen = vec![
        ("output of mount", format!("{mounted:?}")),
        ("status", format!("{:?}", place.run(&["status", "--json"]))),
        ("refresh", format!("{:?}", place.run(&["refresh", "mnt"]))),
        (
            "process list",
            fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap(),
        ),
    ];
    place.run(&["umount", "mnt"]).is_ok();
    seen.push(("log", place.log()));
    assert!(seen.iter().all(|(_, text)| !text.is_empty()));
    for (what, text) in &seen {
        assert!(!text.contains(SECRET), "{what}");
    }
    assert_not_below(&place.path("run"));
    assert_not_below(&place.path("cache"));
}

#[test]
fn a_refusal_of_credentials_does_not_repeat_them() {
    let server = LoopbackS3::builder()
        .credentials("key", "another")
        .start()
        .unwrap();
    server.put("data", "a", "content");
    let place = Place::new();
    let endpoint = server.endpoint();
    let words = [
        "mount",
        "s3://data",
        "mnt",
        "--endpoint",
        &endpoint,
        "--log-level",
        "trace",
    ];
    let mut command = place.command(&words);
    command
        .env("AWS_ACCESS_KEY_ID", "key")
        .env("AWS_SECRET_ACCESS_KEY", SECRET);
    let outcome = finish(command.env("AWS_SESSION_TOKEN", TOKEN));
    assert_eq!(outcome.code, Some(3), "{outcome:?}");
    let text = format!("{outcome:?}");
    assert!(!text.contains(SECRET) && !text.contains(TOKEN), "{text}");
}

#[test]
fn secrets_in_a_url_are_refused_and_not_repeated() {
    let place = Place::new();
    for url in [
        format!("s3://key:{SECRET}@data"),
        format!("https://user:{SECRET}@host/path"),
        format!("https://host/path?X-Amz-Signature={SECRET}"),
    ] {
        let by_position = place.run(&["mount", &url, "mnt"]);
        by_position.is_told(2, &["credentials"]);
        assert!(!by_position.err.contains(SECRET), "{by_position:?}");
        let by_name = place.run(&["mount", "mnt", "--source", &format!("a={url}")]);
        by_name.is_told(2, &["credentials"]);
        assert!(!by_name.err.contains(SECRET), "{by_name:?}");
        fs::write(
            place.path("f.toml"),
            format!("[[source]]\nurl = \"{url}\"\n"),
        )
        .unwrap();
        let in_a_file = place.run(&["mount", "mnt", "--config", "f.toml"]);
        in_a_file.is_told(2, &["credentials"]);
        assert!(!in_a_file.err.contains(SECRET), "{in_a_file:?}");
    }
    let endpoint = format!("http://user:{SECRET}@127.0.0.1:1");
    let outcome = place.run(&["mount", "s3://data", "mnt", "--endpoint", &endpoint]);
    assert_ne!(outcome.code, Some(0));
    assert!(!format!("{outcome:?}").contains(SECRET), "{outcome:?}");
}

fn assert_not_below(dir: &Path) {
    for entry in fs::read_dir(dir).expect("a directory").flatten() {
        if entry.path().is_dir() {
            assert_not_below(&entry.path());
        } else if let Ok(content) = fs::read(entry.path()) {
            let found = content
                .windows(SECRET.len())
                .any(|window| window == SECRET.as_bytes());
            assert!(!found, "{}", entry.path().display());
        }
    }
}
