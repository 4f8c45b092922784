//! The CSI driver as a process on this machine, called as a kubelet calls it, and random
//! interleavings of such calls with kills.

mod interleaving;
mod node;

pub use interleaving::{Interleaving, Played};
pub use node::{CsiNode, Volume};
