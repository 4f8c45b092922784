//! One client: its requests, what waits, and what is left when it goes.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use forebay_core::cache::{Cache, CacheError, FileRef, Usage};
use forebay_core::manifest::VersionId;
use forebay_core::{ByteRange, ErrorKind};
use forebay_proto::local::{
    Attach, FrameReader, FrameWriter, Hello, MAX_RANGE, NEWEST, OLDEST, Reply, Request,
    StreamError, WarmupCounts, WarmupFailure,
};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::net::UnixStream;
use tokio::task::AbortHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::LocalServer;
use super::answer::Answers;
use super::leases::{HeldLease, Leases};
use super::peer::Peer;
use super::places::Places;
use crate::node::WarmupProgress;

/// How long a client may take to say hello.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(5);
/// Between two reports of a listing or a warm-up.
const TELL_EVERY: Duration = Duration::from_millis(200);
/// Between two reports of how full the cache is.
const USAGE_EVERY: Duration = Duration::from_secs(1);
/// How often prefetch that had no room is tried again: at 10 GB/s, 200 MB are read
/// meanwhile, which is less than the budget of prefetch.
const ADVISE_EVERY: Duration = Duration::from_millis(20);
/// The most runs of files of one warm-up: 64 MiB of them.
const MOST_RUNS: usize = 8 << 20;

/// Why a client is disconnected.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error("the client broke the protocol: {rule}")]
    Rule { rule: &'static str },
}

const fn rule(rule: &'static str) -> Broken {
    Broken::Rule { rule }
}

/// What a request number stands for.
#[derive(Debug)]
enum Running {
    /// A task that will answer.
    Task(AbortHandle),
    /// A warm-up of which more runs are to come.
    Gathering(VersionId, Vec<(u32, u32)>),
}

/// A client that is connected.
#[derive(Debug)]
pub(super) struct Connection {
    server: Arc<LocalServer>,
    leases: Leases,
    answers: Answers,
    // Both held for look-ups only.
    running: Mutex<HashMap<u64, Running>>,
    // Leases for whose advice the cache has had no room yet.
    unadvised: Mutex<HashSet<u64>>,
}

impl Connection {
    /// Serves one client until it goes.
    pub(super) async fn serve(server: &Arc<LocalServer>, stream: UnixStream, peer: &Peer) {
        let stream = Arc::new(stream);
        let writer = FrameWriter::new(Arc::clone(&stream));
        let mut reader = FrameReader::new(stream);
        let (answers, unwritten) = Answers::new();
        let connection = Arc::new(Self {
            server: Arc::clone(server),
            leases: Leases::default(),
            answers,
            running: Mutex::default(),
            unadvised: Mutex::default(),
        });
        let _counted = server.stats.connected();
        let farewell = Farewell(Arc::clone(&connection));
        let ended = tokio::select! {
            ended = connection.converse(&mut reader) => ended,
            error = unwritten.write(writer) => Err(error.into()),
        };
        match ended {
            Ok(()) => {
                tracing::debug!(%peer, "client said goodbye");
                // Given back now, and not after the grace time.
                drop(connection.leases.take());
            }
            Err(Broken::Stream(StreamError::Closed | StreamError::Io(_))) => {
                tracing::info!(%peer, "client went away");
            }
            Err(broken) => {
                server.stats.refused();
                tracing::warn!(%peer, error = %broken, "disconnected a client");
            }
        }
        drop(farewell);
    }

