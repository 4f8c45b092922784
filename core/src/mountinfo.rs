//! The mount table of this process (`/proc/self/mountinfo`, proc(5)).
//!
//! It is read instead of asking the mount points themselves: a question to a mount whose
//! process hangs would hang as well.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

const MOUNTINFO: &str = "/proc/self/mountinfo";

/// One line of the mount table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountEntry {
    /// The device number of the mounted file system, as `major:minor`.
    pub device: String,
    /// The directory of the file system that is seen: `/`, or the one that was bound.
    pub root: PathBuf,
    /// Where it is mounted.
    pub mountpoint: PathBuf,
    /// The type, with the subtype: `fuse.forebay`.
    pub fs_type: String,
    /// What the table calls the source: `forebay:<dataset>`.
    pub source: String,
}

impl MountEntry {
    /// Whether it is served through FUSE.
    pub fn is_fuse(&self) -> bool {
        self.fs_type == "fuse" || self.fs_type.starts_with("fuse.")
    }
}

/// The mount that is seen at `path`, which must be absolute and free of links; `None` if
/// it is no mount point.
///
/// # Errors
/// If the mount table cannot be read.
pub fn mount_at(path: &Path) -> io::Result<Option<MountEntry>> {
    Ok(find(&fs::read(MOUNTINFO)?, path))
}

/// Every mount of this process's namespace, the upper of stacked ones behind the lower.
///
/// # Errors
/// If the mount table cannot be read.
pub fn mounts() -> io::Result<Vec<MountEntry>> {
    Ok(entries(&fs::read(MOUNTINFO)?).collect())
}

/// Of several mounts on one place, the last hides the others.
fn find(table: &[u8], path: &Path) -> Option<MountEntry> {
    entries(table)
        .filter(|entry| entry.mountpoint == path)
        .last()
}

fn entries(table: &[u8]) -> impl Iterator<Item = MountEntry> {
    table.split(|byte| *byte == b'\n').filter_map(parse)
}

/// A line is `id parent major:minor root mountpoint options [tag]... - type source more`.
fn parse(line: &[u8]) -> Option<MountEntry> {
    let mut fields = line.split(|byte| *byte == b' ');
    let device = text(fields.nth(2)?);
    let root = unescape(fields.next()?).into();
    let mountpoint = unescape(fields.next()?).into();
    let mut fields = fields.skip_while(|field| *field != b"-").skip(1);
    let fs_type = text(fields.next()?);
    let source = text(unescape(fields.next()?).as_bytes());
    Some(MountEntry {
        device,
        root,
        mountpoint,
        fs_type,
        source,
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Blanks, newlines and backslashes stand as `\` and three octal digits.
fn unescape(field: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let digits = tail.get(..3).filter(|_| *first == b'\\');
        let octal = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(byte) = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            bytes.push(byte);
            rest = &tail[3..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw\n\
40 22 0:45 / /mnt/a\\040b\\134c ro,nosuid - fuse.forebay forebay:my\\040data ro,user_id=0\n\
41 22 0:46 / /mnt/x rw - tmpfs none rw\n\
42 41 0:47 /sub /mnt/x ro master:1 propagate_from:2 - fuse.sshfs host:/dir ro\n\
broken line\n";

    #[test]
    fn a_mount_is_found_by_its_place_with_blanks_and_all() {
        let found = find(TABLE, Path::new("/mnt/a b\\c")).expect("listed");
        assert_eq!(found.device, "0:45");
        assert_eq!(
            (&*found.fs_type, &*found.source),
            ("fuse.forebay", "forebay:my data")
        );
        assert!(found.is_fuse());
    }

    #[test]
    fn of_stacked_mounts_the_upper_one_is_seen() {
        let found = find(TABLE, Path::new("/mnt/x")).expect("listed");
        assert_eq!((&*found.device, &*found.source), ("0:47", "host:/dir"));
    }

    #[test]
    fn a_bound_directory_is_known_by_its_place_in_the_file_system() {
        let bound: Vec<_> = entries(TABLE).map(|entry| entry.root).collect();
        assert_eq!(bound[3], Path::new("/sub"));
        assert_eq!(bound.len(), 4);
    }

    #[test]
    fn a_plain_directory_is_no_mount() {
        assert_eq!(find(TABLE, Path::new("/mnt")), None);
        assert!(!find(TABLE, Path::new("/")).expect("listed").is_fuse());
    }

    #[test]
    fn the_real_table_has_a_root() {
        assert!(mount_at(Path::new("/")).expect("readable").is_some());
    }
}
