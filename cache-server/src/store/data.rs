//! Data files: system calls, and nothing about what they mean.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, IoSlice};
use std::num::NonZeroU64;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;

use bytes::Bytes;
use forebay_core::ByteRange;
use forebay_core::cache::Backing;
use forebay_core::chunk::PAGE_SIZE;
use rustix::fs::{Advice, OFlags};
use rustix::io::Errno;

/// The most pieces that one call takes (`IOV_MAX` of Linux).
const MOST_PIECES: usize = 1024;
/// The most bytes that one call takes.
///
/// A file system that knows large folios asks for one of as much memory as a call brings.
/// What is large and free has often not been used for long, and a virtual machine is given it
/// by its host page by page while it is written to: 1 MiB a call took three times as long.
const MOST_BYTES: usize = 256 << 10;

/// Creates a sparse data file of `size` bytes, and the directory it lies in.
pub(super) fn create(path: &Path, size: u64) -> io::Result<File> {
    let mut options = options();
    let options = options.write(true).create(true).truncate(true);
    let file = match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Only this one: if the cache itself was removed, it is not to come back.
            match path
                .parent()
                .map(|dir| DirBuilder::new().mode(0o700).create(dir))
            {
                Some(Err(error)) if error.kind() != io::ErrorKind::AlreadyExists => Err(error)?,
                _ => options.open(path)?,
            }
        }
        opened => opened?,
    };
    if let Err(error) = file.set_len(size) {
        // Left empty it would be taken for a damaged file.
        let _ = fs::remove_file(path);
        return Err(error);
    }
    Ok(file)
}

/// Opens a data file, for reading only where the file system allows no more.
pub(super) fn open(path: &Path) -> io::Result<File> {
    match options().write(true).open(path) {
        Err(error)
            if matches!(
                Errno::from_io_error(&error),
                Some(Errno::ROFS | Errno::ACCESS)
            ) =>
        {
            options().open(path)
        }
        opened => opened,
    }
}

/// Has the kernel read from `file` what is asked for and no more: who reads here has read
/// ahead already, the kernel for the mounted file or a window that was announced. Files that
/// are passed through are opened anew, and read ahead as ever.
pub(super) fn read_exactly(file: &File) {
    // A file system that knows no advice reads on as it likes.
    let _ = rustix::fs::fadvise(file, 0, None, Advice::Random);
}

/// Asks the kernel for the object bytes `range`, where they are not in memory, before somebody
/// reads them.
pub(crate) fn read_into_memory(backing: &Backing, range: ByteRange) {
    let (start, len) = (backing.offset + range.start(), NonZeroU64::new(range.len()));
    // Without it they come more slowly.
    let _ = rustix::fs::fadvise(&*backing.file, start, len, Advice::WillNeed);
}

/// Writes `pieces` one behind the other from `offset` on, without copying them together.
pub(super) fn write_all(file: &File, pieces: &[Bytes], mut offset: u64) -> io::Result<()> {
    let parts = pieces.iter().flat_map(|piece| piece.chunks(MOST_BYTES));
    let mut slices: Vec<_> = parts.map(IoSlice::new).collect();
    let mut rest = &mut slices[..];
    // Skips the empty ones at the front; a write of nothing would look like a full disk.
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        match rustix::io::pwritev(file, &rest[..at_once(rest)], offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                offset += written as u64;
                IoSlice::advance_slices(&mut rest, written);
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// How many of `slices` go with one call: one at least.
fn at_once(slices: &[IoSlice<'_>]) -> usize {
    let mut bytes = 0;
    let fitting = slices.iter().take(MOST_PIECES).take_while(|slice| {
        bytes += slice.len();
        bytes <= MOST_BYTES
    });
    fitting.count().max(1)
}

/// Reads exactly `len` bytes from `offset` on.
pub(super) fn read(file: &File, offset: u64, len: u64) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; len as usize];
    file.read_exact_at(&mut buffer, offset)?;
    Ok(buffer)
}

/// Opens a data file for reading past the page cache.
pub(super) fn open_direct(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::DIRECT;
    let mut options = OpenOptions::new();
    options
        .read(true)
        .custom_flags(flags.bits() as i32)
        .open(path)
}

/// Reads exactly `len` bytes from `offset` on, a multiple of the page size, of a file that
/// [`open_direct`] has opened.
pub(super) fn read_direct(file: &File, offset: u64, len: u64) -> io::Result<Vec<u8>> {
    const PAGE: usize = PAGE_SIZE as usize;
    let len = len as usize;
    let padded = len.next_multiple_of(PAGE);
    let mut buffer = vec![0; padded + PAGE];
    // The kernel wants page-aligned memory.
    let skipped = buffer.as_ptr().align_offset(PAGE).min(PAGE);
    let mut filled = 0;
    while filled < len {
        let free = &mut buffer[skipped + filled..skipped + padded];
        match file.read_at(free, offset + filled as u64) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.copy_within(skipped..skipped + len, 0);
    buffer.truncate(len);
    Ok(buffer)
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    // A link in the place of a data file is not ours to follow.
    options
        .read(true)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits() as i32);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_any_number_and_size_arrive_in_order() {
        let dir = crate::store::tests::scratch();
        let path = dir.path().join("new/file");
        let file = create(&path, 10_000).unwrap();
        let bytes: Vec<u8> = (0..6_000_u32).map(|n| n as u8).collect();
        let mut pieces = vec![Bytes::new(), Bytes::copy_from_slice(&bytes[..3])];
        pieces.extend(bytes[3..].chunks(2).map(Bytes::copy_from_slice));
        pieces.insert(700, Bytes::new());
        write_all(&file, &pieces, 100).unwrap();
        write_all(&file, &[], 0).unwrap();
        let all = fs::read(&path).unwrap();
        assert_eq!(all.len(), 10_000);
        assert_eq!(all[100..6_100], bytes);
        assert!(
            all[..100]
                .iter()
                .chain(&all[6_100..])
                .all(|&byte| byte == 0)
        );
    }

    #[test]
    fn a_link_is_not_followed() {
        let dir = crate::store::tests::scratch();
        fs::write(dir.path().join("target"), "mine").unwrap();
        std::os::unix::fs::symlink("target", dir.path().join("link")).unwrap();
        assert!(open(&dir.path().join("link")).is_err());
        assert!(create(&dir.path().join("link"), 1).is_err());
        assert_eq!(fs::read(dir.path().join("target")).unwrap(), b"mine");
    }
}
