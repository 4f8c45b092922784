//! gRPC contracts of Forebay.
