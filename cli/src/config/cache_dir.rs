//! The directories of a cache: where they are by default, and whether they can be used.
//!
//! ```text
//! <cache dir>/disk/                      the disk tier
//! <cache dir>/manifests/<dataset id>/    stored dataset versions
//! <cache dir>/quota                      the default quota of the disk tier
//! /dev/shm/forebay-<id>/                 the memory tier
//! ```

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use forebay_cache_server::{prefetch, source};
use xxhash_rust::xxh3::Xxh3;

use super::{CacheConfig, DatasetConfig};
use crate::exit::{Exit, Failure};
use crate::size::Size;

mod tier;

pub use tier::Tier;

/// The quota on disk where nobody asked for another and the disk has it.
const DISK_QUOTA: u64 = 100 << 30;
/// With less room than this a cache would evict what it has just fetched.
const LEAST_ROOM: u64 = 16 << 20;
/// The file in the cache directory that remembers the default quota.
const SETTLED: &str = "quota";
/// Where Linux has its tmpfs for everybody.
const SHARED_MEMORY: &str = "/dev/shm";

/// The directories of one cache.
#[derive(Clone, Debug)]
pub struct CacheDirs {
    /// The cache directory.
    pub root: PathBuf,
    /// The tier on disk.
    pub disk: Tier,
    /// The tier in memory, if there is one.
    pub memory: Option<Tier>,
}

/// Why a cache directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The sources cannot be told apart from others.
    #[error(transparent)]
    Source(#[from] source::Error),
    /// There is no default for this user.
    #[error("no default cache directory: neither XDG_CACHE_HOME nor HOME is set")]
    NoDefault,
    /// It cannot be made or written to.
    #[error("cache directory {path} cannot be used", path = path.display())]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else could have put files there.
    #[error("cache directory {path} belongs to another user", path = path.display())]
    NotOurs {
        /// The directory.
        path: PathBuf,
    },
    /// The file system is full.
    #[error("cache directory {path} has no room: {free} free, at least {least} needed",
        path = path.display())]
    NoRoom {
        /// The directory.
        path: PathBuf,
        /// Bytes that the cache could use.
        free: Size,
        /// Bytes that it needs.
        least: Size,
    },
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Source(error) => Self::new(Exit::Usage, error),
            Error::NoRoom { ref path, .. } if path.starts_with(SHARED_MEMORY) => {
                Self::new(Exit::CacheDir, error).next("set a smaller --memory-size, or 0 for none")
            }
            Error::NoRoom { .. } => Self::new(Exit::CacheDir, error)
                .next("make room, or choose another directory with --cache-dir"),
            Error::NoDefault | Error::Unusable { .. } | Error::NotOurs { .. } => {
                Self::new(Exit::CacheDir, error).next("choose another with --cache-dir")
            }
        }
    }
}

impl CacheDirs {
    /// Finds and makes the directories, and settles the quotas. `default` names the cache
    /// directory where the configuration does not.
    ///
    /// # Errors
    /// [`Error`]; a memory tier that nobody asked for is left out instead.
    pub fn prepare(
        cache: &CacheConfig,
        default: impl FnOnce() -> Result<PathBuf, Error>,
    ) -> Result<Self, Error> {
        let root = match &cache.dir {
            Some(dir) => dir.clone(),
            None => default()?,
        };
        let disk_dir = root.join("disk");
        make(&disk_dir)?;
        let quota = disk_quota(&root, &disk_dir, cache.size.map(|size| size.0))?;
        let memory = memory_tier(cache, &root)?;
        Ok(Self {
            root,
            disk: Tier {
                dir: disk_dir,
                quota,
            },
            memory,
        })
    }

    /// Where the versions of `dataset` are stored; makes the directory.
    ///
    /// # Errors
    /// [`Error::Source`] and [`Error::Unusable`].
    pub fn manifests(&self, dataset: &DatasetConfig) -> Result<PathBuf, Error> {
        let id = dataset_id(dataset, &identities(dataset)?);
        let manifests = self.root.join("manifests").join(id);
        make(&manifests)?;
        Ok(manifests)
    }
}

/// The default cache directory of a mount: one for each set of sources.
///
/// # Errors
/// [`Error::NoDefault`] and [`Error::Source`].
pub fn of_dataset(dataset: &DatasetConfig) -> Result<PathBuf, Error> {
    let identities = identities(dataset)?;
    Ok(default_parent()?.join(id(identities.iter().map(String::as_bytes))))
}

/// The default cache directory of a cache server.
///
/// # Errors
/// [`Error::NoDefault`].
pub fn of_server() -> Result<PathBuf, Error> {
    Ok(default_parent()?.join("server"))
}

