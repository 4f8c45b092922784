//! Frames between the cache servers of a cluster.

use bytes::{Bytes, BytesMut};
use forebay_core::checksum::crc32c;
use forebay_core::{ByteRange, ErrorKind};
use forebay_proto::peer::{Header, MAX_PAYLOAD, ReadRequest, Reply, Request, read_frame};
use forebay_tests::Random;
use tokio::runtime::Runtime;

use super::{Target, number};

const CRC: usize = 8;

/// Reads a stream of frames and decodes each.
pub(super) struct Frames {
    runtime: Runtime,
}

impl Frames {
    pub(super) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        Self {
            runtime: runtime.expect("a runtime of one thread"),
        }
    }
}

impl Target for Frames {
    fn name(&self) -> &'static str {
        "peer"
    }

    fn seeds(&self) -> Vec<Vec<u8>> {
        let mut seeds = vec![
            Request::Hello {
                oldest: 1,
                newest: 1,
                cluster: "forebay".into(),
                member: "10.0.0.1:7440".into(),
            }
            .frame(),
            Request::Ping.frame(),
            Request::Read(ReadRequest {
                origin: "s3://bucket".into(),
                key: b"a/b".to_vec(),
                etag: "\"1\"".into(),
                size: 1 << 30,
                range: ByteRange::new(1 << 20, 2 << 20),
                present_only: true,
            })
            .frame(),
            Reply::Welcome { version: 1 }.frame(),
            Reply::Refused {
                message: "no".into(),
            }
            .frame(),
            Reply::Pong { draining: true }.frame(),
            Reply::Began.frame(),
            Reply::Data(Bytes::from_static(b"bytes of an object")).frame(),
            Reply::End.frame(),
            Reply::Failed {
                kind: ErrorKind::ALL[0],
                message: "gone".into(),
            }
            .frame(),
        ];
        seeds.push(seeds.concat());
        seeds
    }

    fn seal(&self, input: &mut Vec<u8>, random: &mut Random) {
        let mut at = 0;
        while at + Header::LEN <= input.len() {
            let rest = input.len() - at - Header::LEN;
            let len = match number(input, at, 4) as usize {
                len if len > rest || random.below(8) == 0 => rest,
                len => len,
            };
            let crc = crc32c(&input[at + Header::LEN..][..len]);
            input[at..at + 4].copy_from_slice(&(len as u32).to_le_bytes());
            input[at + 5..at + CRC].fill(0);
            input[at + CRC..at + CRC + 4].copy_from_slice(&crc.to_le_bytes());
            input[at + 12..at + 16].fill(0);
            at += Header::LEN + len;
        }
    }

    fn most_memory(&self, len: usize) -> usize {
        // Room is made for what a header announces, before it has come.
        3 * MAX_PAYLOAD + 32 * len
    }

    fn read(&mut self, mut input: &[u8]) {
        self.runtime.block_on(async {
            let mut buffer = BytesMut::new();
            while let Ok((kind, payload)) = read_frame(&mut input, &mut buffer).await {
                decode(kind, payload);
            }
        });
    }
}

/// What is decoded reads the same when it is sent again.
fn decode(kind: u8, payload: Bytes) {
    if let Ok(request) = Request::decode(kind, &payload) {
        let frame = request.frame();
        assert_eq!(Request::decode(kind, &frame[Header::LEN..]), Ok(request));
    }
    if let Ok(reply) = Reply::decode(kind, payload) {
        let frame = Bytes::from(reply.frame());
        assert_eq!(Reply::decode(kind, frame.slice(Header::LEN..)), Ok(reply));
    }
}
