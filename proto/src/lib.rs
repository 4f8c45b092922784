//! The wire of Forebay: what its processes say to each other.
//!
//! Control goes over gRPC, one module per protobuf package, generated from `proto/` when
//! the crate is built; the comments of the `.proto` files are the documentation. Bytes
//! and descriptors go over framed protocols of our own, because gRPC copies every byte
//! twice and cannot pass a descriptor: [`local`] between a client and the cache server of
//! its machine, [`peer`] between the cache servers of a cluster.

pub mod local;
pub mod peer;
pub mod wire;

/// The control socket of a mount.
pub mod mount {
    /// Version 1.
    #[expect(
        missing_docs,
        clippy::allow_attributes,
        clippy::allow_attributes_without_reason,
        reason = "generated code"
    )]
    pub mod v1 {
        tonic::include_proto!("forebay.mount.v1");
    }
}
