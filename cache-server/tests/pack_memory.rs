//! What a packed object costs in memory, all included: counted by the allocator.
//!
//! Alone in its process, so that nothing else allocates meanwhile.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use forebay_cache_server::store::{Store, StoreConfig, TierConfig, TierKind};
use forebay_core::{ETag, ObjectId};

const OBJECTS: u64 = 200_000;
const SIZE: u64 = 40;

/// Counts what is allocated and not yet freed, and how often.
struct Counting;

static BYTES: AtomicU64 = AtomicU64::new(0);
static CALLS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes to the system's allocator with the arguments it came with.
#[expect(unsafe_code, reason = "an allocator that counts is an allocator")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size() as u64, Relaxed);
        CALLS.fetch_add(1, Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size() as u64, Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn id(number: u64) -> ObjectId {
    ObjectId::derive("test", &number.to_le_bytes(), &ETag::new("1"), SIZE)
}

fn open(dir: &std::path::Path) -> Arc<Store> {
    let tier = TierConfig::new(TierKind::Disk, dir, 64 << 30);
    let config = StoreConfig {
        flush_interval: Duration::from_secs(3600),
        ..StoreConfig::new(vec![tier])
    };
    Store::open(config).expect("a new directory can be a cache")
}

/// The bytes that the store has allocated for each of its objects since `before`.
fn bytes_each(before: u64) -> f64 {
    (BYTES.load(Relaxed) - before) as f64 / OBJECTS as f64
}

#[test]
fn a_packed_object_takes_64_bytes_and_a_look_at_it_allocates_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let before = BYTES.load(Relaxed);
    let store = open(dir.path());
    let bytes = [Bytes::from(vec![7; SIZE as usize])];
    for number in 0..OBJECTS {
        store.lease(id(number), SIZE).write(0, &bytes).unwrap();
    }
    let written = bytes_each(before);
    assert!(written <= 64.0, "{written} bytes each when written");
    let wanted: Vec<_> = (0..OBJECTS).step_by(1_000).map(id).collect();
    let calls = CALLS.load(Relaxed);
    for id in wanted {
        let lease = store.lease(id, SIZE);
        assert_eq!(lease.first_not_present(0..1), None);
        assert!(lease.backing().is_some());
    }
    assert_eq!(CALLS.load(Relaxed), calls, "allocations for cached objects");
    drop(store);
    let before = BYTES.load(Relaxed);
    let store = open(dir.path());
    assert_eq!(store.stats().packed_objects, OBJECTS);
    let recovered = bytes_each(before);
    assert!(recovered <= 64.0, "{recovered} bytes each when recovered");
    println!("{written:.1} bytes each when written, {recovered:.1} when recovered");
}
