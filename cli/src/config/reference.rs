//! The example config file and the reference page, both made from the options
//! themselves.

use std::fmt::Write;

use clap::Arg;

use crate::exit::Exit;
use crate::options::{DEFAULTS, MountOptions};

/// TOML values to show for options whose default is not one fixed value.
const SAMPLES: [(&str, &str); 13] = [
    ("endpoint", "\"http://127.0.0.1:9000\""),
    ("region", "\"us-east-1\""),
    ("include", "[\"train/**\", \"val/**\"]"),
    ("exclude", "[\"**/*.tmp\"]"),
    ("version", "\"3fa94b1c\""),
    ("cache-dir", "\"/nvme/forebay\""),
    ("cache-size", "\"100GiB\""),
    ("prefetch-budget", "\"256MiB\""),
    ("uid", "1000"),
    ("gid", "1000"),
    ("metrics", "\"127.0.0.1:9464\""),
    ("log-file", "\"/var/log/forebay.log\""),
    ("log-level", "\"info\""),
];

/// A commented config file for `forebay mount`.
pub fn example() -> String {
    let mut text = String::from(
        "# Options of `forebay mount`: forebay mount --config THIS-FILE DIR\n\
         #\n\
         # Each is also a flag (--cache-dir) and an environment variable (FOREBAY_CACHE_DIR);\n\
         # both go before this file. A commented line shows the default, or an example\n\
         # where the default is not one fixed value.\n",
    );
    let command = MountOptions::command();
    let mut heading = None;
    for arg in command.get_arguments().filter(|arg| key(arg) != "source") {
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
        push(&mut text, format_args!("# {key} = {}\n", value(key)));
    }
    text.push_str(
        "\n## What is mounted; a table for each source\n\n\
         [[source]]\n\
         # The directory below the mount point; without it, the source is the whole tree.\n\
         # name = \"train\"\n\
         url = \"s3://bucket/prefix\"\n\
         # For this source only, in place of the keys above:\n\
         # endpoint = \"http://127.0.0.1:9000\"\n\
         # region = \"us-east-1\"\n\
         # path-style = true\n\
         # anonymous = true\n",
    );
    text
}

/// The reference page of all options, in Markdown.
pub fn reference() -> String {
    let mut page = String::from(
        "# Configuration\n\n\
         Printed by `forebay config print --reference`. Each option of `forebay mount` is a flag, an\n\
         environment variable and a key of the TOML file that `--config` names. The flag goes first, then\n\
         the environment, then the file, then the default.\n",
    );
    let command = MountOptions::command();
    let mut heading = None;
    for arg in command.get_arguments() {
        if arg.get_help_heading() != heading {
            heading = arg.get_help_heading();
            push(
                &mut page,
                format_args!("\n## {}\n\n", heading.unwrap_or_default()),
            );
            page.push_str(
                "| key | flag | environment | default | meaning |\n|---|---|---|---|---|\n",
            );
        }
        let key = key(arg);
        let variable = arg.get_env().unwrap_or_default().to_string_lossy();
        let default = default(key)
            .map(|value| format!("`{value}`"))
            .unwrap_or_default();
        let manual = manual(arg)
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .replace('|', "\\|");
        push(
            &mut page,
            format_args!("| `{key}` | `--{key}` | `{variable}` | {default} | {manual} |\n"),
        );
    }
    page.push_str(
        "\nIn the file, sources are `[[source]]` tables with the keys `name`, `url`, `endpoint`, `region`,\n\
         `path-style` and `anonymous`. `FOREBAY_RUN_DIR` names the directory in which commands find the\n\
         mounts; by default `/run/forebay` for root and `$XDG_RUNTIME_DIR/forebay` for others.\n\n\
         ## Exit codes\n\n| code | meaning |\n|---|---|\n",
    );
    for exit in Exit::ALL {
        push(
            &mut page,
            format_args!("| {} | {} |\n", exit.code(), exit.meaning()),
        );
    }
    page.push_str("\n## Example\n\n```toml\n");
    page.push_str(&example());
    page.push_str("```\n");
    page
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

fn default(key: &str) -> Option<&'static str> {
    DEFAULTS
        .iter()
        .find(|(name, _)| *name == key)
        .map(|(_, value)| *value)
}

/// What to show as the option's value, in TOML.
fn value(key: &str) -> String {
    match (default(key), SAMPLES.iter().find(|(name, _)| *name == key)) {
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

    #[test]
    fn the_example_can_be_used_as_it_is() {
        let options = file::parse(Path::new("example"), &example()).unwrap();
        assert_eq!(options.source.map(|sources| sources.len()), Some(1));
    }

    #[test]
    fn every_commented_key_of_the_example_parses_and_none_is_missing() {
        let uncommented: String = example()
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
            .collect();
        let options = file::parse(Path::new("example"), &uncommented).unwrap();
        let all = format!("{options:?}");
        assert!(!all.contains(": None"), "{all}");
    }

    #[test]
    fn the_reference_names_every_option_and_every_exit_code() {
        let page = reference();
        for arg in MountOptions::command().get_arguments() {
            assert!(
                page.contains(&format!("| `{}` |", key(arg))),
                "{}",
                key(arg)
            );
        }
        for exit in Exit::ALL {
            assert!(page.contains(exit.meaning()));
        }
    }
}
