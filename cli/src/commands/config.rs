//! `forebay config`.

use crate::args::{Component, ConfigPrintArgs};
use crate::config::reference;
use crate::exit::Failure;
use crate::output;

pub(super) fn print(args: &ConfigPrintArgs) -> Result<(), Failure> {
    match args.example {
        Some(Component::Mount) => output::print(&reference::mount_example()),
        Some(Component::CacheServer) => output::print(&reference::server_example()),
        None => output::print(&reference::reference()),
    }
}
