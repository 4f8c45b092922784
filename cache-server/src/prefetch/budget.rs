//! One account of bytes for all prefetch of a node.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// Bytes that may be under way ahead of readers, and those that are.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: u64,
    used: AtomicU64,
    freed: Notify,
}

/// Bytes taken from a budget; dropping it gives them back.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Budget {
    /// A budget of `limit` bytes, all of them free.
    pub(crate) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self {
            limit,
            used: AtomicU64::new(0),
            freed: Notify::new(),
        })
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Acquire)
    }

    /// Takes `bytes`, if they are there.
    pub(crate) fn try_take(self: &Arc<Self>, bytes: u64) -> Option<Reservation> {
        self.try_take_below(bytes, self.limit)
    }

    /// Takes `bytes` as soon as no more than `ceiling` are in use with them; `bytes` must
    /// not be more than `ceiling`.
    ///
    /// # Cancel safety
    /// Cancel-safe: nothing is taken before it returns.
    pub(crate) async fn take_below(self: &Arc<Self>, bytes: u64, ceiling: u64) -> Reservation {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // Listens from here on, so that nothing is missed between look and wait.
            freed.as_mut().enable();
            if let Some(taken) = self.try_take_below(bytes.min(ceiling), ceiling) {
                return taken;
            }
            freed.await;
        }
    }

    fn try_take_below(self: &Arc<Self>, bytes: u64, ceiling: u64) -> Option<Reservation> {
        let ceiling = ceiling.min(self.limit);
        let fits = |used: u64| used.checked_add(bytes).filter(|&used| used <= ceiling);
        self.used
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, fits)
            .ok()?;
        Some(Reservation {
            budget: Arc::clone(self),
            bytes,
        })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::AcqRel);
        self.budget.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_and_what_is_dropped_comes_back() {
        let budget = Budget::new(10);
        let six = budget.try_take(6).expect("fits");
        assert!(budget.try_take(5).is_none());
        let four = budget.try_take(4).expect("fits exactly");
        drop(six);
        assert_eq!(budget.used(), 4);
        assert!(budget.try_take(6).is_some());
        drop(four);
        assert_eq!(budget.used(), 0);
        assert!(budget.try_take(u64::MAX).is_none());
    }

    #[tokio::test]
    async fn a_warm_up_waits_for_its_share_and_leaves_the_rest_alone() {
        let budget = Budget::new(10);
        let held = budget.try_take(4).expect("fits");
        let waiting = tokio::spawn({
            let budget = Arc::clone(&budget);
            async move { budget.take_below(3, 5).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        assert!(budget.try_take(6).is_some(), "readers still have the rest");
        drop(held);
        let taken = waiting.await.expect("ends");
        assert_eq!(budget.used(), 3);
        drop(taken);
    }

    proptest! {
        #[test]
        fn the_limit_is_never_exceeded(
            limit in 1u64..1000,
            steps in proptest::collection::vec((any::<bool>(), 0u64..600, any::<prop::sample::Index>()), 1..100),
        ) {
            let budget = Budget::new(limit);
            let mut held = Vec::new();
            for (take, bytes, which) in steps {
                if take {
                    held.extend(budget.try_take(bytes));
                } else if !held.is_empty() {
                    held.swap_remove(which.index(held.len()));
                }
                let sum: u64 = held.iter().map(|reservation: &Reservation| reservation.bytes).sum();
                prop_assert_eq!(budget.used(), sum);
                prop_assert!(sum <= limit);
            }
        }
    }
}
