//! What a manifest does not show, and why.

use std::fmt;

/// Why an object of a listing is not shown; the rules are those of
/// [`key_rules`](super::key_rules).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum SkipReason {
    /// A part of the key is `.` or `..`.
    DotComponent = 0,
    /// A part of the key, or the name made up for it, is longer than 255 bytes.
    NameTooLong = 1,
    /// The key is longer than 65,535 bytes.
    KeyTooLong = 2,
    /// The key has a NUL byte.
    NulByte = 3,
    /// The size is 2^62 bytes or more.
    SizeTooLarge = 4,
    /// The ETag is longer than 1,023 bytes.
    EtagTooLong = 5,
    /// The name made up for the object belongs to another object.
    NameTaken = 6,
    /// The listing has the key more than once, and another listed state of it is shown.
    Duplicate = 7,
}

impl SkipReason {
    /// Every reason, in the order of its stored number.
    pub const ALL: [Self; 8] = [
        Self::DotComponent,
        Self::NameTooLong,
        Self::KeyTooLong,
        Self::NulByte,
        Self::SizeTooLarge,
        Self::EtagTooLong,
        Self::NameTaken,
        Self::Duplicate,
    ];

    /// A short lower-case name, fit for a metric label or a status line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DotComponent => "dot-component",
            Self::NameTooLong => "name-too-long",
            Self::KeyTooLong => "key-too-long",
            Self::NulByte => "nul-byte",
            Self::SizeTooLarge => "size-too-large",
            Self::EtagTooLong => "etag-too-long",
            Self::NameTaken => "name-taken",
            Self::Duplicate => "duplicate",
        }
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One object that is not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skipped<'m> {
    /// The index of its source.
    pub source: u16,
    /// The key as it was listed; cut after 4,096 bytes.
    pub key: &'m [u8],
    /// Why it is not shown.
    pub reason: SkipReason,
}
