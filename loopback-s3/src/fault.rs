//! Scripted faults: what goes wrong, for which request, how often.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;

use crate::target::{Operation, Target};

/// What goes wrong with a request that a [`Fault`] matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Answers this status with an S3 error of this code, for instance
    /// `(503, "SlowDown")`, and does not do what was asked for.
    Status(StatusCode, String),
    /// Declares the whole body, sends this many bytes of it and closes the connection.
    TruncateAfter(u64),
    /// Sends this many bytes of the body, then nothing for a while, then the rest.
    StallAfter(u64, Duration),
    /// Waits before anything is answered, and then answers as usual.
    Delay(Duration),
    /// Sends the body at this many bytes a second.
    SlowBody(u64),
    /// Closes the connection without an answer.
    Disconnect,
    /// Sends the body with the byte at this position (counted from the start of the
    /// body, not of the object) changed, under the right ETag.
    WrongByte(u64),
}

impl Action {
    /// An error answer.
    ///
    /// # Panics
    /// If `status` is not between 100 and 999.
    pub fn status(status: u16, code: &str) -> Self {
        let status = StatusCode::from_u16(status).expect("a status of three digits");
        Self::Status(status, code.to_owned())
    }
}

/// One scripted fault: an [`Action`] and the requests that it happens to.
///
/// As made by [`Fault::new`] it happens to the next request of any kind, once.
#[derive(Clone, Debug)]
pub struct Fault {
    action: Action,
    operation: Option<Operation>,
    key: Option<String>,
    skip: u32,
    times: u32,
}

impl Fault {
    /// A fault that happens to the next request, once.
    pub fn new(action: Action) -> Self {
        Self {
            action,
            operation: None,
            key: None,
            skip: 0,
            times: 1,
        }
    }

    /// Only to requests for this operation.
    pub fn on(mut self, operation: Operation) -> Self {
        self.operation = Some(operation);
        self
    }

    /// Only to requests for this key, in any bucket.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Not to the first `requests` that match.
    pub fn after(mut self, requests: u32) -> Self {
        self.skip = requests;
        self
    }

    /// To this many requests that match, one after the other.
    pub fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }

    /// To every request that matches, until [`Faults::clear`].
    pub fn always(self) -> Self {
        self.times(u32::MAX)
    }

    fn matches(&self, target: &Target) -> bool {
        self.operation
            .is_none_or(|operation| operation == target.operation)
            && (self.key.is_none() || self.key == target.key)
    }
}

/// The faults that are still to happen to a server.
#[derive(Debug, Default)]
pub struct Faults(Mutex<Vec<Fault>>);

impl Faults {
    /// Adds a fault behind those that are there. A request meets the first one that
    /// matches it and no other.
    pub fn push(&self, fault: Fault) {
        if fault.times > 0 {
            self.lock().push(fault);
        }
    }

    /// Removes every fault.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// How many faults have not happened as often as they were to.
    pub fn pending(&self) -> usize {
        self.lock().len()
    }

    /// The fault of a request, which has then happened once more.
    pub(crate) fn take(&self, target: &Target) -> Option<Action> {
        let mut faults = self.lock();
        for at in 0..faults.len() {
            let fault = &mut faults[at];
            if !fault.matches(target) {
                continue;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
                continue;
            }
            if fault.times == u32::MAX {
                return Some(fault.action.clone());
            }
            fault.times -= 1;
            let action = fault.action.clone();
            if fault.times == 0 {
                faults.remove(at);
            }
            return Some(action);
        }
        None
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Fault>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(key: &str) -> Target {
        Target {
            operation: Operation::GetObject,
            key: Some(key.to_owned()),
        }
    }

    #[test]
    fn a_fault_happens_to_the_nth_match_as_often_as_it_says() {
        let faults = Faults::default();
        faults.push(Fault::new(Action::Disconnect).key("a").after(1).times(2));
        assert_eq!(faults.take(&get("b")), None);
        assert_eq!(faults.take(&get("a")), None);
        assert_eq!(faults.take(&get("a")), Some(Action::Disconnect));
        assert_eq!(faults.pending(), 1);
        assert_eq!(faults.take(&get("a")), Some(Action::Disconnect));
        assert_eq!(faults.take(&get("a")), None);
        assert_eq!(faults.pending(), 0);
    }

    #[test]
    fn an_operation_is_met_by_its_own_faults_only() {
        let faults = Faults::default();
        faults.push(
            Fault::new(Action::Disconnect)
                .on(Operation::HeadObject)
                .always(),
        );
        assert_eq!(faults.take(&get("a")), None);
        let head = Target {
            operation: Operation::HeadObject,
            ..get("a")
        };
        assert!((0..10).all(|_| faults.take(&head).is_some()));
        faults.clear();
        assert_eq!(faults.take(&head), None);
    }
}
