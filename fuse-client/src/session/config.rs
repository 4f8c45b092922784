//! The options of a mount as fuser takes them.

use fuser::{Config, SessionACL};

use crate::options::MountOptions;

/// Who may ask.
pub(super) fn acl(options: &MountOptions) -> SessionACL {
    if options.allow_other {
        SessionACL::All
    } else {
        SessionACL::Owner
    }
}

pub(super) fn fuser_config(options: &MountOptions) -> Config {
    let mut config = Config::default();
    config.acl = acl(options);
    config.n_threads = Some(options.threads.max(2));
    // Requests read through a cloned descriptor are lost when the process dies, even if
    // another holds the device open.
    config.clone_fd = false;
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thread_is_never_enough() {
        let options = MountOptions {
            threads: 0,
            ..MountOptions::default()
        };
        assert_eq!(fuser_config(&options).n_threads, Some(2));
    }
}
