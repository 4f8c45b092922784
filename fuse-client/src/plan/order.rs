//! A plan as an order of files of one version.

use forebay_core::manifest::{EntryId, Kind, Manifest, VersionId};

use super::spec::{PlanError, Sampler, Spec};
use super::{paths, torch};

/// More entries than any epoch of small files has, and 256 MiB of memory.
const MOST_ENTRIES: u64 = 64 << 20;

/// Numbers that are drawn for an epoch and those before it: some ten seconds' worth.
const MOST_DRAWS: u64 = 1 << 32;

/// The order in which files of one version will be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// What the plan is called.
    pub name: String,
    /// The version.
    pub version: VersionId,
    /// Positions in its manifest; a file may come more than once.
    pub(crate) entries: Vec<u32>,
    /// The sum of the files' sizes.
    pub bytes: u64,
}

impl Order {
    /// How many files will be read, each counted as often as it is.
    pub fn len(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Whether nothing will be read.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl Spec {
    /// What the plan means for a version. It takes a second for millions of files.
    ///
    /// # Errors
    /// Every variant of [`PlanError`] that speaks of files.
    pub fn resolve(&self, manifest: &Manifest) -> Result<Order, PlanError> {
        let entries = match (&self.paths, &self.indices) {
            (Some(paths), _) => by_path(manifest, paths)?,
            (None, Some(indices)) => {
                let files = self.files(manifest)?;
                let entry = |&index: &u32| files.get(index as usize).copied().ok_or(index);
                let found: Result<Vec<_>, _> = indices.iter().map(entry).collect();
                found.map_err(|index| PlanError::Index {
                    index,
                    files: files.len() as u64,
                    glob: self.glob.clone(),
                })?
            }
            (None, None) => self.by_seed(&self.files(manifest)?)?,
        };
        at_most("the number of files", entries.len() as u64, MOST_ENTRIES)?;
        let size = |&entry: &u32| manifest.attr(EntryId(entry)).map_or(0, |attr| attr.size);
        Ok(Order {
            name: self.name(),
            version: manifest.version(),
            bytes: entries.iter().map(size).sum(),
            entries,
        })
    }

    fn files(&self, manifest: &Manifest) -> Result<Vec<u32>, PlanError> {
        let files = paths::list(manifest, self.glob.as_deref())?;
        let (found, glob) = (files.len() as u64, self.glob.clone());
        match self.len {
            Some(len) if len != found => Err(PlanError::Length {
                len,
                files: found,
                glob,
            }),
            _ if files.is_empty() => Err(PlanError::NoFiles { glob }),
            _ => Ok(files),
        }
    }

    fn by_seed(&self, files: &[u32]) -> Result<Vec<u32>, PlanError> {
        let n = files.len() as u64;
        at_most("the number of files", n, MOST_ENTRIES.min(torch::TOO_MANY))?;
        let world = self.world.unwrap_or(1);
        let ranks = self.rank.as_slice();
        at_most("the number of ranks", ranks.len() as u64, world.into())?;
        if self.order == Sampler::TorchRandom {
            let draws = n.saturating_mul(self.epoch.saturating_add(1));
            at_most("epoch times files", draws, MOST_DRAWS)?;
        }
        // A seed is there, or the order needs none.
        let (n, seed) = (n as u32, self.seed.unwrap_or_default());
        let order = torch::epoch_order(self.order, n, seed, self.epoch);
        let part = torch::shard(&order, ranks, world, self.drop_last);
        Ok(part.iter().map(|&index| files[index as usize]).collect())
    }
}

fn by_path(manifest: &Manifest, paths: &[String]) -> Result<Vec<u32>, PlanError> {
    let mut entries = Vec::with_capacity(paths.len());
    let (mut missing, mut first) = (0, None);
    for path in paths {
        let below = path.trim_start_matches("./").as_bytes();
        let entry = manifest.resolve(below).filter(|&entry| {
            let attr = manifest.attr(entry);
            attr.is_some_and(|attr| attr.kind == Kind::File)
        });
        match entry {
            Some(entry) => entries.push(entry.0),
            None => {
                missing += 1;
                first.get_or_insert_with(|| path.clone());
            }
        }
    }
    match first {
        Some(first) => Err(PlanError::UnknownPaths {
            missing,
            paths: paths.len(),
            first,
        }),
        None => Ok(entries),
    }
}

fn at_most(what: &'static str, value: u64, most: u64) -> Result<(), PlanError> {
    if value > most {
        return Err(PlanError::TooMany { what, value, most });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory_cache::Fixture;

    fn resolved(spec: &str) -> Result<Vec<String>, PlanError> {
        let names: Vec<String> = (0..10).map(|n| format!("f{n}")).collect();
        let mut files: Vec<(&str, &[u8])> = names
            .iter()
            .map(|name| (name.as_str(), &b"xy"[..]))
            .collect();
        files.push(("dir/other", b"z"));
        let manifest = Fixture::new().version(&files);
        let order = Spec::parse(spec.as_bytes())?.resolve(&manifest)?;
        let paths = order.entries.iter();
        let paths = paths.map(|&entry| manifest.path(EntryId(entry)));
        Ok(paths
            .map(|path| String::from_utf8(path).expect("text"))
            .collect())
    }

    fn refused(spec: &str) -> String {
        resolved(spec).expect_err("refused").to_string()
    }

    #[test]
    fn a_seed_is_the_shuffle_of_the_sorted_list() {
        let order = resolved(r#"{"seed": 0, "glob": "f*", "len": 10}"#).expect("a plan");
        let torch = ["f4", "f1", "f7", "f5", "f3", "f9", "f0", "f8", "f6", "f2"];
        assert_eq!(order, torch);
        let part = resolved(r#"{"seed": 0, "glob": "f*", "rank": 0, "world": 3}"#);
        assert_eq!(part.expect("a plan"), ["f4", "f5", "f0", "f2"]);
    }

    #[test]
    fn lists_are_taken_as_they_are() {
        let paths = resolved(r#"{"paths": ["./f3", "/dir/other", "f3"]}"#);
        assert_eq!(paths.expect("a plan"), ["f3", "dir/other", "f3"]);
        // "dir/other" sorts before "f0".
        let indices = resolved(r#"{"indices": [0, 10, 1]}"#);
        assert_eq!(indices.expect("a plan"), ["dir/other", "f9", "f0"]);
        assert!(resolved(r#"{"paths": []}"#).expect("a plan").is_empty());
    }

    #[test]
    fn what_is_not_in_the_dataset_is_named() {
        let paths = refused(r#"{"paths": ["f1", "nope", "dir", "f2"]}"#);
        assert!(paths.starts_with("2 of 4 paths are no files"), "{paths}");
        assert!(paths.contains("\"nope\""), "{paths}");
        assert!(
            refused(r#"{"indices": [11]}"#)
                .contains("index 11 is not below the number of files, 11")
        );
        let len = refused(r#"{"seed": 1, "len": 10}"#);
        assert!(
            len.contains("len is 10, but the dataset has 11 files"),
            "{len}"
        );
        assert!(
            refused(r#"{"seed": 1, "glob": "x*"}"#)
                .contains("the dataset has no files that match x*")
        );
        let epoch = refused(r#"{"seed": 1, "order": "torch-random", "epoch": 9999999999}"#);
        assert!(epoch.contains("epoch times files is"), "{epoch}");
        let ranks = refused(r#"{"seed": 1, "rank": [0, 0, 0], "world": 2}"#);
        assert!(ranks.contains("number of ranks is 3"), "{ranks}");
    }
}
