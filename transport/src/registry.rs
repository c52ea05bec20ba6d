//! What the tasks of a transport share: who is connected, who is permitted, what was counted.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use libp2p::swarm::ConnectionId;
use tokio::sync::mpsc;

use crate::{
    Address, Channel, FRAME_BYTES_MAX, PeerKey, SendError,
    room::{NoRoom, Room, Taken},
};

/// Addresses that others say they see us at: the newest are kept.
const OBSERVED_MAX: usize = 16;

#[derive(Default)]
pub(crate) struct Registry {
    inner: Mutex<Inner>,
    pub(crate) refusals: RefusalCounters,
}

#[derive(Default)]
struct Inner {
    peers: BTreeMap<PeerKey, Arc<Peer>>,
    permitted: BTreeSet<PeerKey>,
    listening: BTreeSet<Address>,
    /// Tested by a relay, from outside.
    confirmed: BTreeSet<Address>,
    /// Some address was tested.
    tested: bool,
    relays: Vec<RelayInfo>,
    observed: VecDeque<Address>,
    /// Bytes sent to and received from peers that are gone.
    gone_bytes: (u64, u64),
}

#[derive(Default)]
pub(crate) struct RefusalCounters {
    pub(crate) oversize: AtomicU64,
    pub(crate) broken: AtomicU64,
    pub(crate) stalled: AtomicU64,
    pub(crate) not_permitted: AtomicU64,
    pub(crate) foreign_key: AtomicU64,
    pub(crate) too_many_strangers: AtomicU64,
    pub(crate) idle_strangers: AtomicU64,
    pub(crate) overload: AtomicU64,
}

/// What was refused since the start, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusals {
    /// Streams ended because a frame was longer than [`FRAME_BYTES_MAX`].
    pub oversize: u64,
    /// Streams that ended inside a frame.
    pub broken: u64,
    /// Streams ended because a frame did not go on.
    pub stalled: u64,
    /// Streams and frames on Sync or Bulk from peers who were not permitted.
    pub not_permitted: u64,
    /// Peers whose key is not Ed25519.
    pub foreign_key: u64,
    /// Peers turned away because too many strangers were connected already.
    pub too_many_strangers: u64,
    /// Strangers disconnected because they sent nothing.
    pub idle_strangers: u64,
    /// Connections closed at once because the owner does not keep up with events.
    pub overload: u64,
}

/// What a transport has done and holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Every connected peer.
    pub peers: Vec<PeerInfo>,
    /// Bytes of frames sent to anyone since the start.
    pub sent_bytes: u64,
    /// Bytes of frames received from anyone since the start.
    pub received_bytes: u64,
    /// What was refused.
    pub refusals: Refusals,
    /// Bytes of received frames that wait for the owner, by channel number. An empty frame counts as 1 KiB.
    pub inbound_waiting_bytes: [usize; Channel::COUNT],
}

/// A connected peer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerInfo {
    /// Who.
    pub peer: PeerKey,
    /// Whether the owner permitted it.
    pub permitted: bool,
    /// The connections, oldest first.
    pub connections: Vec<ConnectionInfo>,
    /// Bytes of frames sent in this session, without the four of each length.
    pub sent_bytes: u64,
    /// Bytes of frames received in this session, likewise.
    pub received_bytes: u64,
    /// Frames sent.
    pub sent_frames: u64,
    /// Frames received.
    pub received_frames: u64,
    /// Bytes of frames that wait to be sent, by channel number. An empty frame counts as 1 KiB.
    pub outbound_waiting_bytes: [usize; Channel::COUNT],
}

impl PeerInfo {
    /// Whether every connection leads through a relay.
    pub fn is_relayed(&self) -> bool {
        self.connections.iter().all(ConnectionInfo::is_relayed)
    }

    /// The connection that frames take: a direct one before a relayed one, then the newest.
    pub fn best(&self) -> Option<&ConnectionInfo> {
        self.connections.iter().enumerate().max_by_key(|(age, known)| (!known.is_relayed(), *age)).map(|(_, best)| best)
    }

    /// The last measured round trip of the best connection (direct before relayed), if one was measured yet.
    pub fn round_trip(&self) -> Option<Duration> {
        let best = self.connections.iter().min_by_key(|known| (known.is_relayed(), known.round_trip.is_none()));
        best.and_then(|connection| connection.round_trip)
    }
}

/// One connection with a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// Where the peer is, as seen from here.
    pub address: Address,
    /// How it came about, and what is in between.
    pub way: Way,
    /// Whether this side dialled.
    pub outgoing: bool,
    /// The last measured round trip.
    pub round_trip: Option<Duration>,
}

impl ConnectionInfo {
    /// Whether a relay is in between.
    pub fn is_relayed(&self) -> bool {
        matches!(self.way, Way::Relayed { .. })
    }
}

