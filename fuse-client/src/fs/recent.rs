//! Files that are read without having been opened.
//!
//! In no-open mode the kernel tells neither when a file is opened nor when it is closed.
//! A large file is read with many requests, and what is known of it must last from one
//! to the next.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;

use super::handle::OpenFile;
use super::inode::Inode;

/// So many files hold leases for the sake of the next request.
const MOST: u64 = 64;

/// A file is taken for closed after so long without a request.
const IDLE: Duration = Duration::from_secs(10);

/// The files that were read last.
#[derive(Debug)]
pub(crate) struct Recent(Cache<Inode, Arc<OpenFile>>);

impl Recent {
    pub(crate) fn new() -> Self {
        let files = Cache::builder().max_capacity(MOST).time_to_idle(IDLE);
        Self(files.build())
    }

    pub(crate) fn get(&self, inode: Inode) -> Option<Arc<OpenFile>> {
        self.0.get(&inode)
    }

    pub(crate) fn note(&self, file: &Arc<OpenFile>) {
        self.0.insert(file.inode, Arc::clone(file));
    }
}
