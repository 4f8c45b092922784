//! What the driver notes about its shared mounts: enough to serve one again after its
//! process died, and no more. Each note is a file of its own, written in one step.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom, SystemRandom};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::secrets::Secrets;
use crate::spec::{MountKey, MountSpec};

const SALT: &str = "salt";
const NOTE: &str = "json";

/// What is noted about a shared mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) spec: MountSpec,
    pub(crate) secrets: Secrets,
}

/// The notes of a node.
#[derive(Debug)]
pub(crate) struct Records {
    dir: PathBuf,
    salt: Vec<u8>,
}

impl Records {
    /// Opens the notes in `dir`, and makes it if need be.
    pub(crate) fn open(dir: PathBuf) -> io::Result<Self> {
        make_private(&dir)?;
        let salt = salt(&dir.join(SALT))?;
        Ok(Self { dir, salt })
    }

    /// What fingerprints of secrets are made with on this node.
    pub(crate) fn salt(&self) -> &[u8] {
        &self.salt
    }

    pub(crate) fn write(&self, key: &MountKey, record: &Record) -> io::Result<()> {
        write_json(&self.path(key), record)
    }

    /// The note of that key; `None` if there is none that can be read.
    pub(crate) fn read(&self, key: &MountKey) -> Option<Record> {
        read_json(&self.path(key))
    }

    pub(crate) fn remove(&self, key: &MountKey) -> io::Result<()> {
        remove(&self.path(key))
    }

    /// Every key that something is noted about.
    pub(crate) fn keys(&self) -> io::Result<Vec<MountKey>> {
        let names = names(&self.dir)?;
        let keys = names
            .iter()
            .filter_map(|name| name.strip_suffix(&format!(".{NOTE}")));
        Ok(keys.filter_map(|key| key.parse().ok()).collect())
    }

    fn path(&self, key: &MountKey) -> PathBuf {
        self.dir.join(format!("{key}.{NOTE}"))
    }
}

/// Makes a directory that only its owner can look into.
pub(crate) fn make_private(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Writes a file that only its owner can read, in one step for who reads it.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let draft = path.with_extension("new");
    let mut file = File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&draft)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    file.sync_all()?;
    fs::rename(&draft, path)
}

/// Reads such a file; `None` if there is none, or it is damaged.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let text = fs::read(path).ok()?;
    let read = serde_json::from_slice(&text);
    if let Err(error) = &read {
        tracing::warn!(path = %path.display(), %error, "a damaged note is left alone");
    }
    read.ok()
}

/// Removes a file that may be gone already.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The names of the files in a directory; none if it does not exist.
pub(crate) fn names(dir: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// The salt in `path`, made at first use.
fn salt(path: &Path) -> io::Result<Vec<u8>> {
    const LENGTH: usize = 32;
    if let Some(salt) = read_json::<Vec<u8>>(path)
        && salt.len() == LENGTH
    {
        return Ok(salt);
    }
    let mut salt = vec![0; LENGTH];
    let random = SystemRandom::new();
    random
        .fill(&mut salt)
        .map_err(|_| io::Error::other("no random numbers"))?;
    write_json(path, &salt)?;
    Ok(salt)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::spec;

    #[test]
    fn a_note_is_found_again_and_only_its_owner_can_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::open(dir.path().join("notes")).unwrap();
        let record = Record {
            spec: spec::example(),
            secrets: Secrets::default(),
        };
        let key = MountKey::of(&record.spec, &record.secrets, records.salt());
        records.write(&key, &record).unwrap();
        let again = Records::open(dir.path().join("notes")).unwrap();
        assert_eq!(again.salt(), records.salt());
        assert_eq!(again.keys().unwrap(), std::slice::from_ref(&key));
        assert_eq!(again.read(&key), Some(record));
        let mode = fs::metadata(again.path(&key)).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
        again.remove(&key).unwrap();
        again.remove(&key).unwrap();
        assert_eq!(again.read(&key), None);
    }

    #[test]
    fn a_torn_note_is_no_note() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::open(dir.path().to_owned()).unwrap();
        let key = MountKey::of(&spec::example(), &Secrets::default(), b"");
        fs::write(records.path(&key), "{\"spec\":").unwrap();
        assert_eq!(records.read(&key), None);
    }
}
