//! The tree, level by level.
//!
//! Entries arrive depth first. Those of one depth, taken by themselves, arrive in the
//! order in which a walk in breadth would meet them; so one stream for each depth turns
//! the first order into the second without sorting again.

use std::io::{self, BufReader, Read};
use std::path::Path;

use super::Kind;
use super::spool::{Spool, StreamReader};

/// The bytes before a node's name: kind (1), name length (1), ETag length (2), key
/// length (4), size (8), modification time (8), all little-endian.
const HEAD: usize = 24;

/// The key length of a node whose key is its path.
const NO_KEY: u32 = u32::MAX;

/// The length of a stored [`Closed`].
const CLOSED: usize = 16;

/// An entry of the tree before it has a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) name: Vec<u8>,
    pub(super) size: u64,
    pub(super) modified: i64,
    pub(super) etag: Vec<u8>,
    /// The key of a file, if it is not its path.
    pub(super) key: Option<Vec<u8>>,
}

impl Node {
    /// A directory; the rest is known when it is [`Closed`].
    pub(super) fn directory(name: &[u8]) -> Self {
        let (kind, name) = (Kind::Directory, name.to_owned());
        Self {
            kind,
            name,
            size: 0,
            modified: 0,
            etag: Vec::new(),
            key: None,
        }
    }

    fn write(&self, into: &mut Vec<u8>) {
        let key_len = self.key.as_ref().map_or(NO_KEY, |key| key.len() as u32);
        into.push((self.kind == Kind::Directory).into());
        into.push(self.name.len() as u8);
        into.extend_from_slice(&(self.etag.len() as u16).to_le_bytes());
        into.extend_from_slice(&key_len.to_le_bytes());
        into.extend_from_slice(&self.size.to_le_bytes());
        into.extend_from_slice(&self.modified.to_le_bytes());
        into.extend_from_slice(&self.name);
        into.extend_from_slice(&self.etag);
        into.extend_from_slice(self.key.as_deref().unwrap_or_default());
    }

    fn read(input: &mut impl Read) -> io::Result<Self> {
        let [kind] = array(input)?;
        let [name_len] = array(input)?;
        let etag_len = u16::from_le_bytes(array(input)?);
        let key_len = u32::from_le_bytes(array(input)?);
        let size = u64::from_le_bytes(array(input)?);
        let modified = i64::from_le_bytes(array(input)?);
        Ok(Self {
            kind: if kind == 0 {
                Kind::File
            } else {
                Kind::Directory
            },
            name: bytes(input, name_len.into())?,
            size,
            modified,
            etag: bytes(input, etag_len.into())?,
            key: match key_len {
                NO_KEY => None,
                len => Some(bytes(input, len as usize)?),
            },
        })
    }
}

fn array<const N: usize>(input: &mut impl Read) -> io::Result<[u8; N]> {
    let mut array = [0; N];
    input.read_exact(&mut array)?;
    Ok(array)
}

fn bytes(input: &mut impl Read, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// What is known of a directory once all of it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Closed {
    pub(super) children: u64,
    pub(super) modified: i64,
}

/// The entries of a tree by depth; the root has depth 0.
#[derive(Debug)]
pub(super) struct Levels {
    /// Two streams for each depth: the nodes, and what is known of the directories
    /// among them when they close. Both have the directories in the same order.
    spool: Spool,
    counts: Vec<u64>,
    scratch: Vec<u8>,
}

impl Levels {
    /// No entries yet; what does not fit in memory goes to `dir`.
    pub(super) fn new(dir: &Path) -> Self {
        Self {
            spool: Spool::new(dir),
            counts: Vec::new(),
            scratch: Vec::with_capacity(HEAD),
        }
    }

    /// Adds an entry. Entries of one depth come in the order of their paths.
    pub(super) fn push(&mut self, depth: usize, node: &Node) -> io::Result<()> {
        if depth >= self.counts.len() {
            self.counts.resize(depth + 1, 0);
        }
        self.counts[depth] += 1;
        self.scratch.clear();
        node.write(&mut self.scratch);
        self.spool.append(2 * depth, &self.scratch)
    }

    /// Adds what is known of a directory of this depth. Directories of one depth close
    /// in the order in which they were pushed.
    pub(super) fn close(&mut self, depth: usize, closed: Closed) -> io::Result<()> {
        let mut stored = [0; CLOSED];
        stored[..8].copy_from_slice(&closed.children.to_le_bytes());
        stored[8..].copy_from_slice(&closed.modified.to_le_bytes());
        self.spool.append(2 * depth + 1, &stored)
    }

    /// The number of entries of each depth.
    pub(super) fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// The entries of one depth.
    pub(super) fn level(&self, depth: usize) -> Level<'_> {
        Level {
            left: self.counts.get(depth).copied().unwrap_or(0),
            nodes: BufReader::new(self.spool.reader(2 * depth)),
            closed: BufReader::new(self.spool.reader(2 * depth + 1)),
        }
    }
}

/// Reads the entries of one depth.
#[derive(Debug)]
pub(super) struct Level<'l> {
    left: u64,
    nodes: BufReader<StreamReader<'l>>,
    closed: BufReader<StreamReader<'l>>,
}

impl Level<'_> {
    /// The next entry, with what is known of it if it is a directory.
    pub(super) fn next(&mut self) -> io::Result<Option<(Node, Option<Closed>)>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let node = Node::read(&mut self.nodes)?;
        let closed = match node.kind {
            Kind::File => None,
            Kind::Directory => Some(Closed {
                children: u64::from_le_bytes(array(&mut self.closed)?),
                modified: i64::from_le_bytes(array(&mut self.closed)?),
            }),
        };
        Ok(Some((node, closed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_first_in_is_breadth_first_out() {
        let dir = tempfile::tempdir().unwrap();
        let mut levels = Levels::new(dir.path());
        let file = |name: &[u8], key: Option<&[u8]>| Node {
            kind: Kind::File,
            name: name.to_owned(),
            size: 7,
            modified: -5,
            etag: b"e".to_vec(),
            key: key.map(<[u8]>::to_vec),
        };
        let root_closed = Closed {
            children: 2,
            modified: 9,
        };
        let a_closed = Closed {
            children: 1,
            modified: 8,
        };
        levels.push(0, &Node::directory(b"")).unwrap();
        levels.push(1, &Node::directory(b"a")).unwrap();
        levels.push(2, &file(b"x", None)).unwrap();
        levels.close(1, a_closed).unwrap();
        levels.push(1, &file(b"b", Some(b""))).unwrap();
        levels.close(0, root_closed).unwrap();

        assert_eq!(levels.counts(), [1, 2, 1]);
        let mut level = levels.level(1);
        assert_eq!(
            level.next().unwrap(),
            Some((Node::directory(b"a"), Some(a_closed)))
        );
        assert_eq!(level.next().unwrap(), Some((file(b"b", Some(b"")), None)));
        assert_eq!(level.next().unwrap(), None);
        assert_eq!(
            levels.level(2).next().unwrap(),
            Some((file(b"x", None), None))
        );
    }
}
