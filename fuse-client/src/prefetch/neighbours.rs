//! Finding out that files are read in the order of the manifest, and how far to run ahead.
//!
//! Inode numbers are positions in the manifest, so that the files of a directory, and
//! those of the next directory behind it, have consecutive ones. Reads that follow each
//! other closely make a **stream**; several may run side by side, as the workers of a
//! data loader do. A stream is believed while most of the last [`RECENT`] files were
//! read; then as many files are announced ahead of it as it has had hits, up to
//! [`MOST_FILES`]. So what is fetched for nothing when the order breaks is never more
//! than what was read in order before, and files read at random announce nothing.

use std::ops::Range;

/// Streams that are told apart: as many as a machine has readers at once, roughly.
const STREAMS: usize = 32;

/// How far apart two reads of one stream may be.
const SLACK: u64 = 4;

/// Files that make a stream.
const PROOF: u32 = 6;

/// How far back it is looked whether files are read one after the other.
const RECENT: u64 = 64;

/// Files ahead at most: of 100 KiB each, as much as an origin gives in a tenth of a
/// second at 1 GB/s.
const MOST_FILES: u64 = 1024;

/// The streams of one mount.
#[derive(Debug, Default)]
pub(crate) struct Neighbours {
    streams: Vec<Stream>,
    clock: u64,
}

/// Files read one after the other.
#[derive(Debug)]
struct Stream {
    /// The furthest file read.
    front: u64,
    /// Which of the [`RECENT`] files up to the front were read; the lowest bit is the
    /// front.
    recent: u64,
    /// How many files back the stream began.
    length: u64,
    hits: u64,
    /// Behind the last file that was announced.
    announced: u64,
    used: u64,
}

/// What follows from a read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outlook {
    /// Files that will probably be read soon.
    pub(crate) ahead: Option<Range<u64>>,
    /// Files that were announced and will probably not be read.
    pub(crate) abandoned: Option<Range<u64>>,
}

impl Neighbours {
    /// Notes that the file with the number `file` is read.
    pub(crate) fn observe(&mut self, file: u64) -> Outlook {
        self.clock += 1;
        let near = self
            .streams
            .iter_mut()
            .filter(|stream| stream.front.abs_diff(file) <= SLACK)
            .min_by_key(|stream| stream.front.abs_diff(file));
        match near {
            Some(stream) => {
                stream.used = self.clock;
                stream.extend(file);
                Outlook {
                    ahead: stream.announce(),
                    abandoned: None,
                }
            }
            None => Outlook {
                ahead: None,
                abandoned: self.begin(file),
            },
        }
    }

    /// Notes that of the files announced up to `end` only those before `reached` are on
    /// their way.
    pub(crate) fn cut(&mut self, end: u64, reached: u64) {
        let announced = self.streams.iter_mut().find(|s| s.announced == end);
        if let Some(stream) = announced {
            stream.announced = reached;
        }
    }

    /// Begins a stream in the place of the one that was used least recently, and returns
    /// what that had announced.
    fn begin(&mut self, file: u64) -> Option<Range<u64>> {
        let stream = Stream {
            front: file,
            recent: 1,
            length: 1,
            hits: 1,
            announced: file + 1,
            used: self.clock,
        };
        if self.streams.len() < STREAMS {
            self.streams.push(stream);
            return None;
        }
        let oldest = self.streams.iter_mut().min_by_key(|stream| stream.used)?;
        let old = std::mem::replace(oldest, stream);
        let left = old.front + 1..old.announced;
        (!left.is_empty()).then_some(left)
    }
}

impl Stream {
    fn extend(&mut self, file: u64) {
        if file > self.front {
            let step = file - self.front;
            self.recent = self.recent.checked_shl(step as u32).unwrap_or(0) | 1;
            self.length = self.length.saturating_add(step);
            self.front = file;
            self.hits += 1;
            return;
        }
        let bit = 1 << (self.front - file).min(RECENT - 1);
        if self.recent & bit == 0 {
            self.recent |= bit;
            self.hits += 1;
        }
        self.length = self.length.max(self.front - file + 1);
    }

