use forebay_core::ETag;
use http::HeaderName;

use super::*;

const WHAT: &str = "s3://b/k";

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
        .collect()
}

fn error(status: u16, pairs: &[(&'static str, &str)], code: &str) -> Error {
    let body = format!(
        "<Error><Code>{code}</Code><Message>m</Message>\
         <StringToSign>hunter2</StringToSign><Token-0>hunter2</Token-0></Error>"
    );
    let refusal = Refusal {
        status: StatusCode::from_u16(status).unwrap(),
        headers: &headers(pairs),
        body: body.as_bytes(),
    };
    refusal.into_error(WHAT, "us-east-1")
}

#[test]
fn each_status_is_one_error_and_repeats_no_secret() {
    let what = || WHAT.to_owned();
    let forbidden = |reason: &str| Error::Forbidden {
        what: what(),
        reason: reason.into(),
    };
    let throttled = |after: Option<u64>| Error::Throttled {
        what: what(),
        after: after.map(Duration::from_secs),
    };
    let retry: &[(&'static str, &str)] = &[("retry-after", "7")];
    let bucket = format!("the bucket of {WHAT}");
    for (status, pairs, code, expected) in [
        (400, &[][..], "ExpiredToken", forbidden("ExpiredToken")),
        (401, &[], "", forbidden("401 Unauthorized")),
        (403, &[], "AccessDenied", forbidden("AccessDenied (403)")),
        (404, &[], "NoSuchKey", Error::NotFound { what: what() }),
        (404, &[], "", Error::NotFound { what: what() }),
        (404, &[], "NoSuchBucket", Error::NotFound { what: bucket }),
        (
            408,
            &[],
            "",
            Error::Server {
                what: what(),
                status: 408,
            },
        ),
        (
            412,
            &[],
            "PreconditionFailed",
            Error::Changed { what: what() },
        ),
        (416, &[], "InvalidRange", Error::OutOfRange { what: what() }),
        (429, &[], "", throttled(None)),
        (429, retry, "", throttled(Some(7))),
        (
            500,
            &[],
            "InternalError",
            Error::Server {
                what: what(),
                status: 500,
            },
        ),
        (503, &[], "SlowDown", throttled(None)),
        (503, retry, "", throttled(Some(7))),
        (
            503,
            &[],
            "",
            Error::Server {
                what: what(),
                status: 503,
            },
        ),
    ] {
        let got = error(status, pairs, code);
        assert_eq!(got, expected);
        assert!(!format!("{got} {got:?}").contains("hunter2"), "{got:?}");
    }
}

#[test]
fn a_bucket_of_another_region_is_named_with_the_flag() {
    let pairs: &[(&'static str, &str)] = &[("x-amz-bucket-region", "eu-west-1")];
    for status in [301, 307, 400] {
        let message = error(status, pairs, "PermanentRedirect").to_string();
        assert!(message.contains("pass --region eu-west-1"), "{message}");
    }
    let same: &[(&'static str, &str)] = &[("x-amz-bucket-region", "us-east-1")];
    let message = error(400, same, "InvalidArgument").to_string();
    assert!(message.contains("InvalidArgument (400)"), "{message}");
}

/// Checks an answer to a read of bytes 10..20 of an object of 100 bytes.
fn check(status: u16, pairs: &[(&'static str, &str)]) -> Result<(), Error> {
    check_range(status, pairs, ByteRange::new(10, 20))
}

fn check_range(status: u16, pairs: &[(&'static str, &str)], range: ByteRange) -> Result<(), Error> {
    let etag = ETag::new("\"e\"");
    let object = PinnedObject {
        key: b"k",
        size: 100,
        etag: &etag,
    };
    let status = StatusCode::from_u16(status).unwrap();
    check_object(status, &headers(pairs), object, range, WHAT)
}

#[test]
fn the_part_that_was_asked_for_is_accepted() {
    let range = ("content-range", "bytes 10-19/100");
    assert_eq!(
        check(206, &[range, ("etag", "\"e\""), ("content-length", "10")]),
        Ok(())
    );
    assert_eq!(
        check(206, &[range]),
        Ok(()),
        "a mark that is missing proves nothing"
    );
    assert_eq!(check(206, &[("content-range", "bytes 10-19/*")]), Ok(()));
    let whole = ByteRange::new(0, 100);
    assert_eq!(
        check_range(200, &[("content-length", "100")], whole),
        Ok(())
    );
}

#[test]
fn another_version_is_changed() {
    let changed = Err(Error::Changed { what: WHAT.into() });
    let range = ("content-range", "bytes 10-19/100");
    assert_eq!(check(206, &[range, ("etag", "\"f\"")]), changed);
    assert_eq!(check(206, &[("content-range", "bytes 10-19/101")]), changed);
    let whole = ByteRange::new(0, 100);
    assert_eq!(
        check_range(200, &[("content-length", "99")], whole),
        changed
    );
}

#[test]
fn another_part_is_a_protocol_error() {
    for pairs in [
        &[][..],
        &[("content-range", "bytes 0-9/100")],
        &[("content-range", "bytes 10-18/100")],
        &[("content-range", "bytes 10-18446744073709551615/100")],
        &[("content-range", "lines 10-19/100")],
    ] {
        assert!(
            matches!(check(206, pairs), Err(Error::Protocol { .. })),
            "{pairs:?}"
        );
    }
    assert!(
        matches!(check(200, &[]), Err(Error::Protocol { .. })),
        "the range is ignored"
    );
    assert!(matches!(check(204, &[]), Err(Error::Protocol { .. })));
}

#[test]
fn a_length_that_contradicts_the_range_is_truncated() {
    let pairs = [
        ("content-range", "bytes 10-19/100"),
        ("content-length", "9"),
    ];
    let truncated = Error::Truncated {
        what: WHAT.into(),
        expected: 10,
        got: 9,
    };
    assert_eq!(check(206, &pairs), Err(truncated));
}
