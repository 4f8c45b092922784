//! The dataset of the demo: many small files and two large ones, as training sets are.

use forebay_loopback_s3::{LoopbackS3, synthetic};
use xxhash_rust::xxh3::xxh3_64;

/// How many small files there are, and their size: that of a photograph in ImageNet.
const SMALL: (u64, usize) = (200, 110 << 10);
/// How many large files there are, and their size: together 256 MiB with the small ones.
const LARGE: (u64, usize) = (2, 117 << 20);

/// One file, and how to tell that it was read right.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    /// Its key in the bucket and its path in the mount.
    pub(super) key: String,
    /// Its size in bytes.
    pub(super) size: u64,
    /// The xxh3 of its bytes.
    pub(super) hash: u64,
}

/// Puts the dataset into a bucket.
pub(super) fn put_into(server: &LoopbackS3, bucket: &str) -> Vec<Sample> {
    let small = (0..SMALL.0).map(|n| (format!("images/{:02}/{n:04}.jpg", n % 10), SMALL.1));
    let large = (0..LARGE.0).map(|n| (format!("shards/{n:05}.tar"), LARGE.1));
    let put = |(seed, (key, size)): (u64, (String, usize))| {
        let mut content = vec![0; size];
        synthetic::fill(seed, 0, &mut content);
        let hash = xxh3_64(&content);
        server.put(bucket, &key, content);
        Sample {
            key,
            size: size as u64,
            hash,
        }
    };
    (0..).zip(small.chain(large)).map(put).collect()
}