/// How a connection leads to the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Way {
    /// One side reached the other where it listens.
    Direct,
    /// Directly, through the NATs of both: they had met at a relay, and told each other where others see them (DCUtR).
    /// The side that needed no hole of its own may take it for [`Way::Direct`].
    HolePunched,
    /// Through a relay, which passes on what it cannot read.
    Relayed {
        /// The relay.
        relay: Address,
    },
}

/// Whether this device can be reached from outside its network, as far as relays have found out by dialling it
/// (AutoNAT).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reachability {
    /// No relay has tested it (yet), or it listens nowhere.
    #[default]
    Unknown,
    /// At one address at least: see [`Addresses::confirmed`].
    Public,
    /// At none of those where others see it: through relays only, or through a hole in its NAT.
    Private,
}

/// A relay that this device wants to be reachable through.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayInfo {
    /// Where, with its key.
    pub address: Address,
    /// Whether it gives this device a place now. If not, it is asked again and again.
    pub reserved: bool,
}

/// Where this device can be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Addresses {
    /// Where it listens, through relays too.
    pub listening: Vec<ListenAddress>,
    /// Where a relay reached it from outside.
    pub confirmed: Vec<Address>,
    /// Whether relays can reach it.
    pub reachability: Reachability,
    /// The relays that it asks for a place.
    pub relays: Vec<RelayInfo>,
    /// Where others say they see it. Unverified; at most 16, the newest last.
    pub observed: Vec<Address>,
}

/// An address that is listened on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    /// Where.
    pub address: Address,
    /// Whether only this machine can reach it.
    pub loopback: bool,
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nothing panics while it holds this lock")
    }

    pub(crate) fn insert(&self, peer: Arc<Peer>) {
        self.lock().peers.insert(peer.key, peer);
    }

    pub(crate) fn remove(&self, peer: &PeerKey) {
        let mut inner = self.lock();
        if let Some(gone) = inner.peers.remove(peer) {
            inner.gone_bytes.0 += gone.sent_bytes.load(Relaxed);
            inner.gone_bytes.1 += gone.received_bytes.load(Relaxed);
        }
    }

    /// Bytes of frames sent to and received from anyone since the start.
    pub(crate) fn total_bytes(&self) -> (u64, u64) {
        let inner = self.lock();
        inner.peers.values().fold(inner.gone_bytes, |(sent, received), peer| {
            (sent + peer.sent_bytes.load(Relaxed), received + peer.received_bytes.load(Relaxed))
        })
    }

    pub(crate) fn peer(&self, peer: &PeerKey) -> Option<Arc<Peer>> {
        self.lock().peers.get(peer).cloned()
    }

    pub(crate) fn peers(&self) -> Vec<Arc<Peer>> {
        self.lock().peers.values().cloned().collect()
    }

    /// Whether this changed anything.
    pub(crate) fn set_permitted(&self, peer: PeerKey, permitted: bool) -> bool {
        let mut inner = self.lock();
        if permitted { inner.permitted.insert(peer) } else { inner.permitted.remove(&peer) }
    }

    pub(crate) fn is_permitted(&self, peer: &PeerKey) -> bool {
        self.lock().permitted.contains(peer)
    }

    pub(crate) fn allows(&self, peer: &PeerKey, channel: Channel) -> bool {
        channel.is_open_to_strangers() || self.is_permitted(peer)
    }

    pub(crate) fn set_listening(&self, address: &Address, listening: bool) -> bool {
        let mut inner = self.lock();
        if listening { inner.listening.insert(address.clone()) } else { inner.listening.remove(address) }
    }

    /// A relay dialled the address, or tried to. Whether it is a new one at which this device can be reached.
    pub(crate) fn tested(&self, address: Option<Address>) -> bool {
        let mut inner = self.lock();
        inner.tested = true;
        address.is_some_and(|address| inner.confirmed.insert(address.clone()) && !inner.listening.contains(&address))
    }

    /// What relays found out is over. Returns the addresses that had been confirmed.
    pub(crate) fn forget_tests(&self) -> BTreeSet<Address> {
        let mut inner = self.lock();
        inner.tested = false;
        std::mem::take(&mut inner.confirmed)
    }

    pub(crate) fn is_listening(&self, address: &Address) -> bool {
        self.lock().listening.contains(address)
    }

    pub(crate) fn set_relays(&self, relays: Vec<RelayInfo>) {
        self.lock().relays = relays;
    }

    pub(crate) fn observe(&self, address: Address) {
        let observed = &mut self.lock().observed;
        observed.retain(|known| *known != address);
        observed.push_back(address);
        if observed.len() > OBSERVED_MAX {
            observed.pop_front();
        }
    }

    pub(crate) fn addresses(&self) -> Addresses {
        let inner = self.lock();
        let listen_address =
            |address: &Address| ListenAddress { loopback: address.is_loopback(), address: address.clone() };
        Addresses {
            listening: inner.listening.iter().map(listen_address).collect(),
            confirmed: inner.confirmed.iter().cloned().collect(),
            reachability: match (inner.confirmed.is_empty(), inner.tested) {
                (false, _) => Reachability::Public,
                (true, true) => Reachability::Private,
                (true, false) => Reachability::Unknown,
            },
            relays: inner.relays.clone(),
            observed: inner.observed.iter().cloned().collect(),
        }
    }

    pub(crate) fn info(&self, peer: &Peer) -> PeerInfo {
        PeerInfo {
            peer: peer.key,
            permitted: self.is_permitted(&peer.key),
            connections: peer.connections().values().cloned().collect(),
            sent_bytes: peer.sent_bytes.load(Relaxed),
            received_bytes: peer.received_bytes.load(Relaxed),
            sent_frames: peer.sent_frames.load(Relaxed),
            received_frames: peer.received_frames.load(Relaxed),
            outbound_waiting_bytes: Channel::ALL.map(|channel| peer.outboxes[channel as usize].room.used()),
        }
    }
}

