//! Threads that share the work of a pass.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::Pass;
use crate::process;
use crate::sample::Sample;

/// What one piece of work came to.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) bytes: u64,
    pub(super) operations: u64,
    /// The time of it, where it is one operation.
    pub(super) latency: Option<Duration>,
}

/// Does `work` for every number below `count`, each once and in their order, on `threads`
/// threads, each with a state of its own.
///
/// # Errors
/// The first of each thread; the others go on.
pub(super) fn work<S>(
    threads: usize,
    count: usize,
    state: impl Fn() -> Result<S> + Sync,
    work: impl Fn(&mut S, usize) -> Result<Tally> + Sync,
) -> Result<Pass> {
    let next = AtomicUsize::new(0);
    let member = || -> Result<(Tally, Vec<f64>)> {
        let mut state = state()?;
        let (mut sum, mut latencies) = (Tally::default(), Vec::new());
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return Ok((sum, latencies));
            }
            let done = work(&mut state, number)?;
            sum.bytes += done.bytes;
            sum.operations += done.operations;
            latencies.extend(done.latency.map(|latency| latency.as_secs_f64()));
        }
    };
    let cpu = process::own_cpu_time()?;
    let begun = Instant::now();
    let members: Vec<_> = thread::scope(|scope| {
        let crew: Vec<_> = (0..threads).map(|_| scope.spawn(member)).collect();
        crew.into_iter()
            .map(thread::ScopedJoinHandle::join)
            .collect()
    });
    let time = begun.elapsed();
    let mut pass = Pass {
        time,
        cpu: process::own_cpu_time()?.saturating_sub(cpu),
        ..Pass::default()
    };
    let mut latencies = Vec::new();
    for member in members {
        let (sum, of_member) = member.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        pass.bytes += sum.bytes;
        pass.operations += sum.operations;
        latencies.extend(of_member);
    }
    pass.latencies = Sample::new(latencies);
    Ok(pass)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn every_number_is_done_once_whatever_the_threads() {
        for threads in [1, 3] {
            let done = Mutex::new(Vec::new());
            let pass = work(
                threads,
                100,
                || Ok(()),
                |(), number| {
                    done.lock().unwrap().push(number);
                    Ok(Tally {
                        bytes: 2,
                        operations: 1,
                        latency: Some(Duration::from_secs(1)),
                    })
                },
            );
            let pass = pass.unwrap();
            assert_eq!(
                (pass.bytes, pass.operations, pass.latencies.len()),
                (200, 100, 100)
            );
            let mut done = done.into_inner().unwrap();
            done.sort_unstable();
            assert_eq!(done, (0..100).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_pass_that_fails_says_why() {
        let failed = work(
            2,
            10,
            || Ok(()),
            |(), number| {
                anyhow::ensure!(number != 7, "seven");
                Ok(Tally::default())
            },
        );
        assert_eq!(failed.unwrap_err().to_string(), "seven");
    }
}