    async fn converse(self: &Arc<Self>, reader: &mut FrameReader) -> Result<(), Broken> {
        tokio::time::timeout(HANDSHAKE, self.shake_hands(reader))
            .await
            .map_err(|_| rule("it did not say hello"))??;
        let mut told = Usage::default();
        let mut tick = tokio::time::interval(USAGE_EVERY);
        let mut advise = tokio::time::interval(ADVISE_EVERY);
        advise.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut places = Places::default();
        let mut withdrawals = self.server.node.store().withdrawals();
        loop {
            let waits = !self.unadvised().is_empty();
            let frame = tokio::select! {
                frame = reader.next() => frame?,
                _ = advise.tick(), if waits => {
                    self.advise_again();
                    continue;
                }
                Ok(()) = withdrawals.changed() => {
                    places.check(&self.answers);
                    continue;
                }
                _ = tick.tick() => {
                    let usage = self.server.node.usage();
                    if usage != told {
                        told = usage;
                        self.answers.send(0, &Reply::Usage(usage));
                    }
                    continue;
                }
            };
            self.server.stats.request();
            if frame.descriptor.is_some() {
                return Err(StreamError::Descriptors.into());
            }
            let request = Request::decode(frame.header.kind, &frame.payload);
            match request.map_err(StreamError::from)? {
                Request::Bye => return Ok(()),
                request => self.take(frame.header.request, request, &mut places)?,
            }
        }
    }

    /// Prefetch may have room again.
    fn advise_again(&self) {
        self.unadvised().retain(|lease| {
            let held = self.leases.get(*lease);
            held.is_some_and(|held| held.advise_again(&*self.server.node))
        });
    }

    fn unadvised(&self) -> std::sync::MutexGuard<'_, HashSet<u64>> {
        self.unadvised
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn shake_hands(&self, reader: &mut FrameReader) -> Result<(), Broken> {
        let frame = reader.next().await?;
        let number = frame.header.request;
        let request = Request::decode(frame.header.kind, &frame.payload);
        let Request::Hello(Hello { oldest, newest, .. }) = request.map_err(StreamError::from)?
        else {
            return Err(rule("it did not say hello first"));
        };
        let version = newest.min(NEWEST);
        if version < oldest.max(OLDEST) {
            let message = format!(
                "it speaks protocol versions {oldest} to {newest}, the server {OLDEST} to \
                 {NEWEST}; upgrade the older of the two"
            );
            self.answers
                .fail(number, &CacheError::new(ErrorKind::InvalidInput, message));
            // The answer is written before the connection ends.
            tokio::time::sleep(Duration::from_millis(100)).await;
            return Err(rule("no common protocol version"));
        }
        let welcome = self.server.greeting(version);
        self.answers.send(number, &Reply::Welcome(welcome));
        Ok(())
    }

    /// Takes one request: answers it, or begins what will.
    fn take(
        self: &Arc<Self>,
        number: u64,
        request: Request,
        places: &mut Places,
    ) -> Result<(), Broken> {
        match request {
            Request::Hello(_) | Request::Bye => return Err(rule("a second hello")),
            Request::Places { version, first } => {
                // A version that is not known has no places; opening a file says so.
                let _ = places.tell(&self.server.node, version, first, &self.answers);
            }
            Request::Used(packs) => places.used(&packs),
            Request::Release(lease) => self.leases.remove(lease),
            Request::Advise { lease, range } => {
                if let Some(held) = self.leases.get(lease)
                    && held.advise(&*self.server.node, range)
                {
                    self.unadvised().insert(lease);
                }
            }
            Request::Cancel => self.cancel(number),
            Request::Lease(file) => {
                let this = Arc::clone(self);
                self.run(
                    number,
                    async move { this.lease(number, file).await }.boxed(),
                )?;
            }
            Request::Ensure { lease, range } => {
                let held = self.held(lease)?;
                self.ensure(number, held, range)?;
            }
            Request::Whole(lease) => {
                let (this, held) = (Arc::clone(self), self.held(lease)?);
                let answer = async move {
                    let file = this.server.node.whole(&held.lease).await;
                    if let Err(error) = this.answers.whole(number, &held, file) {
                        this.answers.fail(number, &error);
                    }
                };
                self.run(number, answer.boxed())?;
            }
            Request::Distrust { lease, range } => {
                let (this, held) = (Arc::clone(self), self.held(lease)?);
                self.reply(number, async move {
                    let cache = &this.server.node;
                    cache.distrust(&held.lease, range).await;
                    Ok(Reply::Count(cache.cached_bytes(held.lease.file).await?))
                })?;
            }
            Request::CachedBytes(file) => {
                let this = Arc::clone(self);
                self.reply(number, async move {
                    let bytes = this.server.node.cached_bytes(file).await?;
                    Ok(Reply::Count(bytes))
                })?;
            }
            Request::Report(version) => {
                let this = Arc::clone(self);
                self.reply(number, async move {
                    Ok(Reply::Report(this.server.datasets.report(version).await?))
                })?;
            }
            Request::Versions(dataset) => {
                let this = Arc::clone(self);
                self.reply(number, async move {
                    let versions = this.server.datasets.versions(dataset).await?;
                    Ok(Reply::Versions(versions))
                })?;
            }
            Request::Attach(attach) => {
                let this = Arc::clone(self);
                self.run(
                    number,
                    async move { this.attach(number, attach).await }.boxed(),
                )?;
            }
            Request::Warmup {
                version,
                runs,
                more,
            } => self.gather(number, version, runs, more)?,
        }
        Ok(())
    }

