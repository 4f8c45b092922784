//! What somebody says about the future.

use std::fmt;

use serde::Deserialize;

use super::document::MOST_DOCUMENT;

/// A plan as it is given, in JSON.
///
/// One of `paths`, `indices` and `seed` says the order; the other fields belong to `seed`
/// and `indices`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Spec {
    /// What the plan is called; a plan of the same name is replaced. By default the ranks,
    /// so that the processes of one job on one machine have a plan each.
    pub name: Option<String>,
    /// The files in order, as paths below the root. No path at all drops the plan.
    pub paths: Option<Vec<String>>,
    /// The files in order, as places in the list of files.
    pub indices: Option<Vec<u32>>,
    /// The sampler's seed.
    pub seed: Option<i64>,
    /// How many epochs came before.
    pub epoch: u64,
    /// Which part of the epoch is read here: one rank, or several.
    pub rank: Ranks,
    /// In how many parts the epoch is divided.
    pub world: Option<u32>,
    /// Whose shuffle it is.
    pub order: Sampler,
    /// Whether the sampler leaves out what does not divide evenly.
    pub drop_last: bool,
    /// Only files that match are in the list that indices refer to.
    pub glob: Option<String>,
    /// How many files that list has, as a check that both sides mean the same.
    pub len: Option<u64>,
}

/// Whose shuffle a seed stands for.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Sampler {
    /// `torch.utils.data.DistributedSampler(shuffle=True)`: each epoch is a permutation of
    /// its own, seeded with `seed + epoch`.
    #[default]
    Torch,
    /// `torch.utils.data.RandomSampler` with a generator that was seeded with `seed` once:
    /// each epoch goes on where the one before has left the generator.
    TorchRandom,
    /// The list as it is, as `DistributedSampler(shuffle=False)` has it.
    Sequential,
}

/// One rank or several.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(untagged)]
pub enum Ranks {
    /// This one.
    One(u32),
    /// All of these, which read side by side.
    Several(Vec<u32>),
}

impl Default for Ranks {
    fn default() -> Self {
        Self::One(0)
    }
}

impl Ranks {
    pub(super) fn as_slice(&self) -> &[u32] {
        match self {
            Self::One(rank) => std::slice::from_ref(rank),
            Self::Several(ranks) => ranks,
        }
    }
}

impl fmt::Display for Ranks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ranks: Vec<_> = self.as_slice().iter().map(u32::to_string).collect();
        f.write_str(&ranks.join(","))
    }
}

/// Why a plan cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The text is no plan.
    #[error("the plan is not what was expected: {reason}")]
    Syntax {
        /// What is wrong, and where.
        reason: String,
    },
    /// It is longer than anybody needs.
    #[error("the plan is longer than {} MiB; give seed and epoch, or a part of it at a time", MOST_DOCUMENT >> 20)]
    TooLong,
    /// It says nothing, or several things.
    #[error("a plan has one of paths, indices and seed; this one has {found}")]
    NoOrder {
        /// How many.
        found: usize,
    },
    /// A field that does not belong to the others.
    #[error("{field} belongs to a plan with {with}")]
    Misplaced {
        /// The field.
        field: &'static str,
        /// What it needs.
        with: &'static str,
    },
    /// A rank beyond the world.
    #[error("rank {rank} is not below world {world}")]
    Rank {
        /// The rank.
        rank: u32,
        /// The number of ranks.
        world: u32,
    },
    /// A glob that is none.
    #[error("glob {glob:?}: {reason}")]
    Glob {
        /// It.
        glob: String,
        /// What is wrong.
        reason: String,
    },
    /// A path that leads to no file.
    #[error(
        "{missing} of {paths} paths are no files of the dataset, the first is {first:?}; paths are as seen from the mount point"
    )]
    UnknownPaths {
        /// How many lead nowhere.
        missing: usize,
        /// How many there are.
        paths: usize,
        /// The first.
        first: String,
    },
    /// A place behind the end of the list.
    #[error("index {index} is not below the number of files, {files}{}", filtered(.glob))]
    Index {
        /// The index.
        index: u32,
        /// The files in the list.
        files: u64,
        /// What the list was made with.
        glob: Option<String>,
    },
    /// The list has another length than the sampler's dataset.
    #[error("len is {len}, but the dataset has {files} files{}: the indices would mean others", filtered(.glob))]
    Length {
        /// As the plan says.
        len: u64,
        /// As it is.
        files: u64,
        /// What the list was made with.
        glob: Option<String>,
    },
    /// There is nothing to shuffle.
    #[error("the dataset has no files{}", filtered(.glob))]
    NoFiles {
        /// What the list was made with.
        glob: Option<String>,
    },
    /// More than can be worked with.
    #[error("{what} is {value}; at most {most} can be worked with")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How much.
        value: u64,
        /// How much there may be.
        most: u64,
    },
}

fn filtered(glob: &Option<String>) -> String {
    glob.as_ref()
        .map_or_else(String::new, |glob| format!(" that match {glob}"))
}

