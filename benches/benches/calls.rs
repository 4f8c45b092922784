//! The time of one call of what every read or every open passes through.

use bytes::Bytes;
use criterion::{Bencher, Criterion, Throughput, criterion_group, criterion_main};
use forebay_benches::trace::Trace;
use forebay_cache_server::eviction::PolicyKind;
use forebay_cache_server::store::{Store, StoreConfig, TierConfig, TierKind};
use forebay_core::manifest::{Builder, EntryId, Listed, Manifest, Source};
use forebay_core::placement::{Member, SegmentKey, rank};
use forebay_core::{ObjectId, checksum, chunk};
use std::hint::black_box;

const FILES: u32 = 100_000;
const PER_DIRECTORY: u32 = 1000;

fn key(number: u32) -> String {
    format!("class-{:04}/sample-{number:07}.jpg", number / PER_DIRECTORY)
}

fn manifest(dir: &std::path::Path) -> Manifest {
    let source = Source {
        name: String::new(),
        url: "s3://bench".into(),
    };
    let mut builder = Builder::new(dir, vec![source]).expect("a builder");
    for number in 0..FILES {
        let key = key(number);
        let object = Listed {
            key: key.as_bytes(),
            size: 110 << 10,
            modified: 0,
            etag: "\"00000000000000000000000000000000\"",
        };
        builder.push(0, object).expect("an object");
    }
    let version = builder.finish().expect("a manifest");
    Manifest::open(&dir.join(format!("{version}.manifest"))).expect("the manifest")
}

fn lookup(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a directory");
    let manifest = manifest(dir.path());
    let names: Vec<(EntryId, String)> = (0..FILES)
        .map(|number| number * 7919 % FILES)
        .map(|number| {
            let path = key(number);
            let (parent, name) = path.split_once('/').expect("a directory and a name");
            let parent = manifest.resolve(parent.as_bytes()).expect("a directory");
            (parent, name.to_owned())
        })
        .collect();
    let mut next = names.iter().cycle();
    criterion.bench_function(
        "manifest: lookup of 1 in 1000 names, 100 directories",
        |b| {
            b.iter(|| {
                let (parent, name) = next.next().expect("an endless cycle");
                black_box(manifest.lookup(*parent, name.as_bytes()))
            });
        },
    );
}

fn chunks(criterion: &mut Criterion) {
    const CHUNKS: u64 = 64;
    let dir = tempfile::tempdir().expect("a directory");
    let tier = TierConfig::new(TierKind::Disk, dir.path(), 1 << 30);
    let store = Store::open(StoreConfig::new(vec![tier])).expect("a store");
    let size = CHUNKS * chunk::CHUNK_SIZE;
    let lease = store.lease(ObjectId::from_bytes([1; 16]), size);
    let bytes = Bytes::from(vec![0; chunk::CHUNK_SIZE as usize]);
    for index in 0..CHUNKS - 1 {
        lease
            .write(index, std::slice::from_ref(&bytes))
            .expect("room");
    }
    let mut at = 0;
    criterion.bench_function("store: is a chunk there", |b| {
        b.iter(|| {
            at = (at + 17) % (CHUNKS - 1);
            black_box(lease.first_not_present(at..at + 1))
        });
    });
    let id = ObjectId::from_bytes([1; 16]);
    criterion.bench_function("store: lease of an object", |b| {
        b.iter(|| black_box(store.lease(id, size)));
    });
}

fn placement(criterion: &mut Criterion) {
    const OWNERS: usize = 2;
    for count in [4, 100, 1000] {
        let members: Vec<Member> = (0..count)
            .map(|number| Member::new(&format!("node-{number}"), 1, None))
            .collect();
        let id = ObjectId::from_bytes([1; 16]);
        let mut offset = 0;
        let name = format!("placement: owners among {count} members");
        criterion.bench_function(&name, |b| {
            b.iter(|| {
                offset += 64 << 20;
                let key = SegmentKey::of(id, offset);
                black_box(rank(&members, key, OWNERS))
            });
        });
    }
}

fn crc32c(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("CRC32C");
    for len in [4096, 110 << 10, 1 << 20] {
        let bytes = vec![0x5a_u8; len];
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(format!("{len} bytes"), |b| {
            b.iter(|| black_box(checksum::crc32c(black_box(&bytes))));
        });
    }
    group.finish();
}

fn eviction(criterion: &mut Criterion) {
    const OBJECTS: u32 = 100_000;
    let trace = Trace::zipf(OBJECTS, 1.0, 1_000_000);
    for kind in [PolicyKind::S3Fifo, PolicyKind::Lru, PolicyKind::Tenure] {
        criterion.bench_function(
            &format!("{kind:?}: an open, and an eviction if it misses"),
            |b| {
                opens(b, kind, &trace, OBJECTS as usize / 4);
            },
        );
    }
}

fn opens(bencher: &mut Bencher<'_>, kind: PolicyKind, trace: &Trace, capacity: usize) {
    let ids: Vec<ObjectId> = (0..trace.objects as u32)
        .map(forebay_benches::hit_ratio::id)
        .collect();
    let mut policy = kind.build();
    let mut resident = std::collections::HashSet::new();
    let mut opened = trace.opens.iter().cycle();
    bencher.iter(|| {
        let id = ids[*opened.next().expect("an endless cycle") as usize];
        policy.access(id);
        if resident.contains(&id) {
            return;
        }
        while resident.len() >= capacity
            && let Some(victim) = policy.victim(&|_| false)
        {
            resident.remove(&victim);
        }
        policy.insert(id, 110 << 10);
        resident.insert(id);
    });
}

criterion_group!(calls, lookup, chunks, placement, crc32c, eviction);
criterion_main!(calls);
