//! Where the small files of a version lie.

use std::ops::Range;

use forebay_core::cache::CacheError;
use forebay_core::manifest::{EntryId, VersionId};

use super::NodeCache;
use crate::store::Spot;

/// A small file that is here and verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    /// The file.
    pub(crate) entry: EntryId,
    /// Where it lies.
    pub(crate) spot: Spot,
    /// Its bytes.
    pub(crate) len: u64,
}

impl NodeCache {
    /// Those of `entries` that are small, here and verified. `hold` is told the key of each
    /// one's pack before the file is looked for again in it, and says whether it has the
    /// pack: what is found wrong from then on, it hears of.
    ///
    /// # Errors
    /// [`NotFound`](forebay_core::ErrorKind::NotFound) if the version is unknown.
    pub(crate) fn places(
        &self,
        version: VersionId,
        entries: Range<u32>,
        mut hold: impl FnMut(u32) -> bool,
    ) -> Result<Vec<Placed>, CacheError> {
        let dataset = self.dataset(version)?;
        let look = |entry| {
            let target = dataset.target(EntryId(entry))?;
            let find = || self.store.spot(target.id, target.size);
            let found = find()?;
            let spot = (hold(found.pack) && find() == Some(found)).then_some(found)?;
            Some(Placed {
                entry: EntryId(entry),
                spot,
                len: target.size,
            })
        };
        Ok(entries.filter_map(look).collect())
    }
}
