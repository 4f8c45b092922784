//! The environment variables, as they were when a source was opened.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// A copy of the environment. Its values may be secret: they are never shown.
#[derive(Clone, Default)]
pub(super) struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The environment of this process; what is not text is left out.
    pub(super) fn of_process() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    /// A variable; one that is set to nothing counts as not set.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// Whether a variable is set to something that means yes.
    pub(super) fn is_true(&self, name: &str) -> bool {
        self.get(name)
            .is_some_and(|value| value.eq_ignore_ascii_case("true") || value == "1")
    }

    /// The variables whose names start with `prefix`.
    pub(super) fn starting_with(&self, prefix: &str) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .filter(move |(name, value)| name.starts_with(prefix) && !value.is_empty())
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// `text` without the values of variables that hold secrets.
    pub(super) fn without_secrets(&self, mut text: String) -> String {
        const SECRET: [&str; 5] = ["KEY", "SECRET", "TOKEN", "PASSWORD", "SAS"];
        for (name, value) in &self.0 {
            if !value.is_empty() && SECRET.iter().any(|word| name.contains(word)) {
                text = text.replace(value, "…");
            }
        }
        text
    }

    /// A file below the home directory; a relative path if there is none.
    pub(super) fn home_file(&self, path: &str) -> PathBuf {
        PathBuf::from(self.get("HOME").unwrap_or_default()).join(path)
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Self(variables.into_iter().collect())
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(variables: [(&str, &str); N]) -> Self {
        variables
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_is_not_set_and_no_value_is_shown() {
        let environment = Environment::from([("A", ""), ("AB", "hunter2"), ("B", "true")]);
        assert_eq!(environment.get("A"), None);
        assert_eq!(environment.get("AB"), Some("hunter2"));
        assert!(environment.is_true("B") && !environment.is_true("AB"));
        assert_eq!(
            environment.starting_with("A").collect::<Vec<_>>(),
            [("AB", "hunter2")]
        );
        assert!(!format!("{environment:?}").contains("hunter2"));
    }

    #[test]
    fn secrets_are_taken_out_of_a_text() {
        let environment = Environment::from([("MY_KEY", "hunter2"), ("PATH", "bad")]);
        assert_eq!(environment.without_secrets("bad hunter2".into()), "bad …");
    }
}
