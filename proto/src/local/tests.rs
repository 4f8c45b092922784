//! Whatever arrives, decoding ends in a message or an error; what was encoded is read.

use bytes::Bytes;
use forebay_core::cache::Usage;
use forebay_core::{ByteRange, ErrorKind};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn any_file() -> impl Strategy<Value = FileRef> {
    (any::<[u8; 16]>(), any::<u32>()).prop_map(|(version, entry)| FileRef {
        version: VersionId::from_bytes(version),
        entry: EntryId(entry),
    })
}

fn any_range() -> impl Strategy<Value = ByteRange> {
    (any::<u64>(), any::<u64>()).prop_map(|(a, b)| ByteRange::new(a.min(b), a.max(b)))
}

fn any_request() -> impl Strategy<Value = Request> {
    let wanted = prop_oneof![
        Just(Wanted::Latest),
        Just(Wanted::Relisted),
        "[0-9a-f]{4,32}".prop_map(Wanted::Stored),
    ];
    let hello = any::<(u16, u16, [u8; 16])>().prop_map(|(oldest, newest, token)| Hello {
        oldest,
        newest,
        token,
    });
    prop_oneof![
        hello.prop_map(Request::Hello),
        ("[a-zé/]{0,40}", wanted)
            .prop_map(|(dataset, wanted)| Request::Attach(Attach { dataset, wanted })),
        any_file().prop_map(Request::Lease),
        any::<u64>().prop_map(Request::Release),
        (any::<u64>(), any_range()).prop_map(|(lease, range)| Request::Ensure { lease, range }),
        any::<u64>().prop_map(Request::Whole),
        (any::<u64>(), any_range()).prop_map(|(lease, range)| Request::Advise { lease, range }),
        any_file().prop_map(Request::CachedBytes),
        any_file().prop_map(|file| Request::Report(file.version)),
        "[a-z]{0,40}".prop_map(Request::Versions),
        (any_file(), any::<bool>(), vec(any::<(u32, u32)>(), 0..50)).prop_map(
            |(file, more, runs)| Request::Warmup {
                version: file.version,
                runs,
                more
            }
        ),
        Just(Request::Cancel),
        Just(Request::Bye),
        (any::<u64>(), any_range()).prop_map(|(lease, range)| Request::Distrust { lease, range }),
        any_file().prop_map(|file| Request::Places {
            version: file.version,
            first: file.entry.0
        }),
        vec(any::<(u32, u32)>(), 0..50).prop_map(Request::Used),
    ]
}

fn any_usage() -> impl Strategy<Value = Usage> {
    any::<(u64, u64)>().prop_map(|(capacity_bytes, used_bytes)| Usage {
        capacity_bytes,
        used_bytes,
    })
}

fn any_kind() -> impl Strategy<Value = ErrorKind> {
    proptest::sample::select(&ErrorKind::ALL[..])
}

fn any_counts() -> impl Strategy<Value = WarmupCounts> {
    any::<[u64; 5]>().prop_map(|n| WarmupCounts {
        files_total: n[0],
        bytes_total: n[1],
        files_done: n[2],
        bytes_done: n[3],
        files_failed: n[4],
    })
}

fn place([entry, offset, len]: [u32; 3]) -> Place {
    Place { entry, offset, len }
}

