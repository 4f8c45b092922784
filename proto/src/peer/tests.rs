//! Whatever a network delivers, reading ends in a message or an error.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn any_request() -> impl Strategy<Value = Request> {
    let hello = (any::<(u16, u16)>(), "[a-z]{0,9}", "[a-z0-9.:]{0,20}").prop_map(
        |((oldest, newest), cluster, member)| Request::Hello {
            oldest,
            newest,
            cluster,
            member,
        },
    );
    let read = (
        "[a-z:/]{0,30}",
        vec(any::<u8>(), 0..40),
        ".{0,20}",
        any::<(u64, u64, u64, bool)>(),
    )
        .prop_map(|(origin, key, etag, (size, a, b, present_only))| {
            Request::Read(ReadRequest {
                origin,
                key,
                etag,
                size,
                range: ByteRange::new(a.min(b), a.max(b)),
                present_only,
            })
        });
    prop_oneof![hello, Just(Request::Ping), read]
}

fn any_reply() -> impl Strategy<Value = Reply> {
    let failed = (proptest::sample::select(&ErrorKind::ALL[..]), ".{0,40}")
        .prop_map(|(kind, message)| Reply::Failed { kind, message });
    prop_oneof![
        any::<u16>().prop_map(|version| Reply::Welcome { version }),
        ".{0,40}".prop_map(|message| Reply::Refused { message }),
        any::<bool>().prop_map(|draining| Reply::Pong { draining }),
        Just(Reply::Began),
        vec(any::<u8>(), 0..100).prop_map(|bytes| Reply::Data(bytes.into())),
        Just(Reply::End),
        failed,
    ]
}

/// Reads all frames of `bytes`.
fn frames(mut bytes: &[u8]) -> (Vec<(u8, Bytes)>, FrameError) {
    let mut buffer = BytesMut::new();
    let mut read = Vec::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        loop {
            match read_frame(&mut bytes, &mut buffer).await {
                Ok(frame) => read.push(frame),
                Err(error) => return (read, error),
            }
        }
    })
}

proptest! {
    #[test]
    fn messages_are_read_as_they_were_written(
        requests in vec(any_request(), 0..4), replies in vec(any_reply(), 0..4)
    ) {
        let sent: Vec<u8> = requests.iter().flat_map(Request::frame)
            .chain(replies.iter().flat_map(Reply::frame)).collect();
        let (read, _) = frames(&sent);
        prop_assert_eq!(read.len(), requests.len() + replies.len());
        let (asked, answered) = read.split_at(requests.len());
        for ((kind, payload), request) in asked.iter().zip(requests) {
            prop_assert_eq!(Request::decode(*kind, payload), Ok(request));
        }
        for ((kind, payload), reply) in answered.iter().zip(replies) {
            prop_assert_eq!(Reply::decode(*kind, payload.clone()), Ok(reply));
        }
    }

    #[test]
    fn a_flipped_bit_is_never_taken_for_the_message(
        reply in any_reply(), at in any::<prop::sample::Index>(), bit in 0_u8..8
    ) {
        let mut sent = reply.frame();
        let at = at.index(sent.len());
        sent[at] ^= 1 << bit;
        for (kind, payload) in frames(&sent).0 {
            prop_assert_ne!(Reply::decode(kind, payload), Ok(reply.clone()));
        }
    }

    #[test]
    fn any_bytes_are_messages_or_an_error(bytes in vec(any::<u8>(), 0..200), kind: u8) {
        let _ = frames(&bytes);
        let _ = Request::decode(kind, &bytes);
        let _ = Reply::decode(kind, bytes.into());
    }
}

#[test]
fn a_frame_beyond_the_limit_is_refused_before_it_is_read() {
    let mut header = Header::of_data(&[]).encode();
    header[..4].copy_from_slice(&(MAX_PAYLOAD as u32 + 1).to_le_bytes());
    assert!(matches!(frames(&header).1, FrameError::TooLong { .. }));
}
