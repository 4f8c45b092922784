use proptest::prelude::*;

use super::*;

fn name() -> impl Strategy<Value = Name> {
    "[A-Za-z0-9._-]{1,128}".prop_map(|text| text.parse().unwrap())
}

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..=most)
}

fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        (name(), bytes(limits::HANDSHAKE), bytes(limits::NOTE)).prop_map(
            |(name, handshake, note)| Request::Store {
                name,
                handshake,
                note
            }
        ),
        name().prop_map(|name| Request::Fetch { name }),
        prop::option::of(name()).prop_map(|after| Request::List { after }),
        name().prop_map(|name| Request::Drop { name }),
    ]
}

fn reply() -> impl Strategy<Value = Reply> {
    prop_oneof![
        Just(Reply::Stored),
        (bytes(limits::HANDSHAKE), bytes(limits::NOTE))
            .prop_map(|(handshake, note)| Reply::Fetched { handshake, note }),
        prop::collection::vec(name(), 0..=limits::PAGE).prop_map(|names| Reply::Listed { names }),
        Just(Reply::Dropped),
        (1u16..=6, ".{0,200}").prop_map(|(code, text)| Reply::Refused {
            reason: Refusal::from_code(code),
            text,
        }),
    ]
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded_and_fits_a_packet(request in request(), reply in reply()) {
        let packet = request.encode();
        prop_assert!(packet.len() <= limits::PACKET);
        prop_assert_eq!(Request::decode(&packet), Ok(request));
        let packet = reply.encode();
        prop_assert!(packet.len() <= limits::PACKET);
        prop_assert_eq!(Reply::decode(&packet), Ok(reply));
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(packet in bytes(600)) {
        crate::fuzz(&packet);
    }

    #[test]
    fn a_packet_that_was_changed_is_refused_or_means_something_of_the_same_size(
        request in request(),
        at in any::<prop::sample::Index>(),
        bit in 0..8,
    ) {
        let mut packet = request.encode();
        let at = at.index(packet.len());
        packet[at] ^= 1u8 << bit;
        if let Ok(other) = Request::decode(&packet) {
            prop_assert_eq!(other.encode().len(), packet.len());
        }
    }

    #[test]
    fn a_packet_that_was_cut_or_grew_is_refused(request in request(), cut in any::<prop::sample::Index>()) {
        let mut packet = request.encode();
        prop_assert!(Request::decode(&packet[..cut.index(packet.len())]).is_err());
        packet.push(0);
        prop_assert_eq!(Request::decode(&packet), Err(Malformed::Length));
    }
}

#[test]
fn another_version_is_told_from_another_protocol() {
    let mut packet = Request::List { after: None }.encode();
    packet[4] = 2;
    assert_eq!(Request::decode(&packet), Err(Malformed::Version(2)));
    packet[0] = b'X';
    assert_eq!(Request::decode(&packet), Err(Malformed::Foreign));
    assert_eq!(Request::decode(b""), Err(Malformed::Foreign));
}

#[test]
fn a_reply_is_no_request() {
    let packet = Reply::Stored.encode();
    assert_eq!(Request::decode(&packet), Err(Malformed::Kind(0x8001)));
}

#[test]
fn the_bytes_of_version_1_are_what_they_were() {
    let store = Request::Store {
        name: "ab".parse().unwrap(),
        handshake: vec![1],
        note: vec![],
    };
    let expected = b"FBKP\x01\x00\x01\x00\x09\x00\x00\x00\x02\x00ab\x01\x00\x01\x00\x00";
    assert_eq!(store.encode(), expected);
    let refused = Reply::Refused {
        reason: Refusal::Unknown,
        text: "no".into(),
    };
    let expected = b"FBKP\x01\x00\xff\xff\x06\x00\x00\x00\x04\x00\x02\x00no";
    assert_eq!(refused.encode(), expected);
}
