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

/// The Container Storage Interface.
pub mod csi {
    /// Version 1, as of 1.12.
    #[expect(
        missing_docs,
        missing_debug_implementations,
        clippy::allow_attributes,
        clippy::allow_attributes_without_reason,
        reason = "generated code; messages with secrets have no Debug"
    )]
    pub mod v1 {
        tonic::include_proto!("csi.v1");
    }
}

/// How a kubelet is told of a plugin.
pub mod plugin_registration {
    /// Version 1.
    #[expect(
        clippy::allow_attributes,
        clippy::allow_attributes_without_reason,
        reason = "generated code"
    )]
    pub mod v1 {
        tonic::include_proto!("pluginregistration");
    }
}

/// What a cache server does beside reading.
pub mod cache {
    /// Version 1.
    #[expect(
        missing_docs,
        clippy::allow_attributes,
        clippy::allow_attributes_without_reason,
        reason = "generated code"
    )]
    pub mod v1 {
        tonic::include_proto!("forebay.cache.v1");
    }
}
