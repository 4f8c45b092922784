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
    /// The directories that the include globs begin with, in plain words: all that is
    /// included lies below one of them.
    leads: Vec<String>,
    /// Directories below which everything is excluded.
    closed: GlobSet,
}

impl Filter {
    /// Compiles the globs.
    ///
    /// # Errors
    /// [`InvalidGlob`] for the first one that cannot be understood.
    pub fn new(include: &[String], exclude: &[String]) -> Result<Self, InvalidGlob> {
        let included = compile("--include", include)?;
        let whole = exclude.iter().filter_map(|glob| glob.strip_suffix("/**"));
        // A `\` at the end would take the `/` for itself.
        let whole = whole.filter(|directory| !directory.ends_with('\\'));
        let closed: Vec<_> = whole.map(str::to_owned).collect();
        Ok(Self {
            leads: include.iter().map(|glob| lead(glob).to_owned()).collect(),
            include: (!include.is_empty()).then_some(included),
            exclude: compile("--exclude", exclude)?,
            closed: compile("--exclude", &closed)?,
        })
    }

    /// Whether an object below the directory `path` of the tree (with a `/` at its end)
    /// may belong to the dataset. Where not, nobody needs to list it.
    pub fn reaches(&self, path: &[u8]) -> bool {
        let is_on_the_way =
            |lead: &String| path.starts_with(lead.as_bytes()) || lead.as_bytes().starts_with(path);
        let directory = path.strip_suffix(b"/").unwrap_or(path);
        (self.include.is_none() || self.leads.iter().any(is_on_the_way))
            && !self
                .closed
                .is_match_candidate(&Candidate::from_bytes(directory))
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

/// The directory that a glob begins with, up to the first name with a sign in it that is
/// none of a name.
fn lead(glob: &str) -> &str {
    let plain = glob.find(['*', '?', '[', '{', '\\']).unwrap_or(glob.len());
    &glob[..glob[..plain].rfind('/').map_or(0, |slash| slash + 1)]
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
    use proptest::prelude::*;

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
    fn a_directory_is_reached_on_the_way_to_what_is_included_and_below() {
        let some = filter(&["train/n01*/**", "val/one.jpg"], &[]);
        for reached in ["train/", "train/n01/", "train/n02/", "val/"] {
            assert!(some.reaches(reached.as_bytes()), "{reached}");
        }
        for left_out in ["test/", "trainer/", "val2/"] {
            assert!(!some.reaches(left_out.as_bytes()), "{left_out}");
        }
        assert!(filter(&["**/*.jpg", "a/b"], &[]).reaches(b"test/"));
        assert!(filter(&["{a,b}/c"], &[]).reaches(b"b/"));
        assert!(filter(&[], &[]).reaches(b"a\xff/"));
    }

    #[test]
    fn a_directory_is_not_reached_where_all_below_is_excluded() {
        let most = filter(&[], &["**/.git/**", "tmp/**", "*.bak", "logs/*"]);
        for left_out in ["tmp/", ".git/", "a/b/.git/"] {
            assert!(!most.reaches(left_out.as_bytes()), "{left_out}");
        }
        // Of these only some is excluded, or a file of the name.
        for reached in ["a/tmp/", "tmp2/", "logs/", "x.bak/", ".gitignore/"] {
            assert!(most.reaches(reached.as_bytes()), "{reached}");
        }
    }

    #[test]
    fn a_wrong_glob_is_named_with_its_flag() {
        let error = Filter::new(&[], &["a[".to_owned()]).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("--exclude \"a[\""), "{message}");
    }

    /// Short globs and paths of few names, so that they have to do with each other.
    fn path(part: &'static str) -> impl Strategy<Value = String> {
        proptest::collection::vec(part, 1..4).prop_map(|parts| parts.join("/"))
    }

    proptest! {
        #[test]
        fn every_directory_of_what_is_admitted_is_reached(
            include in proptest::collection::vec(path(r"a|b|\*|\*\*|a\*|\{a,b\}|\\a"), 0..3),
            exclude in proptest::collection::vec(path(r"a|b|\*|\*\*|b\*|\[ab\]|\\b"), 0..3),
            file in path("a|b|ab"),
        ) {
            let filter = Filter::new(&include, &exclude).unwrap();
            if filter.admits(file.as_bytes()) {
                for (slash, _) in file.match_indices('/') {
                    prop_assert!(filter.reaches(&file.as_bytes()[..=slash]), "{slash}");
                }
            }
        }
    }
}
