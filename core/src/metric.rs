//! Every metric of Forebay, defined once.
//!
//! Call sites name the constant; `docs/METRICS.md` is printed from [`ALL`]. Names follow
//! the Prometheus conventions: base units, `_total` on counters (added by the encoder),
//! labels from small fixed sets.

use std::fmt::Write;

/// What a metric's value means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows, until the process restarts.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts of observations in buckets.
    Histogram,
}

/// One metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// The name, without `_total`.
    pub name: &'static str,
    /// What the value means.
    pub kind: MetricKind,
    /// Label names, in the order in which values are given.
    pub labels: &'static [&'static str],
    /// What is counted, and in which unit.
    pub help: &'static str,
}

/// The value of one metric at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Which metric.
    pub metric: &'static Metric,
    /// The values of the metric's labels, in their order.
    pub labels: Vec<&'static str>,
    /// The value, in the metric's unit.
    pub value: f64,
}

impl Reading {
    /// A value of a metric without labels.
    pub fn plain(metric: &'static Metric, value: u64) -> Self {
        Self {
            metric,
            labels: Vec::new(),
            value: value as f64,
        }
    }

    /// A value of a metric with one label.
    pub fn labelled(metric: &'static Metric, label: &'static str, value: u64) -> Self {
        Self {
            metric,
            labels: vec![label],
            value: value as f64,
        }
    }
}

/// Something that is measured. Its counters are read when somebody asks, so counting
/// costs an atomic addition and nothing else.
pub trait Measured: Send + Sync + std::fmt::Debug {
    /// The values now, those of one metric side by side.
    fn readings(&self) -> Vec<Reading>;
}

macro_rules! metrics {
    ($($constant:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $constant: Metric = Metric {
                name: $name,
                kind: MetricKind::$kind,
                labels: &[$($label),*],
                help: $help,
            };
        )*
        /// All metrics, in the order of the reference page.
        pub const ALL: &[Metric] = &[$($constant),*];
    };
}

