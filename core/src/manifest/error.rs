//! Why a manifest could not be opened or built.

use std::io;
use std::path::PathBuf;

/// The result of a manifest operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a manifest could not be opened or built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened or read.
    #[error("read manifest {}", path.display())]
    Read {
        /// The manifest.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is something else.
    #[error("{} is not a Forebay manifest", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file was written in a format that this build does not know.
    #[error(
        "manifest {} has format {found}, this build reads format {supported}: \
         use the Forebay that wrote it, or list the source again",
        path.display()
    )]
    UnsupportedFormat {
        /// The manifest.
        path: PathBuf,
        /// The format number in the file.
        found: u32,
        /// The format number that this build reads and writes.
        supported: u32,
    },
    /// The file ends early.
    #[error("manifest {} is truncated: {actual} of {expected} bytes", path.display())]
    Truncated {
        /// The manifest.
        path: PathBuf,
        /// The length that the header states.
        expected: u64,
        /// The length that the file has.
        actual: u64,
    },
    /// The bytes are not those that were written.
    #[error("manifest {} is damaged: wrong {part}", path.display())]
    Damaged {
        /// The manifest.
        path: PathBuf,
        /// What does not fit.
        part: &'static str,
    },
    /// Temporary data of a build cannot be written or read back.
    #[error("use temporary space in {}", dir.display())]
    Spill {
        /// The directory of the build.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The finished manifest cannot be put in its place.
    #[error("write manifest {}", path.display())]
    Publish {
        /// The manifest, or its directory while its name is not known.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A source cannot have this name.
    #[error("source name {name:?} {problem}")]
    SourceName {
        /// The name.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// There are no sources, or more than an index can name.
    #[error("{count} sources: a manifest has 1 to {max}")]
    SourceCount {
        /// How many were given.
        count: usize,
        /// How many there may be.
        max: usize,
    },
    /// An object was pushed for a source that does not exist.
    #[error("source {index} does not exist: there are {count}")]
    UnknownSource {
        /// The index that was pushed.
        index: u16,
        /// How many sources there are.
        count: usize,
    },
    /// The listing has more files and directories than positions can name.
    #[error("more than {max} files and directories: narrow the source or exclude keys")]
    TooManyEntries {
        /// How many there may be.
        max: u32,
    },
}
