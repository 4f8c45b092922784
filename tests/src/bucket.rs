//! A bucket on a server inside the test, and mounts of it.

use forebay_loopback_s3::{Fault, LoopbackS3, Operation, synthetic};

use crate::endpoint::Endpoint;
use crate::mount::MountCommand;
use crate::scratch::Scratch;

/// What most tests begin with: an in-process server with one bucket, and a directory for
/// mounts. Both end with it, so mounts must be dropped first.
#[derive(Debug)]
pub struct Bucket {
    server: LoopbackS3,
    endpoint: Endpoint,
    scratch: Scratch,
}

impl Bucket {
    /// The name of the bucket.
    pub const NAME: &'static str = "data";

    /// An empty bucket, and room for `need` bytes of cache.
    ///
    /// # Panics
    /// If the server does not start or there is less room.
    pub fn new(test: &str, need: u64) -> Self {
        let (server, endpoint) = Endpoint::loopback();
        server.create_bucket(Self::NAME);
        Self {
            server,
            endpoint,
            scratch: Scratch::new(test, need),
        }
    }

    /// The server, to be paused, resumed and asked what it has sent.
    pub fn server(&self) -> &LoopbackS3 {
        &self.server
    }

    /// Where the server is.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The directory of the test.
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// Puts an object.
    pub fn put(&self, key: &str, content: impl Into<Vec<u8>>) {
        self.server.put(Self::NAME, key, content.into());
    }

    /// Puts `size` bytes of the [`stream`] of `seed`.
    pub fn put_stream(&self, key: &str, size: u64, seed: u64) {
        self.server.put_synthetic(Self::NAME, key, size, seed);
    }

    /// Removes an object.
    ///
    /// # Panics
    /// If it is not there.
    pub fn remove(&self, key: &str) {
        assert!(self.server.remove(Self::NAME, key), "{key} is not there");
    }

    /// Lets `fault` happen to reads of objects.
    pub fn spoil_reads(&self, fault: Fault) {
        self.server.faults().push(fault.on(Operation::GetObject));
    }

    /// How many reads of objects the server has been asked for.
    pub fn reads(&self) -> u64 {
        self.server.stats().count(Operation::GetObject)
    }

    /// A mount of the whole bucket in the directory `name` of the test. Two in one
    /// directory, one after the other, share the cache.
    pub fn mount(&self, name: &str) -> MountCommand {
        let source = format!("s3://{}", Self::NAME);
        MountCommand::new(&source, &self.scratch.dir(name)).endpoint(&self.endpoint)
    }
}

/// The first `size` bytes that [`Bucket::put_stream`] puts for `seed`.
pub fn stream(seed: u64, size: u64) -> Vec<u8> {
    stream_at(seed, 0, size)
}

/// `len` bytes at `offset` of what [`Bucket::put_stream`] puts for `seed`.
pub fn stream_at(seed: u64, offset: u64, len: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(len).expect("bytes that fit into memory")];
    synthetic::fill(seed, offset, &mut bytes);
    bytes
}