fn any_reply() -> impl Strategy<Value = Reply> {
    let presence = prop_oneof![
        Just(Presence::Nothing),
        Just(Presence::Everything),
        vec(any::<u64>(), 0..20).prop_map(Presence::Chunks),
    ];
    let welcome = (any::<(u16, u64, u32, u32)>(), any_usage()).prop_map(
        |((version, server, in_flight, grace_ms), usage)| Welcome {
            version,
            server,
            in_flight,
            grace_ms,
            usage,
        },
    );
    let stored = (any_file(), any::<(u64, u64, u64)>()).prop_map(|(file, n)| StoredVersion {
        version: file.version,
        listed_unix_seconds: n.0,
        files: n.1,
        bytes: n.2,
    });
    let whole = prop_oneof![
        Just(WholeFile::None),
        Just(WholeFile::Known),
        Just(WholeFile::New)
    ];
    let report = (any::<[u64; 7]>(), any_usage(), "[a-z/]{0,50}").prop_map(|(n, usage, dir)| {
        Reply::Report(Report {
            bytes: n[0],
            files: n[1],
            corrupt_chunks: n[2],
            evicted_bytes: n[3],
            origin_requests: n[4],
            origin_bytes: n[5],
            origin_errors: n[6],
            usage,
            dir,
        })
    });
    prop_oneof![
        welcome.prop_map(Reply::Welcome),
        (any_kind(), ".{0,60}").prop_map(|(kind, message)| Reply::Failed { kind, message }),
        any::<(u64, u64)>().prop_map(|(objects, bytes)| Reply::Listing { objects, bytes }),
        (any_file(), any::<bool>()).prop_map(|(file, origin_unreachable)| Reply::Attached {
            version: file.version,
            origin_unreachable
        }),
        (any::<(u64, u64, Option<u64>)>(), presence).prop_map(
            |((lease, size, offset), presence)| Reply::Leased {
                lease,
                size,
                offset,
                presence
            }
        ),
        any::<[u64; 4]>().prop_map(|n| Reply::Backed {
            lease: n[0],
            offset: n[1],
            chunks: n[2]..n[3]
        }),
        (any::<bool>(), vec(any::<u8>(), 0..100)).prop_map(|(more, bytes)| Reply::Inline {
            more,
            bytes: bytes.into()
        }),
        (any::<u64>(), whole).prop_map(|(lease, file)| Reply::Whole { lease, file }),
        any::<u64>().prop_map(Reply::Count),
        report,
        vec(stored, 0..9).prop_map(Reply::Versions),
        any_counts().prop_map(Reply::WarmupProgress),
        (vec(any::<u8>(), 0..50), any_kind(), ".{0,60}").prop_map(|(path, kind, reason)| {
            Reply::WarmupFailure(WarmupFailure { path, kind, reason })
        }),
        any_counts().prop_map(Reply::WarmupEnd),
        any_usage().prop_map(Reply::Usage),
        (any_file(), any::<u32>(), vec(any::<[u32; 3]>(), 0..50)).prop_map(
            |(file, pack, places)| Reply::Places {
                version: file.version,
                pack,
                places: places.into_iter().map(place).collect(),
            }
        ),
        any::<u32>().prop_map(Reply::Withdrawn),
    ]
}

proptest! {
    #[test]
    fn a_request_is_read_as_it_was_written(request in any_request()) {
        let mut payload = Vec::new();
        request.encode(&mut payload);
        prop_assert_eq!(Request::decode(request.kind(), &payload), Ok(request));
    }

    #[test]
    fn a_reply_is_read_as_it_was_written(reply in any_reply()) {
        let mut payload = Vec::new();
        reply.encode(&mut payload);
        prop_assert_eq!(Reply::decode(reply.kind(), &Bytes::from(payload)), Ok(reply));
    }

    #[test]
    fn a_message_that_is_cut_off_or_followed_is_refused(
        request in any_request(), cut in any::<prop::sample::Index>()
    ) {
        let mut payload = Vec::new();
        request.encode(&mut payload);
        let kind = request.kind();
        if !payload.is_empty() {
            let at = cut.index(payload.len());
            prop_assert!(Request::decode(kind, &payload[..at]).is_err());
        }
        payload.push(0);
        prop_assert!(Request::decode(kind, &payload).is_err());
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(kind: u8, payload in vec(any::<u8>(), 0..300)) {
        let _ = Request::decode(kind, &payload);
        let _ = Reply::decode(kind, &Bytes::from(payload));
    }

    #[test]
    fn any_header_is_within_the_limits_or_an_error(bytes: [u8; Header::LEN]) {
        if let Ok(header) = Header::decode(bytes) {
            prop_assert!(header.len as usize <= MAX_PAYLOAD);
        }
    }
}
