//! `forebay demo`: the whole way of a byte, on this machine alone.
//!
//! A dataset is made and served over S3 on loopback by this process; it is mounted by
//! the same code as `forebay mount`, with a cache of its own, and read through the
//! kernel: cold, from the cache, and from the cache after a remount. Every byte is
//! checked against what was put into the bucket.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use forebay_loopback_s3::LoopbackS3;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::args::{DemoArgs, MountArgs};
use crate::audience::Nobody;
use crate::config::MountConfig;
use crate::exit::{Exit, Failure};
use crate::mount_process::{MountProcess, Standing};
use crate::options::{LogFormat, MetricsAddr, MountOptions, SourceEntry};
use crate::output;
use crate::size::Size;
use crate::telemetry::LogConfig;
use crate::{signals, telemetry};

mod dataset;
mod pass;

use dataset::Sample;
use pass::Pass;

const BUCKET: &str = "demo";

pub(super) fn run(args: &DemoArgs) -> Result<(), Failure> {
    let filter = std::env::var("FOREBAY_LOG_LEVEL").unwrap_or_else(|_| "warn".into());
    telemetry::start(&LogConfig {
        format: LogFormat::Text,
        filter: Some(filter),
        file: None,
    })?;
    let scratch = Scratch::new()?;
    let json = args.json;
    super::serve()?.block_on(async {
        let signal = signals::on_first(Some(scratch.mountpoint())).map_err(io_failure)?;
        tokio::select! {
            biased;
            () = signal.cancelled() => Err(Failure::new(Exit::Failed, "interrupted")),
            done = demonstrate(&scratch, json) => done,
        }
    })
}

async fn demonstrate(scratch: &Scratch, json: bool) -> Result<(), Failure> {
    let say = |line: &str| {
        if json {
            Ok(())
        } else {
            output::print(&format!("{line}\n"))
        }
    };
    let server = LoopbackS3::builder()
        .start()
        .map_err(|e| Failure::new(Exit::Failed, e))?;
    let samples = Arc::new(dataset::put_into(&server, BUCKET));
    let bytes = samples.iter().map(|sample| sample.size).sum();
    say(&format!(
        "made {} files of {} and serve them as s3://{BUCKET} at {}",
        samples.len(),
        Size(bytes),
        server.endpoint()
    ))?;
    let config = mount_config(scratch, &server.endpoint())?;
    let first = mount(&config, scratch).await?;
    say(&format!("mounted at {}", config.mountpoint.display()))?;
    let mut passes = vec![read("cold, from S3", &first, &samples).await?];
    passes.push(read("again, from the cache", &first, &samples).await?);
    unmount(first).await?;
    let second = mount(&config, scratch).await?;
    passes.push(read("after a remount", &second, &samples).await?);
    unmount(second).await?;
    server.stop();
    if json {
        return output::print_json(&passes);
    }
    output::print(&format!("\n{}\n", pass::table(&passes)))?;
    say("every byte was checked against the bucket; everything is cleaned up")
}

/// The directories of a demo; dropping it removes them.
struct Scratch {
    dir: TempDir,
}

impl Scratch {
    fn new() -> Result<Self, Failure> {
        let dir = tempfile::Builder::new()
            .prefix("forebay-demo-")
            .tempdir()
            .map_err(io_failure)?;
        let scratch = Self { dir };
        std::fs::create_dir(scratch.mountpoint()).map_err(io_failure)?;
        Ok(scratch)
    }

    fn mountpoint(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn cache(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    fn run(&self) -> PathBuf {
        self.dir.path().join("run")
    }
}

fn io_failure(error: std::io::Error) -> Failure {
    Failure::new(Exit::Failed, error)
}

fn mount_config(scratch: &Scratch, endpoint: &str) -> Result<MountConfig, Failure> {
    let source = SourceEntry {
        text: format!("s3://{BUCKET}"),
        ..SourceEntry::default()
    };
    let options = MountOptions {
        source: Some(vec![source]),
        endpoint: Some(endpoint.to_owned()),
        path_style: Some(true),
        anonymous: Some(true),
        cache_dir: Some(scratch.cache()),
        cache_size: Some(Size(2 << 30)),
        memory_size: Some(Size(0)),
        metrics: Some(MetricsAddr::Off),
        origin_timeout: Some(Duration::from_secs(10)),
        ..MountOptions::default()
    };
    let (source_or_dir, dir) = (scratch.mountpoint(), None);
    let args = MountArgs {
        source_or_dir,
        dir,
        config: None,
        options,
    };
    Ok(MountConfig::resolve(&args)?)
}

async fn mount(config: &MountConfig, scratch: &Scratch) -> Result<MountProcess, Failure> {
    MountProcess::start(
        config,
        &scratch.run(),
        Standing::Alone,
        &Nobody,
        &CancellationToken::new(),
    )
    .await
}

async fn unmount(process: MountProcess) -> Result<(), Failure> {
    process.serve(std::future::ready(())).await.map(drop)
}

/// Reads every file through the mount and compares it with what was put.
async fn read(
    name: &'static str,
    process: &MountProcess,
    samples: &Arc<Vec<Sample>>,
) -> Result<Pass, Failure> {
    let origin_bytes = || async {
        let status = process.service().status().await?;
        Ok::<_, Failure>(status.origin.unwrap_or_default().bytes)
    };
    let before = origin_bytes().await?;
    let (mountpoint, samples) = (
        process.service().mountpoint().to_owned(),
        Arc::clone(samples),
    );
    let reading = tokio::task::spawn_blocking(move || pass::read_all(&mountpoint, &samples));
    let pass = reading
        .await
        .map_err(|error| Failure::new(Exit::Failed, error))??;
    Ok(Pass {
        name,
        origin_bytes: origin_bytes().await? - before,
        ..pass
    })
}

impl From<pass::Error> for Failure {
    fn from(error: pass::Error) -> Self {
        Self::new(Exit::Failed, error)
    }
}

/// A path below the mount point, for a sample's key.
fn path_of(mountpoint: &Path, sample: &Sample) -> PathBuf {
    mountpoint.join(&sample.key)
}
