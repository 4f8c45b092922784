//! The warm-ups of a cache server: from a request to a plan, and across restarts.
//!
//! What is under way is on record in the cache directory, a small file each, and begins
//! again when the server does. What was brought before is found there.

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use forebay_cache_server::cluster::Cluster;
use forebay_cache_server::local::Datasets;
use forebay_cache_server::node::NodeCache;
use forebay_cache_server::warmup::{Job, Spec, Warmups};
use forebay_core::ErrorKind;
use forebay_core::cache::CacheError;
use forebay_proto::cache::v1::StartWarmupRequest;
use forebay_proto::local::{Attach, Wanted};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::datasets::Served;
use crate::exit::{Exit, Failure};
use crate::off_runtime::off_runtime;
use crate::options::VersionPrefix;
use crate::selection;

/// The most characters of a name, which is also that of a file.
const MOST_NAME: usize = 63;
/// The most patterns of a warm-up.
const MOST_PATTERNS: usize = 10_000;

/// What is asked for by name, done by the members.
#[derive(Debug)]
pub(super) struct WarmupService {
    warmups: Warmups,
    served: Arc<Served>,
    node: Arc<NodeCache>,
    replicas: usize,
    records: PathBuf,
    stop: CancellationToken,
}

/// A warm-up that is under way, as it is on record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    name: String,
    dataset: String,
    version: String,
    patterns: Vec<String>,
    replicas: u32,
    bytes_per_second: u64,
}

impl WarmupService {
    /// Plans for `node` and the other members until `stop`; keeps records below `dir`.
    pub(super) fn new(
        served: &Arc<Served>,
        node: &Arc<NodeCache>,
        cluster: Option<Arc<Cluster>>,
        dir: &Path,
        stop: &CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            replicas: cluster.as_ref().map_or(1, |cluster| cluster.replicas()),
            warmups: Warmups::new(Arc::clone(node), cluster, stop.clone()),
            served: Arc::clone(served),
            node: Arc::clone(node),
            records: dir.join("warmups"),
            stop: stop.clone(),
        })
    }

    /// Begins a warm-up, or returns the one of that name that runs.
    ///
    /// # Errors
    /// [`Exit::Usage`] for a name, dataset, version or pattern that means nothing;
    /// [`Exit::Source`] if the dataset cannot be listed.
    pub(super) async fn start(&self, asked: StartWarmupRequest) -> Result<Arc<Job>, Failure> {
        let name = name(asked.name)?;
        if let Some(job) = self.warmups.job(&name)
            && !job.phase().is_end()
        {
            return Ok(job);
        }
        if asked.patterns.len() > MOST_PATTERNS {
            let text = format!(
                "{} patterns; the limit is {MOST_PATTERNS}",
                asked.patterns.len()
            );
            return Err(Failure::new(Exit::Usage, text).next("name directories or globs"));
        }
        let attach = Attach {
            dataset: asked.dataset.clone(),
            wanted: wanted(asked.version)?,
        };
        let attached = self
            .served
            .attach(attach, &|_, _| ())
            .await
            .map_err(of_attach)?;
        let manifest = self.node.manifest(attached.version).map_err(of_attach)?;
        let patterns = asked.patterns;
        let files = match patterns.is_empty() {
            true => None,
            false => {
                let patterns = patterns.clone();
                let select = move || selection::files(&manifest, Path::new(""), &patterns);
                Some(off_runtime(select).await??)
            }
        };
        let replicas = match asked.replicas {
            0 => self.replicas,
            count => count as usize,
        };
        let spec = Spec {
            name,
            dataset: asked.dataset,
            version: attached.version,
            patterns,
            replicas,
            bytes_per_second: NonZeroU64::new(asked.bytes_per_second),
        };
        let path = self.record(&spec).await?;
        let stop = self.stop.clone();
        let ended = move |_: &Job| {
            // A server that ends takes it up again.
            if !stop.is_cancelled() {
                let _ = std::fs::remove_file(path);
            }
        };
        self.warmups.start(spec, files, ended).map_err(of_attach)
    }

    /// The warm-up of this name.
    ///
    /// # Errors
    /// [`Exit::Usage`] if there is none.
    pub(super) fn job(&self, name: &str) -> Result<Arc<Job>, Failure> {
        self.warmups.job(name).ok_or_else(|| {
            let names = self.warmups.list();
            let names: Vec<_> = names.iter().map(|job| job.spec().name.as_str()).collect();
            let known = match names.is_empty() {
                true => "it knows of none".to_owned(),
                false => format!("it knows of {}", names.join(", ")),
            };
            let text = format!("the cache server has no warm-up {name:?}; {known}");
            Failure::new(Exit::Usage, text)
        })
    }

    /// Ends the warm-up of this name, and waits until it has.
    ///
    /// # Errors
    /// [`Exit::Usage`] if there is none.
    pub(super) async fn cancel(&self, name: &str) -> Result<Arc<Job>, Failure> {
        let job = self.job(name)?;
        job.cancel();
        job.ended().await;
        Ok(job)
    }

    /// All that run or have lately ended.
    pub(super) fn list(&self) -> Vec<Arc<Job>> {
        self.warmups.list()
    }

    /// Takes up what was under way when the server last ended.
    pub(super) fn resume(self: &Arc<Self>) {
        let service = Arc::clone(self);
        tokio::spawn(async move {
            for path in recorded(&service.records) {
                if service.stop.is_cancelled() {
                    return;
                }
                let resumed = match read(&path) {
                    Ok(record) => service.start(record.request()).await,
                    Err(error) => Err(Failure::new(Exit::Failed, error)),
                };
                match resumed {
                    Ok(job) => tracing::info!(name = %job.spec().name, "warm-up taken up again"),
                    Err(error) => {
                        let path = path.display();
                        tracing::warn!(%error, %path, "warm-up cannot be taken up again");
                    }
                }
            }
        });
    }

    /// Waits until every warm-up has ended, once the server is asked to.
    pub(super) async fn ended(&self) {
        self.warmups.ended().await;
    }

    async fn record(&self, spec: &Spec) -> Result<PathBuf, Failure> {
        let path = self.records.join(format!("{}.json", spec.name));
        let (dir, written) = (self.records.clone(), path.clone());
        let text = serde_json::to_vec(&Record::of(spec)).expect("texts and numbers are JSON");
        let write = move || {
            std::fs::create_dir_all(&dir)?;
            let draft = written.with_extension("json~");
            std::fs::write(&draft, text)?;
            std::fs::rename(&draft, &written)
        };
        off_runtime(write).await?.map_err(|error| {
            let text = format!("record the warm-up at {}: {error}", path.display());
            Failure::new(Exit::CacheDir, text)
        })?;
        Ok(path)
    }
}

