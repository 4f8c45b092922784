//! How the keys of an object store become paths of a file system.
//!
//! A key is split at every `/` into parts, and each part is shown as a name. Most keys
//! are paths already. For the others these rules hold; "skipped" objects are counted
//! for each [`SkipReason`], and the first of them are listed.
//!
//! | the key | is shown as |
//! |---|---|
//! | has an empty part (`a//b`, `/b`) | the part is a directory called `.forebay-empty` |
//! | ends in `/`, size 0 (a directory marker) | the directory before the `/`, even if nothing is in it; no file |
//! | ends in `/`, with content | a file `.forebay-empty` in the directory before the `/` |
//! | is empty (the prefix of the source itself) | as if it ended in `/`: a marker, or `.forebay-empty`, of the top |
//! | `a`, of any size, while `a/…` exists | the directory keeps the name `a`, the object is `a.forebay-object` |
//! | needs a made-up name (those above) that a real key has in the same directory | skipped, `name-taken`: the real key wins, and so does everything below it |
//! | has a part `.` or `..` | skipped, `dot-component`: no path leads there, and HTTP clients rewrite such requests |
//! | has a part of more than 255 bytes, also with `.forebay-object` added | skipped, `name-too-long` |
//! | is longer than 65,535 bytes | skipped, `key-too-long` |
//! | has a NUL byte | skipped, `nul-byte` |
//! | has `\`, newline, other control characters, bytes that are not UTF-8 | those bytes |
//! | names an object of 0 bytes (no `/` at the end) | an empty file |
//! | names an object of 2^62 bytes or more | skipped, `size-too-large` |
//! | comes with an ETag of more than 1,023 bytes | skipped, `etag-too-long` |
//! | is listed more than once | the state with the newest modification time, then the greatest ETag, then the greatest size; the others are skipped, `duplicate` |
//! | makes a path of more than 4,096 bytes | as any other: reachable by relative steps, though the kernel refuses the whole path in one call |
//!
//! An object that is skipped because of its own key, size or ETag has no effect on
//! others: `a/..` makes no directory `a`. A directory is shown when an object or a
//! marker below it is, and a named source always has its directory.

use super::{Listed, SkipReason};

/// The name made up for an empty part of a key.
pub const EMPTY_NAME: &[u8] = b".forebay-empty";
/// What is added to the name of an object that has the name of a directory.
pub const OBJECT_SUFFIX: &[u8] = b".forebay-object";
/// The longest name in bytes (`NAME_MAX` of Linux).
pub const MAX_NAME_BYTES: usize = 255;
/// The longest key in bytes. The object stores stop at 1,024; a directory tree may not.
pub const MAX_KEY_BYTES: usize = 65_535;
/// The longest ETag in bytes.
pub const MAX_ETAG_BYTES: usize = 1_023;
/// The largest object in bytes; the two bits above it tell directories apart.
pub const MAX_SIZE_BYTES: u64 = (1 << 62) - 1;

/// Whether an object can be shown as far as it alone decides.
pub(super) fn check(object: &Listed<'_>) -> Result<(), SkipReason> {
    if object.key.len() > MAX_KEY_BYTES {
        return Err(SkipReason::KeyTooLong);
    }
    if object.key.contains(&0) {
        return Err(SkipReason::NulByte);
    }
    let mut too_long = false;
    for part in object.key.split(|&byte| byte == b'/') {
        if matches!(part, b"." | b"..") {
            return Err(SkipReason::DotComponent);
        }
        too_long |= part.len() > MAX_NAME_BYTES;
    }
    if too_long {
        return Err(SkipReason::NameTooLong);
    }
    if object.size > MAX_SIZE_BYTES {
        return Err(SkipReason::SizeTooLarge);
    }
    if object.etag.len() > MAX_ETAG_BYTES {
        return Err(SkipReason::EtagTooLong);
    }
    Ok(())
}

/// The name of an object whose own name is that of a directory; `None` if it would be
/// too long.
pub(super) fn beside_directory(name: &[u8]) -> Option<Vec<u8>> {
    let made_up = [name, OBJECT_SUFFIX].concat();
    (made_up.len() <= MAX_NAME_BYTES).then_some(made_up)
}
