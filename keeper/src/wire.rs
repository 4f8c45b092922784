//! Packets as bytes. Decoding takes anything and never panics.

use crate::error::Refusal;
use crate::limits;
use crate::name::Name;

mod fields;

use fields::{Reader, Writer};

/// The version of the protocol that this crate speaks.
pub(crate) const VERSION: u16 = 1;

const MAGIC: [u8; 4] = *b"FBKP";
const HEADER: usize = 12;

const STORE: u16 = 1;
const FETCH: u16 = 2;
const LIST: u16 = 3;
const DROP: u16 = 4;
const REPLY: u16 = 0x8000;
const REFUSED: u16 = 0xffff;

/// What a caller asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Hold the descriptor that comes along, in the place of any of that name.
    Store {
        name: Name,
        handshake: Vec<u8>,
        note: Vec<u8>,
    },
    /// Give a copy of the descriptor.
    Fetch { name: Name },
    /// Say what is held behind a name.
    List { after: Option<Name> },
    /// Hold it no more.
    Drop { name: Name },
}

/// What the keeper answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Stored,
    /// With the descriptor.
    Fetched {
        handshake: Vec<u8>,
        note: Vec<u8>,
    },
    Listed {
        names: Vec<Name>,
    },
    Dropped,
    Refused {
        reason: Refusal,
        text: String,
    },
}

/// Why a packet is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("not a packet of this protocol")]
    Foreign,
    #[error("version {0} of the protocol is not known here, which is {VERSION}")]
    Version(u16),
    #[error("kind {0} is not known")]
    Kind(u16),
    #[error("the length does not fit the packet")]
    Length,
    #[error("a field is missing or too long")]
    Field,
    #[error("a name is none")]
    Name,
}

impl Request {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Store {
                name,
                handshake,
                note,
            } => Writer::new(STORE)
                .field(name.as_str().as_bytes())
                .field(handshake)
                .field(note),
            Self::Fetch { name } => Writer::new(FETCH).field(name.as_str().as_bytes()),
            Self::List { after } => {
                let after = after.as_ref().map_or("", Name::as_str);
                Writer::new(LIST).field(after.as_bytes())
            }
            Self::Drop { name } => Writer::new(DROP).field(name.as_str().as_bytes()),
        }
        .finish()
    }

    pub(crate) fn decode(packet: &[u8]) -> Result<Self, Malformed> {
        let (kind, mut fields) = Reader::open(packet)?;
        let request = match kind {
            STORE => Self::Store {
                name: fields.name()?,
                handshake: fields.field(limits::HANDSHAKE)?.to_vec(),
                note: fields.field(limits::NOTE)?.to_vec(),
            },
            FETCH => Self::Fetch {
                name: fields.name()?,
            },
            LIST => Self::List {
                after: fields.optional_name()?,
            },
            DROP => Self::Drop {
                name: fields.name()?,
            },
            kind => return Err(Malformed::Kind(kind)),
        };
        fields.end().map(|()| request)
    }
}

impl Reply {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Stored => Writer::new(REPLY | STORE),
            Self::Fetched { handshake, note } => {
                Writer::new(REPLY | FETCH).field(handshake).field(note)
            }
            Self::Listed { names } => names
                .iter()
                .fold(Writer::new(REPLY | LIST), |packet, name| {
                    packet.field(name.as_str().as_bytes())
                }),
            Self::Dropped => Writer::new(REPLY | DROP),
            Self::Refused { reason, text } => Writer::new(REFUSED)
                .number(*reason as u16)
                .field(text.as_bytes()),
        }
        .finish()
    }

    pub(crate) fn decode(packet: &[u8]) -> Result<Self, Malformed> {
        const STORED: u16 = REPLY | STORE;
        const FETCHED: u16 = REPLY | FETCH;
        const LISTED: u16 = REPLY | LIST;
        const DROPPED: u16 = REPLY | DROP;
        let (kind, mut fields) = Reader::open(packet)?;
        let reply = match kind {
            STORED => Self::Stored,
            FETCHED => Self::Fetched {
                handshake: fields.field(limits::HANDSHAKE)?.to_vec(),
                note: fields.field(limits::NOTE)?.to_vec(),
            },
            LISTED => Self::Listed {
                names: fields.names()?,
            },
            DROPPED => Self::Dropped,
            REFUSED => Self::Refused {
                reason: Refusal::from_code(fields.number()?),
                text: String::from_utf8_lossy(fields.field(limits::NOTE)?).into_owned(),
            },
            kind => return Err(Malformed::Kind(kind)),
        };
        fields.end().map(|()| reply)
    }
}

#[cfg(test)]
mod tests;
