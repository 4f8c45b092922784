//! Pages of a directory.

use std::path::Path;

use forebay_core::manifest::SkipReason;
use rustix::fs::{AtFlags, CWD, Dir, DirEntry, FileType, Mode, OFlags, openat, statat};
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
    let fd = match open(path) {
        Ok(fd) => fd,
        Err(Errno::ACCESS | Errno::PERM) if !prefix.is_empty() => {
            page.unservable
                .push(unservable(prefix.to_vec(), SkipReason::NoPermission));
            return Ok(page);
        }
        Err(error) => return Err(failed(what, error)),
    };
    let wrong = |error| failed(what, error);
    let mut dir = Dir::read_from(&fd).map_err(wrong)?;
    if let Some(PageToken(cookie)) = after {
        let cookie = cookie.parse().map_err(|_| failed(what, Errno::INVAL))?;
        dir.seek(cookie).map_err(wrong)?;
    }
    for _ in 0..PAGE_ENTRIES {
        let Some(entry) = dir.read() else {
            page.next = None;
            break;
        };
        let entry = entry.map_err(wrong)?;
        page.next = Some(PageToken(entry.offset().to_string()));
        add(&mut page, &fd, &entry, prefix).map_err(wrong)?;
    }
    Ok(page)
}

fn open(path: &Path) -> Result<rustix::fd::OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty())
}

fn add(
    page: &mut Page,
    dir: &rustix::fd::OwnedFd,
    entry: &DirEntry,
    prefix: &[u8],
) -> Result<(), Errno> {
    let name = entry.file_name();
    if name == c"." || name == c".." {
        return Ok(());
    }
    let key = [prefix, name.to_bytes()].concat();
    let file_type = match entry.file_type() {
        // Some file systems do not say.
        FileType::Unknown => match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => FileType::from_raw_mode(stat.st_mode),
            Err(error) => return vanished(error),
        },
        file_type => file_type,
    };
    if file_type == FileType::Directory {
        page.prefixes.push([&key, &b"/"[..]].concat());
        return Ok(());
    }
    let is_link = file_type == FileType::Symlink;
    if !is_link && file_type != FileType::RegularFile {
        page.unservable.push(unservable(key, SkipReason::NotAFile));
        return Ok(());
    }
    match statat(dir, name, AtFlags::empty()) {
        Ok(stat) => match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => page.objects.push(ListedObject {
                key,
                size: stat.st_size.unsigned_abs(),
                modified: modified(&stat),
                etag: identity(&stat),
            }),
            FileType::Directory => page
                .unservable
                .push(unservable(key, SkipReason::DirectoryLink)),
            other => page.unservable.push(unservable(key, SkipReason::NotAFile)),
        },
        Err(Errno::NOENT | Errno::NOTDIR) if is_link => {
            page.unservable
                .push(unservable(key, SkipReason::BrokenLink));
        }
        Err(Errno::LOOP) => page
            .unservable
            .push(unservable(key, SkipReason::BrokenLink)),
        Err(Errno::ACCESS | Errno::PERM) => {
            page.unservable
                .push(unservable(key, SkipReason::NoPermission));
        }
        Err(error) => return vanished(error),
    }
    Ok(())
}

/// An entry that was removed since the directory was read is no error.
fn vanished(error: Errno) -> Result<(), Errno> {
    if error == Errno::NOENT {
        Ok(())
    } else {
        Err(error)
    }
}

fn unservable(key: Vec<u8>, reason: SkipReason) -> Unservable {
    Unservable { key, reason }
}
