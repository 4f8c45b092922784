//! Whose bytes they are: what each dataset may take, and what it has.
//!
//! An object belongs to the dataset for which it was first written, and to nobody where
//! none was named. In memory that is a number ([`Class`], two bytes in each object and each
//! pack); on disk it is a hash of the dataset's name in each record, so that a store knows
//! after a restart whose its bytes are, whatever the configuration says by then. A dataset
//! that is not configured any more leaves its bytes to nobody.

use std::fmt;

use forebay_core::checksum;

use super::room::Quota;

/// On what terms a dataset is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// The dataset's name.
    pub name: String,
    /// The most bytes of it that are kept here; `None` for as many as there is room for.
    pub quota: Option<u64>,
    /// Whether its bytes stay when others need room.
    pub pin: bool,
    /// Of two datasets, the bytes of the one with the lower priority are evicted first.
    pub priority: i8,
}

impl Terms {
    /// A dataset on no terms: it competes with all others of its kind.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    /// Whether it must be told apart from others when room is needed.
    pub(super) fn is_special(&self) -> bool {
        self.quota.is_some() || self.pin || self.priority != 0
    }
}

/// A dataset of a store, by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShareId(u16);

impl ShareId {
    /// Of no dataset.
    pub const NOBODY: Self = Self(0);
    /// The most datasets that a store tells apart.
    pub(super) const MOST: usize = (u16::MAX >> 1) as usize;

    pub(super) fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// What is evicted alike: the bytes of one dataset that this node keeps for the cluster,
/// or its copies of what others keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Class {
    pub(super) share: ShareId,
    /// Another node keeps it, too: it can be had again without the origin.
    pub(super) is_copy: bool,
}

impl Class {
    pub(super) fn of(share: ShareId) -> Self {
        Self {
            share,
            is_copy: false,
        }
    }

    /// As one number, for a place in an object.
    pub(super) fn bits(self) -> u16 {
        self.share.0 << 1 | u16::from(self.is_copy)
    }

    pub(super) fn from_bits(bits: u16) -> Self {
        Self {
            share: ShareId(bits >> 1),
            is_copy: bits & 1 == 1,
        }
    }
}

/// A class as a record on disk has it: three bytes, the lowest bit for copies. Zero, as
/// records of earlier versions have it, is nobody's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tag([u8; 3]);

impl Tag {
    pub(super) const LEN: usize = 3;

    pub(super) fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    pub(super) fn bytes(self) -> [u8; Self::LEN] {
        self.0
    }

    fn new(hash: u32, is_copy: bool) -> Self {
        let [low, middle, high, _] = (hash << 1 | u32::from(is_copy)).to_le_bytes();
        Self([low, middle, high])
    }

    fn parts(self) -> (u32, bool) {
        let [low, middle, high] = self.0;
        let number = u32::from_le_bytes([low, middle, high, 0]);
        (number >> 1, number & 1 == 1)
    }
}

/// 23 bits of a name's hash; never 0, which is nobody's.
fn hash(name: &str) -> u32 {
    (checksum::crc32c(name.as_bytes()) & 0x7f_ffff).max(1)
}

/// The first two of `names` that a store cannot tell apart on disk: the same, or by a
/// chance of one in eight million.
pub(super) fn indistinct(terms: &[Terms]) -> Option<(&str, &str)> {
    let mut named: Vec<_> = terms
        .iter()
        .map(|terms| (hash(&terms.name), terms))
        .collect();
    named.sort_by_key(|(hash, _)| *hash);
    let pair = named.windows(2).find(|pair| pair[0].0 == pair[1].0)?;
    Some((&pair[0].1.name, &pair[1].1.name))
}

/// What a dataset has of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareUse {
    /// On what terms.
    pub terms: Terms,
    /// Its bytes, writes under way included.
    pub bytes: u64,
}

