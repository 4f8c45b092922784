//! How keys become paths.
