//! The mount host: the parent of a node's mounts, in a pod that is not upgraded with the
//! driver's.
//!
//! When a container ends, everything that was started in it ends. So what must outlive
//! the driver's pod is started by somebody else: this process, which does nothing but run
//! three commands of its own program when the driver asks. One connection is one order in
//! JSON and one answer.

use std::io;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::runner::{Order, Outcome, Refusal, execute};
use crate::serve::bind_private;

/// As long as an order may be.
const LONGEST_ORDER: u64 = 1 << 20;

/// What may be ordered.
const COMMANDS: [&str; 3] = ["mount", "umount", "status"];

/// The host.
#[derive(Debug)]
pub struct MountHost {
    listener: UnixListener,
    program: PathBuf,
}

impl MountHost {
    /// Listens at `socket` for orders to run `program`.
    ///
    /// # Errors
    /// If the socket cannot be made.
    pub fn listen(socket: &Path, program: PathBuf) -> io::Result<Self> {
        Ok(Self {
            listener: bind_private(socket)?,
            program,
        })
    }

    /// Carries out orders until `stop`. Mounts stay as long as whoever runs this lets
    /// their processes live.
    pub async fn serve(self, stop: CancellationToken) {
        let orders = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                // A task of its own: it goes on to its end if the driver goes.
                Ok((stream, _)) => {
                    orders.spawn(answer(stream, self.program.clone()));
                }
                Err(error) => tracing::warn!(%error, "a connection was not accepted"),
            }
        }
    }
}

async fn answer(mut stream: UnixStream, program: PathBuf) {
    let outcome = match order(&mut stream).await {
        Ok(order) => {
            let begun = std::time::Instant::now();
            let outcome = execute(&program, &order).await;
            let seconds = begun.elapsed().as_secs_f64();
            // The first word and nothing else: the rest names sources.
            if order.words[0] != "status" {
                let code = outcome.as_ref().ok().and_then(|done| done.code);
                tracing::info!(command = order.words[0], code, seconds, "done");
            }
            outcome
        }
        Err(why) => {
            tracing::warn!(why, "an order was refused");
            Err(Refusal::Failed { why })
        }
    };
    if let Err(error) = reply(&mut stream, &outcome).await {
        tracing::info!(%error, "nobody waits for the answer any more");
    }
}

/// Reads an order and refuses what is none.
async fn order(stream: &mut UnixStream) -> Result<Order, String> {
    let caller = stream.peer_cred().map_err(|error| error.to_string())?.uid();
    if caller != 0 && caller != rustix::process::geteuid().as_raw() {
        return Err(format!("user {caller} may not give orders"));
    }
    let mut text = Vec::new();
    let mut bounded = stream.take(LONGEST_ORDER);
    bounded
        .read_to_end(&mut text)
        .await
        .map_err(|error| error.to_string())?;
    // What serde says of a text that is no order may quote it, credentials and all.
    let order: Order = serde_json::from_slice(&text).map_err(|_| "not an order".to_owned())?;
    match order.words.first() {
        Some(word) if COMMANDS.contains(&word.as_str()) => Ok(order),
        _ => Err(format!("only {} may be ordered", COMMANDS.join(", "))),
    }
}

async fn reply(stream: &mut UnixStream, outcome: &Outcome) -> io::Result<()> {
    stream.write_all(&serde_json::to_vec(outcome)?).await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::runner::Runner;
    use super::*;
    use crate::mounter::MounterError;

    fn order(words: &[&str]) -> Order {
        Order {
            words: words.iter().map(|&word| word.to_owned()).collect(),
            environment: BTreeMap::from([("SEEN".into(), "yes".into())]),
            limit_seconds: 1,
        }
    }

    async fn host(dir: &Path, program: &str) -> (Runner, CancellationToken) {
        let socket = dir.join("host.sock");
        let host = MountHost::listen(&socket, program.into()).unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(host.serve(stop.clone()));
        (Runner::Host(socket), stop)
    }

    #[tokio::test]
    async fn an_order_is_carried_out_and_its_end_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let (runner, _stop) = host(dir.path(), "/bin/echo").await;
        let done = runner.run(&order(&["status", "--json"])).await.unwrap();
        assert_eq!(
            (done.code, done.printed.as_str()),
            (Some(0), "status --json\n")
        );
    }

    #[tokio::test]
    async fn nothing_but_three_commands_can_be_ordered() {
        let dir = tempfile::tempdir().unwrap();
        let (runner, _stop) = host(dir.path(), "/bin/echo").await;
        for words in [&["config"][..], &[], &["--help", "mount"]] {
            let error = runner.run(&order(words)).await.unwrap_err();
            assert!(error.to_string().contains("only mount"), "{error}");
        }
    }

    #[tokio::test]
    async fn what_takes_too_long_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("slow");
        std::fs::write(&script, "#!/bin/sh\nexec sleep 60\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&script, mode).unwrap();
        let (runner, _stop) = host(dir.path(), script.to_str().unwrap()).await;
        let error = runner.run(&order(&["mount"])).await.unwrap_err();
        assert_eq!(error, MounterError::TimedOut { seconds: 1 });
    }

    #[tokio::test]
    async fn without_a_host_the_error_names_its_socket() {
        let runner = Runner::Host("/nonexistent/host.sock".into());
        let error = runner.run(&order(&["status"])).await.unwrap_err();
        assert!(
            error.to_string().contains("/nonexistent/host.sock"),
            "{error}"
        );
    }
}
