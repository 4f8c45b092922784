//! One connection to the server: requests on their way out, replies on their way in.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use forebay_core::ErrorKind;
use forebay_core::cache::{CacheError, FileRef, Usage};
use forebay_proto::local::{
    Frame, FrameReader, FrameWriter, Hello, MAX_PAYLOAD, NEWEST, OLDEST, Reply, Request,
    StreamError, WITH_PLACES, Welcome,
};
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc, oneshot};

use crate::error::{CallError, ConnectError};
use crate::lease::{Leased, RemoteLease};
use crate::places::Places;

/// How long a server may take to say welcome.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Frames that are written with one system call.
const FRAMES_AT_ONCE: usize = 64;
/// With so many frames waiting to be written, hints are dropped.
const CROWDED: usize = 1024;

/// A reply and the descriptor that came with it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) reply: Reply,
    pub(crate) descriptor: Option<OwnedFd>,
}

/// Who waits for the replies to a request.
#[derive(Debug)]
enum Waiter {
    /// For one, with the inline bytes that have come so far.
    One(oneshot::Sender<Answer>, BytesMut),
    /// For several.
    Many(mpsc::UnboundedSender<Answer>),
}

#[derive(Debug, Default)]
struct Waiting {
    // None once the connection is lost.
    waiters: Option<HashMap<u64, Waiter>>,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Session {
    outgoing: mpsc::UnboundedSender<Vec<u8>>,
    queued: Arc<AtomicUsize>,
    next: AtomicU64,
    in_flight: Semaphore,
    // Both held for look-ups only.
    waiting: Mutex<Waiting>,
    leases: Mutex<HashMap<u64, Weak<RemoteLease>>>,
    capacity: AtomicU64,
    used: AtomicU64,
    places: Arc<Places>,
    knows_places: bool,
}

impl Session {
    /// Connects and shakes hands. The session lives while [`Incoming::run`] does.
    pub(crate) async fn open(
        socket: &Path,
        token: [u8; 16],
    ) -> Result<(Arc<Self>, Incoming), ConnectError> {
        let shaken = tokio::time::timeout(HANDSHAKE, shake_hands(socket, token)).await;
        let (stream, reader, welcome) = shaken.map_err(|_| ConnectError::Silent {
            socket: socket.to_owned(),
        })??;
        let (outgoing, frames) = mpsc::unbounded_channel();
        let queued = Arc::<AtomicUsize>::default();
        let session = Arc::new(Self {
            outgoing,
            queued: Arc::clone(&queued),
            next: AtomicU64::new(1),
            in_flight: Semaphore::new(welcome.in_flight.max(1) as usize),
            waiting: Mutex::new(Waiting {
                waiters: Some(HashMap::new()),
            }),
            leases: Mutex::default(),
            capacity: AtomicU64::new(welcome.usage.capacity_bytes),
            used: AtomicU64::new(welcome.usage.used_bytes),
            places: Arc::default(),
            knows_places: welcome.version >= WITH_PLACES,
        });
        let incoming = Incoming {
            session: Arc::clone(&session),
            reader,
            writer: FrameWriter::new(stream),
            frames,
            queued,
        };
        Ok((session, incoming))
    }

    /// How full the cache is, as it was last told.
    pub(crate) fn usage(&self) -> Usage {
        Usage {
            capacity_bytes: self.capacity.load(Ordering::Relaxed),
            used_bytes: self.used.load(Ordering::Relaxed),
        }
    }

    /// The places that were told in this session.
    pub(crate) fn places(&self) -> &Arc<Places> {
        &self.places
    }

    /// Notes that `file`, which lies in a pack, had to be leased, and asks for the places
    /// around it when that is worth it.
    pub(crate) fn missed(&self, file: FileRef) {
        if self.knows_places
            && let Some(first) = self.places.missed(file)
        {
            let version = file.version;
            self.hint(&Request::Places { version, first });
        }
    }

    /// Tells the server what was opened without asking it.
    pub(crate) fn tell_used(&self) {
        let used = self.places.take_used();
        if !used.is_empty() {
            self.hint(&Request::Used(used));
        }
    }

    /// Whether the connection has gone.
    pub(crate) fn is_lost(&self) -> bool {
        self.waiting().waiters.is_none()
    }

    /// Sends what is not answered. A connection that has gone needs to hear nothing.
    pub(crate) fn send(&self, request: &Request) {
        self.push(request.frame(0));
    }

    /// Sends a hint, unless the server has trouble to keep up; says whether it did.
    pub(crate) fn hint(&self, request: &Request) -> bool {
        let keeps_up = self.queued.load(Ordering::Relaxed) < CROWDED;
        if keeps_up {
            self.send(request);
        }
        keeps_up
    }

    fn push(&self, frame: Vec<u8>) {
        self.queued.fetch_add(1, Ordering::Relaxed);
        // Refused only when the connection has gone.
        let _ = self.outgoing.send(frame);
    }

