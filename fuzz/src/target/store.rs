//! The files of a cache directory: what a store makes of them at its start and later.
//!
//! An input is a list of [`Edit`]s to a cache that was closed in order. The store that is
//! opened on the result may have lost anything; it must not hand out a wrong byte, and it
//! must take the lost bytes again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use forebay_cache_server::store::{Store, StoreConfig, TierConfig, TierKind};
use forebay_tests::{Random, Scratch};

mod edit;
mod image;
mod sample;

use edit::{EDIT_BYTES, Edit};
use image::Image;
use sample::{PACK_BELOW, SAMPLES, Sample};

use super::Target;

/// The most edits of one input.
const MOST_EDITS: usize = 32;

/// Opens a store on an edited cache directory.
pub(super) struct Recovery {
    image: Image,
    scratch: Scratch,
}

impl Recovery {
    pub(super) fn new() -> Self {
        let scratch = Scratch::in_memory("fuzz-store", 256 << 20);
        let dir = scratch.path().join("cache");
        let store = Store::open(config(&dir)).expect("an empty directory in memory");
        SAMPLES.iter().for_each(|sample| sample.put(&store));
        store.close();
        drop(store);
        Self {
            image: Image::of(&dir),
            scratch,
        }
    }
}

/// A store that flushes only when told.
fn config(dir: &std::path::Path) -> StoreConfig {
    let tier = TierConfig {
        min_free: Some(0),
        ..TierConfig::new(TierKind::Disk, dir, 64 << 20)
    };
    StoreConfig {
        flush_interval: Duration::from_secs(3600),
        scrub_rate: 0,
        pack_below: PACK_BELOW,
        ..StoreConfig::new(vec![tier])
    }
}

impl Target for Recovery {
    fn name(&self) -> &'static str {
        "store"
    }

    fn seeds(&self) -> Vec<Vec<u8>> {
        let mut seeds = vec![Vec::new()];
        for action in 0..edit::ACTIONS {
            for file in 0..self.image.len() as u8 {
                let edit = [action, file, 65, 0, 0, 0, 9, 0, 128, 0, 0, 0, 0, 0, 0, 0];
                seeds.push(edit.to_vec());
            }
        }
        seeds
    }

    fn seal(&self, input: &mut Vec<u8>, random: &mut Random) {
        // Some inputs are all forgeries: records with right checksums.
        if random.below(2) == 0 {
            for edit in input.chunks_exact_mut(EDIT_BYTES) {
                edit[0] = edit::FORGE;
            }
        }
    }

    fn most_memory(&self, _len: usize) -> usize {
        // An index over the largest cache directory that edits can make.
        32 << 20
    }

    fn read(&mut self, input: &[u8]) {
        let edits: Vec<_> = input
            .chunks_exact(EDIT_BYTES)
            .take(MOST_EDITS)
            .map(Edit::decode)
            .collect();
        let dir = self.scratch.path().join("cache");
        self.image.restore(&dir);
        edits.iter().for_each(|edit| edit.apply(&dir, &self.image));
        let Ok(store) = Store::open(config(&dir)) else {
            return;
        };
        // Who forges checksums can have anything believed; it must only be borne.
        let is_forged = edits.iter().any(Edit::is_forgery);
        use_it(&store, is_forged);
        store.close();
        drop(store);
        if !is_forged && let Ok(store) = Store::open(config(&dir)) {
            SAMPLES.iter().for_each(|sample| sample.look(&store, false));
        }
    }
}

/// Reads everything, fetches what is missing, and reads again.
fn use_it(store: &Arc<Store>, is_forged: bool) {
    store.scrub();
    SAMPLES
        .iter()
        .for_each(|sample| sample.look(store, is_forged));
    for sample in &SAMPLES {
        sample.put(store);
        sample.look(store, is_forged);
    }
    let fresh = Sample {
        number: 99,
        size: 3000,
    };
    let lease = fresh.lease(store);
    let kept = lease.write(0, &[Bytes::from(fresh.bytes(0, 3000))]);
    assert!(
        kept.is_ok() || is_forged,
        "a store that was damaged takes nothing new"
    );
    drop(lease);
    fresh.look(store, is_forged);
    let _ = store.flush();
}
