//! Buffers that reads are answered from: one a thread, kept between reads.
//!
//! A read is answered in one piece of work without a wait in it, on whichever thread it
//! happens to be. A buffer a thread therefore never has two users, and costs neither an
//! allocation a read nor a lock.

use std::cell::RefCell;

/// Copies between page-aligned buffers are the fastest that the kernel has.
const ALIGNMENT: usize = 4096;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Calls `work` with the thread's buffer of `len` bytes. What is in it is left over from
/// the read before.
///
/// # Panics
/// If `work` asks for the buffer in turn.
pub(crate) fn with<R>(len: usize, work: impl FnOnce(&mut [u8]) -> R) -> R {
    BUFFER.with_borrow_mut(|buffer| {
        if buffer.len() < len + ALIGNMENT {
            // Not resized: growing in place would copy bytes that nobody wants.
            *buffer = vec![0; len + ALIGNMENT];
        }
        let start = buffer.as_ptr().align_offset(ALIGNMENT);
        work(&mut buffer[start..start + len])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_aligned_and_as_long_as_asked_for() {
        for len in [0, 1, 4096, 1 << 20, 5000] {
            with(len, |buffer| {
                assert_eq!(buffer.len(), len);
                assert_eq!(buffer.as_ptr().align_offset(ALIGNMENT), 0);
            });
        }
    }

    #[test]
    fn a_shorter_read_uses_the_buffer_of_a_longer_one() {
        let long = with(1 << 20, |buffer| buffer.as_ptr() as usize);
        assert_eq!(with(4096, |buffer| buffer.as_ptr() as usize), long);
    }
}
