//! A mount in a container with little memory.

use std::time::Duration;

use forebay_tests::Press;

const MIB: u64 = 1 << 20;

#[test]
fn sixty_four_readers_are_served_within_128_mib() {
    let pressed = Press {
        memory: 128 * MIB,
        readers: 64,
        bytes: 512 * MIB,
        cache: 192 * MIB,
        limit: Duration::from_secs(180),
    }
    .run("memory-limit");
    println!(
        "peak {} MiB, {} MiB evicted, {:.1?}",
        pressed.peak_bytes / MIB,
        pressed.evicted_bytes / MIB,
        pressed.took
    );
    assert_eq!((pressed.kills, pressed.faults.first()), (0, None));
    assert!(pressed.evicted_bytes > 0, "the cache was never full");
}
