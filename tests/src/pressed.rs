//! A mount with little memory, and many readers.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::bucket::Bucket;
use crate::dataset::{Dataset, Shape, Sizes};
use crate::memory_group::MemoryGroup;
use crate::read::drop_pages;

/// How often the group is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// How a mount is pressed.
#[derive(Clone, Copy, Debug)]
pub struct Press {
    /// The memory that it has, page cache of its own files included.
    pub memory: u64,
    /// How many readers there are, each with a file of its own.
    pub readers: u32,
    /// The bytes of all files together.
    pub bytes: u64,
    /// The size of the cache: less than the files, so that eviction is at work.
    pub cache: u64,
    /// The longest it may take.
    pub limit: Duration,
}

/// How it has fared.
#[derive(Clone, Debug)]
pub struct Pressed {
    /// Files that were not read to the end and right, in words.
    pub faults: Vec<String>,
    /// Processes of the mount that were killed for want of memory.
    pub kills: u64,
    /// The most memory that the mount has had, page cache not counted.
    pub peak_bytes: u64,
    /// Bytes that it has evicted.
    pub evicted_bytes: u64,
    /// How long the readers took.
    pub took: Duration,
}

impl Press {
    /// Mounts within a control group, and reads everything at once, to the last byte.
    ///
    /// # Panics
    /// If the mount does not come or does not answer afterwards.
    pub fn run(&self, name: &str) -> Pressed {
        let bucket = Bucket::new(name, self.cache + (self.cache >> 2));
        let dataset = Dataset::new(&Shape {
            files: self.readers,
            directories: 0,
            sizes: Sizes::Fixed(self.bytes / u64::from(self.readers)),
            seed: 64,
        });
        dataset.put_to(bucket.server(), Bucket::NAME, "");
        let group = MemoryGroup::new(name, self.memory);
        let mount = bucket
            .mount("m")
            .args(&["--cache-size", &self.cache.to_string()])
            .within(&group)
            .limit(self.limit)
            .start();
        let root = mount.path();
        let began = Instant::now();
        let (peak, over) = (AtomicU64::new(0), AtomicBool::new(false));
        let read = |file: &crate::File| {
            let path = root.join(&file.path);
            let compared = file.compare(&path);
            // Pages of the mount are the readers' own, who need them no more.
            drop_pages(&path);
            let difference = compared.err()?;
            Some(format!("{}: {difference:?}", file.path))
        };
        let faults = thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    peak.fetch_max(group.anonymous_bytes(), Ordering::Relaxed);
                    thread::sleep(LOOK);
                }
            });
            let readers = dataset
                .files()
                .iter()
                .map(|file| scope.spawn(move || read(file)));
            let readers: Vec<_> = readers.collect();
            let faults = readers
                .into_iter()
                .filter_map(|reader| match reader.join() {
                    Ok(fault) => fault,
                    Err(_) => Some("a reader has panicked".to_owned()),
                });
            let faults = faults.collect();
            over.store(true, Ordering::Relaxed);
            faults
        });
        let took = began.elapsed();
        let kills = group.kills();
        let status = if kills == 0 {
            mount.status()
        } else {
            serde_json::Value::Null
        };
        drop(mount);
        Pressed {
            faults,
            kills,
            peak_bytes: peak.into_inner(),
            evicted_bytes: status["cache"]["evicted_bytes"]
                .as_u64()
                .unwrap_or_default(),
            took,
        }
    }
}
