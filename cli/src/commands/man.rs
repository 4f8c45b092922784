//! `forebay man`.

use std::fs;

use clap_mangen::Man;

use crate::args::{self, ManArgs};
use crate::exit::{Exit, Failure};
use crate::output;

pub(super) fn run(args: &ManArgs) -> Result<(), Failure> {
    let command = args::command();
    let Some(dir) = &args.dir else {
        let mut page = Vec::new();
        let rendered = Man::new(command).render(&mut page);
        rendered.map_err(|error| Failure::new(Exit::Failed, error))?;
        return output::print(&String::from_utf8_lossy(&page));
    };
    let written = fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(command, dir));
    written.map_err(|error| {
        Failure::new(
            Exit::Failed,
            format!("write man pages into {}: {error}", dir.display()),
        )
    })
}
