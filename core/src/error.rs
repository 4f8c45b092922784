//! How an error is classified: what a reader's `errno` becomes, and whether trying
//! again can help.

/// The class of an error, on which callers decide.
///
/// Every match over it is exhaustive, so that a new class will not compile until
/// each decision below has an answer for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ErrorKind {
    /// The named thing does not exist.
    NotFound,
    /// The origin or the system refuses access with these credentials.
    PermissionDenied,
    /// The object at the origin is no longer the pinned version.
    Stale,
    /// The origin asks to slow down (429, 503 SlowDown).
    Throttled,
    /// The origin answers with a server error or cannot be reached.
    Unavailable,
    /// The deadline passed before the answer was complete.
    TimedOut,
    /// Bytes are missing or do not have the expected checksum or length.
    Corrupt,
    /// The request itself is wrong.
    InvalidInput,
    /// No room is left on a device or in a quota.
    NoSpace,
    /// The thing is held by somebody else.
    Busy,
    /// The process is shutting down.
    Cancelled,
    /// Anything else: a defect, or a system error without a better class.
    Internal,
}

impl ErrorKind {
    /// Every class, in the order of declaration.
    pub const ALL: [Self; 12] = [
        Self::NotFound,
        Self::PermissionDenied,
        Self::Stale,
        Self::Throttled,
        Self::Unavailable,
        Self::TimedOut,
        Self::Corrupt,
        Self::InvalidInput,
        Self::NoSpace,
        Self::Busy,
        Self::Cancelled,
        Self::Internal,
    ];

    /// The Linux `errno` that a reader of the mount gets.
    pub const fn errno(self) -> i32 {
        // Values of asm-generic/errno-base.h and errno.h, the same on every
        // architecture that Forebay builds for.
        const ENOENT: i32 = 2;
        const EINTR: i32 = 4;
        const EIO: i32 = 5;
        const EACCES: i32 = 13;
        const EBUSY: i32 = 16;
        const EINVAL: i32 = 22;
        const ESTALE: i32 = 116;
        match self {
            Self::NotFound => ENOENT,
            Self::PermissionDenied => EACCES,
            Self::Stale => ESTALE,
            Self::Busy => EBUSY,
            Self::InvalidInput => EINVAL,
            Self::Cancelled => EINTR,
            // A full cache never reaches a reader: it is read through. Should it
            // come this far all the same, "no space" would mislead on a read.
            Self::Throttled
            | Self::Unavailable
            | Self::TimedOut
            | Self::Corrupt
            | Self::NoSpace
            | Self::Internal => EIO,
        }
    }

    /// Whether the same request may succeed a little later.
    pub const fn is_retryable(self) -> bool {
        match self {
            Self::Throttled | Self::Unavailable | Self::TimedOut | Self::Corrupt => true,
            Self::NotFound
            | Self::PermissionDenied
            | Self::Stale
            | Self::InvalidInput
            | Self::NoSpace
            | Self::Busy
            | Self::Cancelled
            | Self::Internal => false,
        }
    }

    /// A short lower-case name, fit for a metric label or a log field.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::PermissionDenied => "permission_denied",
            Self::Stale => "stale",
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
            Self::TimedOut => "timed_out",
            Self::Corrupt => "corrupt",
            Self::InvalidInput => "invalid_input",
            Self::NoSpace => "no_space",
            Self::Busy => "busy",
            Self::Cancelled => "cancelled",
            Self::Internal => "internal",
        }
    }
}
