//! What a reader gets, and the log says, when the origin answers with something else than
//! the bytes: one script of faults a case.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io;
use std::time::{Duration, Instant};

use forebay_loopback_s3::{Action, Fault};
use forebay_tests::{Bucket, Mount, errno, read_at, stream};
use rustix::io::Errno;

const KIB: u64 = 1 << 10;
/// Of the object that all cases read.
const SIZE: u64 = 300 * KIB;
const SEED: u64 = 7;
const TIMEOUT: Duration = Duration::from_secs(2);
const FOR_EVER: Duration = Duration::from_secs(3600);

/// A mount of one object, not read yet.
fn mounted() -> (Bucket, Mount) {
    let bucket = Bucket::new("errors", 100 << 20);
    bucket.put_stream("dir/object", SIZE, SEED);
    let timeout = format!("{}s", TIMEOUT.as_secs());
    let mount = bucket.mount("m").args(&["--origin-timeout", &timeout]);
    (bucket, mount.start())
}

fn read(mount: &Mount) -> io::Result<Vec<u8>> {
    read_at(&mount.path().join("dir/object"), 0, SIZE as usize)
}

#[track_caller]
fn assert_right(content: io::Result<Vec<u8>>) {
    assert!(content.unwrap() == stream(SEED, SIZE), "wrong bytes");
}

/// The one line that the log has about a failed read.
fn failure(mount: &Mount) -> String {
    let alarms = mount.alarms();
    let about = |line: &&String| line.contains("dir/object") && line.contains("WARN");
    assert!(alarms.iter().all(|line| about(&line)), "{alarms:#?}");
    alarms.last().cloned().unwrap_or_default()
}

/// Reads while `fault` happens to every read, and once more when it is over.
#[track_caller]
fn refused(fault: Fault, expected: Errno, words: &[&str]) {
    let (bucket, mount) = mounted();
    bucket.spoil_reads(fault.always());
    let begun = Instant::now();
    let refused = read(&mount);
    let took = begun.elapsed();
    assert_eq!(errno(&refused), Some(expected), "{refused:?}");
    assert!(took < TIMEOUT, "refused after {took:?} only");
    let line = failure(&mount);
    for word in words {
        assert!(line.contains(word), "{word:?} is not in: {line}");
    }
    bucket.server().faults().clear();
    assert_right(read(&mount));
    mount.unmount();
}

#[test]
fn a_refusal_reaches_the_reader_at_once_as_eacces() {
    let denied = Fault::new(Action::status(403, "AccessDenied"));
    refused(
        denied,
        Errno::ACCESS,
        &["permission_denied", "AccessDenied (403)"],
    );
    let unknown = Fault::new(Action::status(401, "InvalidAccessKeyId"));
    refused(
        unknown,
        Errno::ACCESS,
        &["permission_denied", "InvalidAccessKeyId"],
    );
    let expired = Fault::new(Action::status(400, "ExpiredToken"));
    refused(
        expired,
        Errno::ACCESS,
        &["permission_denied", "ExpiredToken"],
    );
}

#[test]
fn an_object_that_is_not_the_pinned_one_reaches_the_reader_at_once_as_estale() {
    let gone = Fault::new(Action::status(404, "NoSuchKey"));
    refused(gone, Errno::STALE, &["stale", "does not exist"]);
    let overwritten = Fault::new(Action::status(412, "PreconditionFailed"));
    refused(overwritten, Errno::STALE, &["stale", "was overwritten"]);
    let shorter = Fault::new(Action::status(416, "InvalidRange"));
    refused(shorter, Errno::STALE, &["stale", "is shorter"]);
}

#[test]
fn an_answer_that_makes_no_sense_reaches_the_reader_at_once_as_eio() {
    let teapot = Fault::new(Action::status(418, "Teapot"));
    refused(teapot, Errno::IO, &["internal", "Teapot (418)"]);
}

