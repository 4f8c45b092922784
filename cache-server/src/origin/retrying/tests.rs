use std::time::Duration;

use bytes::Bytes;
use forebay_core::ETag;
use futures::TryStreamExt;

use super::*;
use crate::origin::{Depth, Fault, Faulty, MemoryOrigin, ReadCall};

const TIMEOUT: Duration = Duration::from_secs(60);
const STALL: Duration = Duration::from_secs(10);
const SIZE: u64 = 100_000;

struct Setup {
    memory: Arc<MemoryOrigin>,
    faulty: Arc<Faulty>,
    stats: Arc<OriginStats>,
    retrying: Retrying,
    content: Vec<u8>,
    etag: ETag,
}

impl Setup {
    fn new(faults: impl IntoIterator<Item = Fault>) -> Self {
        let memory = Arc::new(MemoryOrigin::default());
        let content: Vec<u8> = (0..SIZE).map(|at| (at * 7 % 251) as u8).collect();
        let etag = memory.put("k", content.clone()).etag;
        let faulty = Arc::new(Faulty::new(Arc::clone(&memory) as _));
        faulty.on_reads(faults);
        let patience = Patience {
            timeout: TIMEOUT,
            stall: STALL,
        };
        let stats = Arc::new(OriginStats::default());
        let retrying = Retrying::new(Arc::clone(&faulty) as _, patience, Arc::clone(&stats));
        Self {
            memory,
            faulty,
            stats,
            retrying,
            content,
            etag,
        }
    }

    async fn read(&self, range: ByteRange) -> Result<Vec<u8>, Error> {
        let object = PinnedObject {
            key: b"k",
            size: SIZE,
            etag: &self.etag,
        };
        let body = self.retrying.read(object, range).await?;
        let pieces: Vec<Bytes> = body.try_collect().await?;
        Ok(pieces.concat())
    }

    async fn read_all(&self) -> Result<Vec<u8>, Error> {
        self.read(ByteRange::new(0, SIZE)).await
    }

    fn ranges(&self) -> Vec<ByteRange> {
        self.faulty
            .reads()
            .into_iter()
            .map(|ReadCall { range, .. }| range)
            .collect()
    }
}

/// The clock of a paused test moves in steps of a millisecond.
fn assert_about(got: Duration, wanted: Duration) {
    assert!(got.abs_diff(wanted) < Duration::from_millis(100), "{got:?}");
}

fn server(status: u16) -> Error {
    Error::Server {
        what: "k".into(),
        status,
    }
}

