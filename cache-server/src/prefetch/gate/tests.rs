//! The gate before simulated origins, in simulated time.

use super::*;

const KIB: u64 = 1 << 10;

/// An origin that answers after a while and then shares its bandwidth among those that
/// read; it complains of more than `most` requests at once.
#[derive(Debug)]
struct Origin {
    latency: Duration,
    bytes_per_second: f64,
    most: usize,
    busy: AtomicUsize,
    peak: AtomicUsize,
    stats: Arc<OriginStats>,
}

impl Origin {
    fn new(latency_ms: u64, bytes_per_second: f64) -> Self {
        Self {
            latency: Duration::from_millis(latency_ms),
            bytes_per_second,
            most: usize::MAX,
            busy: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            stats: Arc::default(),
        }
    }

    async fn read(&self, bytes: u64) {
        let busy = 1 + self.busy.fetch_add(1, Ordering::Relaxed);
        self.peak.fetch_max(busy, Ordering::Relaxed);
        if busy > self.most {
            self.stats.failed(ErrorKind::Throttled);
        }
        let share = bytes as f64 * busy as f64 / self.bytes_per_second;
        tokio::time::sleep(self.latency.max(Duration::from_secs_f64(share))).await;
        self.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

fn gate(origin: &Origin) -> Arc<Gate> {
    Gate::new(8, 128, Arc::clone(&origin.stats))
}

/// Reads `objects` of `bytes` as fast as the gate lets them through; how long it took.
async fn read_all(gate: &Arc<Gate>, origin: &Arc<Origin>, objects: usize, bytes: u64) -> Duration {
    let began = Instant::now();
    let mut reads = tokio::task::JoinSet::new();
    for _ in 0..objects {
        let (gate, origin) = (Arc::clone(gate), Arc::clone(origin));
        reads.spawn(async move {
            let _slot = gate.enter().await;
            origin.read(bytes).await;
            gate.received(bytes);
        });
    }
    reads.join_all().await;
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn small_objects_of_a_slow_origin_get_many_places() {
    let origin = Arc::new(Origin::new(40, 1e9));
    let gate = gate(&origin);
    let took = read_all(&gate, &origin, 10_000, 100 * KIB).await;
    assert!(gate.limit() >= 64, "{}", gate.limit());
    // Eight at once would take 50 s.
    assert!(took < Duration::from_secs(8), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_full_link_gets_no_more_than_it_needs() {
    // 100 MB/s and 20 ms: twenty objects of 100 KiB fill it.
    let origin = Arc::new(Origin::new(20, 100e6));
    let gate = gate(&origin);
    read_all(&gate, &origin, 20_000, 100 * KIB).await;
    assert!((14..=64).contains(&gate.limit()), "{}", gate.limit());
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_complains_is_asked_for_less() {
    let mut origin = Origin::new(20, 1e12);
    origin.most = 20;
    let origin = Arc::new(origin);
    let gate = gate(&origin);
    read_all(&gate, &origin, 2_000, KIB).await;
    let complaints = origin.stats.errors(ErrorKind::Throttled);
    read_all(&gate, &origin, 20_000, KIB).await;
    let later = origin.stats.errors(ErrorKind::Throttled) - complaints;
    assert!(gate.limit() <= 40, "{}", gate.limit());
    assert!(later < 4_000, "{later} of 20000 were refused");
}

#[tokio::test(start_paused = true)]
async fn readers_that_wait_leave_prefetch_one_place_at_least() {
    let origin = Arc::new(Origin::new(20, 1e9));
    let gate = gate(&origin);
    let demand: Vec<_> = (0..30).map(|_| gate.demand()).collect();
    read_all(&gate, &origin, 20, KIB).await;
    assert_eq!(origin.peak.load(Ordering::Relaxed), 1);
    drop(demand);
    read_all(&gate, &origin, 20, KIB).await;
    assert!(origin.peak.load(Ordering::Relaxed) >= 8);
}

#[tokio::test(start_paused = true)]
async fn places_in_use_are_taken_back_when_they_are_given_back() {
    let origin = Origin::new(1, 1e9);
    let gate = gate(&origin);
    let mut slots = Vec::new();
    for _ in 0..8 {
        slots.push(gate.enter().await);
    }
    let demand: Vec<_> = (0..5).map(|_| gate.demand()).collect();
    slots.truncate(3);
    assert!(
        tokio::time::timeout(Duration::from_secs(1), gate.enter())
            .await
            .is_err(),
        "3 of 8 places are left, and taken"
    );
    drop(demand);
    assert_eq!(gate.places.available_permits(), 5);
    drop(slots);
    assert_eq!(gate.places.available_permits(), 8);
}

#[tokio::test(start_paused = true)]
async fn who_came_first_enters_first() {
    let origin = Origin::new(1, 1e9);
    let gate = Gate::new(1, 1, Arc::clone(&origin.stats));
    let order = Arc::new(Mutex::new(Vec::new()));
    let held = gate.enter().await;
    let mut waiters = tokio::task::JoinSet::new();
    for number in 0..20 {
        let (gate, order) = (Arc::clone(&gate), Arc::clone(&order));
        waiters.spawn(async move {
            let _slot = gate.enter().await;
            order.lock().expect("no panic").push(number);
        });
        tokio::task::yield_now().await;
    }
    drop(held);
    waiters.join_all().await;
    let order = order.lock().expect("no panic");
    assert!(order.is_sorted(), "{order:?}");
}