impl RefusalCounters {
    pub(crate) fn snapshot(&self) -> Refusals {
        Refusals {
            oversize: self.oversize.load(Relaxed),
            broken: self.broken.load(Relaxed),
            stalled: self.stalled.load(Relaxed),
            not_permitted: self.not_permitted.load(Relaxed),
            foreign_key: self.foreign_key.load(Relaxed),
            too_many_strangers: self.too_many_strangers.load(Relaxed),
            idle_strangers: self.idle_strangers.load(Relaxed),
            overload: self.overload.load(Relaxed),
        }
    }
}

/// A connected peer, from its first connection to its last.
pub(crate) struct Peer {
    pub(crate) key: PeerKey,
    pub(crate) outboxes: [Outbox; Channel::COUNT],
    connections: Mutex<BTreeMap<ConnectionId, ConnectionInfo>>,
    pub(crate) sent_bytes: AtomicU64,
    pub(crate) received_bytes: AtomicU64,
    pub(crate) sent_frames: AtomicU64,
    pub(crate) received_frames: AtomicU64,
    /// By channel: an `Interrupted` waits to be taken already.
    pub(crate) interruptions: [Arc<AtomicBool>; Channel::COUNT],
}

impl Peer {
    /// The peer, and where the frames for it come out, by channel.
    pub(crate) fn new(key: PeerKey, outbound_bytes_max: usize) -> (Self, [mpsc::Receiver<Outgoing>; Channel::COUNT]) {
        let [sync, join, bulk, mailbox] = Channel::ALL.map(|_| Outbox::new(outbound_bytes_max));
        let peer = Self {
            key,
            outboxes: [sync.0, join.0, bulk.0, mailbox.0],
            connections: Mutex::default(),
            sent_bytes: AtomicU64::new(0),
            received_bytes: AtomicU64::new(0),
            sent_frames: AtomicU64::new(0),
            received_frames: AtomicU64::new(0),
            interruptions: Default::default(),
        };
        (peer, [sync.1, join.1, bulk.1, mailbox.1])
    }

    pub(crate) fn connections(&self) -> MutexGuard<'_, BTreeMap<ConnectionId, ConnectionInfo>> {
        self.connections.lock().expect("nothing panics while it holds this lock")
    }
}

/// Frames on their way to one peer on one channel.
pub(crate) struct Outbox {
    queue: mpsc::Sender<Outgoing>,
    pub(crate) room: Room,
}

/// A frame in an outbox.
pub(crate) struct Outgoing {
    pub(crate) pieces: Vec<Bytes>,
    /// Of all pieces.
    pub(crate) bytes: usize,
    _room: Taken,
}

impl Outbox {
    fn new(bytes_max: usize) -> (Self, mpsc::Receiver<Outgoing>) {
        let room = Room::new(bytes_max);
        let (queue, receiver) = mpsc::channel(room.slots());
        (Self { queue, room }, receiver)
    }

    pub(crate) async fn send(&self, pieces: Vec<Bytes>) -> Result<(), SendError> {
        let bytes = checked_length(&pieces)?;
        let room = self.room.take(bytes).await.map_err(|_| SendError::NotConnected)?;
        self.put(pieces, bytes, room)
    }

    pub(crate) fn try_send(&self, pieces: Vec<Bytes>) -> Result<(), SendError> {
        let bytes = checked_length(&pieces)?;
        match self.room.try_take(bytes) {
            Ok(room) => self.put(pieces, bytes, room),
            Err(NoRoom::Full) => Err(SendError::Full),
            Err(NoRoom::Closed) => Err(SendError::NotConnected),
        }
    }

    fn put(&self, pieces: Vec<Bytes>, bytes: usize, room: Taken) -> Result<(), SendError> {
        // The queue is as long as its room: it can be closed, not full.
        self.queue.try_send(Outgoing { pieces, bytes, _room: room }).map_err(|_| SendError::NotConnected)
    }
}

fn checked_length(pieces: &[Bytes]) -> Result<usize, SendError> {
    let bytes = pieces.iter().map(Bytes::len).sum();
    if bytes > FRAME_BYTES_MAX { Err(SendError::TooLong { bytes }) } else { Ok(bytes) }
}
