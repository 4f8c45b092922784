//! What can be asked of a mount.

use std::fs;

use forebay_loopback_s3::LoopbackS3;
use serde_json::Value;

use crate::harness::Place;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn status_has_the_fields_of_the_contract() {
    let place = Place::new();
    let mounted = place.mount(&place.source(), &[]);
    mounted.is_ok();
    assert!(mounted.out.starts_with("mounted file://"), "{mounted:?}");
    assert!(
        mounted.out.contains(": 2 files, 3.0 MiB; `forebay umount "),
        "{mounted:?}"
    );
    assert_eq!(fs::read_to_string(place.path("mnt/a")).unwrap(), "alpha");
    let status = place.status();
    assert_eq!(status["mountpoint"], place.mountpoint().to_str().unwrap());
    assert_eq!(status["sources"][0]["url"], place.source());
    assert_eq!(status["version"].as_str().unwrap().len(), 32);
    assert_eq!(
        (&status["files"], &status["bytes"]),
        (&2.into(), &((3 << 20) + 5).into())
    );
    assert_eq!(
        (&status["cached_files"], &status["cached_bytes"]),
        (&1.into(), &5.into())
    );
    assert_eq!(status["skipped"]["total"], 0);
    assert_eq!(status["origin"]["errors"], 0);
    assert_eq!(status["corrupt_chunks"], 0);
    assert!(status["cache"]["used_bytes"].as_u64() >= Some(5));
    assert_eq!(status["drift"], Value::Null);
    let all = json(&place.run(&["status", "--json"]).out);
    assert_eq!(all.as_array().unwrap().len(), 1);
    assert_eq!(all[0]["pid"], status["pid"]);
    assert!(
        place
            .run(&["status"])
            .out
            .contains("2 files in 2 directories")
    );
    place.run(&["umount", "mnt"]).is_ok();
    assert_eq!(
        json(&place.run(&["status", "--json"]).out),
        Value::Array(Vec::new())
    );
}

