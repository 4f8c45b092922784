//! What every origin must do, tested against each.

use bytes::Bytes;
use forebay_core::{ByteRange, ETag};
use futures::TryStreamExt;

use super::{Depth, Error, ListedObject, Origin, PageRequest, PinnedObject};

/// What an origin under test must hold: key, and size of its content.
pub(crate) const OBJECTS: [(&str, usize); 6] = [
    ("a.txt", 5),
    ("dir/b.bin", 300_000),
    ("dir/deep/c d+e%.txt", 7),
    ("dir/empty", 0),
    ("dir-beside/x", 1),
    ("é/ü", 3),
];

/// The content of an object of this size.
pub(crate) fn content(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at * 31 % 251) as u8).collect()
}

/// Everything that an origin holds, sorted by key.
pub(crate) async fn every(origin: &dyn Origin, depth: Depth) -> Vec<ListedObject> {
    let mut prefixes = vec![Vec::new()];
    let mut objects = Vec::new();
    while let Some(prefix) = prefixes.pop() {
        let mut after = None;
        loop {
            let request = PageRequest {
                prefix: &prefix,
                depth,
                after: after.as_ref(),
            };
            let page = origin.list(request).await.unwrap();
            objects.extend(page.objects);
            prefixes.extend(page.prefixes);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    objects.sort_by(|a, b| a.key.cmp(&b.key));
    objects
}

/// Reads a range of a listed object.
pub(crate) async fn read(
    origin: &dyn Origin,
    object: &ListedObject,
    range: ByteRange,
) -> Result<Vec<u8>, Error> {
    let pinned = PinnedObject {
        key: &object.key,
        size: object.size,
        etag: &object.etag,
    };
    let pieces: Vec<Bytes> = origin.read(pinned, range).await?.try_collect().await?;
    Ok(pieces.concat())
}

/// Runs the suite against an origin that holds [`OBJECTS`].
pub(crate) async fn run(origin: &dyn Origin) {
    assert!(!origin.identity().ends_with('/'), "{}", origin.identity());
    lists_each_object_once(origin).await;
    reads_exactly_the_range(origin).await;
    yields_no_other_version(origin).await;
}

async fn lists_each_object_once(origin: &dyn Origin) {
    let mut wanted = OBJECTS.map(|(key, size)| (key.as_bytes().to_vec(), size as u64));
    wanted.sort();
    for depth in [Depth::One, Depth::All] {
        let listed = every(origin, depth).await;
        let listed: Vec<_> = listed
            .into_iter()
            .map(|object| (object.key, object.size))
            .collect();
        assert_eq!(listed, wanted, "{depth:?}");
    }
}

async fn reads_exactly_the_range(origin: &dyn Origin) {
    for object in every(origin, Depth::All).await {
        let size = object.size;
        let whole = content(size as usize);
        for (start, end) in [
            (0, size),
            (0, 1),
            (1, size),
            (size / 3, size / 2),
            (size, size),
        ] {
            let range = ByteRange::new(start, end).clamp_to(size);
            let bytes = read(origin, &object, range).await.unwrap();
            let wanted = &whole[range.start() as usize..range.end() as usize];
            assert!(
                bytes == wanted,
                "{range} of {:?}",
                object.key.escape_ascii().to_string()
            );
        }
    }
}

async fn yields_no_other_version(origin: &dyn Origin) {
    let mut object = every(origin, Depth::All).await.swap_remove(0);
    let range = ByteRange::new(0, object.size);
    let missing = ListedObject {
        key: b"missing".to_vec(),
        ..object.clone()
    };
    let error = read(origin, &missing, range).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    object.etag = ETag::new("\"another\"");
    let error = read(origin, &object, range).await.unwrap_err();
    assert!(matches!(error, Error::Changed { .. }), "{error}");
}

#[tokio::test]
async fn the_origin_in_memory_conforms() {
    let origin = super::MemoryOrigin::default().page_entries(2);
    for (key, size) in OBJECTS {
        origin.put(key, content(size));
    }
    run(&origin).await;
}
