//! How a node is, for whoever asks.

use forebay_core::cache::Cache;
use forebay_proto::cache::v1::{DatasetUse, MemberReport};

use super::NodeCache;
use crate::store::ShareUse;

impl NodeCache {
    /// What it holds of what it may hold, and of each dataset. Takes microseconds.
    pub fn report(&self) -> MemberReport {
        let (usage, store) = (self.usage(), self.store());
        MemberReport {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            capacity_bytes: usage.capacity_bytes,
            used_bytes: usage.used_bytes,
            cached_bytes: store.stats().bytes,
            copied_bytes: store.copied_bytes(),
            datasets: store.shares().into_iter().map(told).collect(),
        }
    }
}

fn told(share: ShareUse) -> DatasetUse {
    DatasetUse {
        name: share.terms.name,
        bytes: share.bytes,
        quota_bytes: share.terms.quota,
        pin: share.terms.pin,
        priority: share.terms.priority.into(),
    }
}
