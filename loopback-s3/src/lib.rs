//! A small S3 server on loopback, for the demo, the tests and the benches.
//!
//! It speaks real HTTP and real SigV4, holds its buckets in memory, and differs from
//! other test servers in three ways:
//!
//! - **It keeps every key.** `a//b`, `/a`, `a/`, `../a`, a newline or 1,024 bytes come
//!   back as they were put. The limits are S3's own: a key is UTF-8 and at most 1,024
//!   bytes long, else it is refused (`InvalidURI`, `KeyTooLongError`), never rewritten.
//!   XML 1.0 cannot carry most control characters, so a listing of such keys must ask
//!   for `encoding-type=url`, as with S3 itself.
//! - **Objects can be synthetic**: bytes computed from a seed and an offset, so that a
//!   5 TB object costs no memory and every byte of it can be checked. See [`synthetic`].
//! - **Faults are scripted** at the level of HTTP: an error status, a body that is cut,
//!   stalls, crawls or lies, a connection that breaks, a server that is away. See
//!   [`Fault`] and [`LoopbackS3::pause`].
//!
//! ```no_run
//! use forebay_loopback_s3::{Action, Fault, LoopbackS3, Operation};
//!
//! # fn main() -> Result<(), forebay_loopback_s3::Error> {
//! let server = LoopbackS3::builder().credentials("key", "secret").start()?;
//! server.put("bucket", "a//b", "some bytes");
//! server.put_synthetic("bucket", "large", 5 << 40, 7);
//! server.faults().push(Fault::new(Action::TruncateAfter(10)).on(Operation::GetObject));
//! println!("{}", server.endpoint());
//! # Ok(())
//! # }
//! ```

mod body;
mod buckets;
mod encoding;
mod fault;
mod frontend;
mod listing;
mod object;
mod server;
mod service;
mod stats;
pub mod synthetic;
mod target;

pub use fault::{Action, Fault, Faults};
pub use server::{Builder, Error, LoopbackS3};
pub use stats::Stats;
pub use target::Operation;
