//! Which objects a dataset takes: include and exclude globs.

use globset::{Candidate, GlobBuilder, GlobSet, GlobSetBuilder};

/// A glob that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{option} {glob:?}: {reason}")]
pub struct InvalidGlob {
    /// The flag that carried it.
    pub option: &'static str,
    /// The glob.
    pub glob: String,
    /// What is wrong.
    pub reason: String,
}

/// Include and exclude globs over paths in the tree.
///
/// `*` and `?` stay within one name, `**` spans directories. Without an include glob
/// everything is included; exclude wins over include.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    include: Option<GlobSet>,
    exclude: GlobSet,
}

impl Filter {
    /// Compiles the globs.
    ///
    /// # Errors
    /// [`InvalidGlob`] for the first one that cannot be understood.
    pub fn new(include: &[String], exclude: &[String]) -> Result<Self, InvalidGlob> {
        let included = compile("--include", include)?;
        let include = (!include.is_empty()).then_some(included);
        Ok(Self {
            include,
            exclude: compile("--exclude", exclude)?,
        })
    }

    /// Whether the object at `path` of the tree (`directory/name`, no leading `/`)
    /// belongs to the dataset.
    pub fn admits(&self, path: &[u8]) -> bool {
        if self.include.is_none() && self.exclude.is_empty() {
            return true;
        }
        let path = Candidate::from_bytes(path);
        self.include
            .as_ref()
            .is_none_or(|globs| globs.is_match_candidate(&path))
            && !self.exclude.is_match_candidate(&path)
    }
}

fn compile(option: &'static str, globs: &[String]) -> Result<GlobSet, InvalidGlob> {
    let mut set = GlobSetBuilder::new();
    for text in globs {
        let wrong = |reason: String| InvalidGlob {
            option,
            glob: text.clone(),
            reason,
        };
        let glob = GlobBuilder::new(text)
            .literal_separator(true)
            .build()
            .map_err(|error| wrong(error.kind().to_string()))?;
        set.add(glob);
    }
    let wrong = |error: globset::Error| InvalidGlob {
        option,
        glob: globs.join(" "),
        reason: error.kind().to_string(),
    };
    set.build().map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(include: &[&str], exclude: &[&str]) -> Filter {
        let owned = |globs: &[&str]| globs.iter().map(|&g| g.to_owned()).collect::<Vec<_>>();
        Filter::new(&owned(include), &owned(exclude)).unwrap()
    }

    #[test]
    fn without_globs_everything_is_admitted() {
        assert!(filter(&[], &[]).admits(b"a/b\xff"));
    }

    #[test]
    fn one_star_stays_within_a_name_and_two_span_directories() {
        let flat = filter(&["train/*.jpg"], &[]);
        assert!(flat.admits(b"train/a.jpg"));
        assert!(!flat.admits(b"train/n01/a.jpg"));
        assert!(!flat.admits(b"val/a.jpg"));
        let deep = filter(&["**/*.jpg"], &[]);
        assert!(deep.admits(b"a.jpg"));
        assert!(deep.admits(b"train/n01/a\xfe.jpg"));
    }

    #[test]
    fn exclude_wins_over_include() {
        let both = filter(&["train/**"], &["**/.*"]);
        assert!(both.admits(b"train/a"));
        assert!(!both.admits(b"train/.DS_Store"));
    }

    #[test]
    fn a_wrong_glob_is_named_with_its_flag() {
        let error = Filter::new(&[], &["a[".to_owned()]).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("--exclude \"a[\""), "{message}");
    }
}
