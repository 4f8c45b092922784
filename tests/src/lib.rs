//! The harness of the whole-system tests: real processes, real S3 servers, real mounts.
//!
//! Everything here starts what it needs on free ports of 127.0.0.1, keeps its files in a
//! [`Scratch`] directory, and is gone when the value that stands for it is dropped, or
//! when the test process dies. What cannot be had fails the test in plain words; nothing
//! is skipped in silence.
//!
//! So that a test reads like what it claims, the harness panics where a library would
//! return an error: a server that does not start is the end of the test.

mod bucket;
mod ceph;
mod chaos;
mod cloud;
pub mod cluster;
pub mod csi;
mod dataset;
mod endpoint;
mod http_server;
mod memory_group;
mod mount;
mod netns;
mod odd_keys;
pub mod peers;
mod ports;
mod pressed;
mod process;
mod random;
mod read;
mod readers;
mod require;
mod s3client;
mod scratch;
mod seaweedfs;
mod siege;
mod tmpfs;
mod wait;

pub use bucket::{Bucket, stream, stream_at};
pub use ceph::Ceph;
pub use chaos::{Chaos, Fault, Plan, Step};
pub use cloud::{Cloud, Protocol};
pub use dataset::{Dataset, Difference, File, Mismatch, Shape, Sizes};
pub use endpoint::Endpoint;
pub use http_server::{Answer, HttpServer, Question, answer};
pub use memory_group::MemoryGroup;
pub use mount::{Mount, MountCommand, is_mounted, kill, take_down};
pub use netns::{Namespace, Network};
pub use odd_keys::odd_keys;
pub use peers::{Authority, ClusterShape, Node, PeerCluster, Trust};
pub use ports::free_ports;
pub use pressed::{Press, Pressed};
pub use process::Process;
pub use random::Random;
pub use read::{drop_pages, errno, open_random, read_at};
pub use readers::{Kind, Readers, Seen, Slow};
pub use require::{binary, find_program, require_root_and_fuse};
pub use s3client::{Listed, Response, S3Client};
pub use scratch::Scratch;
pub use seaweedfs::SeaweedFs;
pub use siege::{Survived, besiege, processes_with};
pub use tmpfs::Tmpfs;
pub use wait::wait_until;
