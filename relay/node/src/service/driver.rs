//! One session over its streams.

use std::{
    collections::BTreeSet,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};

use clave_transport::{Caller, FrameReader, FrameWriter, StreamError};
use futures::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{self, FuturesUnordered, Peekable, Stream},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::{REQUEST_BYTES_MAX, SHORT_REQUEST_BYTES, Service, now_seconds, tasks};
use crate::{
    hub::Inbox,
    session::{Done, Ended, Output, Session, Task, TaskId},
    sources::{Shares, Ticket},
    store::{MailboxId, PageRoom, StoreError},
};

/// Room that is held as long as what it is for is in memory.
type Room = Vec<OwnedSemaphorePermit>;

/// A request, and its room.
type Frame = (Vec<u8>, Room);

type Running = FuturesUnordered<BoxFuture<'static, (TaskId, Done, Room)>>;

/// Until it ends. Why it did.
pub(super) async fn run(
    service: &Arc<Service>,
    caller: Caller,
    ticket: Ticket,
    ending: mpsc::Receiver<Ended>,
) -> Ended {
    let shares = ticket.shares.clone();
    let mut challenge = [0; 32];
    if getrandom::fill(&mut challenge).is_err() {
        tracing::error!("the system gives no randomness: nobody can prove anything");
        return Ended::Failed;
    }
    let session = Session::new(service.terms(), caller.peer(), ticket, challenge, Instant::now());
    let (reader, writer) = caller.split();
    let inbox = Arc::new(Inbox::default());
    let mut driver = Driver {
        service,
        frame_bytes_max: Arc::new(AtomicUsize::new(session.frame_bytes_max())),
        session,
        shares: shares.clone(),
        writer,
        inbox: inbox.clone(),
        followed: Vec::new(),
        running: Running::new(),
        request_room: Room::new(),
        answer_room: Room::new(),
    };
    let frames = frames(service.clone(), shares, driver.frame_bytes_max.clone(), reader);
    let ended = driver.run(frames, ending).await;
    driver.settle().await;
    let Driver { session, writer, followed, .. } = driver;
    followed.into_iter().for_each(|mailbox| service.hub.unfollow(mailbox, &inbox));
    wake_for_the_rest(service, &session, &inbox).await;
    if !matches!(ended, Ended::Closed | Ended::Slow) {
        writer.finish().await;
    }
    ended
}

/// Has a device woken for what its session was about to tell it, or told it without hearing that it arrived.
async fn wake_for_the_rest(service: &Service, session: &Session, inbox: &Inbox) {
    let (Some(wakes), Some(id)) = (&service.wakes, inbox.subscription()) else { return };
    let (arrivals, lagged) = inbox.take();
    let mut rest = session.undelivered();
    let unseen = arrivals.into_iter().map(|arrival| arrival.mailbox).chain(lagged);
    rest.extend(unseen.map(|mailbox| (mailbox, 0, BTreeSet::new())));
    // It may be back in another session already.
    rest.retain(|(mailbox, ..)| !service.hub.told(*mailbox).contains(&id));
    let mut missed = Vec::new();
    for (mailbox, up_to, own) in rest {
        // Rather woken for nothing.
        if lacks_any(service, mailbox, up_to, &own).await.unwrap_or(true) {
            missed.push(mailbox);
        }
    }
    if !missed.is_empty() {
        wakes.missed(id, &missed, Instant::now());
    }
}

/// Whether a mailbox has anything beyond a position but these.
async fn lacks_any(service: &Service, mailbox: MailboxId, up_to: u64, own: &BTreeSet<u64>) -> Result<bool, StoreError> {
    let states = service.store.states(vec![mailbox]).await?;
    if states.iter().all(|state| state.last <= up_to) || own.is_empty() {
        return Ok(states.iter().any(|state| state.last > up_to));
    }
    let room = PageRoom { bytes: clave_mailbox::BLOBS_FRAME_BYTES, entries: own.len() + 1 };
    let page = service.store.after(mailbox, up_to, room).await?;
    Ok(page.more || page.entries.iter().any(|entry| !own.contains(&entry.position)))
}

