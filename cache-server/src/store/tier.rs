use bytes::Bytes;
pub(super) struct NewChunk<'a> { pub(super) index: u64, pub(super) pieces: &'a [Bytes], pub(super) len: u64, pub(super) crc: u32 }
#[derive(Debug)]
pub(super) struct Tier;
pub(super) enum Refusal { NoRoom }
