//! Whose objects go first when a tier needs room; which of them, the policy says.
//!
//! A **shelf** is a policy over objects that are evicted alike. All datasets without terms
//! of their own are on one, so that a scan of one of them is told from what another one
//! uses again and again; a dataset with terms has its own. Copies of what other nodes
//! keep have a shelf beside each.
//!
//! Room comes from the first of these that has something nobody uses:
//! 1. datasets that have more than their quota,
//! 2. the lowest priority, and of one priority the copies; of equals the one that has
//!    most, so that each may have as much as any other,
//! 3. if the dataset that needs room is pinned, its own.
//!
//! Other datasets that are pinned give nothing.

use std::cmp::Reverse;
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Mutex, MutexGuard, PoisonError};

use forebay_core::ObjectId;

use super::share::{Class, ShareId, Shares};
use crate::eviction::{Policy, PolicyKind};

/// Looks for an unused object in a row, each after a lease has ended during the last one.
const LOOKS: usize = 4;

/// Objects that are evicted alike.
pub(super) struct Shelf {
    /// The dataset; nobody for all that have no terms.
    share: ShareId,
    is_copy: bool,
    policy: Mutex<Box<dyn Policy>>,
    /// The policy found nothing to evict, and no lease has ended since.
    all_in_use: AtomicBool,
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shelf")
            .field("share", &self.share)
            .field("is_copy", &self.is_copy)
            .finish_non_exhaustive()
    }
}

impl Shelf {
    fn new(share: ShareId, is_copy: bool, kind: PolicyKind) -> Self {
        Self {
            share,
            is_copy,
            policy: Mutex::new(kind.build()),
            all_in_use: AtomicBool::new(false),
        }
    }

    pub(super) fn is_of_copies(&self) -> bool {
        self.is_copy
    }

    pub(super) fn policy(&self) -> MutexGuard<'_, Box<dyn Policy>> {
        self.policy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that there may be something to evict again.
    pub(super) fn unpinned(&self) {
        // Not relaxed: see `victim`, which looks at the two the other way round.
        if self.all_in_use.load(SeqCst) {
            self.all_in_use.store(false, SeqCst);
        }
    }

    /// The object that the policy gives up, of those that are not `in_use`.
    pub(super) fn victim(&self, in_use: &dyn Fn(ObjectId) -> bool) -> Option<ObjectId> {
        if self.bytes() == 0 {
            return None;
        }
        for _ in 0..LOOKS {
            // Set before looking at the pins: a lease that ends after the look takes it
            // back.
            if self.all_in_use.swap(true, SeqCst) {
                return None;
            }
            let victim = self.policy().victim(in_use);
            if victim.is_some() {
                self.all_in_use.store(false, SeqCst);
                return victim;
            }
            // Leases come and go while the policy looks from one object to the next, so
            // all may have seemed to be in use while some never were.
            if self.all_in_use.load(SeqCst) {
                return None;
            }
        }
        None
    }

    /// Where it stands in the line of those that give room for bytes of `share`, the first
    /// one lowest; `None` if it gives nothing.
    fn rank(&self, shares: &Shares, share: ShareId) -> Option<impl Ord + Copy + use<>> {
        let (bytes, terms) = (self.bytes(), shares.terms(self.share));
        let is_over = shares.bytes(self.share).is_exceeded();
        let is_spared = terms.pin && !is_over;
        let gives = bytes > 0 && (!is_spared || self.share == share);
        gives.then_some((
            !is_over,
            is_spared,
            terms.priority,
            !self.is_copy,
            Reverse(bytes),
        ))
    }

    fn bytes(&self) -> u64 {
        self.policy().resident_bytes()
    }
}

/// The shelves of a tier.
#[derive(Debug)]
pub(super) struct Shelves {
    // In pairs: what is kept, and copies. The first pair is that of all without terms.
    all: Box<[Shelf]>,
    /// By dataset, the first of its pair.
    pairs: Box<[usize]>,
}

impl Shelves {
    pub(super) fn new(shares: &Shares, kind: PolicyKind) -> Self {
        let pair = |share| [false, true].map(|is_copy| Shelf::new(share, is_copy, kind));
        let mut all = Vec::from(pair(ShareId::NOBODY));
        let pairs = shares.ids().map(|id| match shares.terms(id).is_special() {
            false => 0,
            true => {
                all.extend(pair(id));
                all.len() - 2
            }
        });
        let pairs = pairs.collect();
        Self {
            all: all.into(),
            pairs,
        }
    }

    pub(super) fn of(&self, class: Class) -> &Shelf {
        &self.all[self.pair(class.share) + usize::from(class.is_copy)]
    }

    /// Says that a lease has ended, so that eviction may find something again.
    pub(super) fn unpinned(&self) {
        self.all.iter().for_each(Shelf::unpinned);
    }

