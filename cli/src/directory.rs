//! The directory that relative paths are seen from.
//!
//! A process in the background works in `/`, and the command line that it shares with its
//! parent was written in another directory. That one may be covered by the mount itself by
//! now, so it is remembered by its name and never entered.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// Where the command line was written, for processes that work elsewhere.
pub(crate) const VARIABLE: &str = "FOREBAY_STARTED_IN";

/// The directory that the command line of this process was written in.
///
/// # Errors
/// If it has gone.
pub(crate) fn written_in() -> io::Result<OsString> {
    match std::env::var_os(VARIABLE) {
        Some(dir) => Ok(dir),
        None => std::env::current_dir().map(PathBuf::into_os_string),
    }
}

/// `path` from the root, as whoever wrote it meant it. Nothing is looked at.
///
/// # Errors
/// If the path is empty, or relative to a directory that has gone.
pub(crate) fn absolute(path: &Path) -> io::Result<PathBuf> {
    if path.is_absolute() || path.as_os_str().is_empty() {
        return std::path::absolute(path);
    }
    std::path::absolute(Path::new(&written_in()?).join(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_path_is_seen_from_the_working_directory() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(absolute(Path::new("a/./b")).unwrap(), here.join("a/b"));
        assert_eq!(absolute(Path::new("/a")).unwrap(), Path::new("/a"));
        assert!(absolute(Path::new("")).is_err());
    }
}