    /// Asks, and waits for the one reply.
    ///
    /// # Errors
    /// [`CallError::Lost`] if the connection goes first; the server's refusal.
    ///
    /// # Cancel safety
    /// Dropping the future tells the server to give up.
    pub(crate) async fn call(&self, request: &Request) -> Result<Answer, CallError> {
        let (waiter, answer) = oneshot::channel();
        let mut call = self
            .begin(request, Waiter::One(waiter, BytesMut::new()))
            .await?;
        let answer = answer.await;
        call.answered = true;
        refused(answer.map_err(|_| CallError::Lost)?)
    }

    /// Asks with `requests`, which have one number, and returns the replies as they come.
    pub(crate) async fn converse(&self, requests: &[Request]) -> Result<Replies<'_>, CallError> {
        let (waiter, answers) = mpsc::unbounded_channel();
        let mut requests = requests.iter();
        let first = requests.next().ok_or(CallError::Lost)?;
        let call = self.begin(first, Waiter::Many(waiter)).await?;
        requests.for_each(|more| self.push(more.frame(call.number)));
        Ok(Replies { call, answers })
    }

    async fn begin(&self, request: &Request, waiter: Waiter) -> Result<Call<'_>, CallError> {
        let permit = self.in_flight.acquire().await;
        let permit = permit.map_err(|_| CallError::Lost)?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        match &mut self.waiting().waiters {
            Some(waiters) => waiters.insert(number, waiter),
            None => return Err(CallError::Lost),
        };
        self.push(request.frame(number));
        Ok(Call {
            session: self,
            number,
            answered: false,
            _permit: permit,
        })
    }

    /// Takes a lease.
    pub(crate) async fn lease(&self, file: FileRef) -> Result<Leased, CallError> {
        let answer = self.call(&Request::Lease(file)).await?;
        match answer.reply {
            Reply::Leased {
                lease,
                size,
                offset,
                presence,
            } => Ok(Leased {
                lease,
                size,
                offset,
                presence,
                descriptor: answer.descriptor,
            }),
            other => Err(unexpected(&other)),
        }
    }

    /// Has the replies that concern `lease` noted by `remote`, from now on.
    pub(crate) fn watch(&self, lease: u64, remote: &Arc<RemoteLease>) {
        self.leases().insert(lease, Arc::downgrade(remote));
    }

    /// Gives a lease back.
    pub(crate) fn release(&self, lease: u64) {
        self.leases().remove(&lease);
        self.send(&Request::Release(lease));
    }

    /// Every lease that is held in this session.
    pub(crate) fn held(&self) -> Vec<Weak<RemoteLease>> {
        self.leases().values().cloned().collect()
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leases(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Weak<RemoteLease>>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in one frame.
    fn dispatch(&self, frame: Frame) -> Result<(), StreamError> {
        let number = frame.header.request;
        let reply = Reply::decode(frame.header.kind, &frame.payload)?;
        let mut descriptor = frame.descriptor;
        match &reply {
            Reply::Usage(usage) => {
                self.capacity.store(usage.capacity_bytes, Ordering::Relaxed);
                self.used.store(usage.used_bytes, Ordering::Relaxed);
                return Ok(());
            }
            Reply::Places {
                version,
                pack,
                places,
            } => {
                self.places.note(*version, *pack, places, descriptor);
                return Ok(());
            }
            Reply::Withdrawn(pack) => {
                self.places.withdraw(*pack);
                return Ok(());
            }
            Reply::Backed { lease, .. } | Reply::Whole { lease, .. } => {
                let remote = self.leases().get(lease).and_then(Weak::upgrade);
                if let Some(remote) = remote {
                    remote.note(&reply, descriptor.take());
                }
            }
            _ => {}
        }
        let unclaimed = self.hand_over(number, Answer { reply, descriptor });
        // Nobody waits for this lease any more, so nobody would ever give it back.
        if let Some(Reply::Leased { lease, .. }) = unclaimed.map(|answer| answer.reply) {
            self.send(&Request::Release(lease));
        }
        Ok(())
    }

    /// Gives an answer to who waits for it; gives it back if nobody does.
    fn hand_over(&self, number: u64, mut answer: Answer) -> Option<Answer> {
        let mut waiting = self.waiting();
        let waiters = waiting.waiters.as_mut()?;
        match waiters.get_mut(&number) {
            None => return Some(answer),
            Some(Waiter::Many(waiter)) if answer.reply.is_partial() => {
                return waiter.send(answer).err().map(|unsent| unsent.0);
            }
            Some(Waiter::One(_, pieces)) if matches!(answer.reply, Reply::Inline { .. }) => {
                let Reply::Inline { more, bytes } = answer.reply else {
                    return None;
                };
                if more {
                    // No read is so long; a server that goes on for ever is not listened to.
                    if pieces.len() < 16 * MAX_PAYLOAD {
                        pieces.extend_from_slice(&bytes);
                    }
                    return None;
                }
                answer.reply = Reply::Inline {
                    more,
                    bytes: joined(std::mem::take(pieces), bytes),
                };
            }
            Some(_) => {}
        }
        match waiters.remove(&number) {
            Some(Waiter::One(waiter, _)) => waiter.send(answer).err(),
            Some(Waiter::Many(waiter)) => waiter.send(answer).err().map(|unsent| unsent.0),
            None => Some(answer),
        }
    }

    /// Ends every wait: who waits hears that the connection is lost.
    fn lose(&self) {
        self.waiting().waiters = None;
        self.in_flight.close();
    }
}

fn joined(mut pieces: BytesMut, last: Bytes) -> Bytes {
    if pieces.is_empty() {
        return last;
    }
    pieces.extend_from_slice(&last);
    pieces.freeze()
}

/// A request that waits for its replies.
#[derive(Debug)]
struct Call<'a> {
    session: &'a Session,
    number: u64,
    answered: bool,
    _permit: SemaphorePermit<'a>,
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        if let Some(waiters) = &mut self.session.waiting().waiters {
            waiters.remove(&self.number);
        }
        self.session.push(Request::Cancel.frame(self.number));
    }
}

