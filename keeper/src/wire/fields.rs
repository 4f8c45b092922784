//! The header and the fields of a packet.

use super::{HEADER, MAGIC, Malformed, VERSION};
use crate::limits;
use crate::name::Name;

/// A packet that is being written. What goes in is within the limits: the caller of the
/// public functions was held to them.
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn new(kind: u16) -> Self {
        let mut packet = Vec::with_capacity(256);
        packet.extend(MAGIC);
        packet.extend(VERSION.to_le_bytes());
        packet.extend(kind.to_le_bytes());
        packet.extend([0; 4]);
        Self(packet)
    }

    pub(super) fn number(mut self, number: u16) -> Self {
        self.0.extend(number.to_le_bytes());
        self
    }

    pub(super) fn field(self, bytes: &[u8]) -> Self {
        let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        let mut packet = self.number(len);
        packet.0.extend(&bytes[..usize::from(len)]);
        packet
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        let len = u32::try_from(self.0.len() - HEADER).unwrap_or(u32::MAX);
        self.0[8..HEADER].copy_from_slice(&len.to_le_bytes());
        self.0
    }
}

/// What is left of a packet's body.
pub(super) struct Reader<'p>(&'p [u8]);

impl<'p> Reader<'p> {
    /// The kind of a packet, and its body.
    pub(super) fn open(packet: &'p [u8]) -> Result<(u16, Self), Malformed> {
        if packet.len() > limits::PACKET {
            return Err(Malformed::Length);
        }
        let (header, body) = packet
            .split_first_chunk::<HEADER>()
            .ok_or(Malformed::Foreign)?;
        if header[..4] != MAGIC {
            return Err(Malformed::Foreign);
        }
        let version = u16::from_le_bytes([header[4], header[5]]);
        if version != VERSION {
            return Err(Malformed::Version(version));
        }
        let len = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
        if usize::try_from(len) != Ok(body.len()) {
            return Err(Malformed::Length);
        }
        Ok((u16::from_le_bytes([header[6], header[7]]), Self(body)))
    }

    pub(super) fn number(&mut self) -> Result<u16, Malformed> {
        let (number, rest) = self.0.split_first_chunk().ok_or(Malformed::Field)?;
        self.0 = rest;
        Ok(u16::from_le_bytes(*number))
    }

    /// A field of no more than `most` bytes.
    pub(super) fn field(&mut self, most: usize) -> Result<&'p [u8], Malformed> {
        let len = usize::from(self.number()?);
        if len > most {
            return Err(Malformed::Field);
        }
        let (field, rest) = self.0.split_at_checked(len).ok_or(Malformed::Field)?;
        self.0 = rest;
        Ok(field)
    }

    pub(super) fn name(&mut self) -> Result<Name, Malformed> {
        Name::from_bytes(self.field(limits::NAME)?).map_err(|_| Malformed::Name)
    }

    pub(super) fn optional_name(&mut self) -> Result<Option<Name>, Malformed> {
        match self.field(limits::NAME)? {
            [] => Ok(None),
            bytes => Name::from_bytes(bytes)
                .map(Some)
                .map_err(|_| Malformed::Name),
        }
    }

    /// The rest of the body, as names.
    pub(super) fn names(&mut self) -> Result<Vec<Name>, Malformed> {
        let mut names = Vec::new();
        while !self.0.is_empty() {
            if names.len() == limits::PAGE {
                return Err(Malformed::Length);
            }
            names.push(self.name()?);
        }
        Ok(names)
    }

    /// Nothing may follow.
    pub(super) fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Malformed::Length)
        }
    }
}
