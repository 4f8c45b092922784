//! Fuzzing: mutated files, frames and documents for everything that reads what it did not
//! write itself.
//!
//! A [`Target`] has valid inputs and a way to read one. A [`Campaign`] starts from those and
//! from the corpus in the repository, mutates, mends the checksums of most (a forgery gets
//! further than noise), and has the target read the result. It is an error if the target
//! panics, in any thread, takes more memory than its bound, takes more than ten seconds,
//! or hands out bytes that are not the right ones.
//!
//! Everything follows from a seed, threads of a target aside. Where the program was built
//! with counters in its code ([`coverage`]), inputs that reach something new are mutated
//! further.

mod campaign;
mod corpus;
pub mod coverage;
mod memory;
mod mutate;
mod panics;
mod target;
mod watch;

pub use campaign::{Campaign, Crash, Outcome};
pub use corpus::{Corpus, save_crash};
pub use target::{Make, Target, all};
