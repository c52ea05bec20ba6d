//! A session: everything between the first and the last connection with one peer.
//!
//! Eight tasks, a writer and a reader for each channel, and one that announces. Each direction of a channel has a
//! stream of its own, opened by whoever writes: so two who begin at the same time do not collide. A writer that
//! ends a stream on purpose closes it and waits for [`RECEIPT`], which the reader sends after it has handed over
//! the last frame; only then does the writer go on with another stream. So a reader who is offered a new stream may
//! leave an old one at once: either it was read to its end, or its connection is dead.

use std::{
    sync::{Arc, Mutex, atomic::Ordering::Relaxed},
    time::Duration,
};

use futures::{
    AsyncReadExt, AsyncWriteExt,
    io::{BufReader, BufWriter},
};
use libp2p::Stream;
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Channel, Event, PeerKey,
    driver::{Command, Shared},
    frame::{ReadFailure, read_frame, write_frame},
    registry::{Outgoing, Peer},
    streams::{OpenFailure, Opened},
};

/// What a reader answers to the end of a stream that it has read completely.
pub(crate) const RECEIPT: u8 = 0x06;

/// How long a writer that moves to a better connection waits for the receipt.
const RECEIPT_TIMEOUT: Duration = Duration::from_secs(30);

/// How often a writer tries to open a stream for a frame. A connection may close just then, and another be there.
const OPEN_ATTEMPTS: usize = 3;

/// Small frames are gathered into writes of this size, and read likewise.
const BUFFER_BYTES: usize = 16 * 1024;

/// The driver's hold on a session.
pub(crate) struct Session {
    pub(crate) peer: Arc<Peer>,
    inlets: [Arc<Inlet>; Channel::COUNT],
    direct: watch::Sender<bool>,
    /// No more frames are taken; what is queued is sent.
    closing: CancellationToken,
    /// There is no connection any more.
    over: CancellationToken,
    writers: TaskTracker,
    /// `Disconnected` was handed out.
    reported: CancellationToken,
    /// How many frames had gone either way when it was last looked at.
    pub(crate) seen_frames: Option<u64>,
}

impl Session {
    /// Begins one. Its first event is `connected`, which comes after `previous` session's last.
    pub(crate) fn start(
        shared: &Arc<Shared>,
        key: PeerKey,
        connected: Event,
        previous: Option<CancellationToken>,
    ) -> Self {
        let (peer, outgoing) = Peer::new(key, shared.limits.outbound_bytes_max);
        let peer = Arc::new(peer);
        let (direct, _) = watch::channel(false);
        let session = Self {
            peer: peer.clone(),
            inlets: Default::default(),
            direct,
            closing: CancellationToken::new(),
            over: CancellationToken::new(),
            writers: TaskTracker::new(),
            reported: CancellationToken::new(),
            seen_frames: None,
        };
        let announced = CancellationToken::new();
        let readers = TaskTracker::new();
        for (channel, frames) in Channel::ALL.into_iter().zip(outgoing) {
            let writer = Writer {
                shared: shared.clone(),
                peer: peer.clone(),
                channel,
                frames,
                direct: session.direct.subscribe(),
                closing: session.closing.clone(),
                outlet: None,
            };
            let over = session.over.clone();
            shared.spawn(session.writers.track_future(async move {
                tokio::select! {
                    () = over.cancelled() => {}
                    () = writer.run() => {}
                }
            }));
            let reader = Reader {
                shared: shared.clone(),
                peer: peer.clone(),
                channel,
                inlet: session.inlets[channel as usize].clone(),
            };
            let announced = announced.clone();
            shared.spawn(readers.track_future(async move {
                announced.cancelled().await;
                reader.run().await;
            }));
        }
        readers.close();
        session.writers.close();
        let (over, reported, shared_) = (session.over.clone(), session.reported.clone(), shared.clone());
        shared.spawn(async move {
            if let Some(previous) = previous {
                previous.cancelled().await;
            }
            shared_.events.notice(connected).await;
            announced.cancel();
            over.cancelled().await;
            readers.wait().await;
            shared_.events.notice(Event::Disconnected { peer: key }).await;
            reported.cancel();
        });
        session
    }

