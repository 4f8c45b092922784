//! Ends the process when an input takes too long: a thread cannot be stopped.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use crate::corpus::save_crash;

/// The longest that an input may take: a hundred times what the slowest valid one takes
/// on a busy machine.
pub(crate) const LONGEST: Duration = Duration::from_secs(10);

/// What is being read, and since when.
type Reading = Mutex<Option<(Instant, Vec<u8>)>>;

/// Looks at a campaign once a second.
#[derive(Debug)]
pub(crate) struct Watch {
    reading: Arc<Reading>,
}

impl Watch {
    pub(crate) fn new(target: &'static str) -> Self {
        let reading = Arc::<Reading>::default();
        let watched = Arc::downgrade(&reading);
        thread::spawn(move || watch(target, &watched));
        Self { reading }
    }

    /// Notes that `input` is read from now on.
    pub(crate) fn begins(&self, input: &[u8]) {
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        *reading = Some((Instant::now(), input.to_vec()));
    }

    /// Notes that it was read.
    pub(crate) fn ends(&self) {
        *self.reading.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn watch(target: &str, reading: &Weak<Reading>) {
    while let Some(reading) = reading.upgrade() {
        let reading = reading.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((since, input)) = &*reading
            && since.elapsed() > LONGEST
        {
            let place = save_crash(target, input);
            eprintln!("{target}: crash: an input took more than {LONGEST:?}; {place}");
            std::process::exit(1);
        }
        drop(reading);
        thread::sleep(Duration::from_secs(1));
    }
}
