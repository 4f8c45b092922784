//! Objects that measurements read, put into a server.

use forebay_loopback_s3::synthetic;
use forebay_tests::{Endpoint, S3Client};
use object_store::path::Path;
use object_store::{ObjectStoreExt, WriteMultipart};

/// Puts `size` bytes of the stream `seed` into a new bucket.
///
/// # Panics
/// If the server refuses: nothing can be measured then.
pub fn upload(endpoint: &Endpoint, bucket: &str, key: &str, size: u64, seed: u64) {
    S3Client::new(endpoint).create_bucket(bucket);
    put(endpoint, bucket, key, size, seed);
}

/// Puts `size` bytes of the stream `seed`, in parts.
///
/// # Panics
/// If the server refuses: nothing can be measured then.
pub fn put(endpoint: &Endpoint, bucket: &str, key: &str, size: u64, seed: u64) {
    let store = endpoint.object_store(bucket);
    let work = async {
        let upload = store
            .put_multipart(&Path::from(key))
            .await
            .expect("begin an upload");
        let mut writer = WriteMultipart::new_with_chunk_size(upload, 16 << 20);
        let mut buffer = vec![0; 4 << 20];
        let mut at = 0;
        while at < size {
            let len = buffer
                .len()
                .min(usize::try_from(size - at).unwrap_or(usize::MAX));
            synthetic::fill(seed, at, &mut buffer[..len]);
            writer.wait_for_capacity(4).await.expect("upload a part");
            writer.write(&buffer[..len]);
            at += len as u64;
        }
        writer.finish().await.expect("complete an upload");
    };
    let runtime = tokio::runtime::Runtime::new().expect("threads can be started");
    runtime.block_on(work);
}