fn unreachable() -> Error {
    Error::Unreachable {
        what: "k".into(),
        reason: "connection reset".into(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_may_pass_is_tried_again() {
    let throttled = Error::Throttled {
        what: "k".into(),
        after: None,
    };
    for error in [server(500), server(503), unreachable(), throttled] {
        let setup = Setup::new([Fault::Fail(error.clone()), Fault::Fail(error)]);
        assert_eq!(setup.read_all().await.unwrap(), setup.content);
        assert_eq!(setup.ranges().len(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_stays_passes_at_once() {
    let what = || "k".to_owned();
    for error in [
        Error::NotFound { what: what() },
        Error::Forbidden {
            what: what(),
            reason: "403".into(),
        },
        Error::Changed { what: what() },
        Error::OutOfRange { what: what() },
        Error::Protocol {
            what: what(),
            reason: "odd".into(),
        },
    ] {
        let setup = Setup::new([Fault::Fail(error.clone())]);
        let begun = Instant::now();
        assert_eq!(setup.read_all().await.unwrap_err(), error);
        assert_eq!(begun.elapsed(), Duration::ZERO);
        assert_eq!(setup.ranges().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_is_resumed_from_the_byte_that_was_reached() {
    for fault in [
        Fault::TruncateAfter(30_000),
        Fault::StallAfter(30_000),
        Fault::BreakAfter(30_000, unreachable()),
    ] {
        let setup = Setup::new([fault, Fault::TruncateAfter(1)]);
        let range = ByteRange::new(10, 90_000);
        assert_eq!(setup.read(range).await.unwrap(), setup.content[10..90_000]);
        let resumed = [
            range,
            ByteRange::new(30_010, 90_000),
            ByteRange::new(30_011, 90_000),
        ];
        assert_eq!(setup.ranges(), resumed);
    }
}

#[tokio::test(start_paused = true)]
async fn an_object_that_changes_between_two_connections_is_not_mixed() {
    let setup = Setup::new([Fault::TruncateAfter(30_000)]);
    let object = PinnedObject {
        key: b"k",
        size: SIZE,
        etag: &setup.etag,
    };
    let mut body = setup
        .retrying
        .read(object, ByteRange::new(0, SIZE))
        .await
        .unwrap();
    let first = body.try_next().await.unwrap().unwrap();
    assert_eq!(first, setup.content[..first.len()]);
    setup.memory.put("k", vec![0; SIZE as usize]);
    let rest: Result<Vec<Bytes>, _> = body.try_collect().await;
    assert!(matches!(rest, Err(Error::Changed { .. })), "{rest:?}");
}

#[tokio::test(start_paused = true)]
async fn when_the_deadline_passes_the_last_failure_is_told() {
    let setup = Setup::new([]);
    setup.faulty.always(Some(Fault::Fail(server(503))));
    let begun = Instant::now();
    let error = setup.read_all().await.unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    assert!(error.to_string().contains("answered 503 for k"), "{error}");
    assert_about(begun.elapsed(), TIMEOUT);
    // With pauses of 1 second on average there were some dozens of tries.
    assert!(
        (30..200).contains(&setup.ranges().len()),
        "{}",
        setup.ranges().len()
    );
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_never_answers_ends_at_the_deadline() {
    let setup = Setup::new([]);
    setup.faulty.always(Some(Fault::Hang));
    let begun = Instant::now();
    let error = setup.read_all().await.unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    assert!(
        error.to_string().contains("nothing came for 10s"),
        "{error}"
    );
    assert_about(begun.elapsed(), TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn the_wait_that_the_origin_asks_for_is_kept() {
    let after = Some(Duration::from_secs(7));
    let setup = Setup::new([Fault::Fail(Error::Throttled {
        what: "k".into(),
        after,
    })]);
    let begun = Instant::now();
    setup.read_all().await.unwrap();
    assert_eq!(begun.elapsed(), Duration::from_secs(7));
}

#[tokio::test(start_paused = true)]
async fn bytes_that_arrive_put_the_deadline_off() {
    // Each try takes 10 seconds for 16 KiB: 7 tries, more than the 60 seconds.
    let setup = Setup::new(std::iter::repeat_n(Fault::StallAfter(16 << 10), 6));
    let begun = Instant::now();
    assert_eq!(setup.read_all().await.unwrap(), setup.content);
    assert!(begun.elapsed() >= TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_trickle_does_not_keep_a_reader_for_ever() {
    let setup = Setup::new([]);
    setup.faulty.always(Some(Fault::StallAfter(1)));
    let begun = Instant::now();
    let error = setup.read_all().await.unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    assert!(begun.elapsed() < TIMEOUT + Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn time_that_the_reader_takes_does_not_count() {
    let setup = Setup::new([Fault::Pass, Fault::TruncateAfter(0)]);
    let object = PinnedObject {
        key: b"k",
        size: SIZE,
        etag: &setup.etag,
    };
    let mut body = setup
        .retrying
        .read(object, ByteRange::new(0, SIZE))
        .await
        .unwrap();
    let mut got = Vec::new();
    while let Some(piece) = body.try_next().await.unwrap() {
        got.extend_from_slice(&piece);
        tokio::time::sleep(TIMEOUT).await;
    }
    assert_eq!(got, setup.content);
}

#[tokio::test(start_paused = true)]
async fn a_body_with_more_than_was_asked_for_is_an_error() {
    let setup = Setup::new([Fault::Surplus(5)]);
    let error = setup.read_all().await.unwrap_err();
    let what = "memory://test/k".to_owned();
    assert_eq!(
        error,
        Error::Truncated {
            what,
            expected: SIZE,
            got: SIZE + 5
        }
    );
}

#[tokio::test(start_paused = true)]
async fn an_empty_range_is_an_empty_body() {
    let bytes = Setup::new([]).read(ByteRange::new(5, 5)).await.unwrap();
    assert!(bytes.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_page_is_tried_again_and_given_more_time_than_a_piece() {
    let setup = Setup::new([]);
    setup
        .faulty
        .on_pages([Fault::Fail(server(500)), Fault::Delay(STALL * 2)]);
    let request = PageRequest {
        prefix: b"",
        depth: Depth::All,
        after: None,
    };
    assert_eq!(setup.retrying.list(request).await.unwrap().objects.len(), 1);
    let gone = Error::NotFound { what: "b".into() };
    setup.faulty.on_pages([Fault::Fail(gone.clone())]);
    assert_eq!(setup.retrying.list(request).await.unwrap_err(), gone);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_given_up_on_counts_as_failed() {
    let setup = Setup::new([Fault::StallAfter(0), Fault::StallAfter(10)]);
    assert_eq!(setup.read_all().await.unwrap(), setup.content);
    assert_eq!(setup.stats.errors(forebay_core::ErrorKind::TimedOut), 2);
    assert_eq!(setup.stats.errors_total(), 2);
}
