//! The manifest as its readers see it.

use std::borrow::Cow;
use std::fs::File;
use std::ops::Range;
use std::path::Path;

use memmap2::Mmap;

use super::column::{self, DIRECTORY_ROW, Strings, cell};
use super::format::{Header, IS_DIRECTORY, SECTIONS, Section};
use super::{
    Attr, EntryId, Error, Kind, ObjectView, Result, SkipReason, Skipped, SourceView, Totals,
    VersionId, skipped, summary, verify,
};

/// An open manifest: a tree of files and directories, answered from a memory-mapped file.
///
/// No method does I/O other than touching the mapping, and but for those that return a
/// `Vec` or a key none allocates. Ids may come from anywhere: one that is out of range has
/// no attributes, no children and an empty name.
///
/// The tree is laid out in breadth: entry 0 is the root, the children of a directory are
/// contiguous and sorted by the bytes of their names, and those of a directory that comes
/// earlier come earlier.
#[derive(Debug)]
pub struct Manifest {
    map: Mmap,
    sections: [Range<usize>; SECTIONS],
    version: VersionId,
    entries: u32,
    summary: summary::Summary,
    sources: summary::Sources,
}

/// A row of the directories.
#[derive(Clone, Copy, Debug)]
struct Directory {
    first_child: u32,
    children: u32,
    entry: u32,
}

impl Manifest {
    /// Opens the manifest at `path`, after reading it once to verify it.
    ///
    /// The file must not be changed or truncated while it is open. A builder never does:
    /// it puts a new file in the place of an old one.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Foreign`], [`Error::UnsupportedFormat`],
    /// [`Error::Truncated`] and [`Error::Damaged`].
    pub fn open(path: &Path) -> Result<Self> {
        let (file, header) = verify::open(path)?;
        // Until it is unmapped; see `is_open`. Without locks nobody can tell.
        let _ = file.try_lock_shared();
        let damaged = |part| Error::Damaged {
            path: path.to_owned(),
            part,
        };
        #[expect(unsafe_code, reason = "a file can only be mapped under a promise")]
        // SAFETY: nothing writes to a published manifest; see the contract above.
        let map = unsafe { Mmap::map(&file) }.map_err(|source| Error::Read {
            path: path.to_owned(),
            source,
        })?;
        let sections = section_ranges(&header);
        let section = |section: Section| map.get(sections[section as usize].clone());
        let summary = section(Section::Summary).and_then(summary::Summary::read);
        let sources = section(Section::Sources).and_then(summary::Sources::read);
        Ok(Self {
            version: header.version,
            entries: u32::try_from(header.entries()).map_err(|_| damaged("number of entries"))?,
            summary: summary.ok_or_else(|| damaged("summary"))?,
            sources: sources.ok_or_else(|| damaged("sources"))?,
            sections,
            map,
        })
    }

    /// Whether a process has the manifest at `path` open, or may have.
    pub fn is_open(path: &Path) -> bool {
        File::open(path)
            .and_then(|file| Ok(file.try_lock()?))
            .is_err()
    }

    /// The dataset version.
    pub fn version(&self) -> VersionId {
        self.version
    }

    /// Counts over the whole manifest.
    pub fn totals(&self) -> Totals {
        self.summary.totals
    }

