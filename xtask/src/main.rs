//! The project's front door: check, test, demo, show.

fn main() {}
