//! The control socket of a supervisor.

use forebay_proto::mount::v1::mount_supervisor_server::{MountSupervisor, MountSupervisorServer};
use forebay_proto::mount::v1::{UpgradeRequest, UpgradeResponse};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status};

use crate::control_server;
use crate::exit::{Exit, Failure};
use crate::rundir::RunDir;

/// Somebody asked for another program.
#[derive(Debug)]
pub(super) struct Asked {
    /// Its path.
    pub(super) program: String,
    /// Where the answer goes.
    pub(super) asker: oneshot::Sender<Result<UpgradeResponse, Failure>>,
}

/// The socket, which is served while this lives.
#[derive(Debug)]
pub(super) struct Control {
    serving: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Control {
    /// Serves the socket in `dir`; what is asked comes out of the receiver.
    pub(super) fn serve(dir: &RunDir) -> Result<(Self, mpsc::Receiver<Asked>), Failure> {
        let listener = control_server::bind(&dir.supervisor_socket())?;
        let (questions, asked) = mpsc::channel(1);
        let server = MountSupervisorServer::new(Server { questions });
        let serving = tokio::spawn(async move {
            tonic::transport::Server::builder()
                .serve_with_incoming(server, UnixListenerStream::new(listener))
                .await
        });
        Ok((Self { serving }, asked))
    }

    /// Serves no more. Calls under way are cut off: there is nobody to do what they ask.
    pub(super) fn end(self) {
        self.serving.abort();
    }
}

struct Server {
    questions: mpsc::Sender<Asked>,
}

#[tonic::async_trait]
impl MountSupervisor for Server {
    async fn upgrade(
        &self,
        request: Request<UpgradeRequest>,
    ) -> Result<Response<UpgradeResponse>, Status> {
        let (asker, told) = oneshot::channel();
        let program = request.into_inner().program;
        let ending = || Failure::new(Exit::NotMounted, "the mount is ending");
        let asked = self.questions.send(Asked { program, asker }).await;
        let answer = match asked {
            Ok(()) => told.await.unwrap_or_else(|_| Err(ending())),
            Err(_) => Err(ending()),
        };
        control_server::answer(answer)
    }
}
