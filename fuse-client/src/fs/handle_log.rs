//! The open files of a mount, written down for the process that may have to take over.
//!
//! The kernel keeps files open across the death of the process that opened them, and a
//! successor that knew nothing of them would answer the next open of the same file in a
//! way that the kernel refuses (see [`uses`](super::uses)). So each handle is a record
//! of 32 bytes in a file, written before the open is answered and cleared when the file
//! is closed. A killed process loses nothing of what it wrote; after a reboot there is
//! no mount left to take over.
//!
//! # Layout
//! Little-endian. A page of header: magic, format, open mode, incarnation, CRC32C of
//! these. Then slots: handle, inode, backing number, flags, CRC32C of these, padding.
//! A slot of zeros is free.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use forebay_core::checksum;

use super::inode::Inode;
use super::uses::BackingNumber;
use crate::open_mode::OpenMode;

const MAGIC: &[u8; 8] = b"FBYHNDL1";
const HEADER: usize = 20;
const SLOTS_AT: u64 = 4096;
const SLOT: usize = 32;
const RECORD: usize = 28;

/// Slots that have their room from the beginning, so that opening a file cannot fail for
/// want of it: 2 MiB.
const RESERVED_SLOTS: u64 = 1 << 16;

/// Handles of one process of the line; the next one's are higher.
const INCARNATION_SHIFT: u32 = 40;

/// One open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) handle: u64,
    pub(crate) inode: Inode,
    pub(crate) backing: Option<BackingNumber>,
}

/// Where a record is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(u32);

/// The file of records.
#[derive(Debug)]
pub struct HandleLog {
    file: File,
    slots: Mutex<Slots>,
    incarnation: u32,
    found: Found,
}

#[derive(Debug, Default)]
struct Slots {
    free: Vec<u32>,
    end: u32,
}

/// What an earlier process left.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) mode: Option<OpenMode>,
    pub(crate) records: Vec<(Slot, Record)>,
}

impl HandleLog {
    /// Begins the log of a new mount, in place of whatever is at `path`.
    ///
    /// # Errors
    /// As the file system answers.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        let room = SLOTS_AT + RESERVED_SLOTS * SLOT as u64;
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, room)?;
        let log = Self {
            file,
            slots: Mutex::default(),
            incarnation: 0,
            found: Found::default(),
        };
        log.write_header(None)?;
        Ok(log)
    }

    /// Takes over the log of a mount whose process has ended.
    ///
    /// # Errors
    /// As the file system answers; `InvalidData` if it is no such log.
    pub fn adopt(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let mut header = [0; HEADER + 4];
        file.read_exact_at(&mut header, 0)?;
        let (mode, incarnation) = read_header(&header)?;
        let (slots, records) = read_slots(&file)?;
        let log = Self {
            file,
            slots: Mutex::new(slots),
            incarnation: incarnation + 1,
            found: Found { mode, records },
        };
        log.write_header(mode)?;
        Ok(log)
    }

    /// The first handle that this process may give out.
    pub(super) fn first_handle(&self) -> u64 {
        (u64::from(self.incarnation) << INCARNATION_SHIFT) + 1
    }

    /// What the earlier process left; empty the second time.
    pub(super) fn take_found(&mut self) -> Found {
        std::mem::take(&mut self.found)
    }

    /// Writes down how files are opened. It holds for as long as the mount does.
    pub(super) fn set_mode(&self, mode: OpenMode) -> io::Result<()> {
        self.write_header(Some(mode))
    }

    /// Writes a record down.
    ///
    /// # Errors
    /// Only beyond the reserved room, as the file system answers.
    pub(super) fn write(&self, record: &Record) -> io::Result<Slot> {
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            slots.free.pop().unwrap_or_else(|| {
                slots.end += 1;
                slots.end - 1
            })
        };
        let written = self.file.write_all_at(&encode(record), offset(slot));
        if let Err(error) = written {
            self.free(slot);
            return Err(error);
        }
        Ok(Slot(slot))
    }

    /// Clears a record.
    pub(super) fn clear(&self, slot: Slot) {
        // The room is there, so this fails with the device only; the record then binds
        // a successor to a mode that is never wrong, only slower.
        if let Err(error) = self.file.write_all_at(&[0; SLOT], offset(slot.0)) {
            tracing::warn!(%error, "record of a closed file stays");
            return;
        }
        self.free(slot.0);
    }

    fn free(&self, slot: u32) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.free.push(slot);
    }

    fn write_header(&self, mode: Option<OpenMode>) -> io::Result<()> {
        let mut header = [0; HEADER + 4];
        header[..8].copy_from_slice(MAGIC);
        header[8..12].copy_from_slice(&mode_number(mode).to_le_bytes());
        header[12..16].copy_from_slice(&self.incarnation.to_le_bytes());
        let crc = checksum::crc32c(&header[..HEADER]);
        header[HEADER..].copy_from_slice(&crc.to_le_bytes());
        self.file.write_all_at(&header, 0)
    }
}

