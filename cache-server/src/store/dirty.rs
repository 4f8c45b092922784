//! What was written since the last sync.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::Arc;

use super::object::{Object, Place};

/// With more files than this, one sync of the whole file system is cheaper, and their
/// descriptors need not be kept open.
const MOST_FILES: usize = 64;

/// The objects of a tier whose data may not be durable yet.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    objects: HashMap<u64, Arc<Object>>,
    // By generation; empty once `whole` is set.
    files: HashMap<u64, Arc<File>>,
    whole: bool,
}

impl Dirty {
    /// Objects that an earlier process of this boot wrote and did not sync.
    pub(super) fn inherited(objects: Vec<Arc<Object>>) -> Self {
        let whole = !objects.is_empty();
        let objects = objects
            .into_iter()
            .map(|object| (object.generation, object))
            .collect();
        Self {
            objects,
            files: HashMap::new(),
            whole,
        }
    }

    pub(super) fn add(&mut self, object: &Arc<Object>, file: &Arc<File>) {
        self.objects
            .entry(object.generation)
            .or_insert_with(|| Arc::clone(object));
        if !self.whole {
            self.files
                .entry(object.generation)
                .or_insert_with(|| Arc::clone(file));
            if self.files.len() > MOST_FILES {
                self.files = HashMap::new();
                self.whole = true;
            }
        }
    }

    /// Lets go of an object whose file is unlinked: kept open, it would go on taking up
    /// its room.
    pub(super) fn forget(&mut self, object: &Object) {
        self.objects.remove(&object.generation);
        self.files.remove(&object.generation);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// Makes the data durable. `root` is any file of the same file system.
    pub(super) fn sync(&self, root: &File) -> io::Result<()> {
        if self.whole {
            return Ok(rustix::fs::syncfs(root)?);
        }
        for (generation, file) in &self.files {
            // The data of a file that was removed meanwhile is not worth writing.
            let is_gone = self
                .objects
                .get(generation)
                .is_none_or(|o| o.place() == Place::Gone);
            if !is_gone {
                rustix::fs::fdatasync(&**file)?;
            }
        }
        Ok(())
    }

    pub(super) fn into_objects(self) -> impl Iterator<Item = Arc<Object>> {
        self.objects.into_values()
    }
}
