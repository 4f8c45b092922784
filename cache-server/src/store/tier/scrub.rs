//! All that a tier holds, read from the disk and compared.

use std::fs::File;
use std::sync::Arc;

use super::Tier;
use super::check::HELD;
use crate::store::chunks::Piece;
use crate::store::data;
use crate::store::object::{Object, Place};
use crate::store::scrub::Pace;
use crate::store::stats::add;

impl Tier {
    /// Compares everything in the tier with its checksums; false if `pace` ends it before.
    pub(in crate::store) fn scrub(&self, pace: &Pace) -> bool {
        let objects = self.index.objects_in(self.number);
        let packed = self.packs.index.entries_in(self.number);
        { objects }.all(|object| self.scrub_object(&object, pace)) && { packed }.all(
            |(pack, entry)| {
                self.compare_packed(&pack, &entry);
                self.scrubbed(entry.len(), pace)
            },
        )
    }

    fn scrub_object(&self, object: &Arc<Object>, pace: &Pace) -> bool {
        // Found missing, cut short or changed by others, it has lost all that it held, or
        // is verified piece by piece below.
        let Ok(file) = self.existing_file(object) else {
            // The first comparison finds the same, and does what must be done.
            if let Some(piece) = object.chunks.held().next() {
                self.distrust(object, piece.index);
            }
            return true;
        };
        let path = self.directory.data_file(object.id, object.generation);
        // The same bytes by another way: the page cache may hold what the disk has lost.
        let direct = data::open_direct(&path).ok();
        let pieces: Vec<Piece> = object.chunks.held().collect();
        let mut goes_on = true;
        for piece in pieces {
            let is_here = object.place() == Place::Tier(self.number);
            if !is_here || !goes_on {
                break;
            }
            self.scrub_piece(object, direct.as_ref(), piece);
            let len = piece.pages.range(piece.index, object.size()).len();
            goes_on = self.scrubbed(len, pace);
        }
        drop(file);
        object.close_unpinned();
        goes_on
    }

    fn scrub_piece(&self, object: &Arc<Object>, direct: Option<&File>, piece: Piece) {
        let range = piece.pages.range(piece.index, object.size());
        let read = direct.map(|file| data::read_direct(file, range.start(), range.len()));
        match read {
            Some(Ok(bytes)) => self.judge(object, piece, &bytes, &HELD),
            // Not possible here, or not readable: the other way knows what to say of that.
            _ => self.compare(object, piece, &HELD),
        }
    }

    fn scrubbed(&self, bytes: u64, pace: &Pace) -> bool {
        add(&self.counters.scrubbed_bytes, bytes);
        pace.allows(bytes)
    }
}
