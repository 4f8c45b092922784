//! One directory of a cache's bytes.

use std::fs;
use std::path::{Path, PathBuf};

/// A directory and how much it may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tier {
    /// The directory.
    pub dir: PathBuf,
    /// The most bytes in it.
    pub quota: u64,
}

impl Tier {
    /// Removes the directory if it holds no object, for a memory tier that was not needed:
    /// nobody else would ever clear it away. To be called when the store is closed.
    pub fn remove_if_unused(&self) {
        if is_unused(&self.dir) {
            // Out of the way in one step, so that the next mount finds all of it or none.
            let gone = self
                .dir
                .with_extension(format!("gone-{}", std::process::id()));
            let removed = fs::rename(&self.dir, &gone).and_then(|()| fs::remove_dir_all(&gone));
            tracing::debug!(dir = %self.dir.display(), ?removed, "unused memory tier");
        }
    }
}

/// Whether there is no file below a subdirectory: objects are filed in these, and what is
/// beside them only describes the tier.
fn is_unused(dir: &Path) -> bool {
    let Ok(entries) = fs::read_dir(dir) else {
        return false;
    };
    let mut open: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if !entry.path().is_dir() {
                return false;
            }
            open.push(entry.path());
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tier_is_removed_when_it_holds_no_object_and_only_then() {
        let parent = tempfile::tempdir().unwrap();
        let tier = Tier {
            dir: parent.path().join("tier"),
            quota: 1,
        };
        fs::create_dir_all(tier.dir.join("objects/ab")).unwrap();
        fs::write(tier.dir.join("journal"), "records").unwrap();
        fs::write(tier.dir.join("objects/ab/cd"), "content").unwrap();
        tier.remove_if_unused();
        assert!(tier.dir.exists());
        fs::remove_file(tier.dir.join("objects/ab/cd")).unwrap();
        tier.remove_if_unused();
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}
