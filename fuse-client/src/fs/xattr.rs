//! Extended attributes: what is known of a file beyond `stat`.
//!
//! | name | on | value |
//! |---|---|---|
//! | `user.forebay.version` | files, directories | the dataset version, 32 hexadecimal digits |
//! | `user.forebay.etag` | files | the object's ETag as the origin gave it, quotes included |
//! | `user.forebay.key` | files | the object's key below its source's prefix, as raw bytes |
//! | `user.forebay.source` | files | the place of the object, without credentials |
//! | `user.forebay.cached_bytes` | files | bytes of the file that are in the cache, in decimal |

use forebay_core::cache::FileRef;
use forebay_core::manifest::{Kind, ObjectView};

use super::DatasetFs;
use super::epoch::Node;
use super::error::FsError;
use super::inode::Inode;

const VERSION: &[u8] = b"user.forebay.version";
const ETAG: &[u8] = b"user.forebay.etag";
const KEY: &[u8] = b"user.forebay.key";
const SOURCE: &[u8] = b"user.forebay.source";
const CACHED_BYTES: &[u8] = b"user.forebay.cached_bytes";

/// On the plan file alone: what reading it gives (see [`super::control`]).
const PLAN: &[u8] = b"user.forebay.plan";

/// The names as listxattr(2) gives them: each with a NUL behind it.
const FILE_NAMES: &[u8] = b"user.forebay.version\0user.forebay.etag\0user.forebay.key\0\
    user.forebay.source\0user.forebay.cached_bytes\0";
const PLAN_NAMES: &[u8] = b"user.forebay.plan\0";
const DIRECTORY_NAMES: &[u8] = b"user.forebay.version\0";

/// How a value is answered to a caller with a buffer of some size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum XattrAnswer<'a> {
    /// The caller asked how large its buffer must be.
    Size(u32),
    /// The value fits.
    Value(&'a [u8]),
}

/// Decides how `value` is answered to a caller whose buffer has `room` bytes; a room of
/// 0 is the question for the size (getxattr(2), listxattr(2)).
///
/// # Errors
/// [`FsError::BufferTooSmall`] if there is a buffer and the value does not fit.
pub(crate) fn answer(value: &[u8], room: u32) -> Result<XattrAnswer<'_>, FsError> {
    let size = u32::try_from(value.len()).map_err(|_| FsError::BufferTooSmall)?;
    match room {
        0 => Ok(XattrAnswer::Size(size)),
        room if size <= room => Ok(XattrAnswer::Value(value)),
        _ => Err(FsError::BufferTooSmall),
    }
}

impl DatasetFs {
    /// The names of an entry's extended attributes, each with a NUL behind it.
    ///
    /// # Errors
    /// [`FsError::UnknownInode`].
    pub(crate) fn xattr_names(&self, inode: Inode) -> Result<&'static [u8], FsError> {
        if inode.is_control() {
            return Ok(if inode == Inode::PLAN {
                PLAN_NAMES
            } else {
                b""
            });
        }
        Ok(match self.attributes(inode)?.kind {
            Kind::File => FILE_NAMES,
            Kind::Directory => DIRECTORY_NAMES,
        })
    }

    /// The value of one extended attribute.
    ///
    /// # Errors
    /// [`FsError::NoSuchAttribute`], [`FsError::UnknownInode`], and what the cache says
    /// when it is asked how much of a file it holds.
    pub(crate) async fn xattr(&self, inode: Inode, name: &[u8]) -> Result<Vec<u8>, FsError> {
        if inode.is_control() {
            return match (inode, name) {
                (Inode::PLAN, PLAN) => Ok(self.plan_state()),
                _ => Err(FsError::NoSuchAttribute),
            };
        }
        let node = self.epochs.node(inode)?;
        if name == VERSION {
            return Ok(node.manifest.version().to_string().into_bytes());
        }
        let object = node
            .manifest
            .object(node.entry)
            .ok_or(FsError::NoSuchAttribute)?;
        match name {
            ETAG => Ok(object.etag.as_bytes().to_vec()),
            KEY => Ok(object.key.into_owned()),
            SOURCE => source(&node, &object).ok_or(FsError::NoSuchAttribute),
            CACHED_BYTES => self.cached_bytes(&node).await,
            _ => Err(FsError::NoSuchAttribute),
        }
    }

    async fn cached_bytes(&self, node: &Node) -> Result<Vec<u8>, FsError> {
        let file = FileRef {
            version: node.manifest.version(),
            entry: node.entry,
        };
        Ok(self
            .cache
            .cached_bytes(file)
            .await?
            .to_string()
            .into_bytes())
    }
}

fn source(node: &Node, object: &ObjectView<'_>) -> Option<Vec<u8>> {
    let source = node.manifest.sources().nth(usize::from(object.source))?;
    Some(source.url.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::fs::tests::{FILES, fs_with};

    fn value(fs: &DatasetFs, path: &[u8], name: &[u8]) -> Result<Vec<u8>, FsError> {
        let inode = match path {
            b"" => Inode::ROOT,
            name => fs.lookup(Inode::ROOT, name).expect("there").inode,
        };
        fs.xattr(inode, name)
            .now_or_never()
            .expect("the cache answers at once")
    }

    #[test]
    fn every_listed_name_has_a_value() {
        let (_fixture, fs) = fs_with(FILES);
        for path in [&b""[..], b"dir", b"file", b"empty"] {
            let inode = match path {
                b"" => Inode::ROOT,
                name => fs.lookup(Inode::ROOT, name).expect("there").inode,
            };
            let names = fs.xattr_names(inode).expect("known");
            let listed: Vec<&[u8]> = names.split_inclusive(|byte| *byte == 0).collect();
            assert!(!listed.is_empty());
            for name in listed {
                value(&fs, path, &name[..name.len() - 1]).expect("listed, so there");
            }
        }
    }

    #[test]
    fn values_are_what_the_manifest_says() {
        let (_fixture, fs) = fs_with(FILES);
        let version = fs.version().to_string().into_bytes();
        assert_eq!(value(&fs, b"", VERSION).expect("there"), version);
        assert_eq!(value(&fs, b"file", VERSION).expect("there"), version);
        assert_eq!(value(&fs, b"file", KEY).expect("there"), b"file");
        assert_eq!(
            value(&fs, b"file", SOURCE).expect("there"),
            b"test://fixture"
        );
        assert_eq!(value(&fs, b"file", CACHED_BYTES).expect("there"), b"12");
        assert!(value(&fs, b"file", ETAG).expect("there").starts_with(b"\""));
    }

    #[test]
    fn unknown_names_and_object_names_on_directories_do_not_exist() {
        let (_fixture, fs) = fs_with(FILES);
        for (path, name) in [
            (&b"file"[..], &b"user.other"[..]),
            (b"dir", ETAG),
            (b"", KEY),
        ] {
            assert!(matches!(
                value(&fs, path, name),
                Err(FsError::NoSuchAttribute)
            ));
        }
    }

    #[test]
    fn a_buffer_of_no_bytes_asks_for_the_size_and_a_short_one_is_refused() {
        assert_eq!(answer(b"value", 0).expect("probe"), XattrAnswer::Size(5));
        assert_eq!(
            answer(b"value", 5).expect("fits"),
            XattrAnswer::Value(b"value")
        );
        assert!(matches!(answer(b"value", 4), Err(FsError::BufferTooSmall)));
    }
}
