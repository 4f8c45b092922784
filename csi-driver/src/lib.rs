//! Forebay's driver of the Container Storage Interface: how pods get a dataset.
//!
//! On each node one process serves the identity, controller and node services at a Unix
//! socket, and tells the kubelet of itself. For each dataset version that pods of the node
//! read there is one shared mount, served by a process of its own; a volume is a read-only
//! bind of it. The table of mounts is the truth about who uses what: nothing that could
//! disagree with it is counted or written down.

mod authority;
mod bind;
mod capability;
mod config;
mod controller;
mod driver;
mod error;
mod identity;
mod locks;
mod mounter;
mod node;
mod place;
mod record;
mod recovery;
mod registration;
mod resolver;
mod secrets;
mod serve;
mod shared;
mod spec;
mod task;
mod volume_context;

pub use config::{Config, DRIVER_NAME};
pub use driver::{Driver, StartError};
pub use mounter::{MountHost, Mounter, MounterError, ProcessMounter, Program, Runner, State};
pub use secrets::Secrets;
pub use spec::{MountKey, MountSpec, Supply};
pub use volume_context::{DatasetName, InvalidAttribute, ReadMode, VolumeContext};
