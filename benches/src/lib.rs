//! Measurements: training-shaped reads, raw S3 reads, side by side.
