//! Locks by name: calls for one thing follow each other, calls for different things do
//! not wait.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// The locks that somebody holds or waits for.
#[derive(Debug, Default)]
pub(crate) struct Locks {
    // Held for a look-up only, never over an await.
    known: Mutex<HashMap<String, Weak<AsyncMutex<()>>>>,
}

impl Locks {
    /// Waits for the lock `name`, and holds it until the guard is dropped.
    pub(crate) async fn lock(&self, name: &str) -> OwnedMutexGuard<()> {
        let lock = self.find(name);
        lock.lock_owned().await
    }

    fn find(&self, name: &str) -> Arc<AsyncMutex<()>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = known.get(name).and_then(Weak::upgrade) {
            return lock;
        }
        known.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::default();
        known.insert(name.to_owned(), Arc::downgrade(&lock));
        lock
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_name_is_held_by_one_and_forgotten_afterwards() {
        let locks = Locks::default();
        let held = locks.lock("a").await;
        assert!(locks.find("a").try_lock().is_err());
        let _other = locks.lock("b").await;
        drop(held);
        let _again = locks.lock("a").await;
        let _third = locks.lock("c").await;
        assert_eq!(locks.known.lock().unwrap().len(), 3);
        drop(_third);
        drop(locks.lock("d").await);
        assert!(!locks.known.lock().unwrap().contains_key("c"));
    }
}
