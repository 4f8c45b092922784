//! From sorted records to a tree, by the [rules](super::key_rules) for odd keys.
//!
//! The records come in the order of their paths, so an object is followed directly by
//! what is below a directory of its name, and everything that concerns a directory comes
//! while it is open. The open directories are the parts of the current path.
//!
//! An object that gives way to a directory has its place further on: `a.forebay-object`
//! comes after `a-b`. It is held until a name that is greater comes. The names held in
//! one directory are few, however many objects give way: a name `n` that comes while
//! `x.forebay-object` is held has `x <= n < x.forebay-object`, so `x` is a prefix of `n`,
//! and a name has at most 255 of those.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::key_rules::{self, EMPTY_NAME};
use super::levels::{Closed, Levels, Node};
use super::merge::Merge;
use super::path::{self, Part};
use super::record::{Origin, Record, RecordBuf};
use super::skipped::SkipLedger;
use super::{Kind, SkipReason};

/// Turns the sorted records into the levels of a tree.
///
/// With `named_sources`, the first part of each path is the name of a source.
pub(super) fn resolve(
    mut sorted: Merge,
    named_sources: bool,
    skips: &mut SkipLedger,
    dir: &Path,
) -> io::Result<Levels> {
    let mut tree = Resolver::new(named_sources, skips, dir)?;
    let mut current = RecordBuf::default();
    let mut ahead = RecordBuf::default();
    let mut more = sorted.next(&mut current)?;
    while more {
        loop {
            more = sorted.next(&mut ahead)?;
            if !more || ahead.path() != current.path() {
                break;
            }
            if ahead.record()?.supersedes(&current.record()?) {
                std::mem::swap(&mut current, &mut ahead);
            }
            tree.skip(&current.record()?, SkipReason::Duplicate);
        }
        tree.add(&current.record()?, if more { ahead.path() } else { &[] })?;
        std::mem::swap(&mut current, &mut ahead);
    }
    tree.finish()
}

/// A directory of the current path.
#[derive(Debug)]
struct OpenDirectory {
    /// Where its path ends in the current path.
    end: usize,
    children: u64,
    newest: Option<i64>,
    /// Whether a real key has the name that is made up for an empty part.
    empty_name_taken: bool,
    /// Objects that gave way to a directory, by the name made up for them.
    held: BTreeMap<Vec<u8>, Held>,
}

/// A file that waits for its place.
#[derive(Debug)]
struct Held {
    source: u16,
    node: Node,
}

#[derive(Debug)]
struct Resolver<'a> {
    named_sources: bool,
    skips: &'a mut SkipLedger,
    levels: Levels,
    /// The directory that was entered last, as a sort path.
    path: Vec<u8>,
    /// The root, and one directory for each part of `path`.
    open: Vec<OpenDirectory>,
}

impl<'a> Resolver<'a> {
    fn new(named_sources: bool, skips: &'a mut SkipLedger, dir: &Path) -> io::Result<Self> {
        let mut levels = Levels::new(dir);
        levels.push(0, &Node::directory(b""))?;
        let open = vec![OpenDirectory::ending_at(0)];
        Ok(Self {
            named_sources,
            skips,
            levels,
            path: Vec::new(),
            open,
        })
    }

    /// Adds a record; `next` is the path of the one behind it, or empty.
    fn add(&mut self, record: &Record<'_>, next: &[u8]) -> io::Result<()> {
        let shared = path::common_len(&self.path, record.path);
        while self.top().end > shared {
            self.leave()?;
        }
        let below = &record.path[self.top().end..];
        let mut parts = path::parts(below).peekable();
        while let Some(part) = parts.next() {
            let source = match record.origin {
                Origin::Object(source) => source,
                Origin::SourceDirectory => {
                    self.enter(part)?;
                    continue;
                }
            };
            let is_marker = part.made_up && record.size == 0 && parts.peek().is_none();
            if is_marker {
                self.top().observe(record.modified);
            } else if part.made_up && self.top().empty_name_taken {
                self.skip(record, SkipReason::NameTaken);
                break;
            } else if parts.peek().is_some() {
                self.enter(part)?;
            } else {
                self.add_file(source, record, part, next)?;
            }
        }
        Ok(())
    }