impl Record {
    fn of(spec: &Spec) -> Self {
        Self {
            name: spec.name.clone(),
            dataset: spec.dataset.clone(),
            version: spec.version.to_string(),
            patterns: spec.patterns.clone(),
            replicas: u32::try_from(spec.replicas).unwrap_or(u32::MAX),
            bytes_per_second: spec.bytes_per_second.map_or(0, NonZeroU64::get),
        }
    }

    fn request(self) -> StartWarmupRequest {
        StartWarmupRequest {
            dataset: self.dataset,
            version: self.version,
            patterns: self.patterns,
            replicas: self.replicas,
            bytes_per_second: self.bytes_per_second,
            name: self.name,
        }
    }
}

fn recorded(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "json")
    });
    paths.sort();
    paths
}

fn read(path: &Path) -> std::io::Result<Record> {
    Ok(serde_json::from_slice(&std::fs::read(path)?)?)
}

fn name(asked: String) -> Result<String, Failure> {
    if asked.is_empty() {
        return Ok(format!("warmup-{:08x}", rand_name()));
    }
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    if asked.len() > MOST_NAME || !asked.bytes().all(good) || asked.starts_with('.') {
        let text = format!("{asked:?} is no name of a warm-up");
        let step = format!("use up to {MOST_NAME} letters, digits, dots and hyphens");
        return Err(Failure::new(Exit::Usage, text).next(step));
    }
    Ok(asked)
}

/// A number that no other warm-up of this server has: the time.
fn rand_name() -> u32 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanos = now.unwrap_or_default().as_nanos();
    xxhash_rust::xxh3::xxh3_64(&nanos.to_le_bytes()) as u32
}

fn wanted(version: String) -> Result<Wanted, Failure> {
    if version.is_empty() {
        return Ok(Wanted::Latest);
    }
    let parsed = version.parse::<VersionPrefix>();
    let parsed = parsed.map_err(|expected| {
        Failure::new(Exit::Usage, format!("version {version:?}: {expected}"))
    })?;
    Ok(Wanted::Stored(parsed.as_str().to_owned()))
}

fn of_attach(error: CacheError) -> Failure {
    let exit = match error.kind {
        ErrorKind::NotFound => Exit::Usage,
        ErrorKind::Unavailable => Exit::Source,
        _ => Exit::Failed,
    };
    Failure::new(exit, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_files_and_never_lead_elsewhere() {
        assert_eq!(name("nightly-2.1".into()).unwrap(), "nightly-2.1");
        assert_ne!(name(String::new()).unwrap(), "");
        for wrong in ["a/b", "..", ".hidden", "a b", &"x".repeat(64)] {
            let failure = name(wrong.to_owned()).unwrap_err();
            assert_eq!(failure.exit(), Exit::Usage, "{wrong}");
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let record = Record {
            name: "n".into(),
            dataset: "d".into(),
            version: "ab".into(),
            patterns: vec!["train/**".into()],
            replicas: 2,
            bytes_per_second: 7,
        };
        let path = dir.path().join("n.json");
        std::fs::write(&path, serde_json::to_vec(&record).unwrap()).unwrap();
        std::fs::write(dir.path().join("m.json~"), "half").unwrap();
        assert_eq!(recorded(dir.path()), std::slice::from_ref(&path));
        assert_eq!(read(&path).unwrap(), record);
    }
}
