//! Objects as large as S3 has them, of which only what is read is ever here.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use forebay_tests::{Bucket, read_at, stream_at};

const MIB: u64 = 1 << 20;
/// The largest object that S3 takes.
const SIZE: u64 = 5 << 40;

/// The bytes on disk of all files below `dir`.
fn allocated(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    let bytes = entries.map(|entry| match entry.file_type().unwrap().is_dir() {
        true => allocated(&entry.path()),
        false => entry.metadata().unwrap().blocks() * 512,
    });
    bytes.sum()
}

#[test]
fn an_object_of_5_tb_is_read_at_any_place_and_kept_where_it_was_read() {
    let bucket = Bucket::new("large", 200 * MIB);
    bucket.put_stream("large", SIZE, 1);
    let places = [
        0,
        3 * MIB + 7,
        (1 << 32) - 100,
        SIZE / 2 + 1,
        SIZE - MIB - 1,
        SIZE - 10,
    ];
    let mut fetched = None;
    for _ in 0..2 {
        let mount = bucket.mount("m").start();
        let path = mount.path().join("large");
        assert_eq!(fs::metadata(&path).unwrap().len(), SIZE);
        for place in places {
            let expected = stream_at(1, place, 200.min(SIZE - place));
            assert!(
                read_at(&path, place, 200).unwrap() == expected,
                "at {place}"
            );
        }
        assert_eq!(read_at(&path, SIZE, 10).unwrap(), b"");
        let status = mount.status();
        let bytes = status["origin"]["bytes"].as_u64().unwrap();
        // The second time nothing; the first time the chunk at the start, which looks like
        // the beginning of a sequence, and the pages around each other place.
        let expected = fetched.map_or(MIB..=2 * MIB, |_| 0..=0);
        assert!(expected.contains(&bytes), "{bytes}");
        fetched = Some(bytes);
        assert_eq!(status["bytes"], SIZE);
        assert_eq!(status["cached_files"], 0);
        mount.assert_quiet();
        mount.unmount();
        let room = allocated(&bucket.mount("m").cache_dir().join("disk"));
        assert!(room < 40 * MIB, "{room}");
    }
}
