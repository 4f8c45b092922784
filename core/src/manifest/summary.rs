//! The small sections of a manifest: read once, when it is opened.

use super::column::cell;
use super::{SkipReason, SourceView, Totals};

/// Counts over a whole manifest.
#[derive(Clone, Debug)]
pub(super) struct Summary {
    pub(super) totals: Totals,
    /// The number of objects for each reason, by the reason's number.
    pub(super) skipped: [u64; SkipReason::ALL.len()],
}

impl Summary {
    /// Reads the stored form; `None` if it is cut off.
    pub(super) fn read(stored: &[u8]) -> Option<Self> {
        let count = |index| cell(stored, index).map(u64::from_le_bytes);
        let mut skipped = [0; SkipReason::ALL.len()];
        for (index, cell) in skipped.iter_mut().enumerate() {
            *cell = count(3 + index)?;
        }
        let totals = Totals {
            files: count(0)?,
            directories: count(1)?,
            bytes: count(2)?,
            skipped: skipped
                .iter()
                .fold(0, |sum, &count| sum.saturating_add(count)),
        };
        Some(Self { totals, skipped })
    }
}

/// The sources of a manifest.
#[derive(Clone, Debug)]
pub(super) struct Sources {
    /// Name and URL, by index.
    list: Vec<(String, String)>,
    /// The index of the source of each top-level directory, in manifest order; empty if
    /// the only source is the whole tree.
    by_position: Vec<u16>,
}

impl Sources {
    /// Reads the stored form; `None` if it is not whole.
    pub(super) fn read(stored: &[u8]) -> Option<Self> {
        let mut list = Vec::new();
        let mut rest = stored;
        while !rest.is_empty() {
            let name = take_text(&mut rest)?;
            let url = take_text(&mut rest)?;
            list.push((name, url));
        }
        let mut by_position: Vec<u16> = (0..u16::try_from(list.len()).ok()?).collect();
        by_position.sort_by_key(|&index| list[usize::from(index)].0.as_str());
        match list.as_slice() {
            [] => return None,
            [(name, _)] if name.is_empty() => by_position.clear(),
            _ => {}
        }
        Some(Self { list, by_position })
    }

    /// The sources, in the order of their index.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = SourceView<'_>> {
        self.list.iter().map(|(name, url)| SourceView { name, url })
    }

    /// See the field.
    pub(super) fn by_position(&self) -> &[u16] {
        &self.by_position
    }
}

fn take_text(rest: &mut &[u8]) -> Option<String> {
    let (len, behind) = rest.split_first_chunk()?;
    let (text, behind) = behind.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    *rest = behind;
    String::from_utf8(text.to_owned()).ok()
}