fn read_header(header: &[u8; HEADER + 4]) -> io::Result<(Option<OpenMode>, u32)> {
    let bad = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    if &header[..8] != MAGIC || u32_at(header, HEADER) != checksum::crc32c(&header[..HEADER]) {
        return Err(bad("not a log of open files"));
    }
    let mode = mode_of(u32_at(header, 8)).ok_or_else(|| bad("unknown open mode"))?;
    Ok((mode, u32_at(header, 12)))
}

fn read_slots(file: &File) -> io::Result<(Slots, Vec<(Slot, Record)>)> {
    let count = file.metadata()?.len().saturating_sub(SLOTS_AT) / SLOT as u64;
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    let mut slots = Slots {
        free: Vec::new(),
        end: count,
    };
    let mut records = Vec::new();
    let mut page = [0; 4096];
    for first in (0..count).step_by(page.len() / SLOT) {
        let wanted = ((count - first) as usize * SLOT).min(page.len());
        file.read_exact_at(&mut page[..wanted], offset(first))?;
        for (number, bytes) in (first..).zip(page[..wanted].chunks_exact(SLOT)) {
            match decode(bytes) {
                Some(record) => records.push((Slot(number), record)),
                None => slots.free.push(number),
            }
        }
    }
    // The lowest are given out first.
    slots.free.reverse();
    Ok((slots, records))
}

fn offset(slot: u32) -> u64 {
    SLOTS_AT + u64::from(slot) * SLOT as u64
}

fn encode(record: &Record) -> [u8; SLOT] {
    let mut bytes = [0; SLOT];
    bytes[..8].copy_from_slice(&record.handle.to_le_bytes());
    bytes[8..16].copy_from_slice(&record.inode.as_raw().to_le_bytes());
    // The kernel's numbers begin with 1.
    let backing = record.backing.map_or(0, |number| number.0);
    bytes[16..20].copy_from_slice(&backing.to_le_bytes());
    let crc = checksum::crc32c(&bytes[..RECORD - 4]);
    bytes[RECORD - 4..RECORD].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The record in a slot; `None` if it is free, or was being written when the machine
/// stopped.
fn decode(bytes: &[u8]) -> Option<Record> {
    let handle = u64_at(bytes, 0);
    let is_whole = u32_at(bytes, RECORD - 4) == checksum::crc32c(&bytes[..RECORD - 4]);
    let backing = u32_at(bytes, 16);
    (handle != 0 && is_whole).then(|| Record {
        handle,
        inode: Inode::from_raw(u64_at(bytes, 8)),
        backing: (backing != 0).then_some(BackingNumber(backing)),
    })
}

fn mode_number(mode: Option<OpenMode>) -> u32 {
    match mode {
        None => 0,
        Some(OpenMode::Passthrough) => 1,
        Some(OpenMode::NoOpen) => 2,
        Some(OpenMode::Plain) => 3,
    }
}

fn mode_of(number: u32) -> Option<Option<OpenMode>> {
    let all = [
        None,
        Some(OpenMode::Passthrough),
        Some(OpenMode::NoOpen),
        Some(OpenMode::Plain),
    ];
    all.into_iter().find(|mode| mode_number(*mode) == number)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(handle: u64, backing: Option<u32>) -> Record {
        Record {
            handle,
            inode: Inode::from_raw(handle + 100),
            backing: backing.map(BackingNumber),
        }
    }

    #[test]
    fn a_successor_finds_what_is_open_and_the_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("handles");
        let log = HandleLog::create(&path).unwrap();
        log.set_mode(OpenMode::Passthrough).unwrap();
        let all = [record(1, None), record(2, Some(7)), record(3, Some(7))];
        let slots = all.map(|record| log.write(&record).unwrap());
        log.clear(slots[1]);
        drop(log);

        let mut next = HandleLog::adopt(&path).unwrap();
        let found = next.take_found();
        assert_eq!(found.mode, Some(OpenMode::Passthrough));
        assert_eq!(found.records, [(slots[0], all[0]), (slots[2], all[2])]);
        assert!(next.first_handle() > 3);
        // The cleared slot is the first to be used again.
        assert_eq!(next.write(&record(9, None)).unwrap(), slots[1]);
    }

    #[test]
    fn each_process_of_a_line_gives_out_handles_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("handles");
        let mut last = HandleLog::create(&path).unwrap().first_handle();
        for _ in 0..3 {
            let next = HandleLog::adopt(&path).unwrap().first_handle();
            assert!(next > last);
            last = next;
        }
    }

    #[test]
    fn damaged_records_are_left_out_and_a_strange_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("handles");
        let log = HandleLog::create(&path).unwrap();
        let slot = log.write(&record(1, None)).unwrap();
        log.file.write_all_at(&[0xff], offset(slot.0) + 9).unwrap();
        assert!(HandleLog::adopt(&path).unwrap().found.records.is_empty());
        log.file.write_all_at(b"?", 3).unwrap();
        let error = HandleLog::adopt(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        std::fs::write(&path, b"short").unwrap();
        assert!(HandleLog::adopt(&path).is_err());
    }
}
