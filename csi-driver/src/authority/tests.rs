use fluke_hpack::Encoder;
use forebay_proto::plugin_registration::v1::registration_server::RegistrationServer;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnixListenerStream;

use super::*;
use crate::registration::RegistrationService;

const PREFACE_BYTES: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
    frame.extend_from_slice(payload);
    frame
}

fn block(authority: &str) -> Vec<u8> {
    let headers: [(&[u8], &[u8]); 6] = [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", b"/pluginregistration.Registration/GetInfo"),
        (b":authority", authority.as_bytes()),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
    ];
    Encoder::new().encode(headers)
}

fn decoded(frames: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let headers = &frames[PREFACE + SETTINGS.len()..];
    assert_eq!(
        (headers[3], headers[4] & END_HEADERS),
        (HEADERS, END_HEADERS)
    );
    Decoder::new().decode(&headers[FRAME_HEADER..]).unwrap()
}

#[test]
fn headers_in_pieces_with_padding_come_out_whole_with_a_good_authority() {
    let block = block("%2Fvar%2Flib%2Fkubelet%2Fx.sock");
    let (first, second) = block.split_at(7);
    let mut padded = vec![3, 0, 0, 0, 0, 16];
    padded.extend_from_slice(first);
    padded.extend([0; 3]);
    let mut sent = [PREFACE_BYTES, &SETTINGS].concat();
    sent.extend(frame(HEADERS, PADDED | PRIORITY | END_STREAM, &padded));
    sent.extend(frame(CONTINUATION, END_HEADERS, second));
    for step in [1, 5, 1000] {
        let (mut frames, mut out) = (Frames::default(), Vec::new());
        for piece in sent.chunks(step) {
            frames.pass(piece, &mut out).unwrap();
        }
        let headers = decoded(&out);
        assert!(headers.contains(&(b":authority".to_vec(), b"localhost".to_vec())));
        assert!(headers.contains(&(b":method".to_vec(), b"POST".to_vec())));
        assert_eq!(headers.len(), 6);
    }
}

#[test]
fn a_long_value_keeps_its_length() {
    let long = vec![b'x'; 1000];
    let block = Encoder::new().encode([(&b"a"[..], long.as_slice())]);
    let mut sent = [PREFACE_BYTES, &SETTINGS].concat();
    sent.extend(frame(HEADERS, END_HEADERS, &block));
    let (mut frames, mut out) = (Frames::default(), Vec::new());
    frames.pass(&sent, &mut out).unwrap();
    assert_eq!(decoded(&out), [(b"a".to_vec(), long)]);
}

/// What a kubelet sends, byte for byte, answered by the real service.
async fn status_of(authority: &str) -> u8 {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("reg.sock");
    let listener = crate::serve::bind_private(&path).unwrap();
    let incoming = UnixListenerStream::new(listener).map(|stream| stream.map(AnyAuthority::new));
    let service = RegistrationServer::new(RegistrationService::new(&path));
    let server = tonic::transport::Server::builder().add_service(service);
    let serving = tokio::spawn(server.serve_with_incoming(incoming));
    let mut stream = UnixStream::connect(&path).await.unwrap();
    let mut sent = [PREFACE_BYTES, &SETTINGS].concat();
    sent.extend(frame(HEADERS, END_HEADERS, &block(authority)));
    sent.extend(frame(0, END_STREAM, &[0; 5]));
    stream.write_all(&sent).await.unwrap();
    loop {
        let mut header = [0; FRAME_HEADER];
        stream.read_exact(&mut header).await.unwrap();
        let mut payload = vec![0; usize::from(header[1]) << 8 | usize::from(header[2])];
        stream.read_exact(&mut payload).await.unwrap();
        // The first frame of the stream: headers, or a reset.
        if header[8] == 1 && header[3] != 8 {
            serving.abort();
            return header[3];
        }
    }
}

#[tokio::test]
async fn a_kubelet_is_answered_whatever_it_takes_for_an_authority() {
    for authority in [
        "localhost",
        "/var/lib/kubelet/x.sock",
        "%2Fvar%2Flib%2Fkubelet%2Fx.sock",
    ] {
        assert_eq!(status_of(authority).await, HEADERS, "{authority}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let mut frames = Frames { begun: true, ..Frames::default() };
        // An error closes the connection.
        let _ = frames.pass(&bytes, &mut Vec::new());
    }
}