impl Spec {
    /// The longest document.
    pub const MOST_BYTES: usize = MOST_DOCUMENT;

    /// Parses a JSON document.
    ///
    /// # Errors
    /// [`PlanError::Syntax`] if it is none or has a field that means nothing, and the
    /// variants for fields that contradict each other.
    pub fn parse(document: &[u8]) -> Result<Self, PlanError> {
        if document.len() > MOST_DOCUMENT {
            return Err(PlanError::TooLong);
        }
        let spec: Self = serde_json::from_slice(document).map_err(|error| PlanError::Syntax {
            reason: error.to_string(),
        })?;
        spec.validate()?;
        Ok(spec)
    }

    /// A plan of these paths.
    pub fn of_paths(paths: Vec<String>) -> Self {
        Self {
            paths: Some(paths),
            ..Self::default()
        }
    }

    /// What the plan is called.
    pub fn name(&self) -> String {
        match (&self.name, self.world) {
            (Some(name), _) => name.clone(),
            (None, Some(world)) if world > 1 => format!("rank {} of {world}", self.rank),
            (None, _) => "default".to_owned(),
        }
    }

    fn validate(&self) -> Result<(), PlanError> {
        let orders = [
            self.paths.is_some(),
            self.indices.is_some(),
            self.seed.is_some() || self.order == Sampler::Sequential,
        ];
        let found = orders.iter().filter(|given| **given).count();
        if found != 1 {
            return Err(PlanError::NoOrder { found });
        }
        let with_seed = [
            ("epoch", self.epoch != 0),
            ("drop_last", self.drop_last),
            ("order", self.order != Sampler::default()),
        ];
        let with_list = [("glob", self.glob.is_some()), ("len", self.len.is_some())];
        let misplaced = |fields: &[(&'static str, bool)], with| {
            let given = fields.iter().find(|(_, given)| *given);
            given.map(|&(field, _)| PlanError::Misplaced { field, with })
        };
        let wrong = match (&self.paths, &self.indices) {
            (Some(_), _) => {
                misplaced(&with_seed, "seed").or(misplaced(&with_list, "seed or indices"))
            }
            (_, Some(_)) => misplaced(&with_seed, "seed"),
            _ => None,
        };
        wrong.map_or(Ok(()), Err)?;
        let world = self.world.unwrap_or(1);
        match self.rank.as_slice().iter().find(|&&rank| rank >= world) {
            // A list is one process's own: its rank is part of the name at most.
            Some(&rank) if self.seed.is_some() || world > 1 => Err(PlanError::Rank { rank, world }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(document: &str) -> String {
        Spec::parse(document.as_bytes())
            .expect_err("no plan")
            .to_string()
    }

    #[test]
    fn a_seed_needs_nothing_else_and_takes_epoch_and_rank() {
        let spec = Spec::parse(br#"{"seed": 3}"#).expect("a plan");
        assert_eq!((spec.seed, spec.epoch, spec.world), (Some(3), 0, None));
        assert_eq!(spec.name(), "default");
        let spec = br#"{"seed":0,"epoch":2,"rank":3,"world":8,"order":"torch","glob":"a/**","drop_last":true,"len":9}"#;
        assert_eq!(Spec::parse(spec).expect("a plan").name(), "rank 3 of 8");
        let several = br#"{"seed":0,"rank":[0,1],"world":2,"order":"torch-random"}"#;
        let several = Spec::parse(several).expect("a plan");
        assert_eq!(several.rank.as_slice(), [0, 1]);
        assert_eq!(several.name(), "rank 0,1 of 2");
    }

    #[test]
    fn lists_are_plans() {
        assert!(Spec::parse(br#"{"paths": ["a", "b/c"], "name": "mine"}"#).is_ok());
        assert!(Spec::parse(br#"{"indices": [2, 0, 1], "glob": "*.tar"}"#).is_ok());
        assert!(Spec::parse(br#"{"order": "sequential"}"#).is_ok());
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(told("{").contains("EOF"));
        assert!(told(r#"{"sede": 1}"#).contains("unknown field `sede`"));
        assert!(told("{}").contains("one of paths, indices and seed; this one has 0"));
        assert!(told(r#"{"seed": 1, "paths": []}"#).contains("has 2"));
        assert!(told(r#"{"paths": ["a"], "epoch": 1}"#).contains("epoch belongs to"));
        assert!(told(r#"{"paths": ["a"], "glob": "x"}"#).contains("glob belongs to"));
        assert!(
            told(r#"{"seed": 1, "rank": 8, "world": 8}"#).contains("rank 8 is not below world 8")
        );
        assert!(told(r#"{"seed": 1, "rank": 1}"#).contains("below world 1"));
        assert!(told(r#"{"seed": 1, "order": "tf"}"#).contains("unknown variant"));
        assert!(told(r#"{"indices": [-1]}"#).contains("line 1"));
    }
}