fn identities(dataset: &DatasetConfig) -> Result<Vec<String>, Error> {
    let identities = dataset.sources.iter().map(|source| source.identity());
    Ok(identities.collect::<Result<_, _>>()?)
}

fn default_parent() -> Result<PathBuf, Error> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    if rustix::process::geteuid().is_root() {
        Ok(PathBuf::from("/var/cache/forebay"))
    } else if let Some(dir) = variable("XDG_CACHE_HOME") {
        Ok(Path::new(&dir).join("forebay"))
    } else {
        let home = variable("HOME").ok_or(Error::NoDefault)?;
        Ok(Path::new(&home).join(".cache/forebay"))
    }
}

/// Two mounts of one dataset have one id: the same sources under the same names, seen
/// through the same globs.
fn dataset_id(dataset: &DatasetConfig, identities: &[String]) -> String {
    let named = dataset.sources.iter().zip(identities);
    let sources = named.flat_map(|(source, identity)| [source.name.as_str(), identity]);
    let include = dataset.include.iter().map(String::as_str);
    let exclude = dataset.exclude.iter().map(String::as_str);
    // No glob is empty: what follows the empty one is excluded.
    id(sources
        .chain(include)
        .chain([""])
        .chain(exclude)
        .map(str::as_bytes))
}

fn id<'a>(fields: impl Iterator<Item = &'a [u8]>) -> String {
    let mut hash = Xxh3::new();
    for field in fields {
        hash.update(&(field.len() as u64).to_le_bytes());
        hash.update(field);
    }
    format!("{:016x}", hash.digest())
}

fn make(dir: &Path) -> Result<(), Error> {
    let unusable = |source| Error::Unusable {
        path: dir.to_owned(),
        source,
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(unusable)?;
    // A directory that exists may still be on a file system that is read-only.
    tempfile::tempfile_in(dir).map_err(unusable)?;
    Ok(())
}

/// How much the disk tier may hold: what was asked for; or a share of the free space, and
/// never less than an earlier mount settled on, because the space that the cache itself
/// takes is not free any more.
fn disk_quota(root: &Path, dir: &Path, asked: Option<u64>) -> Result<u64, Error> {
    let free = free_bytes(dir)?;
    let least = LEAST_ROOM.min(asked.unwrap_or(LEAST_ROOM));
    if free < least && free + held_bytes(dir) < least {
        let (free, least) = (Size(free), Size(least));
        return Err(Error::NoRoom {
            path: dir.to_owned(),
            free,
            least,
        });
    }
    if let Some(asked) = asked {
        return Ok(asked);
    }
    let settled = root.join(SETTLED);
    let earlier = fs::read_to_string(&settled)
        .ok()
        .and_then(|text| text.trim().parse().ok());
    let quota = DISK_QUOTA.min((free / 10 * 8).max(earlier.unwrap_or(LEAST_ROOM)));
    if earlier != Some(quota) {
        // It is only remembered for the next mount: this one goes on without.
        let _ = fs::write(settled, quota.to_string());
    }
    Ok(quota)
}

fn memory_tier(cache: &CacheConfig, root: &Path) -> Result<Option<Tier>, Error> {
    if cache.memory.size.0 == 0 {
        return Ok(None);
    }
    let name = format!("forebay-{}", id([root.as_os_str().as_bytes()].into_iter()));
    let dir = Path::new(SHARED_MEMORY).join(name);
    match usable_memory(&dir, cache) {
        Ok(quota) => Ok(Some(Tier { dir, quota })),
        Err(error) if cache.memory.explicit => Err(error),
        Err(error) => {
            tracing::warn!(%error, "no memory tier");
            Ok(None)
        }
    }
}

fn usable_memory(dir: &Path, cache: &CacheConfig) -> Result<u64, Error> {
    make(dir)?;
    // Its name can be guessed and anybody can make directories there.
    let owner = fs::symlink_metadata(dir)
        .map_err(|source| Error::Unusable {
            path: dir.to_owned(),
            source,
        })?
        .uid();
    if owner != rustix::process::geteuid().as_raw() {
        return Err(Error::NotOurs {
            path: dir.to_owned(),
        });
    }
    let room = free_bytes(dir)? + held_bytes(dir);
    let asked = cache.memory.size.0;
    // Half of a small /dev/shm is left to others; containers often have 64 MiB of it. What
    // is kept there is part of the memory that a container may use.
    let (quota, least) = if cache.memory.explicit {
        (asked, asked)
    } else {
        let quarter = prefetch::memory_limit().map_or(asked, |limit| limit / 4);
        (asked.min(room / 2).min(quarter), LEAST_ROOM)
    };
    if quota < least || room < least {
        let (free, least) = (Size(room), Size(least));
        return Err(Error::NoRoom {
            path: dir.to_owned(),
            free,
            least,
        });
    }
    Ok(quota)
}

fn free_bytes(dir: &Path) -> Result<u64, Error> {
    let stat = rustix::fs::statvfs(dir).map_err(|error| Error::Unusable {
        path: dir.to_owned(),
        source: error.into(),
    })?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// What the files below `dir` occupy; what cannot be looked at counts nothing.
fn held_bytes(dir: &Path) -> u64 {
    let mut held = 0;
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            if metadata.is_dir() {
                open.push(entry.path());
            } else {
                // Cached files are sparse: blocks, in units of 512, are what counts.
                held += metadata.blocks() * 512;
            }
        }
    }
    held
}

