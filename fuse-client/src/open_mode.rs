//! How the kernel is made to open files: by itself, through a backing file, or by asking.
//!
//! It is a property of the whole mount. The first file that is answered with "no such
//! call" makes the kernel never ask again, so the choice is made once, before the first
//! request, from the sizes of the dataset's files.

use std::fmt;

use forebay_core::chunk::CHUNK_SIZE;
use forebay_core::manifest::{EntryId, Kind, Manifest};

/// How files are opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// The kernel asks at each open, and reads a complete file from the cache's own file.
    Passthrough,
    /// The kernel never asks at open: small files open and close at the speed of a local
    /// file system. All bytes go through its page cache.
    NoOpen,
    /// The kernel asks at each open and at each read that its page cache cannot answer.
    Plain,
}

/// Which [`OpenMode`] is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OpenModeChoice {
    /// The one that suits the dataset's sizes and the kernel.
    #[default]
    Auto,
    /// This one, if the kernel has it.
    Fixed(OpenMode),
}

/// What the kernel offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Offer {
    /// FUSE_PASSTHROUGH, since Linux 6.9.
    pub(crate) passthrough: bool,
    /// FUSE_NO_OPEN_SUPPORT, since Linux 3.16.
    pub(crate) no_open: bool,
}

/// The mode of a mount, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// The mode.
    pub mode: OpenMode,
    /// A sentence for a person.
    pub reason: String,
}

/// What a file costs more with an open message than without: 45 µs, against 10 to 15 in
/// all (measured: 51 to 60 µs for open, read and close through a daemon).
const OPEN_NANOS: u64 = 45_000;

/// What a byte of a large file costs more through the daemon than passed through: 0.4 ns
/// on its first read, or 0.4 s a GiB (measured: 0.7 to 2.1 GB/s against 24).
const BYTES_A_NANO: u64 = 2;

/// Entries that are looked at in a version with more of them than that.
const SAMPLE: u32 = 4_000_000;

/// The files of a version by their sizes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sizes {
    files: u64,
    /// Bytes in files that are large enough to be passed through; smaller ones lie
    /// packed in the cache.
    large_bytes: u64,
}

impl Sizes {
    fn of(manifest: &Manifest) -> Self {
        let step = usize::try_from(manifest.len().div_ceil(SAMPLE).max(1)).unwrap_or(1);
        let mut sizes = Self::default();
        for entry in (0..manifest.len()).step_by(step).map(EntryId) {
            if let Some(attr) = manifest.attr(entry)
                && attr.kind == Kind::File
            {
                sizes.files += 1;
                if attr.size >= CHUNK_SIZE {
                    sizes.large_bytes = sizes.large_bytes.saturating_add(attr.size);
                }
            }
        }
        sizes
    }

    /// Whether an epoch over these files is faster without opens than with passthrough.
    fn favour_no_open(self) -> bool {
        self.large_bytes / BYTES_A_NANO < self.files.saturating_mul(OPEN_NANOS)
    }
}

impl OpenModeChoice {
    /// The mode for a mount that begins with `manifest`, under a kernel with this offer.
    pub(crate) fn decide(self, manifest: &Manifest, offer: Offer) -> Chosen {
        match self {
            Self::Auto => decide_by_size(Sizes::of(manifest), offer),
            Self::Fixed(OpenMode::Passthrough) if !offer.passthrough => Chosen {
                mode: OpenMode::Plain,
                reason: NO_PASSTHROUGH.to_owned(),
            },
            Self::Fixed(OpenMode::NoOpen) if !offer.no_open => Chosen {
                mode: OpenMode::Plain,
                reason: "the kernel cannot open files without asking".to_owned(),
            },
            Self::Fixed(mode) => Chosen {
                mode,
                reason: "set by --open-mode".to_owned(),
            },
        }
    }
}

const NO_PASSTHROUGH: &str = "the kernel has no FUSE passthrough (Linux 6.9 and later have it)";

fn decide_by_size(sizes: Sizes, offer: Offer) -> Chosen {
    let Sizes { files, large_bytes } = sizes;
    let mode = match (sizes.favour_no_open(), offer) {
        (true, Offer { no_open: true, .. }) if files > 0 => OpenMode::NoOpen,
        (
            _,
            Offer {
                passthrough: true, ..
            },
        ) => OpenMode::Passthrough,
        _ => OpenMode::Plain,
    };
    let reason = match mode {
        OpenMode::Plain => NO_PASSTHROUGH.to_owned(),
        OpenMode::NoOpen | OpenMode::Passthrough => {
            format!("{files} files looked at, {large_bytes} bytes in those of 1 MiB and more")
        }
    };
    Chosen { mode, reason }
}

impl OpenMode {
    /// The name, as it is set and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passthrough => "passthrough",
            Self::NoOpen => "no-open",
            Self::Plain => "plain",
        }
    }
}

impl fmt::Display for OpenMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Offer = Offer {
        passthrough: true,
        no_open: true,
    };

    fn mode(files: u64, large_bytes: u64, offer: Offer) -> OpenMode {
        decide_by_size(Sizes { files, large_bytes }, offer).mode
    }

    #[test]
    fn small_files_open_without_asking_and_large_ones_are_passed_through() {
        assert_eq!(mode(20_000, 0, ALL), OpenMode::NoOpen);
        assert_eq!(mode(1, 2 << 30, ALL), OpenMode::Passthrough);
        // A million small files beside one of 2 GiB, and a thousand shards of 100 MB.
        assert_eq!(mode(1_000_000, 2 << 30, ALL), OpenMode::NoOpen);
        assert_eq!(mode(1000, 100_000_000_000, ALL), OpenMode::Passthrough);
    }

    #[test]
    fn what_the_kernel_lacks_is_not_chosen() {
        let old = Offer {
            passthrough: false,
            ..ALL
        };
        assert_eq!(mode(1, 2 << 30, old), OpenMode::Plain);
        assert_eq!(mode(20_000, 0, Offer::default()), OpenMode::Plain);
    }

    #[test]
    fn an_empty_dataset_has_a_mode() {
        assert_eq!(mode(0, 0, ALL), OpenMode::Passthrough);
    }
}
