//! A process that has run out of descriptors says nothing bad of what is cached.
//!
//! A test of its own, because the limit is that of the process.

use bytes::Bytes;
use forebay_cache_server::store::{Store, StoreConfig, TierConfig, TierKind};
use forebay_core::{ETag, ObjectId};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[test]
fn chunks_are_not_wrong_because_a_file_could_not_be_opened() {
    const MIB: usize = 1 << 20;
    let dir = tempfile::Builder::new()
        .prefix("forebay-descriptors-")
        .tempdir()
        .unwrap();
    let tier = TierConfig::new(TierKind::Disk, dir.path(), 1 << 30);
    let store = Store::open(StoreConfig::new(vec![tier])).unwrap();
    let (size, etag) = (2 * MIB as u64, ETag::new("1"));
    let id = ObjectId::derive("test", b"a", &etag, size);
    let lease = store.lease(id, size);
    for chunk in 0..2 {
        lease.write(chunk, &[Bytes::from(vec![7; MIB])]).unwrap();
    }
    drop(lease);

    let limit = getrlimit(Resource::Nofile);
    let none = Rlimit {
        current: Some(0),
        ..limit
    };
    setrlimit(Resource::Nofile, none).unwrap();
    let lease = store.lease(id, size);
    let opened = lease.backing().is_some();
    lease.distrust(0);
    lease.verify(1);
    let stats = store.stats();
    setrlimit(Resource::Nofile, limit).unwrap();

    assert!(!opened, "the limit was meant to be felt");
    assert_eq!((stats.corrupt_chunks, stats.torn_chunks), (0, 0));
    assert_eq!((stats.wrong_checksums, stats.unreadable), (0, 0));
    assert!(lease.is_complete());
    assert!(lease.backing().is_some());
}