    /// Those that may give room for bytes of `share`, in their order.
    pub(super) fn for_room(&self, shares: &Shares, share: ShareId) -> Vec<&Shelf> {
        let ranked = self.all.iter().filter_map(|shelf| {
            let rank = shelf.rank(shares, share)?;
            Some((rank, shelf))
        });
        let mut ranked: Vec<_> = ranked.collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        ranked.into_iter().map(|(_, shelf)| shelf).collect()
    }

    /// Those of a dataset with terms, copies first; none for another one.
    pub(super) fn own(&self, share: ShareId) -> impl Iterator<Item = &Shelf> {
        let pair = self.pair(share);
        let own = if pair == 0 { 0..0 } else { pair..pair + 2 };
        self.all[own].iter().rev()
    }

    /// The bytes of copies.
    pub(super) fn copied_bytes(&self) -> u64 {
        let copies = self.all.iter().filter(|shelf| shelf.is_copy);
        copies.map(Shelf::bytes).sum()
    }

    fn pair(&self, share: ShareId) -> usize {
        self.pairs.get(share.index()).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::share::Terms;

    fn id(number: u8) -> ObjectId {
        ObjectId::from_bytes([number; 16])
    }

    /// The datasets that give room for `needs`, in order, each with "copies" marked `+`.
    fn order(terms: Vec<Terms>, has: &[(&str, bool, u64)], needs: &str) -> Vec<String> {
        let shares = Shares::new(terms);
        let shelves = Shelves::new(&shares, PolicyKind::default());
        for (number, &(name, is_copy, bytes)) in (1..).zip(has) {
            let share = shares.find(name).unwrap_or_default();
            let class = Class { share, is_copy };
            shelves.of(class).policy().insert(id(number), bytes);
            shares.bytes(share).add(bytes);
        }
        let share = shares.find(needs).unwrap_or_default();
        let order = shelves.for_room(&shares, share).into_iter().map(|shelf| {
            let name = match shelf.share {
                ShareId::NOBODY => "-",
                share => shares.terms(share).name.as_str(),
            };
            format!("{name}{}", if shelf.is_copy { "+" } else { "" })
        });
        order.collect()
    }

    fn terms(name: &str, quota: Option<u64>, pin: bool, priority: i8) -> Terms {
        Terms {
            name: name.into(),
            quota,
            pin,
            priority,
        }
    }

    #[test]
    fn the_lowest_priority_goes_first_and_its_copies_before_what_is_kept() {
        let list = vec![terms("low", None, false, -1), terms("high", None, false, 5)];
        let has = [
            ("high", true, 1),
            ("high", false, 1),
            ("low", false, 1),
            ("low", true, 1),
            ("", false, 1),
            ("", true, 1),
        ];
        let expected = ["low+", "low", "-+", "-", "high+", "high"];
        assert_eq!(order(list, &has, "low"), expected);
    }

    #[test]
    fn who_has_more_than_its_quota_goes_before_all_others_even_if_pinned() {
        let list = vec![
            terms("big", Some(10), true, 9),
            terms("low", None, false, -9),
        ];
        let has = [("big", false, 11), ("low", false, 1)];
        assert_eq!(order(list, &has, "low"), ["big", "low"]);
    }

    #[test]
    fn a_pinned_dataset_gives_room_only_to_itself_and_then_last() {
        let list = vec![
            terms("kept", None, true, -9),
            terms("other", None, false, 9),
        ];
        let has = [("kept", true, 1), ("kept", false, 1), ("other", false, 1)];
        assert_eq!(order(list.clone(), &has, "other"), ["other"]);
        assert_eq!(order(list, &has, "kept"), ["other", "kept+", "kept"]);
    }

    #[test]
    fn of_equals_the_one_that_has_most_gives() {
        let list = vec![
            terms("a", Some(100), false, 0),
            terms("b", Some(100), false, 0),
        ];
        let has = [("a", false, 5), ("b", false, 7), ("", false, 6)];
        assert_eq!(order(list, &has, ""), ["b", "-", "a"]);
    }

    #[test]
    fn a_dataset_without_terms_has_no_shelf_of_its_own() {
        let shares = Shares::new(vec![Terms::new("a"), terms("b", Some(1), false, 0)]);
        let shelves = Shelves::new(&shares, PolicyKind::default());
        let of = |name: &str| Class::of(shares.find(name).unwrap());
        assert!(std::ptr::eq(
            shelves.of(of("a")),
            shelves.of(Class::default())
        ));
        assert!(!std::ptr::eq(
            shelves.of(of("b")),
            shelves.of(Class::default())
        ));
        assert_eq!(shelves.own(of("a").share).count(), 0);
        let own: Vec<_> = shelves
            .own(of("b").share)
            .map(|shelf| shelf.is_copy)
            .collect();
        assert_eq!(own, [true, false]);
    }
}
