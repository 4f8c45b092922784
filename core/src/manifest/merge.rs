//! Merging sorted runs into one sorted stream.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::File;
use std::io::{self, BufReader};
use std::mem;

use super::record::RecordBuf;
use super::sort::ArenaRecords;

/// Where the records of one run lie.
#[derive(Debug)]
pub(super) enum Run {
    /// In a temporary file.
    Stored(BufReader<File>),
    /// Still in memory.
    Arena(ArenaRecords),
}

impl Run {
    fn next(&mut self, into: &mut RecordBuf) -> io::Result<bool> {
        match self {
            Self::Stored(input) => into.read_from(input),
            Self::Arena(records) => Ok(records.next(into)),
        }
    }
}

/// Gives the records of several sorted runs in one order.
#[derive(Debug)]
pub(super) struct Merge {
    heads: BinaryHeap<Head>,
}

impl Merge {
    /// A merge of `runs`, each of which is sorted by path.
    pub(super) fn new(runs: impl IntoIterator<Item = Run>) -> io::Result<Self> {
        let mut heads = BinaryHeap::new();
        for mut run in runs {
            let mut record = RecordBuf::default();
            if run.next(&mut record)? {
                heads.push(Head { record, run });
            }
        }
        Ok(Self { heads })
    }

    /// Moves the next record into `into`; false if there is none. Records of equal
    /// path come in no particular order.
    pub(super) fn next(&mut self, into: &mut RecordBuf) -> io::Result<bool> {
        let Some(mut head) = self.heads.peek_mut() else {
            return Ok(false);
        };
        let Head { record, run } = &mut *head;
        mem::swap(record, into);
        if !run.next(record)? {
            PeekMut::pop(head);
        }
        Ok(true)
    }
}

/// The foremost record of a run.
#[derive(Debug)]
struct Head {
    record: RecordBuf,
    run: Run,
}

impl Ord for Head {
    /// Reversed: the heap gives its greatest element, and the least path is wanted.
    fn cmp(&self, other: &Self) -> Ordering {
        other.record.path().cmp(self.record.path())
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head {}