    /// A stream came from the peer.
    pub(crate) fn accept(&self, channel: Channel, stream: Stream) {
        self.inlets[channel as usize].offer(stream);
    }

    /// Tells the writers whether there is a direct connection.
    pub(crate) fn set_direct(&self, direct: bool) {
        self.direct.send_replace(direct);
    }

    /// Takes no more frames, sends what is queued. The future ends when that has arrived.
    pub(crate) fn close(&self) -> impl Future<Output = ()> + Send + 'static {
        self.closing.cancel();
        let writers = self.writers.clone();
        async move { writers.wait().await }
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.is_cancelled()
    }

    /// The last connection is gone. Returns what is cancelled once the owner was told.
    pub(crate) fn end(self) -> CancellationToken {
        self.over.cancel();
        for outbox in &self.peer.outboxes {
            outbox.room.close();
        }
        for inlet in &self.inlets {
            inlet.close();
        }
        self.reported
    }
}

/// Where the newest stream of a channel waits for the channel's reader.
#[derive(Default)]
struct Inlet {
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Default)]
struct Waiting {
    stream: Option<Stream>,
    closed: bool,
}

impl Inlet {
    fn offer(&self, stream: Stream) {
        self.waiting.lock().expect("nothing panics while it holds this lock").stream = Some(stream);
        self.changed.notify_one();
    }

    fn close(&self) {
        self.waiting.lock().expect("nothing panics while it holds this lock").closed = true;
        self.changed.notify_one();
    }

    /// The next stream; `None` once there will be none.
    async fn next(&self) -> Option<Stream> {
        loop {
            {
                let mut waiting = self.waiting.lock().expect("nothing panics while it holds this lock");
                if let Some(stream) = waiting.stream.take() {
                    return Some(stream);
                }
                if waiting.closed {
                    return None;
                }
            }
            self.changed.notified().await;
        }
    }

    /// Waits until a stream is there, and leaves it there.
    async fn offered(&self) {
        while self.waiting.lock().expect("nothing panics while it holds this lock").stream.is_none() {
            self.changed.notified().await;
        }
    }
}

struct Reader {
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    channel: Channel,
    inlet: Arc<Inlet>,
}

impl Reader {
    async fn run(self) {
        while let Some(stream) = self.inlet.next().await {
            if !self.read(stream).await {
                return;
            }
        }
    }

    /// Hands out the frames of one stream. `false` if nobody takes them.
    async fn read(&self, stream: Stream) -> bool {
        let refusals = &self.shared.registry.refusals;
        let mut stream = BufReader::with_capacity(BUFFER_BYTES, stream);
        loop {
            let frame = tokio::select! {
                biased;
                () = self.inlet.offered() => return true,
                frame = read_frame(&mut stream) => frame,
            };
            let refusal = match frame {
                Ok(Some(bytes)) => {
                    if !self.shared.registry.allows(&self.peer.key, self.channel) {
                        &refusals.not_permitted
                    } else {
                        self.peer.received_frames.fetch_add(1, Relaxed);
                        self.peer.received_bytes.fetch_add(bytes.len() as u64, Relaxed);
                        if !self.shared.events.frame(self.peer.key, self.channel, bytes).await {
                            return false;
                        }
                        continue;
                    }
                }
                Ok(None) => {
                    // If this does not reach the writer, it takes its frames for lost, which is the safe side.
                    let mut stream = stream.into_inner();
                    if stream.write_all(&[RECEIPT]).await.is_ok() {
                        let _ = stream.close().await;
                    }
                    return true;
                }
                Err(ReadFailure::TooLong) => &refusals.oversize,
                Err(ReadFailure::Broken) => &refusals.broken,
                Err(ReadFailure::Stalled) => &refusals.stalled,
            };
            refusal.fetch_add(1, Relaxed);
            tracing::warn!(peer = ?self.peer.key, channel = ?self.channel, "refused a stream");
            return true;
        }
    }
}

/// The stream that a writer writes to.
struct Outlet {
    stream: BufWriter<Stream>,
    relayed: bool,
}

