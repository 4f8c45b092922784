//! Where contests are held: an S3 server with the data, the same data on the local disk,
//! and a directory for what is measured.

use std::path::{Path, PathBuf};

use anyhow::Result;
use forebay_tests::{Endpoint, Scratch, SeaweedFs};

use crate::data::{Data, Scale, Set};

/// The bucket that has the data.
pub const BUCKET: &str = "bench";

/// Copies of the data on the disk at most: the local one, and one in the cache of each
/// that is measured.
const COPIES: u64 = 10;
/// Copies in the server: the bucket's, and what a program that has a format of its own
/// stores there.
const STORED_COPIES: u64 = 2;

/// One site. It is gone, with all data, when this is dropped.
#[derive(Debug)]
pub struct Site {
    server: SeaweedFs,
    scratch: Scratch,
    data: Data,
}

impl Site {
    /// A site with the data of `sets`.
    ///
    /// The server keeps its data in memory, as an origin elsewhere has disks elsewhere:
    /// the disk is there for what is measured, and dropping the page cache leaves the
    /// origin alone.
    ///
    /// # Errors
    /// If the data cannot be written.
    ///
    /// # Panics
    /// If there is too little room, or the server does not start.
    pub fn new(name: &str, scale: Scale, sets: &[Set]) -> Result<Self> {
        let data = Data::new(scale, sets);
        let server = SeaweedFs::start_in_memory(data.bytes() * STORED_COPIES);
        let scratch = Scratch::new(name, data.bytes() * COPIES);
        data.write_to(&scratch.dir("local"))?;
        data.upload(server.endpoint(), BUCKET);
        Ok(Self {
            server,
            scratch,
            data,
        })
    }

    /// What is read.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// The S3 server.
    pub fn endpoint(&self) -> &Endpoint {
        self.server.endpoint()
    }

    /// The server, for a program that talks to it by other protocols.
    pub fn server(&self) -> &SeaweedFs {
        &self.server
    }

    /// The data as local files.
    pub fn local(&self) -> PathBuf {
        self.scratch.path().join("local")
    }

    /// A directory of this name on the disk where all caches are.
    pub fn dir(&self, name: &str) -> PathBuf {
        self.scratch.dir(name)
    }

    /// The directory that all others are in.
    pub fn path(&self) -> &Path {
        self.scratch.path()
    }
}
