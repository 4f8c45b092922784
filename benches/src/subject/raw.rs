//! Plain GETs by the library that the cache uses, what arrives written to the disk: the
//! limit of every cold read.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use forebay_tests::{Endpoint, File};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::runtime::Runtime;

use super::{Role, Running, State, Subject};
use crate::process;
use crate::raw_get::{self, S3Object, Sink};
use crate::sample::Sample;
use crate::site::{BUCKET, Site};
use crate::workload::{Load, Pass, READ_BYTES, Workload, random_place};

/// GETs of small objects at once. More bring nothing on a few cores; see the table of
/// `benches/README.md`.
const OBJECTS_AT_ONCE: usize = 16;

/// GETs of the data of a site.
#[derive(Clone, Debug)]
pub struct RawGet {
    endpoint: Endpoint,
}

impl RawGet {
    /// Its name in tables.
    pub const NAME: &'static str = "raw GET";

    /// GETs from the bucket of `site`.
    pub fn new(site: &Site) -> Self {
        Self {
            endpoint: site.endpoint().clone(),
        }
    }
}

impl Subject for RawGet {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn version(&self) -> String {
        "object_store 0.14".to_owned()
    }

    fn role(&self) -> Role {
        Role::Limit
    }

    fn plays(&self, workload: Workload, state: State) -> bool {
        let can = matches!(
            workload,
            Workload::Sequential | Workload::Epoch | Workload::Random
        );
        can && state == State::Cold
    }

    fn start(&self, dir: &Path) -> Result<Box<dyn Running>> {
        Ok(Box::new(Getting {
            endpoint: self.endpoint.clone(),
            store: Arc::new(self.endpoint.object_store(BUCKET)),
            runtime: Runtime::new()?,
            dir: dir.to_owned(),
        }))
    }
}

#[derive(Debug)]
struct Getting {
    endpoint: Endpoint,
    store: Arc<dyn ObjectStore>,
    runtime: Runtime,
    dir: PathBuf,
}

impl Running for Getting {
    /// None: what it takes is the reader's.
    fn pids(&self) -> Vec<u32> {
        Vec::new()
    }

    fn pass(&self, load: &Load<'_>, _: State) -> Result<Pass> {
        let cpu = process::own_cpu_time()?;
        let begun = Instant::now();
        let mut pass = match load.workload {
            Workload::Sequential => self.runtime.block_on(self.large(load))?,
            Workload::Epoch => self.runtime.block_on(self.epoch(load))?,
            Workload::Random => self.runtime.block_on(self.random(load))?,
            other => bail!("no GETs for {other:?}"),
        };
        pass.time = begun.elapsed();
        pass.cpu = process::own_cpu_time()?.saturating_sub(cpu);
        Ok(pass)
    }
}

impl Getting {
    /// Whole objects, in parallel parts, each into a file.
    async fn large(&self, load: &Load<'_>) -> Result<Pass> {
        let mut pass = Pass::default();
        for (number, file) in load.files().iter().enumerate() {
            let object = S3Object {
                endpoint: self.endpoint.clone(),
                bucket: BUCKET.to_owned(),
                key: file.path.clone(),
                size: file.size,
            };
            let sink = Sink::File(self.dir.join(number.to_string()));
            raw_get::get(&object, &sink).await?;
            pass.bytes += file.size;
            pass.operations += 1;
        }
        Ok(pass)
    }

    /// Small objects in the order of the epoch, each into a file of its own.
    async fn epoch(&self, load: &Load<'_>) -> Result<Pass> {
        let files = load.files();
        let gets = load.order(files.len()).into_iter().map(|position| {
            let target = self.dir.join(position.to_string());
            self.whole(&files[position], target)
        });
        let bytes = futures::stream::iter(gets)
            .buffer_unordered(OBJECTS_AT_ONCE)
            .try_fold(0, |sum, bytes| async move { Ok(sum + bytes) })
            .await?;
        Ok(Pass {
            bytes,
            operations: files.len() as u64,
            ..Pass::default()
        })
    }

    async fn whole(&self, file: &File, target: PathBuf) -> Result<u64> {
        let got = self.store.get(&Key::parse(&file.path)?).await?;
        let body = got.bytes().await?;
        anyhow::ensure!(
            body.len() as u64 == file.size,
            "{} has a wrong size",
            file.path
        );
        tokio::task::spawn_blocking(move || {
            let bytes = body.len() as u64;
            fs::write(&target, body).with_context(|| format!("write {}", target.display()))?;
            Ok(bytes)
        })
        .await?
    }

    /// Ranges, as many at once as there are threads, each thrown away: nobody would store
    /// what is asked for once.
    async fn random(&self, load: &Load<'_>) -> Result<Pass> {
        let count = load.data.scale().random_reads as usize;
        let gets = (0..count).map(|number| self.range(load, number));
        let latencies: Vec<f64> = futures::stream::iter(gets)
            .buffer_unordered(load.threads)
            .map_ok(|latency: Duration| latency.as_secs_f64())
            .try_collect()
            .await?;
        Ok(Pass {
            bytes: count as u64 * READ_BYTES,
            operations: count as u64,
            latencies: Sample::new(latencies),
            ..Pass::default()
        })
    }

    async fn range(&self, load: &Load<'_>, number: usize) -> Result<Duration> {
        let (position, at) = random_place(load, number);
        let file = &load.files()[position];
        let end = file.size.min(at + READ_BYTES);
        let begun = Instant::now();
        let body = self
            .store
            .get_range(&Key::parse(&file.path)?, at..end)
            .await?;
        let latency = begun.elapsed();
        load.check.compare(file, at, &body)?;
        Ok(latency)
    }
}
