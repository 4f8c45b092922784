//! Pages of a directory.

use std::path::Path;

use forebay_core::manifest::SkipReason;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, Dir, DirEntry, FileType, Mode, OFlags, Stat, openat, statat};
use rustix::io::Errno;

use super::{failed, identity, modified};
use crate::origin::{Error, ListedObject, Page, PageToken, Unservable};

/// Entries a page: one call of the kernel gives some hundreds.
const PAGE_ENTRIES: usize = 1000;

/// One page of the directory at `path`, whose keys start with `prefix`.
///
/// A page token is the directory's own cookie, valid across opens (an NFS server
/// depends on the same). Whatever depth is asked for, one directory is listed.
pub(super) fn page(
    path: &Path,
    prefix: &[u8],
    after: Option<&PageToken>,
    what: &str,
) -> Result<Page, Error> {
    let mut page = Page::default();
    let wrong = |error| failed(what, error);
    let fd = match open(path) {
        Ok(fd) => fd,
        // Only the source itself must be there; a directory below may come and go.
        Err(error) if !prefix.is_empty() => {
            let found = missing(error, false).map_err(wrong)?;
            add(&mut page, prefix.to_vec(), found);
            return Ok(page);
        }
        Err(error) => return Err(wrong(error)),
    };
    let mut dir = Dir::read_from(&fd).map_err(wrong)?;
    if let Some(PageToken(cookie)) = after {
        let cookie = cookie.parse().map_err(|_| wrong(Errno::INVAL))?;
        dir.seek(cookie).map_err(wrong)?;
    }
    for _ in 0..PAGE_ENTRIES {
        let Some(entry) = dir.read() else {
            page.next = None;
            break;
        };
        let entry = entry.map_err(wrong)?;
        page.next = Some(PageToken(entry.offset().to_string()));
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            let found = look(&fd, &entry).map_err(wrong)?;
            add(&mut page, [prefix, name].concat(), found);
        }
    }
    Ok(page)
}

fn open(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty())
}

fn add(page: &mut Page, mut key: Vec<u8>, found: Found) {
    match found {
        Found::File(stat) => page.objects.push(ListedObject {
            key,
            size: stat.st_size.unsigned_abs(),
            modified: modified(&stat),
            etag: identity(&stat),
        }),
        Found::Directory => {
            key.push(b'/');
            page.prefixes.push(key);
        }
        Found::Unservable(reason) => page.unservable.push(Unservable { key, reason }),
        Found::Nothing => {}
    }
}

/// What an entry turns out to be.
enum Found {
    File(Stat),
    Directory,
    Unservable(SkipReason),
    /// Removed since the directory was read.
    Nothing,
}

fn look(dir: &OwnedFd, entry: &DirEntry) -> Result<Found, Errno> {
    let file_type = match entry.file_type() {
        // Some file systems do not say.
        FileType::Unknown => match statat(dir, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => FileType::from_raw_mode(stat.st_mode),
            Err(error) => return missing(error, false),
        },
        file_type => file_type,
    };
    match file_type {
        FileType::Directory => Ok(Found::Directory),
        FileType::RegularFile | FileType::Symlink => follow(dir, entry, file_type),
        FileType::Fifo
        | FileType::Socket
        | FileType::CharacterDevice
        | FileType::BlockDevice
        | FileType::Unknown => Ok(Found::Unservable(SkipReason::NotAFile)),
    }
}

/// The file itself, or what a link leads to.
fn follow(dir: &OwnedFd, entry: &DirEntry, file_type: FileType) -> Result<Found, Errno> {
    let stat = match statat(dir, entry.file_name(), AtFlags::empty()) {
        Ok(stat) => stat,
        Err(error) => return missing(error, file_type == FileType::Symlink),
    };
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Found::File(stat),
        FileType::Directory => Found::Unservable(SkipReason::DirectoryLink),
        _ => Found::Unservable(SkipReason::NotAFile),
    })
}

/// What an entry is that cannot be looked at.
fn missing(error: Errno, is_link: bool) -> Result<Found, Errno> {
    match error {
        Errno::ACCESS | Errno::PERM => Ok(Found::Unservable(SkipReason::NoPermission)),
        Errno::LOOP => Ok(Found::Unservable(SkipReason::BrokenLink)),
        Errno::NOENT | Errno::NOTDIR if is_link => Ok(Found::Unservable(SkipReason::BrokenLink)),
        Errno::NOENT => Ok(Found::Nothing),
        error => Err(error),
    }
}
