//! The volumes that the controller service has made: a file each.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use crate::error::{Error, Kind, Phase, Result};
use crate::record::{make_private, names, read_json, remove, write_json};

const PREFIX: &str = "forebay-";
const NOTE: &str = ".json";

/// What is noted about a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Noted {
    /// The name that it was asked for by.
    pub(crate) name: String,
    /// The size that was asked for; 0 if none was.
    pub(crate) capacity_bytes: i64,
    /// Its attributes.
    pub(crate) context: HashMap<String, String>,
}

/// A page of the list.
#[derive(Debug)]
pub(crate) struct Page {
    /// Volumes by their ids, in the order of these.
    pub(crate) volumes: Vec<(String, Noted)>,
    /// What the next page begins with; `None` after the last.
    pub(crate) next: Option<String>,
}

/// The catalogue.
#[derive(Debug)]
pub(crate) struct Catalogue {
    dir: PathBuf,
    /// Held while a volume is made: two calls for one name make one volume.
    making: Mutex<()>,
}

impl Catalogue {
    pub(crate) fn open(dir: PathBuf) -> io::Result<Self> {
        make_private(&dir)?;
        Ok(Self {
            dir,
            making: Mutex::new(()),
        })
    }

    /// Makes a volume; one of that name that is the same is returned instead.
    pub(crate) fn create(&self, wanted: Noted) -> Result<(String, Noted)> {
        let id = format!("{PREFIX}{:032x}", xxh3_128(wanted.name.as_bytes()));
        let _held = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        match read_json::<Noted>(&self.path(&id)) {
            Some(found) if found == wanted => Ok((id, found)),
            Some(_) => {
                let what = "a volume of this name exists with another size or other parameters";
                Err(Error::new(Kind::Conflict, Phase::Catalogue, what).next("choose another name"))
            }
            None => {
                let path = self.path(&id);
                let written = write_json(&path, &wanted);
                written.map_err(|error| Error::system(Phase::Catalogue, "write", &path, error))?;
                Ok((id, wanted))
            }
        }
    }

    /// Forgets a volume; one that is not known is forgotten.
    pub(crate) fn delete(&self, id: &str) -> Result<()> {
        if !is_id(id) {
            return Ok(());
        }
        let path = self.path(id);
        remove(&path).map_err(|error| Error::system(Phase::Catalogue, "remove", &path, error))
    }

    /// The volume of that id.
    pub(crate) fn find(&self, id: &str) -> Result<Noted> {
        let found = is_id(id).then(|| read_json(&self.path(id))).flatten();
        found.ok_or_else(|| Error::new(Kind::NotFound, Phase::Catalogue, "there is no such volume"))
    }

    /// At most `most` volumes (0 for all) from the token `from` on. The token is the id of
    /// the last volume before, which may have been deleted since.
    pub(crate) fn page(&self, from: &str, most: usize) -> Result<Page> {
        if !from.is_empty() && !is_id(from) {
            let what = format!("starting_token is {from:?}, which is none of ours");
            return Err(Error::new(Kind::BadToken, Phase::Catalogue, what));
        }
        let ids = names(&self.dir);
        let ids = ids.map_err(|error| Error::system(Phase::Catalogue, "list", &self.dir, error))?;
        let ids = ids
            .iter()
            .filter_map(|name| name.strip_suffix(NOTE))
            .filter(|id| is_id(id));
        let mut rest = ids.filter(|id| *id > from).peekable();
        let mut volumes: Vec<(String, Noted)> = Vec::new();
        while (most == 0 || volumes.len() < most)
            && let Some(id) = rest.next()
        {
            // One may go between the listing and the look.
            volumes.extend(read_json(&self.path(id)).map(|noted| (id.to_owned(), noted)));
        }
        let last = volumes.last().map(|(id, _)| id.clone());
        let next = rest.peek().and(last);
        Ok(Page { volumes, next })
    }

    fn path(&self, id: &str) -> PathBuf {
        self.dir.join(format!("{id}{NOTE}"))
    }
}

/// Whether `id` is one that this catalogue gives: then it also is a good file name.
fn is_id(id: &str) -> bool {
    let digits = id.strip_prefix(PREFIX).unwrap_or_default();
    digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(name: &str, capacity_bytes: i64) -> Noted {
        Noted {
            name: name.into(),
            capacity_bytes,
            context: HashMap::from([("dataset".into(), "team/images".into())]),
        }
    }

    #[test]
    fn a_name_is_one_volume_however_often_it_is_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let catalogue = Catalogue::open(dir.path().join("volumes")).unwrap();
        let (id, _) = catalogue.create(noted("a", 1)).unwrap();
        assert_eq!(catalogue.create(noted("a", 1)).unwrap().0, id);
        assert_eq!(
            catalogue.create(noted("a", 2)).unwrap_err().kind,
            Kind::Conflict
        );
        assert_eq!(catalogue.find(&id).unwrap().name, "a");
        catalogue.delete(&id).unwrap();
        catalogue.delete(&id).unwrap();
        assert_eq!(catalogue.find(&id).unwrap_err().kind, Kind::NotFound);
    }

    #[test]
    fn pages_have_every_volume_once_even_if_one_is_deleted_in_between() {
        let dir = tempfile::tempdir().unwrap();
        let catalogue = Catalogue::open(dir.path().to_owned()).unwrap();
        for name in ["a", "b", "c", "d", "e"] {
            catalogue.create(noted(name, 0)).unwrap();
        }
        let first = catalogue.page("", 2).unwrap();
        let token = first.next.unwrap();
        catalogue.delete(&first.volumes[1].0).unwrap();
        let second = catalogue.page(&token, 0).unwrap();
        assert_eq!((second.volumes.len(), second.next), (3, None));
        assert_eq!(catalogue.page("", 0).unwrap().volumes.len(), 4);
        assert_eq!(
            catalogue.page("no token", 0).unwrap_err().kind,
            Kind::BadToken
        );
    }

    #[test]
    fn an_id_of_somebody_else_is_no_file_name() {
        let dir = tempfile::tempdir().unwrap();
        let catalogue = Catalogue::open(dir.path().join("volumes")).unwrap();
        std::fs::write(dir.path().join("x.json"), "{}").unwrap();
        catalogue.delete("../x").unwrap();
        assert!(dir.path().join("x.json").exists());
        assert!(catalogue.find("../x").is_err());
    }
}
