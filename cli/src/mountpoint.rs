//! The names of mount points.
//!
//! Nothing here looks into a mount point: a `stat` of one whose server hangs would hang
//! with it.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::directory;

/// How many links in a row are followed, as many as the kernel does.
const MOST_LINKS: usize = 40;

/// The absolute name of a mount point, without links: all names of one directory are
/// one name. What is mounted there is not touched.
///
/// # Errors
/// If the path is empty or the working directory is gone.
pub fn absolute(dir: &Path) -> io::Result<PathBuf> {
    let mut path = directory::absolute(dir)?;
    for _ in 0..MOST_LINKS {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            break;
        };
        // A parent that cannot be resolved is told by whoever needs it.
        let Ok(parent) = parent.canonicalize() else {
            break;
        };
        path = parent.join(name);
        // Asking a directory for its link fails without a question to who serves it.
        let Ok(target) = std::fs::read_link(&path) else {
            break;
        };
        path = parent.join(target);
    }
    Ok(path)
}

/// A short name for a mount point, fit for a file name and the same in every process.
pub fn key(mountpoint: &Path) -> String {
    format!(
        "{:016x}",
        xxhash_rust::xxh3::xxh3_64(mountpoint.as_os_str().as_bytes())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_names_of_a_directory_are_one_name() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap();
        std::os::unix::fs::symlink(&real, real.join("link")).unwrap();
        assert_eq!(absolute(&real.join("link/m")).unwrap(), real.join("m"));
        assert_eq!(absolute(&real.join("./m/")).unwrap(), real.join("m"));
        std::os::unix::fs::symlink("link/m", real.join("far")).unwrap();
        assert_eq!(absolute(&real.join("far")).unwrap(), real.join("m"));
        std::os::unix::fs::symlink("loop", real.join("loop")).unwrap();
        assert_eq!(absolute(&real.join("loop")).unwrap(), real.join("loop"));
        assert_eq!(absolute(Path::new("/")).unwrap(), PathBuf::from("/"));
    }

    #[test]
    fn a_key_is_short_and_differs_between_mount_points() {
        assert_eq!(key(Path::new("/mnt/a")).len(), 16);
        assert_ne!(key(Path::new("/mnt/a")), key(Path::new("/mnt/b")));
    }
}
