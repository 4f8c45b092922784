//! `forebay completions`.

use crate::args::{self, CompletionsArgs};
use crate::exit::Failure;
use crate::output;

pub(super) fn run(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut args::command(), "forebay", &mut script);
    output::print(&String::from_utf8_lossy(&script))
}