    /// The sources, in the order of their index.
    pub fn sources(&self) -> impl ExactSizeIterator<Item = SourceView<'_>> {
        self.sources.iter()
    }

    /// The number of entries; at least 1, the root. Ids are below it.
    pub fn len(&self) -> u32 {
        self.entries
    }

    /// Always false: there is a root.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// The attributes of an entry; `None` if there is no such entry.
    pub fn attr(&self, id: EntryId) -> Option<Attr> {
        let size = self.size_cell(id)?;
        let modified = i64::from_le_bytes(cell(self.section(Section::Modified), id.0 as usize)?);
        Some(match size & IS_DIRECTORY {
            0 => Attr {
                kind: Kind::File,
                size,
                modified,
            },
            _ => Attr {
                kind: Kind::Directory,
                size: 0,
                modified,
            },
        })
    }

    /// The child of `dir` called `name`; `None` if there is none or `dir` is no directory.
    pub fn lookup(&self, dir: EntryId, name: &[u8]) -> Option<EntryId> {
        let children = self.children(dir)?;
        let end = children.end;
        let found = column::partition_point(children, |id| self.name(EntryId(id)) < name);
        (found < end && self.name(EntryId(found)) == name).then_some(EntryId(found))
    }

    /// The positions of the children of `dir`, sorted by name; `None` if it is no directory.
    pub fn children(&self, dir: EntryId) -> Option<Range<u32>> {
        let size = self.size_cell(dir)?;
        if size & IS_DIRECTORY == 0 {
            return None;
        }
        let row = u32::try_from(size & !IS_DIRECTORY).ok()?;
        let Directory {
            first_child,
            children,
            ..
        } = self.directory(row)?;
        let end = first_child.saturating_add(children).min(self.entries);
        Some(first_child.min(end)..end)
    }

    /// The name of an entry; empty for the root and for an entry that does not exist.
    pub fn name(&self, id: EntryId) -> &[u8] {
        let names = Strings {
            bases: self.section(Section::NameBases),
            offsets: self.section(Section::NameOffsets),
            bytes: self.section(Section::NameBytes),
        };
        names.get(id.0).unwrap_or_default()
    }

    /// The directory that holds an entry; the root for the root and for an entry that does
    /// not exist.
    pub fn parent(&self, id: EntryId) -> EntryId {
        if id.0 >= self.entries {
            return EntryId::ROOT;
        }
        let rows = (self.section(Section::Directories).len() / DIRECTORY_ROW) as u32;
        let starts_before = |row| {
            self.directory(row)
                .is_some_and(|directory| directory.first_child <= id.0)
        };
        // Of directories that begin at the same child all but the last are empty.
        let row = column::partition_point(0..rows, starts_before).checked_sub(1);
        let parent = row
            .and_then(|row| self.directory(row))
            .map_or(0, |row| row.entry);
        // A parent comes before its children; insisting on it ends every climb.
        EntryId(if parent < id.0 { parent } else { 0 })
    }

    /// The path of an entry below the root, without a leading `/`; empty for the root and
    /// for an entry that does not exist.
    pub fn path(&self, id: EntryId) -> Vec<u8> {
        self.join(&self.lineage(id))
    }

    /// The entry at a path below the root, whose parts are separated by one or more `/`;
    /// the root for the empty path.
    pub fn resolve(&self, path: &[u8]) -> Option<EntryId> {
        path.split(|&byte| byte == b'/')
            .filter(|name| !name.is_empty())
            .try_fold(EntryId::ROOT, |dir, name| self.lookup(dir, name))
    }

    /// The object behind a file; `None` for a directory and for an entry that does not
    /// exist.
    pub fn object(&self, id: EntryId) -> Option<ObjectView<'_>> {
        let Attr {
            kind: Kind::File,
            size,
            ..
        } = self.attr(id)?
        else {
            return None;
        };
        let etags = Strings {
            bases: self.section(Section::EtagBases),
            offsets: self.section(Section::EtagOffsets),
            bytes: self.section(Section::EtagBytes),
        };
        let etag = std::str::from_utf8(etags.get(id.0)?).ok()?;
        let lineage = self.lineage(id);
        let (source, below) = match (self.sources.by_position(), lineage.split_last()) {
            ([], _) => (0, lineage.as_slice()),
            (by_position, Some((top, below))) => {
                (*by_position.get(top.0.checked_sub(1)? as usize)?, below)
            }
            (_, None) => return None,
        };
        let key = match self.odd_key(id) {
            Some(key) => Cow::Borrowed(key),
            None => Cow::Owned(self.join(below)),
        };
        Some(ObjectView {
            source,
            key,
            etag,
            size,
        })
    }

    /// The files, in manifest order.
    pub fn files(&self) -> impl Iterator<Item = EntryId> {
        let is_file = |id: &EntryId| self.size_cell(*id).is_some_and(|s| s & IS_DIRECTORY == 0);
        (0..self.entries).map(EntryId).filter(is_file)
    }

    /// How many objects are not shown, for each reason that occurs.
    pub fn skipped_counts(&self) -> impl Iterator<Item = (SkipReason, u64)> {
        SkipReason::ALL
            .into_iter()
            .zip(self.summary.skipped)
            .filter(|&(_, count)| count > 0)
    }

    /// The first 1,000 objects that are not shown, by source, then key.
    pub fn skipped(&self) -> impl Iterator<Item = Skipped<'_>> {
        skipped::read_stored(self.section(Section::Skipped))
    }

    fn section(&self, section: Section) -> &[u8] {
        self.map
            .get(self.sections[section as usize].clone())
            .unwrap_or_default()
    }

    fn size_cell(&self, id: EntryId) -> Option<u64> {
        cell(self.section(Section::Sizes), id.0 as usize).map(u64::from_le_bytes)
    }

    fn directory(&self, row: u32) -> Option<Directory> {
        let row: [u8; DIRECTORY_ROW] = cell(self.section(Section::Directories), row as usize)?;
        let number = |index| cell(&row, index).map(u32::from_le_bytes);
        Some(Directory {
            first_child: number(0)?,
            children: number(1)?,
            entry: number(2)?,
        })
    }

    /// The entry and the directories above it, without the root.
    fn lineage(&self, id: EntryId) -> Vec<EntryId> {
        let inner = |id: EntryId| (id != EntryId::ROOT && id.0 < self.entries).then_some(id);
        std::iter::successors(inner(id), |&id| inner(self.parent(id))).collect()
    }

    /// The names of a lineage as a path.
    fn join(&self, lineage: &[EntryId]) -> Vec<u8> {
        let names: Vec<_> = lineage.iter().rev().map(|&id| self.name(id)).collect();
        names.join(&b'/')
    }

    /// The key of a file whose key is not its path.
    fn odd_key(&self, id: EntryId) -> Option<&[u8]> {
        let entries = self.section(Section::OddEntries);
        let entry = |index: u32| cell(entries, index as usize).map(u32::from_le_bytes);
        let count = (entries.len() / size_of::<u32>()) as u32;
        let is_before = |index| entry(index).is_some_and(|entry| entry < id.0);
        let found = column::partition_point(0..count, is_before);
        if entry(found) != Some(id.0) {
            return None;
        }
        let offsets = self.section(Section::OddOffsets);
        let offset = |index: u32| {
            let offset = u64::from_le_bytes(cell(offsets, index as usize)?);
            usize::try_from(offset).ok()
        };
        self.section(Section::OddKeys)
            .get(offset(found)?..offset(found + 1)?)
    }
}

/// Where each section lies. The header was compared with the length of the file.
fn section_ranges(header: &Header) -> [Range<usize>; SECTIONS] {
    Section::ALL.map(|section| {
        let Range { start, end } = header.range(section);
        start as usize..end as usize
    })
}
