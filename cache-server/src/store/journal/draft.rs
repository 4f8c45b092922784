//! A journal in the making, beside the one in use.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::record::{BootId, Record, SLOT_BYTES};

/// Collects records in a new file until it takes the place of the journal.
#[derive(Debug)]
pub(in crate::store) struct Draft {
    path: PathBuf,
    file: File,
    buffer: Vec<u8>,
    slots: u64,
}

impl Draft {
    /// Begins a draft at `path` with the header.
    pub(in crate::store) fn create(path: &Path, boot: BootId) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let options = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600);
        let file = options.open(path)?;
        let mut draft = Self {
            path: path.to_path_buf(),
            file,
            buffer: Vec::new(),
            slots: 0,
        };
        draft.push(Record::Header { boot })?;
        Ok(draft)
    }

    /// The records pushed so far, the header included.
    pub(in crate::store) fn slots(&self) -> u64 {
        self.slots
    }

    pub(in crate::store) fn push(&mut self, record: Record) -> io::Result<()> {
        self.buffer.extend_from_slice(&record.encode(self.slots));
        self.slots += 1;
        if self.buffer.len() >= 1024 * SLOT_BYTES {
            self.write_buffer()?;
        }
        Ok(())
    }

    /// Makes what was pushed so far durable.
    pub(in crate::store) fn sync(&mut self) -> io::Result<()> {
        self.write_buffer()?;
        self.file.sync_all()
    }

    /// Writes the rest and takes the place of `target`.
    pub(in crate::store) fn install(&mut self, target: &Path) -> io::Result<()> {
        self.write_buffer()?;
        fs::rename(&self.path, target)
    }

    pub(super) fn into_parts(self) -> (File, u64) {
        (self.file, self.slots)
    }

    fn write_buffer(&mut self) -> io::Result<()> {
        self.file.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}
