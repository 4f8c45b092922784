//! Reading as a test wants it: at a place, with the errno, past the page cache.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{Advice, fadvise};
use rustix::io::Errno;

/// Opens a file for reads at random: the kernel reads nothing that was not asked for.
///
/// # Errors
/// That of the open.
pub fn open_random(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    fadvise(&file, 0, None, Advice::Random)?;
    Ok(file)
}

/// Opens `path`, and reads `len` bytes at `offset` and no others; fewer at the end.
///
/// # Errors
/// That of the open or the read.
pub fn read_at(path: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let file = open_random(path)?;
    let mut read = 0;
    while read < len {
        match file.read_at(&mut bytes[read..], offset + read as u64)? {
            0 => break,
            more => read += more,
        }
    }
    bytes.truncate(read);
    Ok(bytes)
}

/// Makes the kernel forget the pages of a file, so that the next read asks whoever
/// serves it.
///
/// # Panics
/// If the file cannot be opened.
pub fn drop_pages(path: &Path) {
    let dropped = File::open(path).map(|file| fadvise(&file, 0, None, Advice::DontNeed));
    assert!(matches!(dropped, Ok(Ok(()))), "drop pages: {dropped:?}");
}

/// The errno of a result, if it is an error of the system.
pub fn errno<T>(result: &io::Result<T>) -> Option<Errno> {
    result.as_ref().err().and_then(Errno::from_io_error)
}
