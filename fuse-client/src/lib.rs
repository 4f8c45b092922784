//! A read-only POSIX tree over a manifest and a cache, served through FUSE.
