//! Forebay: training datasets at the speed of the local disk.

fn main() {}