metrics! {
    BUILD_INFO = Gauge "forebay_build_info" ["version"] "Always 1; the label says which build runs";
    DATASET_FILES = Gauge "forebay_dataset_files" [] "Files in the mounted dataset version";
    DATASET_BYTES = Gauge "forebay_dataset_bytes" [] "Bytes in the mounted dataset version";
    DATASET_SKIPPED = Gauge "forebay_dataset_skipped_objects" [] "Objects of the origin that the tree cannot show";
    ORIGIN_REQUESTS = Counter "forebay_origin_requests" [] "Requests sent to origins, retries included";
    ORIGIN_BYTES = Counter "forebay_origin_received_bytes" [] "Bytes of objects received from origins";
    ORIGIN_ERRORS = Counter "forebay_origin_errors" ["kind"] "Requests to origins that failed, by class of error";
    ORIGIN_IN_FLIGHT = Gauge "forebay_origin_requests_in_flight" [] "Requests to origins under way";
    FILL_FLIGHTS = Counter "forebay_fill_flights" [] "Fetches begun to fill the cache";
    FILL_JOINED = Counter "forebay_fill_joined_waits" [] "Waits that joined a fetch under way instead of asking the origin";
    FILL_FAILED = Counter "forebay_fill_failures" [] "Fetches that ended in an error";
    FILL_IN_FLIGHT = Gauge "forebay_fill_flights_in_flight" [] "Fetches under way";
    FILL_STORED_BYTES = Counter "forebay_fill_stored_bytes" [] "Bytes fetched and kept";
    FILL_READ_THROUGH_BYTES = Counter "forebay_fill_read_through_bytes" [] "Bytes fetched and passed on for want of room in the cache";
    PREFETCH_BUDGET = Gauge "forebay_prefetch_budget_bytes" [] "Bytes that may be asked for ahead of readers and not yet be here; 0 without prefetch";
    PREFETCH_WINDOW = Gauge "forebay_prefetch_window_bytes" [] "Bytes asked for ahead of readers and not yet here";
    PREFETCH_CONCURRENCY = Gauge "forebay_prefetch_concurrency" [] "Origin reads that may be under way at once before prefetch waits; adapts to the origin";
    PREFETCH_PAUSED = Gauge "forebay_prefetch_paused" [] "1 while prefetch waits for memory";
    PREFETCH_SHED_BYTES = Counter "forebay_prefetch_shed_bytes" [] "Bytes advised and refused for want of memory";
    PREFETCH_UNUSED_BYTES = Counter "forebay_prefetch_unused_bytes" [] "Bytes advised ahead of readers who then went elsewhere";
    PLAN_ENTRIES = Gauge "forebay_plan_entries" [] "Files in the plans that are followed";
    PLAN_POSITION = Gauge "forebay_plan_position" [] "Files of the plans that the readers have left behind";
    PLAN_AHEAD_BYTES = Gauge "forebay_plan_ahead_bytes" [] "Bytes of the plans that were asked for and lie before the readers";
    CACHE_CAPACITY = Gauge "forebay_cache_capacity_bytes" [] "Sum of the quotas of the cache's tiers";
    CACHE_USED = Gauge "forebay_cache_used_bytes" [] "Bytes that the cache holds";
    CACHE_COPIED = Gauge "forebay_cache_copied_bytes" [] "Bytes of what other members keep, too; evicted before what only this one keeps";
    CACHE_OBJECTS = Gauge "forebay_cache_objects" [] "Objects of which the cache holds bytes";
    CACHE_PACKS = Gauge "forebay_cache_packs" [] "Files of the cache that hold many small objects each";
    CACHE_PACKED_OBJECTS = Gauge "forebay_cache_packed_objects" [] "Objects that lie in packs";
    CACHE_PACKED_BYTES = Gauge "forebay_cache_packed_bytes" [] "Bytes of the objects that lie in packs";
    CACHE_DEAD_BYTES = Gauge "forebay_cache_dead_bytes" [] "Bytes in packs that no object needs any more; given back when their pack is evicted";
    CACHE_EVICTED_PACKS = Counter "forebay_cache_evicted_packs" [] "Packs evicted to make room";
    CACHE_EVICTED_OBJECTS = Counter "forebay_cache_evicted_objects" [] "Objects evicted to make room";
    CACHE_EVICTED_BYTES = Counter "forebay_cache_evicted_bytes" [] "Bytes evicted to make room";
    CACHE_CORRUPT_CHUNKS = Counter "forebay_cache_corrupt_chunks" [] "Cached chunks found wrong and dropped, never served";
    CACHE_TORN_CHUNKS = Counter "forebay_cache_torn_chunks" [] "Cached chunks dropped at recovery because a file or record was incomplete";
    CACHE_DAMAGE = Counter "forebay_cache_damage" ["cause"] "What was found wrong with the cache: pieces with a wrong checksum (checksum), pieces and files that cannot be read (unreadable), files that are gone (missing), of another length (length) or written to by others (changed), and records of the index that make no sense (record)";
    CACHE_SCRUBBED = Counter "forebay_cache_scrubbed_bytes" [] "Cached bytes that were compared with their checksums in the background";
    CACHE_SCRUB_PASSES = Counter "forebay_cache_scrub_passes" [] "Times that all of the cache was compared";
    CACHE_FULL_WRITES = Counter "forebay_cache_full_writes" [] "Chunks that no tier had room for";
    PEER_MEMBERS = Gauge "forebay_peer_members" [] "Members of the cluster that live, this one included";
    PEER_RECEIVED_BYTES = Counter "forebay_peer_received_bytes" [] "Bytes of objects received from other members";
    PEER_SENT_BYTES = Counter "forebay_peer_sent_bytes" [] "Bytes of objects sent to other members";
    PEER_FAILURES = Counter "forebay_peer_failures" [] "Reads from other members that failed and went on elsewhere";
    PEER_HEDGES = Counter "forebay_peer_hedges" [] "Reads of which a second member was asked because the first was slow to begin";
    CLIENT_CONNECTIONS = Gauge "forebay_client_connections" [] "Clients of this machine that are connected to the cache server";
    CLIENT_LEASES = Gauge "forebay_client_leases" [] "Leases that they hold, those of clients that have just gone included";
    CLIENT_REQUESTS = Counter "forebay_client_requests" [] "Requests from them";
    CLIENT_REFUSED = Counter "forebay_client_refused_connections" [] "Connections ended because the user may not connect or the client broke the protocol";
    FUSE_READS = Counter "forebay_fuse_reads" [] "Read requests from the kernel";
    FUSE_READ_BYTES = Counter "forebay_fuse_read_bytes" [] "Bytes given to the kernel";
    FUSE_WAITS = Counter "forebay_fuse_waiting_reads" [] "Read requests that had to wait for the cache to fetch";
    FUSE_WAIT_SECONDS = Counter "forebay_fuse_wait_seconds" [] "Time that read requests waited for the cache to fetch, in seconds";
    FUSE_ERRORS = Counter "forebay_fuse_errors" ["errno"] "Read requests answered with an error, by errno";
    FUSE_OPENS = Counter "forebay_fuse_opens" ["read"] "Files opened, by how they are read: through the page cache (pages), past it (direct), or by the kernel from the cache's own file (passthrough)";
    FUSE_OPEN_HANDLES = Gauge "forebay_fuse_open_handles" [] "Open files";
}

/// The reference page of all metrics, in Markdown.
pub fn reference() -> String {
    let mut page = String::from(
        "# Metrics\n\nServed at `/metrics` in the Prometheus text format. Counters carry the suffix `_total`.\n\n\
         | name | kind | labels | meaning |\n|---|---|---|---|\n",
    );
    for metric in ALL {
        let suffix = if metric.kind == MetricKind::Counter {
            "_total"
        } else {
            ""
        };
        let labels = metric.labels.join(", ");
        let kind = format!("{:?}", metric.kind).to_lowercase();
        // Writing to a String cannot fail.
        let _ = writeln!(
            page,
            "| `{}{suffix}` | {kind} | {labels} | {} |",
            metric.name, metric.help
        );
    }
    page
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_follow_the_conventions() {
        let names: BTreeSet<_> = ALL.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), ALL.len());
        for metric in ALL {
            assert!(metric.name.starts_with("forebay_"), "{}", metric.name);
            assert!(
                !metric.name.ends_with("_total"),
                "{}: the encoder adds it",
                metric.name
            );
        }
    }
}
