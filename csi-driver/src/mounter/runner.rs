//! Where the program's commands are run: by the driver itself, or by the mount host, so
//! that what they start outlives the driver's pod.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::Command;

use super::MounterError;

/// As long as an answer may be: the status of all mounts of a node.
const LONGEST_ANSWER: u64 = 16 << 20;

/// A command of the program.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Order {
    /// Its words, the subcommand first.
    pub(super) words: Vec<String>,
    /// Its whole environment; credentials are in it.
    pub(super) environment: BTreeMap<String, String>,
    /// How long it may take.
    pub(super) limit_seconds: u64,
}

/// How a command ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Done {
    /// Its exit code; `None` if a signal ended it.
    pub(super) code: Option<i32>,
    /// What it printed.
    pub(super) printed: String,
    /// What it said on the standard error.
    pub(super) said: String,
}

/// What an order came to, as it travels.
pub(super) type Outcome = Result<Done, Refusal>;

/// Why an order was not carried out.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Refusal {
    /// It took too long.
    TimedOut { seconds: u64 },
    /// Anything else.
    Failed { why: String },
}

impl From<Refusal> for MounterError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::TimedOut { seconds } => Self::TimedOut { seconds },
            Refusal::Failed { why } => Self::Node { said: why },
        }
    }
}

/// Who carries out orders.
#[derive(Clone, Debug)]
pub enum Runner {
    /// The driver, as the parent of this program's processes.
    Program(PathBuf),
    /// The mount host that listens at this socket.
    Host(PathBuf),
}

impl Runner {
    /// Carries out `order` and waits for its end. If nobody waits any more, a host goes on
    /// with it.
    pub(super) async fn run(&self, order: &Order) -> Result<Done, MounterError> {
        match self {
            Self::Program(program) => Ok(execute(program, order).await?),
            Self::Host(socket) => {
                let asked = ask(socket, order)
                    .await
                    .map_err(|error| MounterError::Node {
                        said: format!("the mount host at {}: {error}", socket.display()),
                    })?;
                Ok(asked?)
            }
        }
    }
}

/// Runs the program, and ends it if it takes too long.
pub(super) async fn execute(program: &PathBuf, order: &Order) -> Outcome {
    let mut command = Command::new(program);
    command
        .args(&order.words)
        .env_clear()
        .envs(&order.environment)
        .current_dir("/")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let limit = Duration::from_secs(order.limit_seconds);
    match tokio::time::timeout(limit, command.output()).await {
        Ok(Ok(output)) => Ok(Done {
            code: output.status.code(),
            printed: String::from_utf8_lossy(&output.stdout).into_owned(),
            said: String::from_utf8_lossy(&output.stderr).into_owned(),
        }),
        Ok(Err(error)) => Err(Refusal::Failed {
            why: format!("start {}: {error}", program.display()),
        }),
        Err(_) => Err(Refusal::TimedOut {
            seconds: order.limit_seconds,
        }),
    }
}

/// One order, one answer, and the connection is closed.
async fn ask(socket: &PathBuf, order: &Order) -> std::io::Result<Outcome> {
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(&serde_json::to_vec(order)?).await?;
    stream.shutdown().await?;
    let mut answer = Vec::new();
    // The host keeps to the order's limit by itself.
    stream.take(LONGEST_ANSWER).read_to_end(&mut answer).await?;
    Ok(serde_json::from_slice(&answer)?)
}
