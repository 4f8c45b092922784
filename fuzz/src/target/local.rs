//! Frames of the local socket: what a client sends to a cache server, and the other way.

use std::sync::Arc;

use bytes::Bytes;
use forebay_core::ByteRange;
use forebay_core::cache::FileRef;
use forebay_core::manifest::{EntryId, VersionId};
use forebay_proto::local::{
    Attach, Frame, FrameReader, Header, Hello, Presence, Reply, Request, Wanted, Welcome,
};
use forebay_tests::Random;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;

use super::{Target, number};

/// Reads a stream of frames and decodes each.
pub(super) struct Frames {
    runtime: Runtime,
}

impl Frames {
    pub(super) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        Self {
            runtime: runtime.expect("a runtime of one thread"),
        }
    }
}

impl Target for Frames {
    fn name(&self) -> &'static str {
        "local"
    }

    fn seeds(&self) -> Vec<Vec<u8>> {
        let requests = requests().into_iter().map(|request| request.frame(7));
        let replies = replies().into_iter().map(|reply| reply.frame(7, false));
        let mut seeds: Vec<_> = requests.chain(replies).collect();
        seeds.push(seeds.concat());
        seeds
    }

    fn seal(&self, input: &mut Vec<u8>, random: &mut Random) {
        let mut at = 0;
        while at + Header::LEN < input.len() {
            let rest = input.len() - at - Header::LEN;
            // Frames mostly end where they say, and the last one where the input does.
            let len = match number(input, at, 4) as usize {
                len if len > rest || random.below(8) == 0 => rest,
                len => len,
            };
            input[at..at + 4].copy_from_slice(&(len as u32).to_le_bytes());
            input[at + 5..at + 8].fill(0);
            at += Header::LEN + len;
        }
    }

    fn most_memory(&self, len: usize) -> usize {
        // Buffers of the socket's ends, and each field once as bytes and once as text.
        (1 << 20) + 32 * len
    }

    fn read(&mut self, input: &[u8]) {
        self.runtime.block_on(async {
            let (mut ours, theirs) = UnixStream::pair().expect("a pair of sockets");
            let mut reader = FrameReader::new(Arc::new(theirs));
            let write = async {
                // The reader may go before everything is written.
                let _ = ours.write_all(input).await;
                drop(ours);
            };
            let read = async {
                while let Ok(frame) = reader.next().await {
                    decode(&frame);
                }
                drop(reader);
            };
            tokio::join!(write, read);
        });
    }
}

/// What is decoded reads the same when it is encoded again.
fn decode(frame: &Frame) {
    let kind = frame.header.kind;
    if let Ok(request) = Request::decode(kind, &frame.payload) {
        let mut payload = Vec::new();
        request.encode(&mut payload);
        assert_eq!(Request::decode(kind, &payload), Ok(request));
    }
    if let Ok(reply) = Reply::decode(kind, &frame.payload) {
        let mut payload = Vec::new();
        reply.encode(&mut payload);
        assert_eq!(Reply::decode(kind, &Bytes::from(payload)), Ok(reply));
    }
}

fn version() -> VersionId {
    VersionId::from_bytes([0x42; 16])
}

fn requests() -> Vec<Request> {
    let file = FileRef {
        version: version(),
        entry: EntryId(3),
    };
    let attach = |wanted| {
        Request::Attach(Attach {
            dataset: "images".into(),
            wanted,
        })
    };
    let range = ByteRange::new(4096, 1 << 20);
    vec![
        Request::Hello(Hello {
            oldest: 1,
            newest: 1,
            token: [1; 16],
        }),
        attach(Wanted::Latest),
        attach(Wanted::Stored("42424242".into())),
        Request::Lease(file),
        Request::Release(1),
        Request::Ensure { lease: 1, range },
        Request::Whole(1),
        Request::Advise { lease: 1, range },
        Request::CachedBytes(file),
        Request::Report(version()),
        Request::Versions("images".into()),
        Request::Warmup {
            version: version(),
            runs: vec![(1, 2), (9, 1)],
            more: true,
        },
        Request::Cancel,
        Request::Distrust { lease: 1, range },
        Request::Bye,
    ]
}

fn replies() -> Vec<Reply> {
    vec![
        Reply::Welcome(Welcome {
            version: 1,
            server: 5,
            in_flight: 64,
            grace_ms: 30_000,
            usage: Default::default(),
        }),
        Reply::Attached {
            version: version(),
            origin_unreachable: false,
        },
        Reply::Leased {
            lease: 1,
            size: 3 << 20,
            offset: Some(0),
            presence: Presence::Chunks(vec![5]),
        },
        Reply::Backed {
            lease: 1,
            offset: 0,
            chunks: 0..3,
        },
        Reply::Inline {
            more: true,
            bytes: Bytes::from_static(b"bytes"),
        },
        Reply::Report(Default::default()),
        Reply::WarmupProgress(Default::default()),
        Reply::Count(1),
    ]
}
