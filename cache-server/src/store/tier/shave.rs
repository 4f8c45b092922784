//! Large objects of which this node keeps only some segments: copies of the others are cut
//! out of the file, which stays.

use std::fs::File;
use std::io;
use std::sync::Arc;

use super::Tier;
use super::check::HELD;
use crate::store::chunks::bytes_of;
use crate::store::data;
use crate::store::journal::Record;
use crate::store::object::Object;
use crate::store::stats::add;

impl Tier {
    /// Drops the copies of an object that was taken out of the index, and lets what is left
    /// be found again; returns the bytes freed. `None` if nothing would be left, or if it
    /// cannot be done: then the object is to go as a whole.
    pub(super) fn shave(&self, object: &Arc<Object>) -> Option<u64> {
        if !object.chunks.keeps_some() {
            return None;
        }
        let file = self.existing_file(object).ok()?;
        let freed = self.cut_out(object, &file);
        object.close_unpinned();
        let freed = freed.ok()?;
        object.revise(&|_| true);
        // Somebody may have begun to fetch it anew meanwhile.
        if !self.index.insert(Arc::clone(object)) {
            return None;
        }
        self.shelve(object, object.class());
        add(&self.counters.evicted_bytes, freed);
        Some(freed)
    }

    fn cut_out(&self, object: &Object, file: &File) -> io::Result<u64> {
        let _writing = object.writing();
        let mut freed = 0;
        for chunks in object.chunks.copied_chunks() {
            let (start, len) = bytes_of(&chunks);
            // Forgotten before they go: a hole that nobody speaks of is no damage.
            for index in chunks {
                if let Some(bytes) = self.forget(object, index, &HELD) {
                    freed += bytes;
                    self.journal.append(Record::Dropped {
                        id: object.id,
                        generation: object.generation,
                        chunk: index as u32,
                    });
                }
            }
            data::punch(file, start, len)?;
        }
        Ok(freed)
    }
}