/// The replies to one request.
#[derive(Debug)]
pub(crate) struct Replies<'a> {
    call: Call<'a>,
    answers: mpsc::UnboundedReceiver<Answer>,
}

impl Replies<'_> {
    /// The next one. None follows one that is not partial.
    pub(crate) async fn next(&mut self) -> Result<Answer, CallError> {
        let answer = self.answers.recv().await.ok_or(CallError::Lost)?;
        self.call.answered = !answer.reply.is_partial();
        refused(answer)
    }
}

fn refused(answer: Answer) -> Result<Answer, CallError> {
    match answer.reply {
        Reply::Failed { kind, message } => Err(CacheError::new(kind, message).into()),
        _ => Ok(answer),
    }
}

/// The server has answered with something else than it should.
pub(crate) fn unexpected(reply: &Reply) -> CallError {
    let message = format!(
        "the cache server answered out of turn (message {})",
        reply.kind()
    );
    CacheError::new(ErrorKind::Internal, message).into()
}

/// The side of a session that reads and writes the socket.
#[derive(Debug)]
pub(crate) struct Incoming {
    session: Arc<Session>,
    reader: FrameReader,
    writer: FrameWriter,
    frames: mpsc::UnboundedReceiver<Vec<u8>>,
    queued: Arc<AtomicUsize>,
}

impl Incoming {
    /// Serves the session until the connection goes, and says how.
    pub(crate) async fn run(self) -> StreamError {
        let Self {
            session,
            mut reader,
            writer,
            mut frames,
            queued,
        } = self;
        let read = async {
            loop {
                let taken = match reader.next().await {
                    Ok(frame) => session.dispatch(frame),
                    Err(error) => Err(error),
                };
                if let Err(error) = taken {
                    return error;
                }
            }
        };
        let write = async {
            let mut batch = Vec::with_capacity(FRAMES_AT_ONCE);
            loop {
                let count = frames.recv_many(&mut batch, FRAMES_AT_ONCE).await;
                queued.fetch_sub(count, Ordering::Relaxed);
                if let Err(error) = writer.write(&batch.concat(), None).await {
                    return error;
                }
                batch.clear();
            }
        };
        let ended = tokio::select! {
            error = read => error,
            error = write => error,
        };
        session.lose();
        ended
    }
}

async fn shake_hands(
    socket: &Path,
    token: [u8; 16],
) -> Result<(Arc<UnixStream>, FrameReader, Welcome), ConnectError> {
    let stream = UnixStream::connect(socket).await.map_err(|source| {
        let socket = socket.to_owned();
        match source.kind() {
            std::io::ErrorKind::PermissionDenied => ConnectError::NotAllowed { socket, source },
            _ => ConnectError::NoServer { socket, source },
        }
    })?;
    let stream = Arc::new(stream);
    let stranger = |source| ConnectError::Stranger {
        socket: socket.to_owned(),
        source,
    };
    let hello = Request::Hello(Hello {
        oldest: OLDEST,
        newest: NEWEST,
        token,
    });
    let writer = FrameWriter::new(Arc::clone(&stream));
    writer
        .write(&hello.frame(1), None)
        .await
        .map_err(stranger)?;
    let mut reader = FrameReader::new(Arc::clone(&stream));
    let frame = reader.next().await.map_err(stranger)?;
    let reply = Reply::decode(frame.header.kind, &frame.payload);
    match reply.map_err(|error| stranger(error.into()))? {
        Reply::Welcome(welcome) => Ok((stream, reader, welcome)),
        Reply::Failed { message, .. } => Err(ConnectError::Refused {
            socket: socket.to_owned(),
            message,
        }),
        other => {
            let kind = other.kind();
            let error = forebay_proto::wire::DecodeError::UnknownKind { kind };
            Err(stranger(error.into()))
        }
    }
}
