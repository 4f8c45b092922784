//! The example config file and the reference page, both made from the options
//! themselves.

use std::fmt::Write;

use clap::Arg;

use crate::exit::Exit;
use crate::options::{MountOptions, OptionTable, ServerOptions};

/// A commented config file for the command with the options `T`. `usage` is how the file
/// is used.
pub fn example<T: OptionTable>(usage: &str) -> String {
    let mut text = format!(
        "# Options of `forebay {command}`: {usage}\n\
         #\n\
         # Each is also a flag (--cache-dir) and an environment variable (FOREBAY_CACHE_DIR);\n\
         # both go before this file. A commented line shows the default, or an example\n\
         # where the default is not one fixed value.\n",
        command = T::COMMAND,
    );
    let command = T::command();
    let mut heading = None;
    for arg in command
        .get_arguments()
        .filter(|arg| key(arg) != T::TABLES.0)
    {
        if arg.get_help_heading() != heading {
            heading = arg.get_help_heading();
            push(
                &mut text,
                format_args!("\n## {}\n", heading.unwrap_or_default()),
            );
        }
        push(&mut text, format_args!("\n"));
        comment(&mut text, &manual(arg));
        let key = key(arg);
        push(&mut text, format_args!("# {key} = {}\n", value::<T>(key)));
    }
    text.push_str(T::TABLES.1);
    text
}

/// The example for `forebay mount`.
pub fn mount_example() -> String {
    example::<MountOptions>("forebay mount --config THIS-FILE DIR")
}

/// The example for `forebay cache-server`.
pub fn server_example() -> String {
    example::<ServerOptions>("forebay cache-server --config THIS-FILE")
}

/// The reference page of all options, in Markdown.
pub fn reference() -> String {
    let mut page = String::from(
        "# Configuration\n\n\
         Printed by `forebay config print --reference`. Each option of `forebay mount` and of\n\
         `forebay cache-server` is a flag, an environment variable and a key of the TOML file that\n\
         `--config` names. The flag goes first, then the environment, then the file, then the default.\n",
    );
    tables::<MountOptions>(&mut page);
    page.push_str(
        "\nIn the file, sources are `[[source]]` tables with the keys `name`, `url`, `endpoint`, `region`,\n\
         `path-style` and `anonymous`.\n",
    );
    tables::<ServerOptions>(&mut page);
    page.push_str(
        "\nDatasets are `[[dataset]]` tables with the keys `name`, `url`, `endpoint`, `region`, `path-style`,\n\
         `anonymous`, `include`, `exclude`, `quota`, `pin` and `priority`; or, in place of `url`, with `[[dataset.source]]` tables that\n\
         have the keys of a mount's sources.\n\n\
         ## Everywhere\n\n\
         `FOREBAY_RUN_DIR` names the directory in which commands find mounts and servers; by default\n\
         `/run/forebay` for root and `$XDG_RUNTIME_DIR/forebay` for others.\n\n\
         ## Exit codes\n\n| code | meaning |\n|---|---|\n",
    );
    for exit in Exit::ALL {
        push(
            &mut page,
            format_args!("| {} | {} |\n", exit.code(), exit.meaning()),
        );
    }
    for (command, example) in [
        (MountOptions::COMMAND, mount_example()),
        (ServerOptions::COMMAND, server_example()),
    ] {
        let heading = format_args!("\n## Example for `forebay {command}`\n\n");
        push(&mut page, heading);
        push(&mut page, format_args!("```toml\n{example}```\n"));
    }
    page
}

