//! Whole-system tests: real processes, real S3 servers, real mounts.
