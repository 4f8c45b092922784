//! The options of a mount as fuser and the kernel take them.

use fuser::{Config, MountOption, SessionACL};

use crate::options::MountOptions;

/// Follows the file system type in the mount table: `fuse.forebay`.
const SUBTYPE: &str = "forebay";

pub(super) fn fuser_config(options: &MountOptions) -> Config {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::RO,
        MountOption::NoSuid,
        MountOption::NoDev,
        MountOption::NoAtime,
        // The kernel then checks the permission bits, for everybody and without asking.
        MountOption::DefaultPermissions,
        MountOption::FSName(source_name(&options.dataset)),
        // As an option of its own fuser gives the subtype to fusermount3 only.
        MountOption::CUSTOM(format!("subtype={SUBTYPE}")),
    ];
    config.acl = if options.allow_other {
        SessionACL::All
    } else {
        SessionACL::Owner
    };
    config.n_threads = Some(options.threads.max(2));
    // Requests read through a cloned descriptor are lost when the process dies, even if
    // another holds the device open.
    config.clone_fd = false;
    config
}

/// The source in the mount table. fusermount3 splits its options at commas, and takes
/// backslashes for escapes.
fn source_name(dataset: &str) -> String {
    let plain = |c: char| {
        if c == ',' || c == '\\' || c.is_control() {
            '_'
        } else {
            c
        }
    };
    format!("forebay:{}", dataset.chars().map(plain).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dataset_name_cannot_add_mount_options() {
        assert_eq!(source_name("a,dev\\\n b"), "forebay:a_dev__ b");
    }

    #[test]
    fn one_thread_is_never_enough() {
        let options = MountOptions {
            threads: 0,
            ..MountOptions::default()
        };
        assert_eq!(fuser_config(&options).n_threads, Some(2));
    }
}