    /// A lease that the client names. One that it does not hold it has given back, or
    /// never had: both are against the rules.
    fn held(&self, lease: u64) -> Result<Arc<HeldLease>, Broken> {
        self.leases
            .get(lease)
            .ok_or(rule("it named a lease that it does not hold"))
    }

    fn ensure(
        self: &Arc<Self>,
        number: u64,
        held: Arc<HeldLease>,
        range: ByteRange,
    ) -> Result<(), Broken> {
        if range.len() > MAX_RANGE || range.end() > held.lease.size {
            return Err(rule("it asked for a range that it may not ask for"));
        }
        let this = Arc::clone(self);
        let answer = async move {
            let cache = &*this.server.node;
            match cache.ensure(&held.lease, range).await {
                Ok(found) => {
                    let answers = &this.answers;
                    answers.available(number, &held, cache, range, found).await;
                }
                Err(error) => this.answers.fail(number, &error),
            }
        };
        self.run(number, answer.boxed())
    }

    async fn lease(&self, number: u64, file: FileRef) {
        let cache = &*self.server.node;
        let lease = match cache.lease(file).await {
            Ok(lease) => lease,
            Err(error) => return self.answers.fail(number, &error),
        };
        match self.leases.insert(lease, self.server.stats.leased()) {
            Some(held) => self.answers.leased(number, &held, cache),
            None => {
                let error = CacheError::new(ErrorKind::Busy, "too many files are open");
                self.answers.fail(number, &error);
            }
        }
    }

    async fn attach(&self, number: u64, attach: Attach) {
        let last = Mutex::new(None);
        let listed = |objects, bytes| {
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            let now = tokio::time::Instant::now();
            if last.is_none_or(|last| now.duration_since(last) >= TELL_EVERY) {
                *last = Some(now);
                self.answers
                    .send(number, &Reply::Listing { objects, bytes });
            }
        };
        match self.server.datasets.attach(attach, &listed).await {
            Ok(attached) => {
                let reply = Reply::Attached {
                    version: attached.version,
                    origin_unreachable: attached.origin_unreachable,
                };
                let manifest = attached.manifest.into();
                self.answers.send_with(number, &reply, manifest);
            }
            Err(error) => self.answers.fail(number, &error),
        }
    }

    fn gather(
        self: &Arc<Self>,
        number: u64,
        version: VersionId,
        runs: Vec<(u32, u32)>,
        more: bool,
    ) -> Result<(), Broken> {
        let mut gathered = match self.running().remove(&number) {
            None => Vec::new(),
            Some(Running::Gathering(first, gathered)) if first == version => gathered,
            Some(_) => return Err(rule("it used a request number twice")),
        };
        gathered.extend(runs);
        if gathered.len() > MOST_RUNS {
            return Err(rule("a warm-up of too many runs"));
        }
        if more {
            let mut running = self.running();
            if running.len() >= self.most_running() {
                return Err(rule("too many unanswered requests"));
            }
            running.insert(number, Running::Gathering(version, gathered));
            return Ok(());
        }
        let this = Arc::clone(self);
        let warmup = async move { this.warmup(number, version, gathered).await };
        self.run(number, warmup.boxed())
    }

