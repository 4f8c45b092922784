//! What all tables of options have in common.

use std::path::Path;

use clap::{Args, FromArgMatches};
use toml::Table;

use crate::config::file;

/// A table of options: each is a flag, an environment variable and a key of a config file,
/// under one name and with one parser. `None` in a field is what nobody said.
pub trait OptionTable: Args + FromArgMatches + Default {
    /// The command that has the options.
    const COMMAND: &'static str;
    /// The defaults that are the same on every machine, as they would stand in a config
    /// file; the others are said in the option's manual.
    const DEFAULTS: &'static [(&'static str, &'static str)];
    /// TOML values to show for options whose default is not one fixed value.
    const SAMPLES: &'static [(&'static str, &'static str)];
    /// The key of the tables that the config file may have besides, and their example.
    const TABLES: (&'static str, &'static str);

    /// This layer, and `under` where it says nothing.
    ///
    /// The one place that knows what goes before what: the caller stacks flags and
    /// environment (which the flag parser has already put in order), then the file, then
    /// the defaults.
    fn or(self, under: Self) -> Self;

    /// What the tables of a config file say.
    ///
    /// # Errors
    /// [`file::Error`] for the first key or value that means nothing.
    fn of_tables(path: &Path, tables: &[&Table]) -> Result<Self, file::Error>;

    /// The command that has the options and nothing else, for whoever describes them.
    fn command() -> clap::Command {
        let alone = clap::Command::new(Self::COMMAND)
            .no_binary_name(true)
            .disable_help_flag(true);
        Self::augment_args(alone)
    }

    /// Parses one option from its values, by the parser of its flag. The environment is
    /// not looked at.
    ///
    /// # Errors
    /// That of the flag's parser.
    fn of_key(key: &str, values: &[String]) -> Result<Self, clap::Error> {
        let command = Self::command().mut_args(|arg| arg.env(None::<&'static str>));
        let flags = values.iter().map(|value| format!("--{key}={value}"));
        Self::from_arg_matches(&command.try_get_matches_from(flags)?)
    }

    /// The layer of [`DEFAULTS`](Self::DEFAULTS).
    fn defaults() -> Self {
        Self::DEFAULTS
            .iter()
            .fold(Self::default(), |layer, (key, value)| {
                let one = Self::of_key(key, &[(*value).to_owned()]);
                layer.or(one.expect("a test parses every default"))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{MountOptions, ServerOptions};

    fn is_sound<T: OptionTable>() {
        T::defaults();
        for arg in T::command().get_arguments() {
            let long = arg.get_long().expect("options have long names");
            let variable = format!("FOREBAY_{}", long.replace('-', "_").to_uppercase());
            assert_eq!(
                arg.get_env().and_then(|name| name.to_str()),
                Some(variable.as_str())
            );
            assert!(arg.get_help().is_some(), "{long}");
            assert!(arg.get_help_heading().is_some(), "{long}");
        }
    }

    #[test]
    fn every_option_has_its_environment_variable_and_a_manual_and_every_default_parses() {
        is_sound::<MountOptions>();
        is_sound::<ServerOptions>();
    }
}
