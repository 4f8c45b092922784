//! Help, man page, completions and the config file's example.

use crate::harness::Place;

#[test]
fn every_command_has_help_with_an_example() {
    let place = Place::new();
    for command in [
        "mount",
        "umount",
        "status",
        "warmup",
        "plan",
        "versions",
        "refresh",
        "demo",
        "completions",
        "man",
    ] {
        let help = place.run(&[command, "--help"]);
        help.is_ok();
        assert!(help.out.contains("Example"), "{command}: {}", help.out);
        assert!(
            help.out.contains(&format!("forebay {command}")),
            "{command}: {}",
            help.out
        );
    }
}

#[test]
fn the_help_lists_the_exit_codes() {
    let help = Place::new().run(&["--help"]);
    help.is_ok();
    for code in 0..=8 {
        assert!(help.out.contains(&format!("\n  {code}  ")), "{}", help.out);
    }
}

#[test]
fn help_into_a_pipe_has_no_colours() {
    let help = Place::new().run(&["mount", "--help"]);
    assert!(!help.out.contains('\u{1b}'), "{}", help.out);
}

#[test]
fn the_version_of_the_program_is_told() {
    let told = Place::new().run(&["--version"]);
    told.is_ok();
    assert_eq!(
        told.out.trim(),
        format!("forebay {}", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn completions_and_man_pages_are_printed() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = place.run(&["completions", shell]);
        script.is_ok();
        assert!(script.out.contains("warmup"), "{shell}");
    }
    let page = place.run(&["man"]);
    page.is_ok();
    assert!(page.out.contains(".TH forebay"), "{}", page.out);
    place.run(&["man", "--dir", "man1"]).is_ok();
    assert!(place.path("man1/forebay-mount.1").exists());
}

#[test]
fn the_example_config_file_is_accepted() {
    let place = Place::new();
    let example = place.run(&["config", "print", "--example", "mount"]);
    example.is_ok();
    std::fs::write(place.path("f.toml"), example.out).unwrap();
    // It gets as far as the mount point, which does not exist.
    let mount = place.run(&["mount", "--config", "f.toml", "nowhere"]);
    mount.is_told(4, &["nowhere does not exist"]);
}

#[test]
fn the_reference_in_the_documents_is_the_printed_one() {
    let printed = Place::new().run(&["config", "print", "--reference"]);
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/CONFIGURATION.md");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(
        page == printed.out,
        "docs/CONFIGURATION.md is out of date: forebay config print --reference > docs/CONFIGURATION.md"
    );
}
