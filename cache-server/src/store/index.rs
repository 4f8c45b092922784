//! Every object that the store knows, by id.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use forebay_core::ObjectId;

use super::object::{Object, Place};
use super::share::{Class, ShareId};

const SHARDS: usize = 64;

/// An object that hashes as its id, so that the map need not keep the id twice.
#[derive(Debug)]
struct Entry(Arc<Object>);

impl Borrow<ObjectId> for Entry {
    fn borrow(&self) -> &ObjectId {
        &self.0.id
    }
}

impl Hash for Entry {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id.hash(state);
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for Entry {}

/// The map from ids to objects. No lock of it is held over I/O.
#[derive(Debug)]
pub(super) struct Index {
    shards: [Mutex<HashSet<Entry>>; SHARDS],
    next_generation: AtomicU64,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            next_generation: AtomicU64::new(1),
        }
    }
}

impl Index {
    /// The object `id`, pinned; a new one, of the dataset `share`, if it is not known.
    ///
    /// An object of another size cannot have the same id. Should it come to that all
    /// the same, the caller gets an object that nothing is ever stored in.
    pub(super) fn pin(&self, id: ObjectId, size: u64, share: ShareId) -> Arc<Object> {
        let class = Class::of(share);
        let mut shard = self.shard(&id);
        let object = match shard.get(&id) {
            Some(Entry(known)) if known.size() == size => {
                known.claim(class);
                Arc::clone(known)
            }
            Some(_) => Arc::new(Object::new(id, size, 0, class, Place::Gone)),
            None => {
                let generation = self.next_generation();
                let object = Arc::new(Object::new(id, size, generation, class, Place::Nowhere));
                shard.insert(Entry(Arc::clone(&object)));
                object
            }
        };
        object.pin();
        object
    }

    pub(super) fn get(&self, id: ObjectId) -> Option<Arc<Object>> {
        self.shard(&id).get(&id).map(|entry| Arc::clone(&entry.0))
    }

    /// Whether somebody holds a lease on `id`.
    pub(super) fn is_pinned(&self, id: ObjectId) -> bool {
        self.shard(&id)
            .get(&id)
            .is_some_and(|entry| entry.0.is_pinned())
    }

    /// Takes `id` out if it lies in `tier` and nobody holds a lease on it: from here on
    /// nobody can get one.
    pub(super) fn take_unpinned(&self, id: ObjectId, tier: u8) -> Option<Arc<Object>> {
        let mut shard = self.shard(&id);
        let Entry(object) = shard.get(&id)?;
        if object.is_pinned() || object.place() != Place::Tier(tier) {
            return None;
        }
        shard.take(&id).map(|entry| entry.0)
    }

    /// Takes `object` out if nobody holds a lease on it and none of it is here.
    pub(super) fn take_empty(&self, object: &Arc<Object>) -> bool {
        let mut shard = self.shard(&object.id);
        let known = shard
            .get(&object.id)
            .is_some_and(|entry| Arc::ptr_eq(&entry.0, object));
        let idle = !object.is_pinned() && object.chunks.held_bytes() == 0;
        known && idle && shard.remove(&object.id)
    }

    /// Takes `object` out, leases or not.
    pub(super) fn remove(&self, object: &Arc<Object>) {
        let mut shard = self.shard(&object.id);
        if shard
            .get(&object.id)
            .is_some_and(|entry| Arc::ptr_eq(&entry.0, object))
        {
            shard.remove(&object.id);
        }
    }

    /// Adds an object found by recovery; false if its id is known already.
    pub(super) fn insert(&self, object: Arc<Object>) -> bool {
        self.reserve_generations(object.generation);
        self.shard(&object.id).insert(Entry(object))
    }

    /// A generation that no file of the store has or ever had.
    pub(super) fn next_generation(&self) -> u64 {
        self.next_generation.fetch_add(1, Relaxed)
    }

    /// Whether one of the objects `matches`.
    pub(super) fn any(&self, matches: impl Fn(&Object) -> bool) -> bool {
        let matches = |entry: &Entry| matches(&entry.0);
        self.shards
            .iter()
            .any(|shard| lock(shard).iter().any(matches))
    }

    /// Sees to it that new objects get higher generations than `used`.
    pub(super) fn reserve_generations(&self, used: u64) {
        self.next_generation
            .fetch_max(used.saturating_add(1), Relaxed);
    }

    /// The objects of `tier`, a shard at a time: what comes and goes meanwhile may be
    /// missing or listed.
    pub(super) fn objects_in(&self, tier: u8) -> impl Iterator<Item = Arc<Object>> + '_ {
        self.shards.iter().flat_map(move |shard| {
            let shard = lock(shard);
            let here = shard
                .iter()
                .filter(|entry| entry.0.place() == Place::Tier(tier));
            here.map(|entry| Arc::clone(&entry.0)).collect::<Vec<_>>()
        })
    }

    fn shard(&self, id: &ObjectId) -> MutexGuard<'_, HashSet<Entry>> {
        // Ids are hashes: any byte of theirs spreads evenly.
        lock(&self.shards[usize::from(id.as_bytes()[0]) % SHARDS])
    }
}

fn lock(shard: &Mutex<HashSet<Entry>>) -> MutexGuard<'_, HashSet<Entry>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