#[test]
fn a_plan_is_told_replaced_and_dropped() {
    let place = Place::new();
    place.mount(&place.source(), &[]).is_ok();
    std::fs::write(place.path("order"), "a\na\n").unwrap();
    let told = place.run(&["plan", "mnt", "--from", "order"]);
    told.is_ok();
    assert_eq!(told.out, "plan default: 2 files, 10 B\n");
    assert_eq!(place.status()["plan"]["entries"], 2);
    std::fs::write(place.path("order"), r#"{"paths": ["a"], "name": "second"}"#).unwrap();
    let told = place.run(&["plan", "mnt", "--from", "order", "--json"]);
    assert_eq!(json(&told.out)["name"], "second");
    let dropped = place.run(&["plan", "mnt", "--drop"]);
    assert_eq!(dropped.out, "2 plans dropped\n");
    assert_eq!(place.status()["plan"], Value::Null);
}

#[test]
fn a_plan_that_cannot_be_followed_says_why() {
    let place = Place::new();
    place.mount(&place.source(), &[]).is_ok();
    let refused = |text: &str, words: &[&str]| {
        std::fs::write(place.path("order"), text).unwrap();
        place
            .run(&["plan", "mnt", "--from", "order"])
            .is_told(2, words);
    };
    refused("a\nnope\n", &["1 of 2 paths", "\"nope\""]);
    refused(r#"{"seed": 1, "len": 7}"#, &["len is 7", "2 files"]);
    refused(r#"{"sede": 1}"#, &["unknown field `sede`"]);
    refused("", &["names no file", "--drop"]);
    place
        .run(&["plan", "mnt", "--from", "absent"])
        .is_told(2, &["absent"]);
    place.run(&["plan", "mnt"]).is_told(2, &["--from"]);
    place
        .run(&["plan", "elsewhere", "--drop"])
        .is_told(6, &["not mounted"]);
}

#[test]
fn a_warm_up_brings_what_was_asked_for_and_nothing_else() {
    let place = Place::new();
    place.mount(&place.source(), &[]).is_ok();
    let part = place.run(&["warmup", "mnt", "d/*"]);
    part.is_ok();
    assert!(
        part.out.starts_with("1 file, 3.0 MiB in the cache"),
        "{part:?}"
    );
    assert_eq!(place.status()["cached_files"], 1);
    let all = place.run(&["warmup", "mnt", "--json"]);
    all.is_ok();
    let summary = json(all.out.lines().last().unwrap());
    assert_eq!(summary["summary"]["complete"], true);
    assert_eq!(summary["summary"]["progress"]["files_done"], 2);
    place
        .run(&["warmup", "mnt", "nothing"])
        .is_told(2, &["nothing"]);
    place.run(&["umount", "mnt"]).is_ok();
}

#[test]
fn a_warm_up_that_cannot_bring_a_file_names_it() {
    let server = LoopbackS3::builder().start().unwrap();
    server.put("data", "kept", "content");
    server.put("data", "gone", "content");
    let place = Place::new();
    place
        .mount(
            "s3://data",
            &["--endpoint", &server.endpoint(), "--anonymous"],
        )
        .is_ok();
    server.remove("data", "gone");
    let outcome = place.run(&["warmup", "mnt"]);
    outcome.is_told(7, &["1 of 2 files"]);
    assert!(outcome.out.contains("\n  gone: "), "{outcome:?}");
    place.run(&["umount", "mnt"]).is_ok();
}

#[test]
fn a_refresh_shows_what_changed_and_both_versions_stay() {
    let place = Place::new();
    place.mount(&place.source(), &[]).is_ok();
    let before = place.status()["version"].clone();
    fs::write(place.path("source/new"), "new").unwrap();
    fs::remove_file(place.path("source/a")).unwrap();
    let refreshed = json(&place.run(&["refresh", "mnt", "--json"]).out);
    assert_eq!(refreshed["drift"]["added"], 1);
    assert_eq!(refreshed["drift"]["removed"], 1);
    assert_eq!(refreshed["drift"]["changed"], 0);
    assert_eq!(refreshed["drift"]["from_version"], before);
    assert_eq!(fs::read_to_string(place.path("mnt/new")).unwrap(), "new");
    assert_eq!(place.status()["drift"], refreshed["drift"]);
    let versions = json(&place.run(&["versions", "mnt", "--json"]).out);
    assert_eq!(versions.as_array().unwrap().len(), 2);
    assert_eq!(versions[0]["current"], true);
    assert_eq!(versions[1]["version"], before);
    place.run(&["umount", "mnt"]).is_ok();

    let prefix = &before.as_str().unwrap()[..8];
    place.mount(&place.source(), &["--version", prefix]).is_ok();
    assert_eq!(place.status()["version"], before);
    assert!(place.path("mnt/a").exists());
    place.run(&["umount", "mnt"]).is_ok();
}

#[test]
fn sources_options_and_globs_can_come_from_the_config_file() {
    let place = Place::new();
    let config = format!(
        "exclude = [\"two/d/**\"]\nfile-mode = \"0400\"\n[[source]]\nname = \"one\"\nurl = \"{0}\"\n\
         [[source]]\nname = \"two\"\nurl = \"{0}\"\n",
        place.source()
    );
    fs::write(place.path("f.toml"), config).unwrap();
    place
        .run(&["mount", "mnt", "--daemon", "--config", "f.toml"])
        .is_ok();
    assert!(place.path("mnt/one/d/b").exists());
    assert!(place.path("mnt/two/a").exists());
    assert!(!place.path("mnt/two/d").exists());
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(place.path("mnt/two/a"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o400);
    assert_eq!(place.status()["sources"][1]["name"], "two");
    place.run(&["umount", "mnt"]).is_ok();
}

#[test]
fn metrics_and_health_are_served_on_a_socket_of_choice() {
    use std::io::{Read, Write};
    let place = Place::new();
    place
        .mount(&place.source(), &["--metrics", "127.0.0.1:0"])
        .is_ok();
    let address = place.status()["metrics"].as_str().unwrap().to_owned();
    let get = |path: &str| {
        let mut stream = std::net::TcpStream::connect(&address).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(get("/metrics").contains("\nforebay_dataset_files 2"));
    assert!(get("/healthz").starts_with("HTTP/1.1 200"));
    place.run(&["umount", "mnt"]).is_ok();
}