struct Driver<'s> {
    service: &'s Arc<Service>,
    session: Session,
    /// As the session has it, for the reader.
    frame_bytes_max: Arc<AtomicUsize>,
    shares: Arc<Shares>,
    writer: FrameWriter,
    inbox: Arc<Inbox>,
    followed: Vec<MailboxId>,
    running: Running,
    /// That of the frame which is being handled.
    request_room: Room,
    /// Until what was sent is written.
    answer_room: Room,
}

impl Driver<'_> {
    async fn run(
        &mut self,
        frames: impl Stream<Item = Result<Frame, Ended>>,
        mut ending: mpsc::Receiver<Ended>,
    ) -> Ended {
        let mut frames = pin!(frames.peekable());
        let (mut told, mut drained) = (false, false);
        loop {
            if let Some(ended) = self.put_out().await {
                return ended;
            }
            let now = Instant::now();
            let (wants, pause) = match self.session.wants_frames(now) {
                Ok(()) => (true, None),
                Err(pause) => (false, pause.map(|pause| now + pause)),
            };
            let wake = self.session.deadline().into_iter().chain(pause).min();
            tokio::select! {
                Some(done) = self.running.next() => self.take_done(done),
                () = self.inbox.changed() => self.take_arrivals(),
                frame = frames.next(), if wants => match frame {
                    Some(Ok(frame)) => self.take_frames(frame, frames.as_mut()),
                    Some(Err(ended)) => return ended,
                    None => return Ended::Closed,
                },
                () = sleep_until(wake) => self.session.handle_tick(Instant::now()),
                Some(why) = ending.recv() => self.session.handle_end(why),
                () = self.service.draining.cancelled(), if !told => {
                    told = true;
                    self.session.handle_drain();
                }
                () = self.service.drained.cancelled(), if !drained => {
                    drained = true;
                    self.session.handle_end(Ended::Drained);
                }
            }
        }
    }

    /// What the store did, and what else it has done by now: so that what is written goes out together.
    fn take_done(&mut self, first: (TaskId, Done, Room)) {
        let mut next = Some(first);
        while let Some((task, done, room)) = next {
            self.answer_room.extend(room);
            self.session.handle_done(task, done, Instant::now());
            next = self.running.next().now_or_never().flatten();
        }
    }

    /// A frame, and those that have come behind it by now.
    fn take_frames(&mut self, first: Frame, mut frames: Pin<&mut Peekable<impl Stream<Item = Result<Frame, Ended>>>>) {
        let mut next = Some(first);
        while let Some((frame, room)) = next {
            let now = Instant::now();
            self.service.metrics.received_bytes.fetch_add(frame.len() as u64, Relaxed);
            self.request_room = room;
            self.session.handle_frame(&frame, now, now_seconds());
            self.frame_bytes_max.store(self.session.frame_bytes_max(), Relaxed);
            // A long request keeps its room until its task has taken it. An end has its turn once this is done.
            let is_due = self.request_room.is_empty()
                && self.session.wants_frames(now).is_ok()
                && matches!(frames.as_mut().peek().now_or_never(), Some(Some(Ok(_))));
            next = if is_due { frames.next().now_or_never().flatten().and_then(Result::ok) } else { None };
        }
    }

    /// Waits for puts that are under way, once nobody is there to be answered: what the device has put and left is known as its own only while its session follows.
    async fn settle(&mut self) {
        while self.session.is_putting()
            && let Some(done) = self.running.next().await
        {
            self.take_done(done);
            self.answer_room.clear();
        }
        self.service.metrics.count(&self.session.take_tally());
        self.take_arrivals();
    }

    fn take_arrivals(&mut self) {
        let (arrivals, lagged) = self.inbox.take();
        let now = Instant::now();
        arrivals.iter().for_each(|arrival| self.session.handle_arrival(arrival, now));
        lagged.into_iter().for_each(|mailbox| self.session.handle_lagged(mailbox));
    }

    /// Does what the session wants done. The end, if that is it.
    async fn put_out(&mut self) -> Option<Ended> {
        let mut written = false;
        let ended = loop {
            let Some(output) = self.session.poll_output() else { break None };
            match output {
                Output::Send(frame) => {
                    self.service.metrics.sent_bytes.fetch_add(frame.len() as u64, Relaxed);
                    if let Err(error) = self.writer.write(&frame).await {
                        return Some(of_stream(error));
                    }
                    written = true;
                }
                Output::Task(id, task) => self.begin(id, task),
                Output::Follow(mailbox) => {
                    // As often as a device likes, and remembered once.
                    if self.service.hub.follow(mailbox, &self.inbox) {
                        self.followed.push(mailbox);
                    }
                }
                Output::Unfollow(mailbox) => {
                    self.service.hub.unfollow(mailbox, &self.inbox);
                    self.followed.retain(|followed| *followed != mailbox);
                }
                Output::End(why) => break Some(why),
            }
        };
        if written && let Err(error) = self.writer.flush().await {
            return Some(of_stream(error));
        }
        self.request_room.clear();
        self.answer_room.clear();
        self.service.metrics.count(&self.session.take_tally());
        ended
    }

    fn begin(&mut self, id: TaskId, task: Task) {
        let has_long_answer = matches!(task, Task::Get { .. } | Task::Read { .. } | Task::Reconcile { .. });
        let request_room = match task {
            Task::Put(_) => std::mem::take(&mut self.request_room),
            _ => Room::new(),
        };
        let (service, shares, inbox) = (self.service.clone(), self.shares.clone(), self.inbox.clone());
        self.running.push(Box::pin(async move {
            let mut room = Room::new();
            if has_long_answer {
                // First the part of its source: who has taken that waits without a part of what all share.
                for of in [&shares.answers, &service.answers] {
                    room.extend(of.clone().acquire_owned().await);
                }
            }
            let began = Instant::now();
            let is_put = matches!(task, Task::Put(_));
            if let Task::Wake { id, wanted, .. } = &task {
                // Before it is written: from then on, what is stored wakes it or is told to it.
                inbox.set_subscription(wanted.as_ref().map(|_| *id));
            }
            let done = tasks::perform(&*service.store, service.wakes.as_deref(), &service.sets, task).await;
            if is_put {
                service.metrics.put_seconds.observe(began.elapsed());
            }
            drop(request_room);
            (id, done, room)
        }));
    }
}

