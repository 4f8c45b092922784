//! The packs that a client reads in without asking.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use forebay_core::cache::CacheError;
use forebay_core::manifest::VersionId;
use forebay_proto::local::{MAX_PACKS, PLACES, Place, Reply};

use super::answer::Answers;
use crate::node::NodeCache;
use crate::store::HeldPack;

/// A pack of which the client was told, or is about to be.
#[derive(Debug)]
struct Known {
    pack: HeldPack,
    /// Whether its descriptor was passed.
    is_passed: bool,
}

/// The packs of one client, no more than [`MAX_PACKS`].
#[derive(Debug, Default)]
pub(super) struct Places {
    packs: HashMap<u32, Known>,
    // The one that was told longest ago first.
    order: VecDeque<u32>,
}

impl Places {
    /// Tells the client where the small files of the [`PLACES`] entries from `first` on lie.
    ///
    /// # Errors
    /// What the node answers.
    pub(super) fn tell(
        &mut self,
        node: &Arc<NodeCache>,
        version: VersionId,
        first: u32,
        answers: &Answers,
    ) -> Result<(), CacheError> {
        let entries = first..first.saturating_add(PLACES);
        let placed = node.places(version, entries, |key| self.hold(node, key, answers))?;
        let mut by_pack: BTreeMap<u32, Vec<Place>> = BTreeMap::new();
        for placed in placed {
            by_pack.entry(placed.spot.pack).or_default().push(Place {
                entry: placed.entry.0,
                offset: placed.spot.offset,
                // Of a packed object: less than a chunk.
                len: u32::try_from(placed.len).unwrap_or(u32::MAX),
            });
        }
        for (pack, places) in by_pack {
            let reply = Reply::Places {
                version,
                pack,
                places,
            };
            self.send(pack, &reply, answers);
        }
        Ok(())
    }

    /// Whether the client has the pack or may be given it.
    fn hold(&mut self, node: &Arc<NodeCache>, key: u32, answers: &Answers) -> bool {
        if self.packs.contains_key(&key) {
            return true;
        }
        let Some(pack) = node.store().hold_pack(key) else {
            return false;
        };
        while self.packs.len() >= MAX_PACKS
            && let Some(oldest) = self.order.pop_front()
        {
            self.withdraw(oldest, answers);
        }
        let is_passed = false;
        self.packs.insert(key, Known { pack, is_passed });
        self.order.push_back(key);
        true
    }

    fn send(&mut self, key: u32, reply: &Reply, answers: &Answers) {
        let Some(known) = self.packs.get_mut(&key) else {
            return;
        };
        if known.is_passed {
            return answers.send(0, reply);
        }
        if let Some(file) = known.pack.file()
            && answers.send_file(0, reply, &file).is_ok()
        {
            known.is_passed = true;
        }
    }

    /// Withdraws the packs in which something is not as it was told.
    pub(super) fn check(&mut self, answers: &Answers) {
        let is_changed = |known: &Known| !known.pack.is_unchanged();
        let changed: Vec<u32> = self
            .packs
            .iter()
            .filter_map(|(key, known)| is_changed(known).then_some(*key))
            .collect();
        if changed.is_empty() {
            return;
        }
        self.order.retain(|key| !changed.contains(key));
        changed.iter().for_each(|key| self.withdraw(*key, answers));
    }

    fn withdraw(&mut self, key: u32, answers: &Answers) {
        if self.packs.remove(&key).is_some_and(|known| known.is_passed) {
            answers.send(0, &Reply::Withdrawn(key));
        }
    }

    /// Notes what the client has opened.
    pub(super) fn used(&self, packs: &[(u32, u32)]) {
        for (key, objects) in packs {
            if let Some(known) = self.packs.get(key) {
                known.pack.accessed(*objects);
            }
        }
    }
}