#[cfg(test)]
mod tests {
    use forebay_cache_server::source::{Connection, SourceSpec};

    use super::*;
    use crate::config::Quota;
    use crate::options::Policy;

    fn dataset(sources: &[&str], include: &[&str]) -> DatasetConfig {
        let parse = |text: &&str| SourceSpec::parse(text, Connection::default()).unwrap();
        DatasetConfig {
            sources: sources.iter().map(parse).collect(),
            include: include.iter().map(|&glob| glob.to_owned()).collect(),
            exclude: Vec::new(),
            version: None,
        }
    }

    fn cache(dir: &Path) -> CacheConfig {
        CacheConfig {
            dir: Some(dir.to_owned()),
            size: None,
            memory: Quota {
                size: Size(0),
                explicit: true,
            },
            policy: Policy::Lru,
            prefetch_budget: None,
            scrub_rate: Size(0),
        }
    }

    fn prepare(cache: &CacheConfig) -> Result<CacheDirs, Error> {
        CacheDirs::prepare(cache, || Err(Error::NoDefault))
    }

    #[test]
    fn the_id_depends_on_sources_names_and_globs() {
        let id = |sources: &[&str], include: &[&str]| {
            let dataset = dataset(sources, include);
            let identities: Vec<_> = dataset.sources.iter().map(|s| s.url.clone()).collect();
            dataset_id(&dataset, &identities)
        };
        assert_eq!(id(&["file:///a"], &[]), id(&["file:///a"], &[]));
        assert_ne!(id(&["file:///a"], &[]), id(&["file:///b"], &[]));
        assert_ne!(id(&["file:///a"], &[]), id(&["x=file:///a"], &[]));
        assert_ne!(id(&["file:///a"], &[]), id(&["file:///a"], &["*.jpg"]));
    }

    #[test]
    fn directories_are_made_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let dirs = prepare(&cache(&dir.path().join("new"))).unwrap();
        assert_eq!(fs::metadata(&dirs.disk.dir).unwrap().mode() & 0o777, 0o700);
        let manifests = dirs.manifests(&dataset(&["file:///data"], &[])).unwrap();
        assert!(manifests.starts_with(dirs.root.join("manifests")));
        assert!(manifests.is_dir());
        assert!(dirs.disk.quota <= DISK_QUOTA);
        assert_eq!(dirs.memory, None);
    }

    #[test]
    fn a_quota_that_was_asked_for_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let config = CacheConfig {
            size: Some(Size(1 << 20)),
            ..cache(dir.path())
        };
        assert_eq!(prepare(&config).unwrap().disk.quota, 1 << 20);
    }

    #[test]
    fn the_default_quota_does_not_shrink_when_the_cache_has_filled_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let first = prepare(&cache(dir.path())).unwrap().disk.quota;
        // As if there had been a little more room at the first mount.
        fs::write(
            dir.path().join(SETTLED),
            (first + 1).min(DISK_QUOTA).to_string(),
        )
        .unwrap();
        let second = prepare(&cache(dir.path())).unwrap().disk.quota;
        assert!(second > first || second == DISK_QUOTA, "{first} {second}");
        fs::write(dir.path().join(SETTLED), "nonsense").unwrap();
        assert!(prepare(&cache(dir.path())).unwrap().disk.quota >= LEAST_ROOM);
    }

    #[test]
    fn a_file_in_the_way_is_told_with_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "").unwrap();
        let failure = Failure::from(prepare(&cache(&path)).unwrap_err());
        assert_eq!(failure.exit(), Exit::CacheDir);
        assert!(
            failure.to_string().contains(path.to_str().unwrap()),
            "{failure}"
        );
        assert!(failure.to_string().contains("--cache-dir"), "{failure}");
    }

    #[test]
    fn holes_of_cached_files_do_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let file = fs::File::create(dir.path().join("sparse")).unwrap();
        file.set_len(1 << 30).unwrap();
        assert!(held_bytes(dir.path()) < 1 << 20);
    }
}
