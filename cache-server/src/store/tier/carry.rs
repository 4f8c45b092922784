//! Large objects of which this node keeps only some segments: those are carried over into
//! a file of their own, and the old file goes with the copies of the others.
//!
//! Copies are not cut out of the file. Its descriptor may be with somebody of whom the
//! store does not hear any more (what the kernel has opened by passthrough outlives the
//! process that asked for it) and who would read zeros; a file that is unlinked stays as
//! it was for whoever has it open.

use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;
use forebay_core::checksum;

use super::{NewBytes, Tier};
use crate::store::chunks::Piece;
use crate::store::data;
use crate::store::object::Object;
use crate::store::room::Room;
use crate::store::stats::{Damage, add};

/// Bytes that are carried over at most: others wait for room meanwhile.
const MOST_BYTES: u64 = 256 << 20;

impl Tier {
    /// Replaces an object that was taken out of the index by one that has only what this
    /// node keeps of it; returns the bytes freed. `None` if nothing would be left, or too
    /// much: then the object is to go as a whole.
    ///
    /// What cannot be carried over, for want of room or because it is damaged, goes, too.
    pub(super) fn carry_over(&self, object: &Arc<Object>) -> Option<u64> {
        let kept = object.chunks.kept();
        let bytes: u64 = kept.iter().map(|piece| piece.len(object.size())).sum();
        if bytes == 0 || bytes > MOST_BYTES {
            return None;
        }
        let file = self.existing_file(object).ok()?;
        let (_, held) = self.remove(object);
        let share = object.class().share;
        let heir = self.index.pin(object.id, object.size(), share);
        let carried = kept
            .into_iter()
            .map_while(|piece| self.carry(&heir, &file, piece))
            .sum();
        if heir.unpin() {
            self.released(&heir);
        }
        let freed = held.saturating_sub(carried);
        add(&self.counters.evicted_bytes, freed);
        Some(freed)
    }

    /// Writes one piece of `file` into the heir's; returns its bytes, or `None` if there is
    /// no going on.
    fn carry(&self, heir: &Arc<Object>, file: &File, piece: Piece) -> Option<u64> {
        let range = piece.pages.range(piece.index, heir.size());
        let bytes = data::read(file, range.start(), range.len()).ok()?;
        if checksum::crc32c(&bytes) != piece.crc {
            self.damaged(Damage::Checksum);
            return Some(0);
        }
        // Not at the cost of others: this is what makes room for somebody.
        let class = heir.class();
        let room = Room {
            tier: self.quota.reserve(range.len())?,
            share: self.shares.bytes(class.share).reserve(range.len())?,
        };
        let new = NewBytes {
            piece,
            range,
            bytes: &[Bytes::from(bytes)],
            is_copy: false,
        };
        let (file, _writing) = self.write_data(heir, &new).ok()?;
        self.enter(heir, class, &file, &new, room).ok()?;
        Some(range.len())
    }
}
