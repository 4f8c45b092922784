//! Giving back what the start of a large program has touched.
//!
//! The loader reads a megabyte of relocations, and the kernel maps pages around each one
//! that is needed. None of it is needed again. Pages of a file that were not changed can
//! be dropped: what is used all the same is mapped again, from the page cache.

use std::fs;
use std::ops::Range;

use rustix::mm::{Advice, madvise};

/// Drops every page of this process that can be had from its file again.
pub(crate) fn drop_clean_pages() {
    // Nothing depends on it but the memory that is shown for this process.
    let Ok(maps) = fs::read_to_string("/proc/self/smaps") else {
        return;
    };
    for range in clean_files(&maps) {
        #[expect(unsafe_code, reason = "advice that drops pages could drop changes")]
        // SAFETY: the mapping is of a file, cannot be written to, and has no page of its
        // own: whatever is read there next comes from the file again, as it did before.
        let _ = unsafe {
            madvise(
                std::ptr::with_exposed_provenance_mut(range.start),
                range.len(),
                Advice::LinuxDontNeed,
            )
        };
    }
}

/// The mappings of files that are not writable and were not changed either, as the loader
/// changes those that it relocates (`/proc/self/smaps`, proc(5)).
fn clean_files(maps: &str) -> Vec<Range<usize>> {
    let mut clean = Vec::new();
    let mut current = None;
    for line in maps.lines() {
        if let Some(mapping) = parse(line) {
            current = mapping;
        } else if line.starts_with("Anonymous:")
            && let Some(range) = current.take()
            && line.split_whitespace().nth(1) == Some("0")
        {
            clean.push(range);
        }
    }
    clean
}

/// `start-end permissions offset device inode path`: the range, if it is of a file and
/// cannot be written to. `None` for a line that begins no mapping.
fn parse(line: &str) -> Option<Option<Range<usize>>> {
    let mut fields = line.split_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    let permissions = fields.next()?;
    let is_file = fields.nth(2).is_some_and(|inode| inode != "0");
    let is_fixed = is_file && !permissions.contains('w') && permissions.ends_with('p');
    Some(is_fixed.then_some(start..end))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
1000-3000 r--p 00000000 fe:00 77   /bin/x
Size:                  8 kB
Anonymous:             0 kB
VmFlags: rd mr mw me
3000-4000 r-xp 00002000 fe:00 77   /bin/x
Anonymous:             0 kB
4000-5000 r--p 00003000 fe:00 77   /bin/x
Anonymous:             4 kB
5000-6000 rw-p 00004000 fe:00 77   /bin/x
Anonymous:             0 kB
7000-8000 r--p 00000000 00:00 0
Anonymous:             0 kB
8000-9000 r--s 00000000 fe:00 78   /shared
Anonymous:             0 kB
";

    #[test]
    fn only_pages_that_can_be_had_again_are_dropped() {
        assert_eq!(clean_files(MAPS), [0x1000..0x3000, 0x3000..0x4000]);
    }

    #[test]
    fn a_process_lives_on_without_them() {
        drop_clean_pages();
        let maps = fs::read_to_string("/proc/self/smaps").unwrap();
        assert!(!clean_files(&maps).is_empty());
    }
}
