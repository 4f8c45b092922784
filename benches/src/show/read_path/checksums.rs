//! Every file of a dataset, by `sha256sum`: cold, warm, after a restart, after kill -9.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use forebay_tests::{Dataset, Mount, MountCommand, S3Client, Scratch, SeaweedFs, Shape, Sizes};

use crate::page_cache;
use crate::report::Report;

const FILES: u32 = 20_000;
/// 20,000 files of 150 KiB on average are 3 GB.
const SIZES: Sizes = Sizes::Even(100 << 10, 200 << 10);
const NEED: u64 = 14 << 30;
/// After this time every chunk that was read has been recorded.
const SETTLE: Duration = Duration::from_secs(2);

pub(super) fn run(report: &mut Report) -> Result<()> {
    let scratch = Scratch::new("checksums", NEED);
    let server = SeaweedFs::start(8 << 30);
    let endpoint = server.endpoint().clone();
    let dataset = Dataset::new(&Shape {
        files: FILES,
        directories: 100,
        sizes: SIZES,
        seed: 7,
    });
    let source = scratch.dir("source");
    dataset.write_to(&source);
    let client = S3Client::new(&endpoint);
    client.create_bucket("sums");
    dataset.upload(&client, "sums", "");
    let expected = sums(&source)?;
    let bytes = dataset.bytes();
    report.figure(
        "dataset",
        format_args!("{FILES} files, {:.2} GB", bytes as f64 / 1e9),
    );

    let command = || {
        let limit = Duration::from_secs(1800);
        MountCommand::new("s3://sums", scratch.path())
            .endpoint(&endpoint)
            .limit(limit)
    };
    let mut check = |when: &str, mount: &Mount, fetched: u64| -> Result<()> {
        let before = origin_bytes(mount)?;
        let same = sums(&mount.path())? == expected;
        report.line(
            same,
            &format!("sha256sum of every file, {when}"),
            verdict(same),
            "equal",
        );
        let got = origin_bytes(mount)? - before;
        let item = format!("bytes from the origin, {when}");
        report.line(got == fetched, &item, got, fetched);
        Ok(())
    };
    let mount = command().start();
    check("cold", &mount, bytes)?;
    page_cache::drop_all()?;
    check("warm", &mount, 0)?;
    mount.unmount();
    let mount = command().start();
    check("after a restart", &mount, 0)?;
    std::thread::sleep(SETTLE);
    mount.kill();
    let mount = command().start();
    check("after kill -9", &mount, 0)?;
    mount.unmount();
    fs::remove_dir_all(&source)?;
    Ok(())
}

fn origin_bytes(mount: &Mount) -> Result<u64> {
    mount.status()["origin"]["bytes"]
        .as_u64()
        .context("origin.bytes in status")
}

/// The output of `sha256sum` over all files below `dir`, sorted by path.
fn sums(dir: &Path) -> Result<String> {
    let script = "find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum";
    let done = Command::new("sh")
        .args(["-c", script])
        .current_dir(dir)
        .output()?;
    anyhow::ensure!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    Ok(String::from_utf8(done.stdout)?)
}

fn verdict(same: bool) -> &'static str {
    if same { "equal" } else { "different" }
}
