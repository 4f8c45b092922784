//! From the levels of a tree to the sections of a manifest.
//!
//! Entries get their positions here: level after level, so that the children of a
//! directory are contiguous and the directories are in the order of their first children.

use std::io;
use std::path::Path;

use super::column::StringWriter;
use super::format::{IS_DIRECTORY, Section};
use super::levels::{Closed, Levels, Node};
use super::skipped::SkipLedger;
use super::spool::Spool;
use super::{Kind, Source, Totals};

/// Writes every section; the stream of a section has its number.
pub(super) fn lay_out(
    levels: &Levels,
    sources: &[Source],
    skips: SkipLedger,
    dir: &Path,
) -> io::Result<Spool> {
    let mut layout = Layout::new(dir);
    for depth in 0..levels.counts().len() {
        layout.add_level(levels, depth)?;
    }
    layout.finish(sources, skips)
}

#[derive(Debug)]
struct Layout {
    spool: Spool,
    names: StringWriter,
    etags: StringWriter,
    /// The position of the next entry.
    next_entry: u64,
    /// The position that the next directory's first child will have.
    next_child: u64,
    odd_bytes: u64,
    totals: Totals,
}

impl Layout {
    fn new(dir: &Path) -> Self {
        Self {
            spool: Spool::new(dir),
            names: StringWriter::new(Section::NameBases, Section::NameOffsets, Section::NameBytes),
            etags: StringWriter::new(Section::EtagBases, Section::EtagOffsets, Section::EtagBytes),
            next_entry: 0,
            next_child: 0,
            odd_bytes: 0,
            totals: Totals::default(),
        }
    }

    fn add_level(&mut self, levels: &Levels, depth: usize) -> io::Result<()> {
        self.next_child = self.next_entry + levels.counts()[depth];
        let mut level = levels.level(depth);
        while let Some((node, closed)) = level.next()? {
            self.names.push(&mut self.spool, &node.name)?;
            self.etags.push(&mut self.spool, &node.etag)?;
            match closed {
                Some(closed) => self.add_directory(closed)?,
                None => self.add_file(&node)?,
            }
            self.next_entry += 1;
        }
        Ok(())
    }

    fn add_directory(&mut self, closed: Closed) -> io::Result<()> {
        for cell in [self.next_child, closed.children, self.next_entry] {
            self.append(Section::Directories, &(cell as u32).to_le_bytes())?;
        }
        self.append(
            Section::Sizes,
            &(IS_DIRECTORY | self.totals.directories).to_le_bytes(),
        )?;
        self.append(Section::Modified, &closed.modified.to_le_bytes())?;
        self.next_child += closed.children;
        self.totals.directories += 1;
        Ok(())
    }

    fn add_file(&mut self, node: &Node) -> io::Result<()> {
        debug_assert_eq!(node.kind, Kind::File);
        self.append(Section::Sizes, &node.size.to_le_bytes())?;
        self.append(Section::Modified, &node.modified.to_le_bytes())?;
        if let Some(key) = &node.key {
            self.append(Section::OddEntries, &(self.next_entry as u32).to_le_bytes())?;
            self.append(Section::OddOffsets, &self.odd_bytes.to_le_bytes())?;
            self.append(Section::OddKeys, key)?;
            self.odd_bytes += key.len() as u64;
        }
        self.totals.files += 1;
        // Sums of sizes near 2^62 can pass 2^64; no store holds that much.
        self.totals.bytes = self.totals.bytes.saturating_add(node.size);
        Ok(())
    }

    fn finish(mut self, sources: &[Source], skips: SkipLedger) -> io::Result<Spool> {
        self.append(Section::OddOffsets, &self.odd_bytes.to_le_bytes())?;
        for text in sources
            .iter()
            .flat_map(|source| [&source.name, &source.url])
        {
            self.append(Section::Sources, &(text.len() as u32).to_le_bytes())?;
            self.append(Section::Sources, text.as_bytes())?;
        }
        let Totals {
            files,
            directories,
            bytes,
            ..
        } = self.totals;
        for count in [files, directories, bytes].iter().chain(skips.counts()) {
            self.append(Section::Summary, &count.to_le_bytes())?;
        }
        self.append(Section::Skipped, &skips.store())?;
        let Self {
            mut spool,
            names,
            etags,
            ..
        } = self;
        names.finish(&mut spool)?;
        etags.finish(&mut spool)?;
        Ok(spool)
    }

    fn append(&mut self, section: Section, bytes: &[u8]) -> io::Result<()> {
        self.spool.append(section as usize, bytes)
    }
}
