//! Staying connected: one session after another, with the leases carried over.

use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

use forebay_core::ErrorKind;
use forebay_core::cache::CacheError;
use forebay_core::manifest::VersionId;
use forebay_proto::local::{Attach, Request, StreamError, Wanted};
use futures::StreamExt;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::client::ClientConfig;
use crate::error::{CallError, ConnectError};
use crate::lease::RemoteLease;
use crate::places::Places;
use crate::session::{Incoming, Session};

/// Between the first two attempts to reconnect; doubles from there.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// Between two attempts, at most: a server that is back is found within this time.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// Leases that are taken anew at the same time.
const LEASES_AT_ONCE: usize = 64;
/// Between two reports of what was opened without asking.
const TELL_USED_EVERY: Duration = Duration::from_secs(1);
/// How long the server may take to notice that the client goes.
const GOODBYE: Duration = Duration::from_secs(1);

/// The way to the server.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) config: ClientConfig,
    token: [u8; 16],
    // The session that can be used; None while there is none.
    current: watch::Sender<Option<Arc<Session>>>,
    /// Those of the last session, while there is none, too: what lies there stays readable.
    places: RwLock<Arc<Places>>,
    /// The versions that were attached, to be attached again.
    attached: Mutex<Vec<(String, VersionId)>>,
    closing: CancellationToken,
}

impl Link {
    /// Connects for the first time. What is returned beside the link is to be driven by
    /// [`keep`](Self::keep).
    pub(crate) async fn open(config: ClientConfig) -> Result<(Arc<Self>, Incoming), ConnectError> {
        let token = rand::random();
        let (session, incoming) = Session::open(&config.socket, token).await?;
        let link = Arc::new(Self {
            config,
            token,
            places: RwLock::new(Arc::clone(session.places())),
            current: watch::Sender::new(Some(session)),
            attached: Mutex::default(),
            closing: CancellationToken::new(),
        });
        Ok((link, incoming))
    }

    /// Remembers that `version` was attached.
    pub(crate) fn remember(&self, dataset: &str, version: VersionId) {
        let mut attached = self.attached.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = (dataset.to_owned(), version);
        if !attached.contains(&entry) {
            attached.push(entry);
        }
    }

