//! Forebay on a real Kubernetes: pods on real kubelets read a bucket on SeaweedFS.
//!
//! Run by `cargo xtask test-cluster`, which starts the cluster and puts Forebay on it.

mod closed;
mod mistakes;
mod reading;
mod restarts;
