//! Where small objects lie, for readers that find them without asking each time.

use std::fmt;
use std::fs::File;
use std::sync::Arc;

use forebay_core::ObjectId;
use tokio::sync::watch;

use super::Store;
use super::pack::Pack;

/// Where a verified object lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    /// The key of its pack.
    pub pack: u32,
    /// The offset of its first byte in the pack's file.
    pub offset: u32,
}

/// A pack in which somebody reads without telling the store.
///
/// It keeps nothing from being evicted. Whoever has one looks at
/// [`is_unchanged`](Self::is_unchanged) whenever [`Store::withdrawals`] changes, and
/// believes no spot that was found before it was taken.
pub struct HeldPack {
    store: Arc<Store>,
    pack: Arc<Pack>,
    withdrawals: u32,
}

impl fmt::Debug for HeldPack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldPack")
            .field("key", &self.pack.key)
            .finish_non_exhaustive()
    }
}

impl HeldPack {
    /// The pack's file; `None` if the pack is gone or cannot be opened.
    pub fn file(&self) -> Option<Arc<File>> {
        self.store.shared.pack_file(&self.pack)
    }

    /// Whether everything that lay here when it was taken lies here still, and none of it
    /// was found wrong.
    pub fn is_unchanged(&self) -> bool {
        self.pack.withdrawals() == self.withdrawals
    }

    /// Says that so many objects were opened.
    pub fn accessed(&self, objects: u32) {
        self.store.shared.accessed_packed(&self.pack, objects);
    }
}

impl Store {
    /// Where the object lies, if it is packed, here and verified. No I/O.
    pub fn spot(&self, id: ObjectId, size: u64) -> Option<Spot> {
        let (pack, entry) = self.shared.packed.find(id)?;
        (entry.is_verified() && entry.len() == size).then_some(Spot {
            pack: pack.key,
            offset: entry.offset,
        })
    }

    /// The pack of that key; `None` if it is gone.
    pub fn hold_pack(self: &Arc<Self>, key: u32) -> Option<HeldPack> {
        let pack = self.shared.packed.pack(key)?;
        Some(HeldPack {
            store: Arc::clone(self),
            withdrawals: pack.withdrawals(),
            pack,
        })
    }

    /// Changes whenever a pack was evicted or something in one was found wrong.
    pub fn withdrawals(&self) -> watch::Receiver<()> {
        self.shared.packed.withdrawals()
    }
}
