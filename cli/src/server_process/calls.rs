//! The control calls of a cache server: decode, do, encode.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use forebay_cache_server::cluster::MemberService;
use forebay_cache_server::control::ControlStreams;
use forebay_cache_server::warmup::Job;
use forebay_proto::cache::v1::cache_control_server::{CacheControl, CacheControlServer};
use forebay_proto::cache::v1::cache_member_server::CacheMemberServer;
use forebay_proto::cache::v1::{
    CancelWarmupRequest, ClusterStatusRequest, ClusterStatusResponse, FailedFile,
    ListWarmupsRequest, ListWarmupsResponse, MemberShare, StartWarmupRequest, Warmup,
    WarmupProgress, WatchWarmupRequest,
};
use futures::{Stream, StreamExt, stream};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use super::status::StatusService;
use super::warmups::WarmupService;
use crate::control_server::answer;

/// How often a watcher hears of a warm-up.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// The servers of control calls: of this machine, and of the other members.
#[derive(Debug)]
pub(super) struct Controls {
    tasks: Vec<JoinHandle<Result<(), tonic::transport::Error>>>,
    stop: CancellationToken,
}

impl Controls {
    /// Serves those who come in `from_here` and `from_members`.
    pub(super) fn serve(
        calls: Calls,
        from_here: ControlStreams,
        from_members: ControlStreams,
        member: Option<CacheMemberServer<MemberService>>,
    ) -> Self {
        let stop = CancellationToken::new();
        let control = CacheControlServer::new(calls);
        // A client of this machine never names a source: what members ask of each other
        // is nothing for it.
        let here = Server::builder().add_service(control.clone());
        let here = here.serve_with_incoming_shutdown(
            ReceiverStream::new(from_here),
            stop.clone().cancelled_owned(),
        );
        let members = Server::builder()
            .add_service(control)
            .add_optional_service(member);
        let members = members.serve_with_incoming_shutdown(
            ReceiverStream::new(from_members),
            stop.clone().cancelled_owned(),
        );
        Self {
            tasks: vec![tokio::spawn(here), tokio::spawn(members)],
            stop,
        }
    }

    /// Answers what is under way, and ends.
    pub(super) async fn end(self) {
        self.stop.cancel();
        for task in self.tasks {
            let ended = task.await;
            tracing::debug!(?ended, "control calls ended");
        }
    }
}

/// What control calls are about.
#[derive(Clone, Debug)]
pub(super) struct Calls {
    warmups: Arc<WarmupService>,
    status: Arc<StatusService>,
}

impl Calls {
    pub(super) fn new(warmups: &Arc<WarmupService>, status: StatusService) -> Self {
        Self {
            warmups: Arc::clone(warmups),
            status: Arc::new(status),
        }
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl CacheControl for Calls {
    async fn start_warmup(&self, request: Request<StartWarmupRequest>) -> Answer<Warmup> {
        let job = self.warmups.start(request.into_inner()).await;
        answer(job.map(|job| told(&job)))
    }

    type WatchWarmupStream = Pin<Box<dyn Stream<Item = Result<Warmup, Status>> + Send>>;

    async fn watch_warmup(
        &self,
        request: Request<WatchWarmupRequest>,
    ) -> Answer<Self::WatchWarmupStream> {
        let job = self.warmups.job(&request.into_inner().name);
        answer(job.map(|job| {
            let tick = tokio::time::interval(TELL_EVERY);
            let next = |(job, mut tick, ended): (Arc<Job>, tokio::time::Interval, bool)| async move {
                if ended {
                    return None;
                }
                tick.tick().await;
                // In this order: what is told last is told of the end.
                let ended = job.phase().is_end();
                Some((Ok(told(&job)), (job, tick, ended)))
            };
            stream::unfold((job, tick, false), next).boxed()
        }))
    }

    async fn cancel_warmup(&self, request: Request<CancelWarmupRequest>) -> Answer<Warmup> {
        let job = self.warmups.cancel(&request.into_inner().name).await;
        answer(job.map(|job| told(&job)))
    }

    async fn list_warmups(&self, _: Request<ListWarmupsRequest>) -> Answer<ListWarmupsResponse> {
        let warmups = self.warmups.list().iter().map(|job| told(job)).collect();
        answer(Ok(ListWarmupsResponse { warmups }))
    }

    async fn cluster_status(
        &self,
        _: Request<ClusterStatusRequest>,
    ) -> Answer<ClusterStatusResponse> {
        answer(Ok(self.status.cluster().await))
    }
}

/// A warm-up as it is told.
pub(super) fn told(job: &Job) -> Warmup {
    let (spec, state) = (job.spec(), job.state());
    let counts = state.counts;
    let progress = WarmupProgress {
        files_done: counts.files_done,
        files_total: counts.files_total,
        bytes_done: counts.bytes_done,
        bytes_total: counts.bytes_total,
        files_failed: counts.files_failed,
        bytes_fetched: counts.bytes_fetched,
        bytes_per_second: counts.bytes_per_second,
        eta_seconds: state.eta().map(|eta| eta.as_secs_f64()),
    };
    let failed = state.failed.iter().map(|failed| FailedFile {
        path: job.path(failed.entry).escape_ascii().to_string(),
        reason: failed.error.to_string(),
    });
    let members = state.shares.into_iter().map(|share| MemberShare {
        name: share.name,
        bytes: share.bytes,
    });
    Warmup {
        name: spec.name.clone(),
        dataset: spec.dataset.clone(),
        version: spec.version.to_string(),
        patterns: spec.patterns.clone(),
        replicas: u32::try_from(spec.replicas).unwrap_or(u32::MAX),
        phase: state.phase.as_str().to_owned(),
        complete: state.phase == forebay_cache_server::warmup::Phase::Complete,
        progress: Some(progress),
        seconds: state.took.as_secs_f64(),
        failed: failed.collect(),
        members: members.collect(),
        attempts: state.attempts,
        trouble: state
            .trouble
            .map(|error| error.to_string())
            .unwrap_or_default(),
    }
}
