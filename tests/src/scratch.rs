//! Directories for what a test writes, gone when it ends.

use std::env;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A directory of its own below `$FOREBAY_TEST_DIR`, or else the machine's directory for
/// temporary files. It is removed, with all that is in it, when this is dropped.
#[derive(Debug)]
pub struct Scratch(TempDir);

impl Scratch {
    /// A directory on a file system with at least `need` bytes free.
    ///
    /// # Panics
    /// If there is less room, naming both numbers.
    pub fn new(name: &str, need: u64) -> Self {
        let parent = env::var_os("FOREBAY_TEST_DIR").map_or_else(env::temp_dir, PathBuf::from);
        Self::below(&parent, name, need)
    }

    /// [`Self::new`] in memory: below `/dev/shm`.
    pub fn in_memory(name: &str, need: u64) -> Self {
        Self::below(Path::new("/dev/shm"), name, need)
    }

    fn below(parent: &Path, name: &str, need: u64) -> Self {
        let free = free(parent);
        assert!(
            free >= need,
            "{name} needs {need} bytes in {}, which has {free}: make room, or set FOREBAY_TEST_DIR \
             to a directory that has it",
            parent.display()
        );
        let dir = tempfile::Builder::new()
            .prefix(&format!("forebay-{name}-"))
            .tempdir_in(parent)
            .unwrap_or_else(|error| panic!("create a directory in {}: {error}", parent.display()));
        Self(dir)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A directory of this name in it, created if it is not there.
    pub fn dir(&self, name: &str) -> PathBuf {
        let dir = self.path().join(name);
        std::fs::create_dir_all(&dir)
            .unwrap_or_else(|error| panic!("create {}: {error}", dir.display()));
        dir
    }
}

/// The bytes that can still be written below `dir`.
fn free(dir: &Path) -> u64 {
    let stat = rustix::fs::statvfs(dir)
        .unwrap_or_else(|error| panic!("look at the room in {}: {error}", dir.display()));
    stat.f_bavail * stat.f_frsize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scratch_directory_is_removed_with_what_is_in_it() {
        let scratch = Scratch::new("scratch", 1);
        let path = scratch.path().to_owned();
        std::fs::write(scratch.dir("a").join("b"), "c").unwrap();
        drop(scratch);
        assert!(!path.exists());
    }

    #[test]
    #[should_panic(expected = "make room")]
    fn more_than_there_is_fails_in_plain_words() {
        drop(Scratch::new("scratch", u64::MAX));
    }
}
