//! What a user can get wrong: one clear line each, a non-zero exit, within 15 seconds.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use forebay_tests::{Endpoint, MountCommand, Scratch, binary};

use crate::report::Report;

const LIMIT: Duration = Duration::from_secs(15);

pub(super) fn run(report: &mut Report) -> Result<()> {
    let scratch = Scratch::new("bad-input", 1 << 30);
    let (server, endpoint) = Endpoint::loopback();
    server.create_bucket("bucket");
    server.put("bucket", "there/file", "x");
    let mut case = |name: &str, command: MountCommand, word: &str| {
        let begun = Instant::now();
        let (status, output) = command.refused(Duration::from_secs(60));
        judge(report, name, status.code(), &output, word, begun.elapsed());
    };
    let mount = |name: &str, source: &str| {
        MountCommand::new(source, &scratch.dir(name)).endpoint(&endpoint)
    };
    case("wrong bucket", mount("a", "s3://nowhere"), "nowhere");
    case(
        "wrong prefix",
        mount("b", "s3://bucket/elsewhere"),
        "elsewhere",
    );
    let unreachable = Endpoint::new("http://127.0.0.1:9");
    let command = MountCommand::new("s3://bucket", &scratch.dir("c")).endpoint(&unreachable);
    case("no network", command, "127.0.0.1:9");
    let wrong_keys = Endpoint {
        secret_key: "wrong".into(),
        ..endpoint.clone()
    };
    let command = MountCommand::new("s3://bucket", &scratch.dir("d")).endpoint(&wrong_keys);
    case("wrong credentials", command, "access");
    case(
        "bad flag",
        mount("e", "s3://bucket").args(&["--cache-sise", "1GiB"]),
        "--cache-sise",
    );
    case(
        "bad size",
        mount("f", "s3://bucket").args(&["--cache-size", "lots"]),
        "lots",
    );
    let config = scratch.path().join("forebay.toml");
    fs::write(&config, "cache-sise = \"1GiB\"\n")?;
    let command = mount("g", "s3://bucket").args(&["--config", utf8(&config)?]);
    case("bad config key", command, "cache-size");
    let read_only = Tmpfs::mount(&scratch.dir("read-only"), "ro")?;
    let command = mount("h", "s3://bucket").cache(&read_only.0);
    case("cache directory without rights", command, "read-only");
    let tiny = Tmpfs::mount(&scratch.dir("tiny"), "size=64k")?;
    let command = mount("i", "s3://bucket").cache(&tiny.0);
    case("cache directory without room", command, "tiny");

    let first = mount("busy", "s3://bucket").start();
    let (path, other) = (first.path(), scratch.dir("other-cache"));
    let begun = Instant::now();
    let args = [
        "mount",
        "s3://bucket",
        utf8(&path)?,
        "--endpoint",
        &endpoint.url,
    ];
    let again = first.run(&[&args[..], &["--cache-dir", utf8(&other)?]].concat());
    let output = String::from_utf8_lossy(&again.stderr);
    judge(
        report,
        "mount point busy",
        again.status.code(),
        &output,
        "mnt",
        begun.elapsed(),
    );
    first.unmount();
    without_fuse(report, &scratch, &endpoint)
}

/// A mount in a mount namespace whose `/dev/fuse` is hidden.
fn without_fuse(report: &mut Report, scratch: &Scratch, endpoint: &Endpoint) -> Result<()> {
    let dir = scratch.dir("no-fuse");
    fs::DirBuilder::new()
        .mode(0o755)
        .recursive(true)
        .create(dir.join("mnt"))?;
    let begun = Instant::now();
    // A private /dev with nothing in it but what programs cannot do without.
    let script = "mount -t tmpfs none /dev && mknod /dev/null c 1 3 && mknod /dev/urandom c 1 9 && \
                  exec \"$0\" mount s3://bucket mnt --endpoint \"$1\" --cache-dir cache";
    let done = Command::new("unshare")
        .args(["--mount", "sh", "-c", script])
        .arg(binary())
        .arg(&endpoint.url)
        .envs(endpoint.environment())
        .env("FOREBAY_RUN_DIR", dir.join("run"))
        .current_dir(&dir)
        .output()
        .context("start unshare")?;
    let output = String::from_utf8_lossy(&done.stderr);
    judge(
        report,
        "no /dev/fuse",
        done.status.code(),
        &output,
        "/dev/fuse",
        begun.elapsed(),
    );
    Ok(())
}

fn utf8(path: &Path) -> Result<&str> {
    path.to_str().context("a path in UTF-8")
}

fn judge(
    report: &mut Report,
    name: &str,
    code: Option<i32>,
    output: &str,
    word: &str,
    took: Duration,
) {
    let errors: Vec<&str> = output
        .lines()
        .filter(|line| line.contains("error:"))
        .map(str::trim)
        .collect();
    let clear = errors.len() == 1 && errors[0].contains(word);
    let refused = code.is_some_and(|code| code != 0);
    let line = errors
        .first()
        .copied()
        .or_else(|| output.lines().last())
        .unwrap_or("nothing");
    let figure = format!(
        "exit {code:?} after {:.1} s, {} line(s): {line}",
        took.as_secs_f64(),
        errors.len()
    );
    report.line(
        clear && refused && took < LIMIT,
        name,
        figure,
        "one clear line, not 0, < 15 s",
    );
}

/// A small file system, unmounted when dropped.
struct Tmpfs(std::path::PathBuf);

impl Tmpfs {
    fn mount(dir: &Path, options: &str) -> Result<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "none"]).arg(dir);
        anyhow::ensure!(mount.status()?.success(), "mount a tmpfs");
        Ok(Self(dir.to_owned()))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}