    fn announce(&mut self) -> Option<Range<u64>> {
        let read = u64::from(self.recent.count_ones());
        if self.recent.count_ones() < PROOF || read * 3 < self.length.min(RECENT) * 2 {
            // What was a stream may become one again, and begins small.
            self.hits = self.hits.min(read);
            return None;
        }
        let window = self.hits.min(MOST_FILES);
        let from = self.announced.max(self.front + 1);
        let is_due = from - self.front - 1 <= window / 2;
        let to = self.front + 1 + window;
        if !is_due || from >= to {
            return None;
        }
        self.announced = to;
        Some(from..to)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn announced(reads: impl IntoIterator<Item = u64>) -> Vec<Range<u64>> {
        let mut neighbours = Neighbours::default();
        let observe = |file| neighbours.observe(file).ahead;
        reads.into_iter().filter_map(observe).collect()
    }

    fn count(ranges: &[Range<u64>]) -> u64 {
        ranges.iter().map(|range| range.end - range.start).sum()
    }

    #[test]
    fn files_read_in_order_are_announced_once_in_growing_windows() {
        let all = announced(100..5000);
        assert!(all[0].start <= 107, "{:?}", all[0]);
        assert!(all.windows(2).all(|pair| pair[0].end == pair[1].start));
        assert!(all[0].end - all[0].start <= 8);
        let last = all.last().expect("some");
        assert!(last.end >= 5000 + MOST_FILES / 2, "{last:?}");
    }

    #[test]
    fn threads_that_take_turns_out_of_order_are_one_stream() {
        let swapped = (0..2000u64).map(|n| 1000 + (n ^ 3));
        let all = announced(swapped);
        assert!(count(&all) >= 1900, "{}", count(&all));
    }

    #[test]
    fn workers_with_batches_of_their_own_are_streams_of_their_own() {
        let batches = (0..10u64).flat_map(|round| {
            (0..32).flat_map(move |file| (0..8).map(move |worker| round * 256 + worker * 32 + file))
        });
        let all = announced(batches);
        assert!(count(&all) >= 1500, "{}", count(&all));
    }

    #[test]
    fn shuffled_files_announce_next_to_nothing() {
        for files in [500u64, 2000, 20_000] {
            // A full-period walk without small steps, then a pseudo-random one.
            let walk = (0..files).map(|n| n * 7919 % files);
            assert_eq!(count(&announced(walk)), 0, "{files}");
            let mut state = 1u64;
            let random = (0..files).map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (state >> 33) % files
            });
            let wasted = count(&announced(random));
            assert!(wasted * 20 <= files, "{wasted} of {files}");
        }
    }

    #[test]
    fn the_same_file_again_and_again_announces_nothing() {
        assert!(announced((0..1000).map(|_| 7)).is_empty());
        assert!(announced((0..1000).map(|n| 7 + n % 2)).is_empty());
    }

    #[test]
    fn every_third_file_is_no_order() {
        assert!(announced((0..1000).map(|n| n * 3)).is_empty());
    }

    #[test]
    fn what_an_old_stream_had_announced_is_abandoned_with_it() {
        let mut neighbours = Neighbours::default();
        let mut end = 0;
        for file in 0..100 {
            end = neighbours
                .observe(file)
                .ahead
                .map_or(end, |ahead| ahead.end);
        }
        let mut others = (1..=STREAMS as u64).map(|n| neighbours.observe(n << 20).abandoned);
        assert_eq!(others.find_map(|abandoned| abandoned), Some(100..end));
    }

    #[test]
    fn what_did_not_fit_is_announced_again() {
        let mut neighbours = Neighbours::default();
        let ahead = (0..10).find_map(|file| neighbours.observe(file).ahead);
        let ahead = ahead.expect("believed");
        neighbours.cut(ahead.end, ahead.start);
        let again = (7..14).find_map(|file| neighbours.observe(file).ahead);
        assert!(again.expect("again").start <= ahead.start + 3);
    }

    proptest! {
        #[test]
        fn never_more_is_announced_ahead_than_was_read_in_order(
            jumps in proptest::collection::vec((0u64..1 << 30, 1u64..200), 1..50),
        ) {
            let mut neighbours = Neighbours::default();
            let (mut read, mut told) = (0, 0);
            for (start, len) in jumps {
                for file in start..start + len {
                    read += 1;
                    told += neighbours.observe(file).ahead.map_or(0, |ahead| ahead.end - ahead.start);
                }
            }
            prop_assert!(told <= 2 * read, "{told} for {read}");
        }

        #[test]
        fn no_reads_make_it_panic(reads in proptest::collection::vec(0u64..1 << 56, 1..300)) {
            announced(reads);
        }
    }
}