fn of_stream(error: StreamError) -> Ended {
    match error {
        StreamError::TooLong => Ended::Malformed,
        StreamError::Stalled => Ended::Slow,
        _ => Ended::Closed,
    }
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake.into()).await,
        None => std::future::pending().await,
    }
}

/// The frames of a device, each with its room. Ends with an error, or with `None` where the device closed.
fn frames(
    service: Arc<Service>,
    shares: Arc<Shares>,
    frame_bytes_max: Arc<AtomicUsize>,
    reader: FrameReader,
) -> impl Stream<Item = Result<Frame, Ended>> {
    stream::unfold(Some(reader), move |reader| {
        let (service, shares, frame_bytes_max) = (service.clone(), shares.clone(), frame_bytes_max.clone());
        async move {
            let mut reader = reader?;
            match next_frame(&service.request_room, &shares, &frame_bytes_max, &mut reader).await {
                Ok(Some(frame)) => Some((Ok(frame), Some(reader))),
                Ok(None) => {
                    reader.acknowledge_end().await;
                    None
                }
                Err(error) => Some((Err(of_stream(error)), None)),
            }
        }
    })
}

async fn next_frame(
    all: &Arc<Semaphore>,
    shares: &Shares,
    frame_bytes_max: &AtomicUsize,
    reader: &mut FrameReader,
) -> Result<Option<Frame>, StreamError> {
    let Some(length) = reader.next_length().await? else { return Ok(None) };
    if length > frame_bytes_max.load(Relaxed) {
        return Err(StreamError::TooLong);
    }
    let mut room = Room::new();
    if length > SHORT_REQUEST_BYTES {
        let bytes = u32::try_from(length.min(REQUEST_BYTES_MAX)).expect("frames are far shorter than 4 GiB");
        for of in [&shares.request_bytes, all] {
            room.extend(of.clone().acquire_many_owned(bytes).await);
        }
    }
    Ok(Some((reader.frame(length).await?, room)))
}