    async fn warmup(&self, number: u64, version: VersionId, runs: Vec<(u32, u32)>) {
        let progress = WarmupProgress::default();
        let cancel = CancellationToken::new();
        let datasets = &self.server.datasets;
        let mut warming = datasets.warmup(version, runs, &progress, &cancel);
        let mut tick = tokio::time::interval(TELL_EVERY);
        let ended = loop {
            tokio::select! {
                ended = &mut warming => break ended,
                _ = tick.tick() => {
                    let counts = counts(&progress);
                    self.answers.send(number, &Reply::WarmupProgress(counts));
                }
            }
        };
        let summary = match ended {
            Ok(summary) => summary,
            Err(error) => return self.answers.fail(number, &error),
        };
        for failure in summary.failures {
            let failure = WarmupFailure {
                path: failure.path,
                kind: failure.kind,
                reason: failure.reason,
            };
            self.answers.send(number, &Reply::WarmupFailure(failure));
        }
        let end = WarmupCounts {
            files_done: summary.files,
            bytes_done: summary.bytes,
            files_failed: summary.failed,
            ..counts(&progress)
        };
        self.answers.send(number, &Reply::WarmupEnd(end));
    }

    /// Has `answer` answered in a task of its own.
    fn reply(
        self: &Arc<Self>,
        number: u64,
        answer: impl Future<Output = Result<Reply, CacheError>> + Send + 'static,
    ) -> Result<(), Broken> {
        let this = Arc::clone(self);
        let work = async move {
            match answer.await {
                Ok(reply) => this.answers.send(number, &reply),
                Err(error) => this.answers.fail(number, &error),
            }
        };
        self.run(number, work.boxed())
    }

    /// Does `work`: here and now if it need not wait, else in a task of its own.
    fn run(self: &Arc<Self>, number: u64, mut work: BoxFuture<'static, ()>) -> Result<(), Broken> {
        if (&mut work).now_or_never().is_some() {
            return Ok(());
        }
        let mut running = self.running();
        if running.contains_key(&number) {
            return Err(rule("it used a request number twice"));
        }
        if running.len() >= self.most_running() {
            return Err(rule("too many unanswered requests"));
        }
        // The lock is held until the task is filed, so it finds itself there.
        let this = Arc::clone(self);
        let task = tokio::spawn(async move {
            work.await;
            this.running().remove(&number);
        });
        running.insert(number, Running::Task(task.abort_handle()));
        Ok(())
    }

    /// More than a client may have unanswered: it counts an answer when it has come, and
    /// the task that sent it may not have ended by then.
    fn most_running(&self) -> usize {
        2 * self.server.config.in_flight as usize
    }

    fn cancel(&self, number: u64) {
        if let Some(Running::Task(task)) = self.running().remove(&number) {
            task.abort();
        }
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn counts(progress: &WarmupProgress) -> WarmupCounts {
    WarmupCounts {
        files_total: progress.files_total.load(Relaxed),
        bytes_total: progress.bytes_total.load(Relaxed),
        files_done: progress.files_done.load(Relaxed),
        bytes_done: progress.bytes_done.load(Relaxed),
        files_failed: progress.files_failed.load(Relaxed),
    }
}

/// What is left to do when a connection ends, however it does: nobody waits for answers
/// any more, and the leases live on for the grace time.
struct Farewell(Arc<Connection>);

impl Drop for Farewell {
    fn drop(&mut self) {
        let connection = &self.0;
        for (_, running) in connection.running().drain() {
            if let Running::Task(task) = running {
                task.abort();
            }
        }
        let leases = connection.leases.take();
        let server = &connection.server;
        if leases.is_empty() || server.stop.is_cancelled() {
            return;
        }
        let (stop, grace) = (server.stop.clone(), server.config.grace);
        server.tasks.spawn(async move {
            let _ = stop.run_until_cancelled(tokio::time::sleep(grace)).await;
            drop(leases);
        });
    }
}
