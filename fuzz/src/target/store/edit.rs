//! What can happen to the files of a cache while nobody looks.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use forebay_core::checksum::crc32c;

use super::image::Image;
use crate::target::number;

/// The length of an encoded edit.
pub(super) const EDIT_BYTES: usize = 16;
/// How many actions there are.
pub(super) const ACTIONS: u8 = 10;
/// The action that writes a record with a right checksum.
pub(super) const FORGE: u8 = 9;

/// Sizes of records, as their modules in the store describe them.
const JOURNAL_SLOT: u64 = 64;
const PACK_SLOT: u64 = 32;
/// Nothing is made longer than this.
const LONGEST_FILE: u64 = 4 << 20;

/// One change to one file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Edit {
    action: u8,
    file: u8,
    at: u64,
    len: u64,
    value: u64,
}

impl Edit {
    /// Reads an edit; any bytes are one.
    pub(super) fn decode(bytes: &[u8]) -> Self {
        Self {
            action: bytes[0] % ACTIONS,
            file: bytes[1],
            at: number(bytes, 2, 4),
            len: number(bytes, 6, 2),
            value: number(bytes, 8, 8),
        }
    }

    /// Whether it mends checksums.
    pub(super) fn is_forgery(&self) -> bool {
        self.action == FORGE
    }

    /// Does it to the cache in `dir`. An edit that makes no sense there does nothing.
    pub(super) fn apply(&self, dir: &Path, image: &Image) {
        let (path, bytes) = image.file(self.file);
        // An earlier edit may have removed the file.
        let _ = self.try_apply(dir, path, bytes.len() as u64, image);
    }

    fn try_apply(&self, dir: &Path, name: &Path, size: u64, image: &Image) -> io::Result<()> {
        let path = dir.join(name);
        let (other, _) = image.file(self.value as u8);
        let at = self.place(size);
        let open = || File::options().read(true).write(true).open(&path);
        match self.action {
            0 => write_at(&open()?, at, &[self.value as u8]),
            1 => write_at(&open()?, at, &self.value.to_le_bytes()),
            2 => open()?.set_len(at),
            3 => open()?.set_len((size + self.value % 100_000).min(LONGEST_FILE)),
            4 => write_at(&open()?, at, &vec![0; self.len as usize]),
            5 => {
                let mut moved = vec![0; self.len as usize];
                let file = open()?;
                let from = self.value % size.max(1);
                let read = file.read_at(&mut moved, from)?;
                write_at(&file, at, &moved[..read])
            }
            6 => fs::remove_file(&path),
            7 => fs::rename(&path, dir.join(other)),
            8 => fs::copy(&path, dir.join(other)).map(drop),
            _ => self.forge(&open()?, name, at),
        }
    }

    /// Half of the edits go to the beginning, where the records of packs are.
    fn place(&self, size: u64) -> u64 {
        let within = if self.file < 128 {
            size.min(1024)
        } else {
            size
        };
        self.at % (within + 1)
    }

    /// Writes into a record and mends its checksum.
    fn forge(&self, file: &File, name: &Path, at: u64) -> io::Result<()> {
        let value = self.value.to_le_bytes();
        let value = &value[..1 << (self.len % 4)];
        if name.starts_with("packs") {
            let generation = name.file_name().and_then(|name| name.to_str());
            let generation = generation.and_then(|name| u64::from_str_radix(name, 16).ok());
            let slot = at / PACK_SLOT;
            let mut record = [0; PACK_SLOT as usize];
            read_record(file, slot * PACK_SLOT, &mut record, (at % PACK_SLOT, value))?;
            let mut covered = record[4..].to_vec();
            covered.extend_from_slice(&generation.unwrap_or_default().to_le_bytes());
            covered.extend_from_slice(&(slot as u32).to_le_bytes());
            record[..4].copy_from_slice(&crc32c(&covered).to_le_bytes());
            write_at(file, slot * PACK_SLOT, &record)
        } else if name == Path::new("journal") {
            let slot = at / JOURNAL_SLOT;
            let mut record = [0; JOURNAL_SLOT as usize];
            read_record(
                file,
                slot * JOURNAL_SLOT,
                &mut record,
                (at % JOURNAL_SLOT, value),
            )?;
            record[8..16].copy_from_slice(&slot.to_le_bytes());
            let crc = crc32c(&record[4..]);
            record[..4].copy_from_slice(&crc.to_le_bytes());
            write_at(file, slot * JOURNAL_SLOT, &record)
        } else {
            write_at(file, at, value)
        }
    }
}

/// Reads a record, as far as there is one, and puts a value in it.
fn read_record(file: &File, at: u64, record: &mut [u8], put: (u64, &[u8])) -> io::Result<()> {
    file.read_at(record, at)?;
    let (within, value) = put;
    let within = within as usize;
    let len = value.len().min(record.len() - within);
    record[within..within + len].copy_from_slice(&value[..len]);
    Ok(())
}

fn write_at(file: &File, at: u64, bytes: &[u8]) -> io::Result<()> {
    match at + bytes.len() as u64 <= LONGEST_FILE {
        true => file.write_all_at(bytes, at),
        false => Ok(()),
    }
}
