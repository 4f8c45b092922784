//! A tier's directory: whose it is, and what its files are called.
//!
//! `LOCK` is locked by the one process that uses the directory and holds its number.
//! `FORMAT` says that this is a cache and how it is laid out; a directory with other
//! files and without it is refused, so that no foreign file is ever touched. `journal`
//! is the index, `objects/ab/` holds the data files of the ids that begin with `ab`, and
//! `packs/` the packs, which need no index.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use forebay_core::ObjectId;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::{StoreError, journal};

const FORMAT: &str = "forebay cache 2\n";
/// The layout without packs. What it holds is read as it is; small objects that come anew
/// are packed.
const FORMAT_WITHOUT_PACKS: &str = "forebay cache 1\n";

/// Names that may lie beside a cache: ours, and what mkfs leaves behind.
const KNOWN_NAMES: [&str; 7] = [
    "LOCK",
    "FORMAT",
    "FORMAT.new",
    "journal",
    "journal.new",
    "objects",
    "packs",
];
const LOST_AND_FOUND: &str = "lost+found";

/// A directory that this process has taken.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// For calls that concern the whole file system.
    root: File,
    // Held for its lock; none once the directory was given back.
    lock: Mutex<Option<File>>,
}

impl Directory {
    /// Takes the directory `path`, which is made if there is none.
    pub(super) fn take(path: &Path) -> Result<Self, StoreError> {
        let context = |action| move |error| StoreError::from_io(path, action, error);
        make_dir(path).map_err(context("create the directory"))?;
        let needs_format = inspect(path)?;
        let lock = lock(path)?;
        if needs_format {
            write_format(path).map_err(context("write FORMAT"))?;
        }
        // After FORMAT: a directory of this name alone would be taken for foreign.
        make_dir(&path.join("objects")).map_err(context("create the directory of objects"))?;
        make_dir(&path.join("packs")).map_err(context("create the directory of packs"))?;
        let root = File::open(path).map_err(context("open the directory"))?;
        Ok(Self {
            path: path.to_path_buf(),
            root,
            lock: Mutex::new(Some(lock)),
        })
    }

    pub(super) fn root(&self) -> &File {
        &self.root
    }

    pub(super) fn journal(&self) -> PathBuf {
        self.path.join("journal")
    }

    pub(super) fn new_journal(&self) -> PathBuf {
        self.path.join("journal.new")
    }

    pub(super) fn objects(&self) -> PathBuf {
        self.path.join("objects")
    }

    /// The data file of one generation of an object.
    pub(super) fn data_file(&self, id: ObjectId, generation: u64) -> PathBuf {
        let mut path = self.objects();
        path.push(format!("{:02x}", id.as_bytes()[0]));
        path.push(format!("{id}-{generation:x}"));
        path
    }

    pub(super) fn packs(&self) -> PathBuf {
        self.path.join("packs")
    }

    /// The file of a pack.
    pub(super) fn pack(&self, generation: u64) -> PathBuf {
        let mut path = self.packs();
        path.push(format!("{generation:x}"));
        path
    }

    /// Removes one generation's data file, if there is one; does nothing once the
    /// directory was given back.
    pub(super) fn unlink(&self, id: ObjectId, generation: u64) -> io::Result<()> {
        self.remove(&self.data_file(id, generation))
    }

    /// Removes a pack as [`unlink`](Self::unlink) removes a data file.
    pub(super) fn unlink_pack(&self, generation: u64) -> io::Result<()> {
        self.remove(&self.pack(generation))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if lock.is_none() {
            return Ok(());
        }
        match fs::remove_file(path) {
            // Gone, or something else by now that has taken the name: not ours to remove.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::IsADirectory
                ) =>
            {
                Ok(())
            }
            removed => removed,
        }
    }

    /// Lets another process have the directory.
    pub(super) fn give_back(&self) {
        self.lock
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }
}

