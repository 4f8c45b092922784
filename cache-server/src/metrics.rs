//! The counters of the cache as metrics.

use forebay_core::ErrorKind;
use forebay_core::cache::Cache;
use forebay_core::metric::{self, Measured, Reading};

use crate::node::NodeCache;
use crate::origin::OriginStats;

impl Measured for OriginStats {
    fn readings(&self) -> Vec<Reading> {
        let mut readings = vec![
            Reading::plain(&metric::ORIGIN_REQUESTS, self.requests()),
            Reading::plain(&metric::ORIGIN_BYTES, self.bytes()),
            Reading::plain(&metric::ORIGIN_IN_FLIGHT, self.in_flight()),
        ];
        readings.extend(ErrorKind::ALL.iter().map(|&kind| {
            Reading::labelled(&metric::ORIGIN_ERRORS, kind.as_str(), self.errors(kind))
        }));
        readings
    }
}

impl Measured for NodeCache {
    fn readings(&self) -> Vec<Reading> {
        let fill = self.fill_stats().snapshot();
        let store = self.store().stats();
        let usage = self.usage();
        let prefetch = self.prefetch();
        let mut readings = vec![
            Reading::plain(&metric::FILL_FLIGHTS, fill.flights),
            Reading::plain(&metric::FILL_JOINED, fill.joined),
            Reading::plain(&metric::FILL_FAILED, fill.failed),
            Reading::plain(&metric::FILL_IN_FLIGHT, fill.in_flight),
            Reading::plain(&metric::FILL_STORED_BYTES, fill.stored_bytes),
            Reading::plain(&metric::FILL_READ_THROUGH_BYTES, fill.read_through_bytes),
            Reading::plain(&metric::PREFETCH_BUDGET, prefetch.budget_bytes),
            Reading::plain(&metric::PREFETCH_WINDOW, prefetch.window_bytes),
            Reading::plain(&metric::PREFETCH_CONCURRENCY, prefetch.concurrency),
            Reading::plain(&metric::PREFETCH_PAUSED, prefetch.paused.into()),
            Reading::plain(&metric::PREFETCH_SHED_BYTES, prefetch.shed_bytes),
            Reading::plain(&metric::CACHE_CAPACITY, usage.capacity_bytes),
            Reading::plain(&metric::CACHE_USED, usage.used_bytes),
            Reading::plain(&metric::CACHE_COPIED, self.store().copied_bytes()),
            Reading::plain(&metric::CACHE_OBJECTS, store.objects),
            Reading::plain(&metric::CACHE_PACKS, store.packs),
            Reading::plain(&metric::CACHE_PACKED_OBJECTS, store.packed_objects),
            Reading::plain(&metric::CACHE_PACKED_BYTES, store.packed_bytes),
            Reading::plain(&metric::CACHE_DEAD_BYTES, store.dead_bytes),
            Reading::plain(&metric::CACHE_EVICTED_PACKS, store.evicted_packs),
            Reading::plain(&metric::CACHE_EVICTED_OBJECTS, store.evicted_objects),
            Reading::plain(&metric::CACHE_EVICTED_BYTES, store.evicted_bytes),
            Reading::plain(&metric::CACHE_CORRUPT_CHUNKS, store.corrupt_chunks),
            Reading::plain(&metric::CACHE_TORN_CHUNKS, store.torn_chunks),
            Reading::plain(&metric::CACHE_SCRUBBED, store.scrubbed_bytes),
            Reading::plain(&metric::CACHE_SCRUB_PASSES, store.scrub_passes),
            Reading::plain(&metric::CACHE_FULL_WRITES, store.full_writes),
        ];
        let damage = [
            ("checksum", store.wrong_checksums),
            ("unreadable", store.unreadable),
            ("missing", store.missing_files),
            ("length", store.wrong_lengths),
            ("changed", store.changed_files),
            ("record", store.damaged_records),
        ];
        let damage =
            damage.map(|(cause, count)| Reading::labelled(&metric::CACHE_DAMAGE, cause, count));
        readings.extend(damage);
        readings
    }
}
