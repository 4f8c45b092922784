//! The control socket: decode, ask the mount, encode.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use forebay_proto::mount::v1::mount_control_server::{MountControl, MountControlServer};
use forebay_proto::mount::v1::{
    DropPlansRequest, DropPlansResponse, PlanRequest, PlanResponse, RefreshRequest,
    RefreshResponse, StatusRequest, StatusResponse, StopRequest, StopResponse, VersionsRequest,
    VersionsResponse, WarmupRequest, WarmupResponse,
};
use futures::{Stream, StreamExt};
use tokio::net::UnixListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::exit::{Exit, Failure};
use crate::mount_process::Service;

/// Carries [`Exit`] to the command, beside the message.
const EXIT: &str = "forebay-exit";

/// The exit code that the server gave a refusal; `None` if it came from the transport.
pub(crate) fn exit_of(status: &Status) -> Option<Exit> {
    let code = status.metadata().get(EXIT)?.to_str().ok()?.parse().ok()?;
    Some(Exit::from_code(code))
}

pub(crate) fn refusal(failure: &Failure) -> Status {
    let mut status = Status::failed_precondition(failure.to_string());
    status
        .metadata_mut()
        .insert(EXIT, u32::from(failure.exit().code()).into());
    status
}

/// Listens on `socket`, which only its owner may connect to.
///
/// # Errors
/// If the socket cannot be made; its path may be too long.
pub(crate) fn bind(socket: &Path) -> Result<UnixListener, Failure> {
    crate::socket::listen(socket).map_err(|error| {
        let text = format!("listen at {}: {error}", socket.display());
        Failure::new(Exit::Failed, text).next("set FOREBAY_RUN_DIR to a short path of yours")
    })
}

/// Serves the control socket until `stop`; calls under way are answered first.
pub(crate) fn serve(
    listener: UnixListener,
    service: Arc<Service>,
    stop: CancellationToken,
) -> JoinHandle<Result<(), tonic::transport::Error>> {
    let server = MountControlServer::new(ControlServer { service });
    let incoming = UnixListenerStream::new(listener);
    let stopped = stop.cancelled_owned();
    tokio::spawn(async move {
        tonic::transport::Server::builder()
            .serve_with_incoming_shutdown(server, incoming, stopped)
            .await
    })
}

struct ControlServer {
    service: Arc<Service>,
}

type Answer<T> = Result<Response<T>, Status>;

/// A result as it is sent.
pub(crate) fn answer<T>(result: Result<T, Failure>) -> Answer<T> {
    result
        .map(Response::new)
        .map_err(|failure| refusal(&failure))
}

#[tonic::async_trait]
impl MountControl for ControlServer {
    async fn status(&self, _: Request<StatusRequest>) -> Answer<StatusResponse> {
        answer(self.service.status().await)
    }

    type WarmupStream = Pin<Box<dyn Stream<Item = Result<WarmupResponse, Status>> + Send>>;

    async fn warmup(&self, request: Request<WarmupRequest>) -> Answer<Self::WarmupStream> {
        let events = self.service.warmup(&request.into_inner().patterns).await;
        answer(events.map(|events| {
            let events = ReceiverStream::new(events);
            events
                .map(|event| event.map_err(|failure| refusal(&failure)))
                .boxed()
        }))
    }

    async fn versions(&self, _: Request<VersionsRequest>) -> Answer<VersionsResponse> {
        answer(self.service.versions().await)
    }

    async fn refresh(&self, _: Request<RefreshRequest>) -> Answer<RefreshResponse> {
        answer(self.service.refresh().await)
    }

    async fn plan(&self, request: Request<tonic::Streaming<PlanRequest>>) -> Answer<PlanResponse> {
        answer(self.service.plan(request.into_inner()).await)
    }

    async fn drop_plans(&self, _: Request<DropPlansRequest>) -> Answer<DropPlansResponse> {
        Ok(Response::new(self.service.drop_plans()))
    }

    async fn stop(&self, _: Request<StopRequest>) -> Answer<StopResponse> {
        answer(self.service.stop().await)
    }
}
