//! Free ports for servers that must be told theirs.

use std::net::{Ipv4Addr, TcpListener};

/// `N` different ports of 127.0.0.1 that are free now.
///
/// Another process could take one before the server does. The kernel hands out
/// ephemeral ports at random, so this is rare; the server then does not start, and says
/// so.
///
/// # Panics
/// If there are not as many.
pub fn free_ports<const N: usize>() -> [u16; N] {
    // All are held before the first is let go, so that no two are the same.
    let listeners: [TcpListener; N] = std::array::from_fn(|_| {
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port of 127.0.0.1")
    });
    listeners.map(|listener| {
        listener
            .local_addr()
            .expect("a bound socket has an address")
            .port()
    })
}
