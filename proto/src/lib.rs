//! gRPC contracts of Forebay, generated from `proto/` when the crate is built.
//!
//! One module per protobuf package. The comments of the `.proto` files are the
//! documentation.

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