/// Reads while the faults happen, each once, one after the other.
#[track_caller]
fn survived(faults: &[Fault]) {
    let (bucket, mount) = mounted();
    for fault in faults {
        bucket.spoil_reads(fault.clone());
    }
    assert_right(read(&mount));
    assert_eq!(bucket.server().faults().pending(), 0, "not all happened");
    mount.assert_quiet();
    let origin = &mount.status()["origin"];
    assert_eq!(origin["bytes"], SIZE, "bytes came twice: {origin}");
    assert_eq!(origin["errors"], faults.len(), "{origin}");
    mount.unmount();
}

#[test]
fn an_origin_that_asks_to_slow_down_is_asked_again() {
    let too_many = Fault::new(Action::status(429, "TooManyRequests"));
    let slow_down = Fault::new(Action::status(503, "SlowDown"));
    survived(&[too_many, slow_down]);
}

#[test]
fn an_origin_that_fails_for_a_moment_is_asked_again() {
    let internal = Fault::new(Action::status(500, "InternalError"));
    let gateway = Fault::new(Action::status(502, "BadGateway"));
    let unavailable = Fault::new(Action::status(503, "ServiceUnavailable"));
    survived(&[internal, gateway, unavailable]);
    survived(&[Fault::new(Action::Disconnect)]);
}

#[test]
fn a_body_that_breaks_off_is_resumed_where_it_broke_off() {
    let cut = |bytes| Fault::new(Action::TruncateAfter(bytes));
    survived(&[cut(0), cut(1), cut(100 * KIB), cut(SIZE / 3)]);
}

#[test]
fn a_body_that_stalls_is_resumed_on_another_connection() {
    survived(&[Fault::new(Action::StallAfter(100 * KIB, FOR_EVER))]);
}

#[test]
fn an_origin_that_does_not_answer_is_asked_again_on_another_connection() {
    survived(&[Fault::new(Action::Delay(FOR_EVER))]);
}

#[test]
fn a_slow_body_is_no_failure() {
    let (bucket, mount) = mounted();
    bucket.spoil_reads(Fault::new(Action::SlowBody(SIZE * 2 / 3)));
    assert_right(read(&mount));
    assert_eq!(mount.status()["origin"]["errors"], 0);
    mount.assert_quiet();
    mount.unmount();
}

/// Reads while `fault` happens to every read: the reader waits as long as it was told to.
#[track_caller]
fn given_up(fault: Fault, words: &[&str]) {
    let (bucket, mount) = mounted();
    bucket.spoil_reads(fault.always());
    let begun = Instant::now();
    let given_up = read(&mount);
    let took = begun.elapsed();
    assert_eq!(errno(&given_up), Some(Errno::IO), "{given_up:?}");
    let limit = TIMEOUT + Duration::from_millis(1800);
    assert!(took >= TIMEOUT && took < limit, "given up after {took:?}");
    let line = failure(&mount);
    for word in words {
        assert!(line.contains(word), "{word:?} is not in: {line}");
    }
    bucket.server().faults().clear();
    assert_right(read(&mount));
    mount.unmount();
}

#[test]
fn an_origin_that_asks_to_slow_down_for_ever_ends_in_eio() {
    let too_many = Fault::new(Action::status(429, "TooManyRequests"));
    given_up(
        too_many,
        &["timed_out", "asks to slow down", "gave up after 2"],
    );
}

#[test]
fn an_origin_that_fails_for_ever_ends_in_eio() {
    let unavailable = Fault::new(Action::status(503, "ServiceUnavailable"));
    given_up(
        unavailable,
        &["timed_out", "answered 503", "gave up after 2"],
    );
}

#[test]
fn an_origin_that_breaks_every_connection_ends_in_eio() {
    given_up(
        Fault::new(Action::Disconnect),
        &["timed_out", "cannot be reached"],
    );
}

#[test]
fn a_body_that_never_begins_ends_in_eio() {
    given_up(
        Fault::new(Action::TruncateAfter(0)),
        &["timed_out", "gave up after 2"],
    );
}

#[test]
fn an_origin_that_never_answers_ends_in_eio() {
    given_up(
        Fault::new(Action::Delay(FOR_EVER)),
        &["timed_out", "nothing came"],
    );
}

#[test]
fn a_body_that_trickles_ends_in_eio() {
    given_up(Fault::new(Action::SlowBody(100)), &["timed_out"]);
}
