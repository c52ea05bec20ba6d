//! What the transport tells its owner.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    Address, Channel, DialError, ListenError, PeerKey,
    registry::Registry,
    room::{Room, Taken},
};

/// Events other than frames that may wait to be taken.
pub(crate) const NOTICES_MAX: usize = 512;

/// Something that happened. Between `Connected` and `Disconnected` of a peer, its frames come in the order in which
/// they were sent on their channel, without gaps unless the sender was told `Interrupted`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The first connection with the peer is there. Relays that are in use are peers too.
    Connected {
        /// Who.
        peer: PeerKey,
        /// Where they are, as seen from here.
        address: Address,
        /// Whether a relay is in between.
        relayed: bool,
    },
    /// A relayed peer is now also connected directly. Channels move over by themselves, losing nothing.
    BecameDirect {
        /// Who.
        peer: PeerKey,
        /// Where they are, as seen from here.
        address: Address,
    },
    /// The last connection with the peer is gone, and all frames it brought have been handed out. What was queued for
    /// the peer, and what was sent shortly before, may not have arrived.
    Disconnected {
        /// Who.
        peer: PeerKey,
    },
    /// A frame came.
    Frame {
        /// From whom.
        peer: PeerKey,
        /// On which channel.
        channel: Channel,
        /// What.
        bytes: Vec<u8>,
    },
    /// The stream that carried our frames broke, or the peer refused it: what was sent lately on this channel may be
    /// lost. What is still queued follows on a new stream.
    Interrupted {
        /// To whom.
        peer: PeerKey,
        /// On which channel.
        channel: Channel,
    },
    /// This device can be reached at the address from now on. An address through a relay counts.
    Listening {
        /// Where.
        address: Address,
    },
    /// This device can no longer be reached at the address.
    ListenEnded {
        /// Where.
        address: Address,
    },
    /// Listening failed or ended by an error; with `None`, finding devices nearby did.
    ListenFailed {
        /// The address as it was asked for.
        address: Option<Address>,
        /// Why.
        error: ListenError,
    },
    /// A device is nearby (mDNS). Anyone on the network can claim this: dialling with the peer's key finds out.
    Discovered {
        /// Who, as claimed.
        peer: PeerKey,
        /// Where, as claimed.
        addresses: Vec<Address>,
    },
    /// What `dial` began has failed.
    DialFailed {
        /// Who was meant, if that was said.
        peer: Option<PeerKey>,
        /// The addresses that were tried.
        addresses: Vec<Address>,
        /// Why.
        error: DialError,
    },
}

/// The stream of events. Keep taking them: what is not taken holds up the peers that send it (and nobody else).
///
/// Do not wait for [`Transport::send`](crate::Transport::send) in the task that takes events: two devices that do
/// can wait for each other. Use another task, or `try_send`.
pub struct Events {
    pub(crate) queue: mpsc::Receiver<Queued>,
    pub(crate) registry: Arc<Registry>,
    /// Nothing is queued any more.
    pub(crate) stopped: CancellationToken,
}

impl Events {
    /// The next event; `None` once the transport has stopped and everything was taken. Cancel-safe.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            let queued = tokio::select! {
                biased;
                queued = self.queue.recv() => queued?,
                () = self.stopped.cancelled() => self.queue.try_recv().ok()?,
            };
            if let Some(event) = self.pass(queued) {
                return Some(event);
            }
        }
    }

    /// The next event if there is one now.
    pub fn try_next(&mut self) -> Option<Event> {
        loop {
            let queued = self.queue.try_recv().ok()?;
            if let Some(event) = self.pass(queued) {
                return Some(event);
            }
        }
    }

    /// A peer may have been forbidden while its frames were waiting.
    fn pass(&self, queued: Queued) -> Option<Event> {
        if let Some(pending) = queued.pending {
            pending.store(false, Relaxed);
        }
        match &queued.event {
            Event::Frame { peer, channel, .. } if !self.registry.allows(peer, *channel) => {
                self.registry.refusals.not_permitted.fetch_add(1, Relaxed);
                None
            }
            _ => Some(queued.event),
        }
    }
}

/// An event with the room it takes.
pub(crate) struct Queued {
    event: Event,
    /// Cleared when the event is taken.
    pending: Option<Arc<AtomicBool>>,
    _room: Taken,
}

/// Where events go in. Every channel has a room of its own, as have all other events together, so that none of them
/// can keep the others out.
#[derive(Clone)]
pub(crate) struct EventSink {
    queue: mpsc::Sender<Queued>,
    frames: [Room; Channel::COUNT],
    notices: Room,
}

impl EventSink {
    pub(crate) fn new(inbound_bytes_max: usize) -> (Self, mpsc::Receiver<Queued>) {
        let frames = Channel::ALL.map(|_| Room::new(inbound_bytes_max));
        let notices = Room::new(NOTICES_MAX * 1024);
        let slots = frames.iter().chain([&notices]).map(Room::slots).sum();
        let (queue, receiver) = mpsc::channel(slots);
        (Self { queue, frames, notices }, receiver)
    }

    /// Bytes of frames that wait on `channel`.
    pub(crate) fn waiting(&self, channel: Channel) -> usize {
        self.frames[channel as usize].used()
    }

    /// Waits for room, then queues. `false` if nobody will ever take it.
    pub(crate) async fn frame(&self, peer: PeerKey, channel: Channel, bytes: Vec<u8>) -> bool {
        let room = tokio::select! {
            room = self.frames[channel as usize].take(bytes.len()) => room,
            () = self.queue.closed() => return false,
        };
        match room {
            Ok(room) => self.put(Event::Frame { peer, channel, bytes }, None, room),
            Err(_) => false,
        }
    }

    /// As [`Self::frame`], for all other events.
    pub(crate) async fn notice(&self, event: Event) -> bool {
        match self.notice_room().await {
            Some(room) => self.put(event, None, room),
            None => false,
        }
    }

    /// Room for one event that is not a frame; `None` if nobody will ever take it. Cancel-safe.
    pub(crate) async fn notice_room(&self) -> Option<Taken> {
        tokio::select! {
            room = self.notices.take(0) => room.ok(),
            () = self.queue.closed() => None,
        }
    }

    pub(crate) fn put(&self, event: Event, pending: Option<Arc<AtomicBool>>, room: Taken) -> bool {
        // The queue is as long as all rooms together: it can be closed, not full.
        self.queue.try_send(Queued { event, pending, _room: room }).is_ok()
    }
}
