//! Forebay: training datasets at the speed of the local disk.

use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

use forebay::exit::{Exit, Failure};

fn main() -> ExitCode {
    let mut words = std::env::args_os();
    let name = words.next();
    let name = name.as_deref().map(Path::new).and_then(Path::file_name);
    // Before anything else, because a keeper is to be small.
    let outcome = if name == Some(OsStr::new(forebay_keeper::ARGV0)) {
        forebay_keeper::run(words).map_err(|error| Failure::new(Exit::Failed, error))
    } else {
        forebay::allocator::fit_into_memory();
        // One provider for every TLS connection; only a second installation fails.
        let _ = rustls::crypto::ring::default_provider().install_default();
        forebay::run(std::env::args_os())
    };
    match outcome {
        Ok(()) => ExitCode::from(Exit::Ok.code()),
        Err(failure) => {
            if !failure.is_told() {
                eprintln!("forebay: error: {failure}");
            }
            ExitCode::from(failure.exit().code())
        }
    }
}