struct Writer {
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    channel: Channel,
    frames: mpsc::Receiver<Outgoing>,
    direct: watch::Receiver<bool>,
    closing: CancellationToken,
    outlet: Option<Outlet>,
}

/// What a writer is to do next.
enum Step {
    Write(Outgoing),
    Finish,
    StreamEnded,
    MoveOver,
    Close,
}

impl Writer {
    async fn run(mut self) {
        let mut closed = false;
        loop {
            match self.next_step(closed).await {
                Step::Write(frame) => self.write(frame).await,
                Step::StreamEnded => self.interrupted().await,
                Step::MoveOver => self.finish_stream().await,
                Step::Close => {
                    self.frames.close();
                    closed = true;
                }
                Step::Finish => return self.finish_stream().await,
            }
        }
    }

    async fn next_step(&mut self, closed: bool) -> Step {
        let relayed = self.outlet.as_ref().is_some_and(|outlet| outlet.relayed);
        let ended = async {
            match &mut self.outlet {
                // A reader says nothing before we close: whatever comes is the end.
                Some(outlet) => drop(outlet.stream.get_mut().read(&mut [0]).await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.closing.cancelled(), if !closed => Step::Close,
            () = ended => Step::StreamEnded,
            Ok(_) = self.direct.wait_for(|direct| *direct), if relayed => Step::MoveOver,
            frame = self.frames.recv() => frame.map_or(Step::Finish, Step::Write),
        }
    }

    async fn write(&mut self, frame: Outgoing) {
        if !self.shared.registry.allows(&self.peer.key, self.channel) {
            self.shared.registry.refusals.not_permitted.fetch_add(1, Relaxed);
            return;
        }
        if self.outlet.is_none() {
            match self.open().await {
                Ok(opened) => {
                    let stream = BufWriter::with_capacity(BUFFER_BYTES, opened.stream);
                    self.outlet = Some(Outlet { stream, relayed: opened.relayed });
                }
                Err(failure) => {
                    tracing::debug!(peer = ?self.peer.key, channel = ?self.channel, ?failure, "no stream");
                    return self.interrupted().await;
                }
            }
        }
        let Some(outlet) = &mut self.outlet else { return };
        let mut written = write_frame(&mut outlet.stream, &frame.pieces).await;
        if written.is_ok() && self.frames.is_empty() {
            written = outlet.stream.flush().await;
        }
        match written {
            Ok(()) => {
                self.peer.sent_frames.fetch_add(1, Relaxed);
                self.peer.sent_bytes.fetch_add(frame.bytes as u64, Relaxed);
            }
            Err(_) => self.interrupted().await,
        }
    }

    async fn open(&mut self) -> Result<Opened, OpenFailure> {
        let mut failure = OpenFailure::Broken;
        for _ in 0..OPEN_ATTEMPTS {
            let (reply, opened) = oneshot::channel();
            let open = Command::Open { peer: self.peer.key, channel: self.channel, reply };
            if self.shared.commands.send(open).await.is_err() {
                return Err(OpenFailure::NotConnected);
            }
            match opened.await {
                Ok(Ok(opened)) => return Ok(opened),
                Ok(Err(OpenFailure::Broken)) | Err(_) => {}
                Ok(Err(other)) => {
                    failure = other;
                    break;
                }
            }
        }
        Err(failure)
    }

    /// Ends the stream so that nothing is lost, or says that something was.
    async fn finish_stream(&mut self) {
        let Some(Outlet { mut stream, .. }) = self.outlet.take() else { return };
        let receipt = timeout(RECEIPT_TIMEOUT, async {
            stream.close().await?;
            let mut answer = [0];
            stream.get_mut().read_exact(&mut answer).await?;
            Ok::<_, std::io::Error>(answer[0])
        });
        if !matches!(receipt.await, Ok(Ok(RECEIPT))) {
            self.interrupted().await;
        }
    }

    async fn interrupted(&mut self) {
        self.outlet = None;
        // If the driver is gone there is nobody to tell.
        let _ =
            self.shared.commands.send(Command::Interrupted { peer: self.peer.clone(), channel: self.channel }).await;
    }
}