/// A dataset with its account.
struct Share {
    terms: Terms,
    hash: u32,
    bytes: Quota,
}

impl Share {
    fn new(terms: Terms, hash: u32) -> Self {
        let bytes = Quota::new(terms.quota.unwrap_or(u64::MAX));
        Self { terms, hash, bytes }
    }
}

/// The datasets of a store, in all its tiers. The first one is nobody.
pub(super) struct Shares(Box<[Share]>);

impl fmt::Debug for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.iter().map(|share| &share.terms.name);
        f.debug_list().entries(names).finish()
    }
}

impl Shares {
    pub(super) fn new(terms: Vec<Terms>) -> Self {
        let nobody = Share::new(Terms::default(), 0);
        let named = terms.into_iter().map(|terms| {
            let hash = hash(&terms.name);
            Share::new(terms, hash)
        });
        Self(std::iter::once(nobody).chain(named).collect())
    }

    /// The dataset of this name.
    pub(super) fn find(&self, name: &str) -> Option<ShareId> {
        self.ids().skip(1).find(|&id| self.terms(id).name == name)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = ShareId> + use<> {
        // As many as are allowed have a number.
        (0..self.0.len()).filter_map(|index| u16::try_from(index).ok().map(ShareId))
    }

    pub(super) fn terms(&self, id: ShareId) -> &Terms {
        &self.get(id).terms
    }

    /// The bytes of a dataset, and their limit.
    pub(super) fn bytes(&self, id: ShareId) -> &Quota {
        &self.get(id).bytes
    }

    pub(super) fn tag(&self, class: Class) -> Tag {
        Tag::new(self.get(class.share).hash, class.is_copy)
    }

    /// The class that a record speaks of.
    pub(super) fn class(&self, tag: Tag) -> Class {
        let (hash, is_copy) = tag.parts();
        let known = self.ids().find(|&id| self.get(id).hash == hash);
        Class {
            share: known.unwrap_or_default(),
            is_copy,
        }
    }

    /// What each has, in the order in which they were given.
    pub(super) fn uses(&self) -> Vec<ShareUse> {
        let named = self.0.iter().skip(1);
        let used = named.map(|share| ShareUse {
            terms: share.terms.clone(),
            bytes: share.bytes.used(),
        });
        used.collect()
    }

    fn get(&self, id: ShareId) -> &Share {
        // Numbers come from this list; one of another store's is nobody here.
        self.0.get(id.index()).unwrap_or(&self.0[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_found_again_by_its_number_and_by_its_tag() {
        let shares = Shares::new(vec![Terms::new("a"), Terms::new("b")]);
        for share in shares.ids() {
            for is_copy in [false, true] {
                let class = Class { share, is_copy };
                assert_eq!(Class::from_bits(class.bits()), class);
                let tag = Tag::from_bytes(shares.tag(class).bytes());
                assert_eq!(shares.class(tag), class);
            }
        }
        assert_eq!(shares.find("b"), Some(ShareId(2)));
        assert_eq!(shares.find(""), None);
    }

    #[test]
    fn what_a_dataset_left_behind_that_is_gone_is_nobodys() {
        let before = Shares::new(vec![Terms::new("a"), Terms::new("b")]);
        let after = Shares::new(vec![Terms::new("b")]);
        let tag = |name: &str| before.tag(Class::of(before.find(name).unwrap()));
        assert_eq!(after.class(tag("a")), Class::default());
        assert_eq!(after.class(tag("b")).share, after.find("b").unwrap());
        assert_eq!(after.class(Tag::default()), Class::default());
    }

    #[test]
    fn names_that_cannot_be_told_apart_are_found() {
        let of = |names: &[&str]| -> Vec<_> { names.iter().copied().map(Terms::new).collect() };
        assert_eq!(indistinct(&of(&["a", "b"])), None);
        assert_eq!(indistinct(&of(&["a", "b", "a"])), Some(("a", "a")));
    }
}
