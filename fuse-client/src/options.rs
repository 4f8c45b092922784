//! What a mount looks like to its readers, and how the kernel is asked to treat it.

use std::num::NonZeroUsize;
use std::thread;
use std::time::Duration;

use crate::open_mode::OpenModeChoice;

/// The options of one mount.
///
/// `Default` gives a mount that only the mounting user sees, owned by that user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountOptions {
    /// The dataset's name: the mount table shows `forebay:<dataset>`.
    pub dataset: String,
    /// The owner of every file and directory. Default: the mounting user.
    pub uid: u32,
    /// The group of every file and directory. Default: the mounting user's.
    pub gid: u32,
    /// The permission bits of files. Default: 0444.
    pub file_mode: u16,
    /// The permission bits of directories. Default: 0555.
    pub dir_mode: u16,
    /// Whether users other than the mounting one may enter, as far as the permission
    /// bits let them. Default: no. Without root this needs `user_allow_other` in
    /// `/etc/fuse.conf`.
    pub allow_other: bool,
    /// Threads that take requests from the kernel; at least 2, so that a long directory
    /// listing does not hold up reads. Default: one a core, 8 at most.
    pub threads: usize,
    /// The kernel's readahead for this mount, in KiB. Default: 1024.
    pub read_ahead_kb: u32,
    /// How files are opened. Default: as the dataset's sizes suggest.
    pub open_mode: OpenModeChoice,
    /// How many readahead requests the kernel keeps in flight. Default: 64.
    pub max_background: u16,
    /// Bytes that the cache fetches ahead of readers at most; 0 for no prefetch of
    /// neighbours and plans. Default: 256 MiB.
    pub prefetch_budget: u64,
    /// How long a reply may take that must be waited for; it is an error then. Longer than
    /// the cache waits for its origin, so that the cache can say what it waited for.
    /// Default: 70 s.
    pub reply_timeout: Duration,
    /// Whether the kernel repeats requests in flight for a process that takes the mount
    /// over, where it can (Linux 6.9). Otherwise they fail with ECONNABORTED. Default: yes.
    pub resend: bool,
}

/// With 128 KiB, the kernel's own default, sequential reads run at half the speed:
/// a request carries at most one readahead window, and 1 MiB is as much as the kernel
/// puts into one request (`fs.fuse.max_pages_limit`).
const READ_AHEAD_KB: u32 = 1024;

/// The kernel's 12 would let few readers fill the queue: with 64 requests of 1 MiB, as
/// much waits for the origin as the cache can fetch at once.
const MAX_BACKGROUND: u16 = 64;

/// The default of the cache's own wait for an origin, and some more.
const REPLY_TIMEOUT: Duration = Duration::from_secs(70);

/// More threads than this only take turns on the device's one queue.
const MOST_THREADS: usize = 8;

impl Default for MountOptions {
    fn default() -> Self {
        let cores = thread::available_parallelism().map_or(2, NonZeroUsize::get);
        Self {
            dataset: "dataset".to_owned(),
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
            file_mode: 0o444,
            dir_mode: 0o555,
            allow_other: false,
            threads: cores.clamp(2, MOST_THREADS),
            read_ahead_kb: READ_AHEAD_KB,
            open_mode: OpenModeChoice::Auto,
            max_background: MAX_BACKGROUND,
            prefetch_budget: 256 << 20,
            reply_timeout: REPLY_TIMEOUT,
            resend: true,
        }
    }
}
