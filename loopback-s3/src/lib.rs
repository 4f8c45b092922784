//! A small S3 server on loopback for the demo, tests and benches: keeps every key, scripts faults.