    /// Enters a directory of the current one, which begins to exist.
    fn enter(&mut self, part: Part<'_>) -> io::Result<()> {
        self.begin_child(part)?;
        self.levels
            .push(self.open.len(), &Node::directory(part.name))?;
        path::push(&mut self.path, part.name, part.made_up);
        self.open.push(OpenDirectory::ending_at(self.path.len()));
        Ok(())
    }

    /// Adds a file to the current directory, or holds it if its name is a directory's.
    fn add_file(
        &mut self,
        source: u16,
        record: &Record<'_>,
        part: Part<'_>,
        next: &[u8],
    ) -> io::Result<()> {
        let mut node = Node {
            kind: Kind::File,
            name: part.name.to_owned(),
            size: record.size,
            modified: record.modified,
            etag: record.etag.to_owned(),
            key: None,
        };
        let is_beside_directory = next.starts_with(record.path);
        if is_beside_directory {
            let Some(name) = key_rules::beside_directory(part.name) else {
                self.skip(record, SkipReason::NameTooLong);
                return Ok(());
            };
            node.name.clone_from(&name);
            node.key = Some(self.key(record.path));
            self.top().held.insert(name, Held { source, node });
            return Ok(());
        }
        if path::parts(record.path).any(|part| part.made_up) {
            node.key = Some(self.key(record.path));
        }
        self.begin_child(part)?;
        self.place_file(&node)
    }

    /// Makes the current directory ready for a child that comes next in order.
    fn begin_child(&mut self, part: Part<'_>) -> io::Result<()> {
        self.release_before(Some(part.name))?;
        let top = self.top();
        top.children += 1;
        top.empty_name_taken |= !part.made_up && part.name == EMPTY_NAME;
        Ok(())
    }

    /// Places the held files whose names come before `name`, or all of them. One whose
    /// name is equal is not shown.
    fn release_before(&mut self, name: Option<&[u8]>) -> io::Result<()> {
        while let Some(first) = self.top().held.first_entry() {
            if name.is_some_and(|name| first.key().as_slice() > name) {
                break;
            }
            let is_taken = name == Some(first.key().as_slice());
            let held = first.remove();
            if is_taken {
                let key = held.node.key.as_deref().unwrap_or_default();
                self.skips.add(held.source, key, SkipReason::NameTaken);
            } else {
                self.top().children += 1;
                self.place_file(&held.node)?;
            }
        }
        Ok(())
    }

    fn place_file(&mut self, node: &Node) -> io::Result<()> {
        self.top().observe(node.modified);
        self.levels.push(self.open.len(), node)
    }

    /// Closes the directory that was entered last.
    fn leave(&mut self) -> io::Result<()> {
        self.release_before(None)?;
        let Some(directory) = self.open.pop() else {
            return Ok(());
        };
        let modified = directory.newest.unwrap_or(0);
        let closed = Closed {
            children: directory.children,
            modified,
        };
        self.levels.close(self.open.len(), closed)?;
        if let Some(parent) = self.open.last_mut() {
            parent.newest = parent.newest.max(directory.newest);
            self.path.truncate(parent.end);
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<Levels> {
        while !self.open.is_empty() {
            self.leave()?;
        }
        Ok(self.levels)
    }

    fn skip(&mut self, record: &Record<'_>, reason: SkipReason) {
        if let Origin::Object(source) = record.origin {
            let key = self.key(record.path);
            self.skips.add(source, &key, reason);
        }
    }

    /// The key below its source of a record with this path.
    fn key(&self, path: &[u8]) -> Vec<u8> {
        let mut parts = path::parts(path);
        let source_len = match self.named_sources {
            true => parts.next().map_or(0, |part| part.encoded_len),
            false => 0,
        };
        path::key(&path[source_len..])
    }

    fn top(&mut self) -> &mut OpenDirectory {
        self.open
            .last_mut()
            .expect("the root is open until the tree is finished")
    }
}

impl OpenDirectory {
    fn ending_at(end: usize) -> Self {
        let held = BTreeMap::new();
        Self {
            end,
            children: 0,
            newest: None,
            empty_name_taken: false,
            held,
        }
    }

    /// Takes note of the modification time of an object below.
    fn observe(&mut self, modified: i64) {
        self.newest = self.newest.max(Some(modified));
    }
}
