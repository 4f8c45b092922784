//! The header of a frame.

/// The most bytes of a frame's payload: a read of 1 MiB as inline bytes, and some fields.
pub const MAX_PAYLOAD: usize = (1 << 20) + (64 << 10);

/// What stands before each payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The length of the payload.
    pub len: u32,
    /// Which message it is.
    pub kind: u8,
    /// Whether a descriptor comes with it.
    pub descriptor: bool,
    /// The request that it is or answers; 0 for what nobody asked.
    pub request: u64,
}

/// Why a header is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The payload would be too long.
    #[error("a frame of {len} bytes; the limit is {MAX_PAYLOAD}")]
    TooLong {
        /// Its length.
        len: u32,
    },
    /// More descriptors than one, or something in the reserved field.
    #[error("the frame's header says what no version of the protocol means")]
    Reserved,
}

impl Header {
    /// The length of an encoded header.
    pub const LEN: usize = 16;

    /// The header's bytes.
    pub fn encode(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..4].copy_from_slice(&self.len.to_le_bytes());
        bytes[4] = self.kind;
        bytes[5] = self.descriptor.into();
        bytes[8..].copy_from_slice(&self.request.to_le_bytes());
        bytes
    }

    /// Reads a header.
    ///
    /// # Errors
    /// [`HeaderError`].
    pub fn decode(bytes: [u8; Self::LEN]) -> Result<Self, HeaderError> {
        let [
            a,
            b,
            c,
            d,
            kind,
            descriptors,
            reserved @ ..,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
        ] = bytes;
        let [.., h, i, j, k, l, m, n, o] = bytes;
        let len = u32::from_le_bytes([a, b, c, d]);
        if len as usize > MAX_PAYLOAD {
            return Err(HeaderError::TooLong { len });
        }
        if descriptors > 1 || reserved != [0, 0] {
            return Err(HeaderError::Reserved);
        }
        Ok(Self {
            len,
            kind,
            descriptor: descriptors == 1,
            request: u64::from_le_bytes([h, i, j, k, l, m, n, o]),
        })
    }
}

/// A whole frame, whose payload is what `encode` appends.
pub(super) fn frame(
    kind: u8,
    request: u64,
    descriptor: bool,
    encode: impl FnOnce(&mut Vec<u8>),
) -> Vec<u8> {
    let mut frame = vec![0; Header::LEN];
    encode(&mut frame);
    let len = frame.len() - Header::LEN;
    debug_assert!(len <= MAX_PAYLOAD, "a message of {len} bytes");
    let header = Header {
        len: u32::try_from(len).unwrap_or(u32::MAX),
        kind,
        descriptor,
        request,
    };
    frame[..Header::LEN].copy_from_slice(&header.encode());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_as_it_was_written() {
        let header = Header {
            len: MAX_PAYLOAD as u32,
            kind: 200,
            descriptor: true,
            request: u64::MAX - 7,
        };
        assert_eq!(Header::decode(header.encode()), Ok(header));
    }

    #[test]
    fn a_header_beyond_the_limits_is_none() {
        let header = Header {
            len: MAX_PAYLOAD as u32 + 1,
            kind: 1,
            descriptor: false,
            request: 1,
        };
        assert!(matches!(
            Header::decode(header.encode()),
            Err(HeaderError::TooLong { .. })
        ));
        for at in [5, 6, 7] {
            let mut bytes = Header { len: 0, ..header }.encode();
            bytes[at] = 2;
            assert_eq!(Header::decode(bytes), Err(HeaderError::Reserved));
        }
    }
}
