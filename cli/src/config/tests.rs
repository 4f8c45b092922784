use std::path::PathBuf;

use clap::FromArgMatches;

use super::*;
use crate::args::{Cli, Command, command};

fn args(line: &str) -> MountArgs {
    let words = ["forebay", "mount"]
        .into_iter()
        .chain(line.split_whitespace());
    let matches = command().try_get_matches_from(words).unwrap();
    match Cli::from_arg_matches(&matches).unwrap().command {
        Command::Mount(args) => *args,
        other => panic!("parsed as {other:?}"),
    }
}

fn resolve(line: &str) -> Result<MountConfig, Error> {
    MountConfig::resolve(&args(line))
}

#[test]
fn defaults_hold_where_nothing_is_said() {
    let config = resolve("s3://bucket/p /mnt").unwrap();
    assert_eq!(config.mountpoint, PathBuf::from("/mnt"));
    assert_eq!(config.dataset.sources[0].url, "s3://bucket/p");
    assert_eq!(
        config.cache.memory,
        Quota {
            size: Size(1 << 30),
            explicit: false
        }
    );
    assert_eq!(config.origin_timeout, Duration::from_secs(60));
    assert_eq!(
        (config.tree.file_mode, config.tree.dir_mode),
        (0o444, 0o555)
    );
    assert!(!config.daemon);
}

#[test]
fn a_flag_goes_before_the_file_and_the_file_before_the_default() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("f.toml");
    std::fs::write(
        &file,
        "region = \"file\"\norigin-timeout = \"5s\"\nmemory-size = 0\n",
    )
    .unwrap();
    let line = format!("s3://b /mnt --config {} --region flag", file.display());
    let config = resolve(&line).unwrap();
    assert_eq!(
        config.dataset.sources[0].connection.region.as_deref(),
        Some("flag")
    );
    assert_eq!(config.origin_timeout, Duration::from_secs(5));
    assert_eq!(
        config.cache.memory,
        Quota {
            size: Size(0),
            explicit: true
        }
    );
}

#[test]
fn what_one_source_says_goes_before_what_is_said_of_all() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("f.toml");
    let text = "endpoint = \"http://all\"\n[[source]]\nname = \"a\"\nurl = \"s3://a\"\n\
                endpoint = \"http://own\"\n[[source]]\nname = \"b\"\nurl = \"s3://b\"\n";
    std::fs::write(&file, text).unwrap();
    let config = resolve(&format!("/mnt --config {}", file.display())).unwrap();
    let endpoints: Vec<_> = config
        .dataset
        .sources
        .iter()
        .map(|source| source.connection.endpoint.as_deref())
        .collect();
    assert_eq!(endpoints, [Some("http://own"), Some("http://all")]);
}

#[test]
fn a_source_by_position_replaces_those_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("f.toml");
    std::fs::write(&file, "[[source]]\nurl = \"s3://file\"\n").unwrap();
    let config = resolve(&format!("s3://flag /mnt --config {}", file.display())).unwrap();
    assert_eq!(config.dataset.sources.len(), 1);
    assert_eq!(config.dataset.sources[0].url, "s3://flag");
}

#[test]
fn sources_are_required_and_named_in_one_way() {
    assert!(matches!(resolve("/mnt"), Err(Error::NoSource)));
    assert!(matches!(
        resolve("s3://a /mnt --source b=s3://b"),
        Err(Error::SourceTwice)
    ));
    assert!(matches!(
        resolve("/mnt --source s3://a --source b=s3://b"),
        Err(Error::Source(_))
    ));
}

#[test]
fn no_message_and_no_summary_holds_a_password() {
    let error = resolve("s3://key:hunter2@bucket /mnt").unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    let config = resolve("s3://bucket /mnt").unwrap();
    assert!(config.summary().to_string().contains("s3://bucket"));
}

#[test]
fn relative_paths_are_made_absolute_for_a_daemon_in_another_directory() {
    let config = resolve("s3://b m --cache-dir c --log-file l --metrics unix:m.sock").unwrap();
    assert!(config.mountpoint.is_absolute());
    assert!(config.cache.dir.unwrap().is_absolute());
    assert!(config.log.file.unwrap().is_absolute());
    let Some(MetricsAddr::Unix(path)) = config.metrics else {
        panic!("a socket")
    };
    assert!(path.is_absolute());
}

#[test]
fn files_that_the_mount_would_hide_are_refused() {
    for line in [
        "s3://b /m --cache-dir /m/cache",
        "s3://b /m --log-file /m/log",
        "s3://b /m --cache-dir /m",
    ] {
        let error = resolve(line).unwrap_err();
        assert!(matches!(error, Error::BelowMount { .. }), "{error}");
        assert!(error.to_string().contains("hides"), "{error}");
    }
    resolve("s3://b /m --cache-dir /mc").unwrap();
}
