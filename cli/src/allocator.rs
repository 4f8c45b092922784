//! The C library's allocator, in little memory.
//!
//! It keeps an arena for each thread that competes for one, eight for each core at most, and each
//! keeps what was freed in it. Buffers of a chunk that are filled by one thread and freed by
//! another then lie idle in all of them: 64 readers cost 126 MiB where 83 are in use.

use forebay_cache_server::prefetch;

/// Memory for each arena.
const PER_ARENA: u64 = 128 << 20;

/// Has the allocator keep no more arenas than the memory of this process bears. To be
/// called before threads are started.
pub fn fit_into_memory() {
    if let Some(memory) = prefetch::memory_limit() {
        limit_arenas(arenas(memory));
    }
}

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
