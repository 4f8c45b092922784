//! A reader of names.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::Work;

/// Between two entries of a listing now and then, so that listings are half read when
/// something happens.
const PAUSE: Duration = Duration::from_micros(200);

impl Work {
    /// Lists all directories, and looks for a name in each that it does not have.
    pub(super) fn list(&mut self) -> io::Result<()> {
        let files = self.large.iter().chain(&self.small);
        let paths: BTreeSet<String> = files.map(|file| file.path.clone()).collect();
        let mut found = BTreeSet::new();
        let mut open = vec![String::new()];
        while let Some(below) = open.pop() {
            let dir = self.root.join(&below);
            let entries = self.timed(|| fs::read_dir(&dir))?;
            for (number, entry) in entries.enumerate() {
                if self.is_over() {
                    return Ok(());
                }
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                let path = if below.is_empty() {
                    name
                } else {
                    format!("{below}/{name}")
                };
                if self.timed(|| entry.file_type())?.is_dir() {
                    open.push(path);
                } else if !found.insert(path.clone()) {
                    self.fault(format_args!("{path} is listed twice"));
                }
                if number % 16 == 0 {
                    std::thread::sleep(PAUSE);
                }
            }
            self.miss(&dir)?;
        }
        if found != paths {
            let missing: Vec<_> = paths.difference(&found).take(3).collect();
            let foreign: Vec<_> = found.difference(&paths).take(3).collect();
            self.fault(format_args!("listed without {missing:?}, with {foreign:?}"));
        }
        Ok(())
    }

    /// A name that was never asked for, so that the kernel has to ask.
    fn miss(&mut self, dir: &Path) -> io::Result<()> {
        let path = dir.join(format!("absent-{:x}", self.random.word()));
        match self.timed(|| fs::symlink_metadata(&path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(_) => {
                self.fault(format_args!("{} exists", path.display()));
                Ok(())
            }
        }
    }
}
