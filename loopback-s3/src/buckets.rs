//! The buckets and their objects, in memory.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::SystemTime;

use crate::object::Object;

/// The objects of a bucket in the order in which S3 lists them: by the bytes of the key.
pub(crate) type Objects = BTreeMap<Box<[u8]>, Object>;

#[derive(Debug)]
struct Bucket {
    created: SystemTime,
    objects: Objects,
}

impl Default for Bucket {
    fn default() -> Self {
        Self {
            created: SystemTime::now(),
            objects: Objects::new(),
        }
    }
}

/// There is no bucket of that name.
#[derive(Debug)]
pub(crate) struct NoSuchBucket;

#[derive(Debug, Default)]
pub(crate) struct Buckets(RwLock<BTreeMap<String, Bucket>>);

impl Buckets {
    /// Creates a bucket. False if it was there.
    pub(crate) fn create(&self, name: &str) -> bool {
        let mut buckets = self.write();
        if buckets.contains_key(name) {
            return false;
        }
        buckets.insert(name.to_owned(), Bucket::default());
        true
    }

    /// The names of the buckets, in order, and when each was created.
    pub(crate) fn names(&self) -> Vec<(String, SystemTime)> {
        self.read()
            .iter()
            .map(|(name, bucket)| (name.clone(), bucket.created))
            .collect()
    }

    /// Puts an object; creates the bucket if it is not there.
    pub(crate) fn put(&self, bucket: &str, key: &str, object: Object) {
        let mut buckets = self.write();
        let bucket = buckets.entry(bucket.to_owned()).or_default();
        bucket.objects.insert(key.as_bytes().into(), object);
    }

    /// Runs `change` on the objects of a bucket, alone.
    pub(crate) fn change<T>(
        &self,
        bucket: &str,
        change: impl FnOnce(&mut Objects) -> T,
    ) -> Result<T, NoSuchBucket> {
        let mut buckets = self.write();
        let bucket = buckets.get_mut(bucket).ok_or(NoSuchBucket)?;
        Ok(change(&mut bucket.objects))
    }

    /// Runs `look` on the objects of a bucket.
    pub(crate) fn look<T>(
        &self,
        bucket: &str,
        look: impl FnOnce(&Objects) -> T,
    ) -> Result<T, NoSuchBucket> {
        let buckets = self.read();
        let bucket = buckets.get(bucket).ok_or(NoSuchBucket)?;
        Ok(look(&bucket.objects))
    }

    // Every change is a single insert or remove, so what a panicking thread leaves
    // behind is whole and poisoning can be ignored.
    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<String, Bucket>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<String, Bucket>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
