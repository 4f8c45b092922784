//! Forebay: training datasets at the speed of the local disk.

use std::process::ExitCode;

use forebay::exit::Exit;

fn main() -> ExitCode {
    // One provider for every TLS connection; only a second installation fails.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match forebay::run(std::env::args_os()) {
        Ok(()) => ExitCode::from(Exit::Ok.code()),
        Err(failure) => {
            eprintln!("forebay: error: {failure}");
            ExitCode::from(failure.exit().code())
        }
    }
}