    /// Where small files are known to lie.
    pub(crate) fn places(&self) -> Arc<Places> {
        let places = self.places.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&places)
    }

    /// The session in use, if there is one.
    pub(crate) fn current(&self) -> Option<Arc<Session>> {
        self.current.borrow().clone()
    }

    /// A session that works, waiting for one until `deadline`.
    pub(crate) async fn session(&self, deadline: Instant) -> Result<Arc<Session>, CacheError> {
        let mut sessions = self.current.subscribe();
        let works = |session: &Option<Arc<Session>>| {
            session.as_ref().is_some_and(|session| !session.is_lost())
        };
        let waited = tokio::select! {
            biased;
            () = self.closing.cancelled() => return Err(closing()),
            waited = tokio::time::timeout_at(deadline, sessions.wait_for(works)) => waited,
        };
        let session = waited.ok().and_then(|found| found.ok()?.clone());
        session.ok_or_else(|| {
            let message = format!(
                "the cache server at {} cannot be reached",
                self.config.socket.display()
            );
            CacheError::new(ErrorKind::Unavailable, message)
        })
    }

    /// Makes attempts, each with a session that works, until one is not broken off.
    ///
    /// # Errors
    /// The server's refusal; [`ErrorKind::Unavailable`] if there is no server for the
    /// time of the client's patience.
    pub(crate) async fn persist<T, Attempt>(
        &self,
        attempt: impl Fn(Arc<Session>) -> Attempt,
    ) -> Result<T, CacheError>
    where
        Attempt: Future<Output = Result<T, CallError>>,
    {
        let deadline = Instant::now() + self.config.patience;
        loop {
            let session = self.session(deadline).await?;
            match attempt(session).await {
                Ok(done) => return Ok(done),
                Err(CallError::Failed(error)) => return Err(error),
                Err(CallError::Lost) => {}
            }
        }
    }

    /// Ends every wait, and the connection: leases are given back at once.
    pub(crate) fn close(&self) {
        self.closing.cancel();
    }

    /// Serves the link until it is closed.
    pub(crate) async fn keep(self: Arc<Self>, incoming: Incoming) {
        let mut serving = tokio::spawn(incoming.run());
        // Held in sessions that have gone.
        let mut orphans: Vec<Weak<RemoteLease>> = Vec::new();
        let mut tick = tokio::time::interval(TELL_USED_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let ended = tokio::select! {
                biased;
                () = self.closing.cancelled() => return self.say_goodbye(serving).await,
                ended = &mut serving => ended,
                _ = tick.tick() => {
                    if let Some(session) = self.current() {
                        session.tell_used();
                    }
                    continue;
                }
            };
            let lost = self.current.send_replace(None);
            orphans.extend(lost.iter().flat_map(|session| session.held()));
            let socket = self.config.socket.display();
            match ended {
                Ok(error) => warn!(%error, %socket, "lost the cache server, reconnecting"),
                Err(error) => error!(%error, %socket, "the connection's task broke off"),
            }
            let Some((session, incoming)) = self.reconnect().await else {
                return;
            };
            serving = tokio::spawn(incoming.run());
            self.attach_again(&session).await;
            {
                let mut places = self.places.write().unwrap_or_else(PoisonError::into_inner);
                *places = Arc::clone(session.places());
            }
            self.current.send_replace(Some(Arc::clone(&session)));
            info!(socket = %self.config.socket.display(), "reconnected to the cache server");
            lease_again(&session, &orphans).await;
            orphans.retain(|orphan| orphan.strong_count() > 0);
            if !session.is_lost() {
                orphans.clear();
            }
        }
    }

    async fn reconnect(&self) -> Option<(Arc<Session>, Incoming)> {
        let mut pause = FIRST_PAUSE;
        let mut told = None;
        loop {
            let opened = tokio::select! {
                biased;
                () = self.closing.cancelled() => return None,
                opened = Session::open(&self.config.socket, self.token) => opened,
            };
            let error = match opened {
                Ok(session) => return Some(session),
                Err(error) => error.to_string(),
            };
            // Once for each thing that is wrong, and not for each attempt.
            if told.as_ref() != Some(&error) {
                warn!(%error, "no cache server yet");
                told = Some(error);
            }
            tokio::select! {
                () = self.closing.cancelled() => return None,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// A server that has restarted knows no version until it is asked for one.
    async fn attach_again(&self, session: &Arc<Session>) {
        let attached = {
            let attached = self.attached.lock().unwrap_or_else(PoisonError::into_inner);
            attached.clone()
        };
        for (dataset, version) in attached {
            let request = Request::Attach(Attach {
                wanted: Wanted::Stored(version.to_string()),
                dataset,
            });
            let answer = match session.converse(&[request]).await {
                Ok(mut replies) => replies.next().await,
                Err(error) => Err(error),
            };
            if let Err(CallError::Failed(error)) = answer {
                error!(%error, %version, "the cache server no longer has the mounted version");
            }
        }
    }

    async fn say_goodbye(&self, mut serving: JoinHandle<StreamError>) {
        if let Some(session) = self.current.send_replace(None) {
            session.send(&Request::Bye);
        }
        // The server closes when it has read it; one that hangs is not waited for.
        let _ = tokio::time::timeout(GOODBYE, &mut serving).await;
        serving.abort();
    }
}

/// Takes leases in a new session, so that the server keeps the objects.
async fn lease_again(session: &Arc<Session>, orphans: &[Weak<RemoteLease>]) {
    let taken = futures::stream::iter(orphans.iter().filter_map(Weak::upgrade));
    taken
        .for_each_concurrent(LEASES_AT_ONCE, |lease| async move {
            if let Err(CallError::Failed(error)) = lease.number_in(session).await {
                warn!(%error, "a file that is open could not be leased again");
            }
        })
        .await;
}

fn closing() -> CacheError {
    CacheError::new(ErrorKind::Cancelled, "the client is being closed")
}
