//! The C library's allocator, in little memory.
//!
//! It keeps an arena for each thread that competes for one, eight for each core at most, and each
//! keeps what was freed in it. Buffers of a chunk that are filled by one thread and freed by
//! another then lie idle in all of them: 64 readers cost 126 MiB where 83 are in use. What is
//! free it keeps: some 32 MiB after a large file was fetched, for as long as the mount lives.

use std::sync::Weak;
use std::time::Duration;

use forebay_cache_server::node::NodeCache;
use forebay_cache_server::prefetch;

/// After so long without a byte from the origin, fetching has come to rest.
const REST: Duration = Duration::from_secs(1);

/// Memory for each arena.
const PER_ARENA: u64 = 128 << 20;

/// Has the allocator keep no more arenas than the memory of this process bears. To be
/// called before threads are started.
pub fn fit_into_memory() {
    if let Some(memory) = prefetch::memory_limit() {
        limit_arenas(arenas(memory));
    }
}

/// Gives free memory back to the system whenever `node` has fetched something and has come
/// to rest, until it is gone.
pub(crate) async fn give_back_at_rest(node: Weak<NodeCache>) {
    let (mut given_back_at, mut last) = (0, 0);
    loop {
        tokio::time::sleep(REST).await;
        let Some(fetched) = node.upgrade().map(|node| fetched(&node)) else {
            return;
        };
        if fetched == last && fetched != given_back_at {
            given_back_at = fetched;
            // It takes as long as there are free pages, some milliseconds.
            let _ = tokio::task::spawn_blocking(give_back).await;
        }
        last = fetched;
    }
}

/// Bytes that came from the origin.
fn fetched(node: &NodeCache) -> u64 {
    let so_far = node.fill_stats().snapshot();
    so_far.stored_bytes + so_far.read_through_bytes
}

#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "a function of the C library")]
fn give_back() {
    // SAFETY: takes a number, and locks what it looks at.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(not(target_env = "gnu"))]
fn give_back() {}

fn arenas(memory: u64) -> i32 {
    i32::try_from(memory / PER_ARENA).unwrap_or(i32::MAX).max(1)
}

#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "a setting of the C library")]
fn limit_arenas(arenas: i32) {
    // More than there would be by itself is not asked for.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if usize::try_from(arenas).is_ok_and(|arenas| arenas < 8 * cores) {
        // SAFETY: takes two numbers and sets a limit; the process has one thread.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, arenas) };
    }
}

#[cfg(not(target_env = "gnu"))]
fn limit_arenas(_: i32) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_memory_has_one_arena_and_much_has_many() {
        assert_eq!([0, 128 << 20, 200 << 20].map(arenas), [1, 1, 1]);
        assert_eq!(arenas(1 << 30), 8);
        assert_eq!(arenas(u64::MAX), i32::MAX);
    }
}