/// The object and generation that a data file belongs to, by its name.
pub(super) fn parse_name(name: &str) -> Option<(ObjectId, u64)> {
    let (id, generation) = name.split_once('-')?;
    let generation = u64::from_str_radix(generation, 16).ok()?;
    let mut bytes = [0; 16];
    if id.len() != 32 || !id.is_ascii() {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(id.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    let id = ObjectId::from_bytes(bytes);
    // Only the one way to write it: "+a" is a number, too.
    (name == format!("{id}-{generation:x}")).then_some((id, generation))
}

/// The generation of the pack of this name.
pub(super) fn parse_pack_name(name: &str) -> Option<u64> {
    let generation = u64::from_str_radix(name, 16).ok()?;
    // Only the one way to write it: "+a" is a number, too.
    (name == format!("{generation:x}")).then_some(generation)
}

/// Makes a directory, and those above it, that only its owner enters: cached bytes may
/// be private.
fn make_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Whether the directory is yet to be made a cache of this layout.
fn inspect(dir: &Path) -> Result<bool, StoreError> {
    let context = |action| move |error| StoreError::from_io(dir, action, error);
    match fs::read_to_string(dir.join("FORMAT")) {
        Ok(found) if found == FORMAT => return Ok(false),
        Ok(found) if found == FORMAT_WITHOUT_PACKS => return Ok(true),
        Ok(found) if found.starts_with("forebay cache ") => {
            let (dir, found) = (dir.to_path_buf(), found.trim_end().to_owned());
            return Err(StoreError::Layout {
                dir,
                found,
                expected: FORMAT.trim_end(),
            });
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
        Err(error) => return Err(context("read FORMAT")(error)),
    }
    for entry in fs::read_dir(dir).map_err(context("list the directory"))? {
        let name = entry.map_err(context("list the directory"))?.file_name();
        let name = name.to_string_lossy();
        if !KNOWN_NAMES.contains(&&*name) && name != LOST_AND_FOUND {
            return Err(StoreError::Foreign {
                dir: dir.to_path_buf(),
                found: name.into_owned(),
            });
        }
    }
    // These are words that others use, too. With them, a FORMAT that is missing or
    // damaged is forgiven only if the journal is one.
    let journal = dir.join("journal");
    let claimed = ["journal", "objects", "packs"];
    let found = claimed.into_iter().find(|name| dir.join(name).exists());
    if let Some(found) = found
        && !journal::is_ours(&journal)
    {
        return Err(StoreError::Foreign {
            dir: dir.to_path_buf(),
            found: found.into(),
        });
    }
    Ok(true)
}

fn lock(dir: &Path) -> Result<File, StoreError> {
    let context = |action| move |error| StoreError::from_io(dir, action, error);
    let mut options = OpenOptions::new();
    let options = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600);
    let mut file = options
        .open(dir.join("LOCK"))
        .map_err(context("open LOCK"))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            return Err(StoreError::InUse {
                dir: dir.to_path_buf(),
                holder: holder(&mut file),
            });
        }
        Err(error) => return Err(context("lock the directory")(error.into())),
    }
    let number = format!("{}\n", std::process::id());
    file.set_len(0).map_err(context("write LOCK"))?;
    file.write_all(number.as_bytes())
        .map_err(context("write LOCK"))?;
    Ok(file)
}

/// Who holds the lock, as far as it can be told.
fn holder(lock: &mut File) -> String {
    let mut text = String::new();
    let number = match lock.read_to_string(&mut text) {
        Ok(_) => text.trim().parse::<u32>().ok(),
        Err(_) => None,
    };
    let Some(number) = number else {
        return "another process".into();
    };
    match fs::read_to_string(format!("/proc/{number}/comm")) {
        Ok(name) => format!("process {number} ({})", name.trim_end()),
        Err(_) => format!("process {number}"),
    }
}

fn write_format(dir: &Path) -> io::Result<()> {
    let new = dir.join("FORMAT.new");
    let mut file = File::create(&new)?;
    file.write_all(FORMAT.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, dir.join("FORMAT"))?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_the_store_gives_are_taken_for_data_files() {
        let id = ObjectId::from_bytes([0xab; 16]);
        let name = format!("{id}-1f");
        assert_eq!(parse_name(&name), Some((id, 0x1f)));
        for foreign in [
            "",
            "notes.txt",
            &name[1..],
            &name.to_uppercase(),
            &name.replace("-1f", "-+1f"),
            &name.replace("-1f", "-01f"),
            &name.replace("-1f", "-1f.bak"),
            &name.replace("ab-", "é-"),
        ] {
            assert_eq!(parse_name(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn only_names_that_the_store_gives_are_taken_for_packs() {
        assert_eq!(parse_pack_name("1f"), Some(0x1f));
        for foreign in ["", "1F", "01f", "+1f", "1f.bak", "notes"] {
            assert_eq!(parse_pack_name(foreign), None, "{foreign}");
        }
    }
}