/// A section for the command with the options `T`, with a table for each heading.
fn tables<T: OptionTable>(page: &mut String) {
    push(page, format_args!("\n## `forebay {}`\n", T::COMMAND));
    let command = T::command();
    let mut heading = None;
    for arg in command.get_arguments() {
        if arg.get_help_heading() != heading {
            heading = arg.get_help_heading();
            push(
                page,
                format_args!("\n### {}\n\n", heading.unwrap_or_default()),
            );
            page.push_str(
                "| key | flag | environment | default | meaning |\n|---|---|---|---|---|\n",
            );
        }
        let key = key(arg);
        let variable = arg.get_env().unwrap_or_default().to_string_lossy();
        let default = default::<T>(key)
            .map(|value| format!("`{value}`"))
            .unwrap_or_default();
        let manual = manual(arg)
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .replace('|', "\\|");
        push(
            page,
            format_args!("| `{key}` | `--{key}` | `{variable}` | {default} | {manual} |\n"),
        );
    }
}

fn push(text: &mut String, part: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = text.write_fmt(part);
}

fn key(arg: &Arg) -> &str {
    arg.get_long().unwrap_or_default()
}

/// The doc comment of the option, whole.
fn manual(arg: &Arg) -> String {
    let help = arg.get_long_help().or_else(|| arg.get_help());
    help.map(ToString::to_string).unwrap_or_default()
}

fn comment(text: &mut String, manual: &str) {
    for line in manual.lines() {
        for line in wrap(line, 88) {
            push(text, format_args!("{}\n", format!("# {line}").trim_end()));
        }
    }
}

fn wrap(line: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in line.split_whitespace() {
        let last = lines.last_mut().expect("there is always a line");
        if !last.is_empty() && last.len() + 1 + word.len() > width {
            lines.push(word.to_owned());
        } else {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines
}

fn default<T: OptionTable>(key: &str) -> Option<&'static str> {
    T::DEFAULTS
        .iter()
        .find(|(name, _)| *name == key)
        .map(|(_, value)| *value)
}

/// What to show as the option's value, in TOML.
fn value<T: OptionTable>(key: &str) -> String {
    let sample = T::SAMPLES.iter().find(|(name, _)| *name == key);
    match (default::<T>(key), sample) {
        (Some(truth @ ("true" | "false")), _) => truth.to_owned(),
        (Some(text), _) => format!("\"{text}\""),
        (None, Some((_, sample))) => (*sample).to_owned(),
        (None, None) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::file;

    fn parsed<T: OptionTable>(text: &str) -> T {
        file::parse(Path::new("example"), text).unwrap()
    }

    #[test]
    fn the_examples_can_be_used_as_they_are() {
        let mount: MountOptions = parsed(&mount_example());
        assert_eq!(mount.source.map(|sources| sources.len()), Some(1));
        let server: ServerOptions = parsed(&server_example());
        assert_eq!(server.dataset.map(|datasets| datasets.len()), Some(1));
    }

    fn uncommented(example: &str) -> String {
        let (options, _) = example.split_once("[[").expect("a table at the end");
        options
            .lines()
            .map(|line| {
                let key = line
                    .strip_prefix("# ")
                    .and_then(|line| line.split_once(" = "));
                match key {
                    Some((key, _)) if !key.contains(' ') => format!("{}\n", &line[2..]),
                    _ => format!("{line}\n"),
                }
            })
            .collect()
    }

    #[test]
    fn every_commented_key_of_the_examples_parses_and_none_is_missing() {
        let mount: MountOptions = parsed(&uncommented(&mount_example()));
        let server: ServerOptions = parsed(&uncommented(&server_example()));
        for (all, table) in [
            (format!("{mount:?}"), "source: None"),
            (format!("{server:?}"), "dataset: None"),
        ] {
            assert!(all.contains(table), "{all}");
            assert!(!all.replace(table, "").contains(": None"), "{all}");
        }
    }

    #[test]
    fn the_reference_names_every_option_and_every_exit_code() {
        let page = reference();
        for command in [MountOptions::command(), ServerOptions::command()] {
            for arg in command.get_arguments() {
                let row = format!("| `{}` |", key(arg));
                assert!(page.contains(&row), "{row}");
            }
        }
        for exit in Exit::ALL {
            assert!(page.contains(exit.meaning()));
        }
    }
}
