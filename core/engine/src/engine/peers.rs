//! Connected devices: what they may say, what they are told, which addresses they have.

use std::collections::BTreeSet;

use bytes::Bytes;
use prost::Message as _;

use super::circles::INTRODUCE_QUIET_MS;
use super::*;
use crate::mutation::{Rule, off};
use crate::proto::frame as proto;
use crate::proto::frame::frame::Body;
use crate::proto::local;
use crate::{Key, OperationId, Refusal};

/// The protocol version this build speaks.
const PROTOCOL_VERSION: u32 = 1;
/// Addresses believed of one device.
pub(crate) const ADDRESSES_MAX: usize = 16;
/// The longest address, in bytes.
pub(crate) const ADDRESS_BYTES_MAX: usize = 256;
/// Devices whose addresses one hello tells.
pub(crate) const HELLO_DEVICES_MAX: usize = 512;
/// Devices of whom one peer said where they are before this device knew them.
const HEARSAY_MAX: usize = 64;
/// Circles that one hello names.
pub(crate) const HELLO_CIRCLES_MAX: usize = 8_192;
/// Frames that a peer may leave unread before it is asked nothing more and answered nothing more.
pub(crate) const UNREAD_FRAMES_MAX: usize = 1_024;

/// How long to wait after lost frames before beginning anew, at first and in the long run, in milliseconds.
const RETRY_MS: u64 = 500;
const RETRY_MS_MAX: u64 = 60_000;

/// A connected device.
#[derive(Default)]
pub(super) struct Peer {
    /// Whether it said hello: before that it may not know yet that it shares anything with this device, and would
    /// refuse whatever else it is sent.
    pub(super) ready: bool,
    /// The circles that it named: those that it knows itself to be in together with this device.
    pub(super) circles: BTreeSet<CircleId>,
    /// Whether it wants to be told who is in a document just now.
    pub(super) hears_presence: bool,
    /// The circles that were named to it; none before the first hello.
    told: Option<BTreeSet<CircleId>>,
    /// The circles of spaces that it is in, by the log, and did not name: when it may be introduced to each anew, and whether
    /// those who come before this device had their time.
    pub(super) overlooked: BTreeMap<CircleId, (u64, bool)>,
    /// Where devices are that it takes for members and this device does not know yet: how they came in may be on its way.
    hearsay: BTreeMap<DeviceId, Vec<String>>,
    /// Whether nothing has happened since it was last looked at what is shared with it.
    settled: bool,
    /// Circles whose reconciliation was begun on this connection.
    pub(super) begun: BTreeSet<CircleId>,
    /// What the comparison of a circle that this device began is about.
    pub(super) comparing: BTreeMap<CircleId, super::reach::Comparing>,
    /// Those of them in which a comparison came to its end, as far as this device can tell.
    pub(super) compared: BTreeSet<CircleId>,
    /// Those that the other device compares, in which it was told of a difference: when, and whether it has come back to it.
    pub(super) answered: BTreeMap<CircleId, (u64, bool)>,
    /// Steps of reconciliation that wait until what it offered has been asked for.
    pub(super) postponed: BTreeMap<CircleId, proto::Reconcile>,
    /// Until when it is not offered again what guides through the entries of a circle.
    pub(super) guided: BTreeMap<CircleId, u64>,
    /// Entries to send, in order.
    pub(super) queue: VecDeque<(CircleId, EntryId)>,
    pub(super) in_flight: usize,
    /// Sync frames that have not left.
    pub(super) unread: usize,
    /// Chunks to send, in order.
    pub(super) chunks: VecDeque<(CircleId, ChunkId)>,
    pub(super) bulk_in_flight: usize,
    pub(super) next_reconcile_ms: u64,
    /// The circles in which something was put off because a bundle is on its way, how often in a row, and whether that was in
    /// the comparison that goes on.
    pub(super) put_off: BTreeMap<CircleId, (u32, bool)>,
    /// When to begin anew after frames were lost.
    retry_at_ms: Option<u64>,
    /// How often that was since the peer last said anything.
    pub(super) retries: u32,
    /// Whether it was looked for circles that it is to be told to be out of, since a roster changed.
    pub(super) looked_for_farewells: bool,
    /// The circles of which one of the two was told to be out, and by which operations.
    pub(super) bidden: BTreeMap<CircleId, Vec<OperationId>>,
    /// The circles of which it was told how this device came in, as it takes no frames.
    pub(super) presented: BTreeSet<CircleId>,
    /// The circles of which it said so wrongly, and in which state of the log, as its length, it was answered.
    pub(super) corrected: BTreeMap<CircleId, usize>,
    /// The circles of which it said so and this device is out since, and by which operations.
    pub(super) believed: BTreeMap<CircleId, Vec<OperationId>>,
    /// The circles to which this device asked it to be let back in: when it may ask again, and how often it did.
    pub(super) asked_to_return: BTreeMap<CircleId, (u64, u32)>,
    /// The circles to which it asked to be let back in, and how often.
    pub(super) asks_to_return: BTreeMap<CircleId, u32>,
}

impl Peer {
    /// A peer that takes no frames (it may have removed this device) is asked ever more rarely.
    fn retry_later(&mut self, now_ms: u64) {
        let wait_ms = (RETRY_MS << self.retries.min(16)).min(RETRY_MS_MAX);
        self.retries += 1;
        self.retry_at_ms.get_or_insert(now_ms + wait_ms);
    }
}

impl Engine {
    /// Input: a device connected and proved its key.
    pub fn handle_connected(&mut self, peer: DeviceId, now_ms: u64) {
        self.desk.now_ms = now_ms;
        self.peers.insert(peer, Peer::default());
        self.wants.lose_peer(&peer);
        self.greet_relay(peer);
        self.join_on_connect(peer);
        self.link_on_connect(peer);
        if self.permitted.contains(&peer) {
            self.welcome_peer(peer);
        }
        self.finish();
    }

    /// Input: the last connection to a device is gone.
    pub fn handle_disconnected(&mut self, peer: DeviceId, now_ms: u64) {
        self.desk.now_ms = now_ms;
        if self.peers.remove(&peer).is_some() && self.permitted.contains(&peer) {
            self.desk.events.push(Event::Presence { device: peer, online: false });
        }
        self.lose_relay(&peer);
        self.note_linked(peer);
        self.joins.forget(&peer);
        self.expire_verifications();
        self.lose_presence_of(&peer);
        self.fetches.lose_peer(&peer);
        self.wants.lose_peer(&peer);
        self.finish();
    }

    /// Input: where this device listens now. Told to the members that are connected.
    pub fn handle_addresses(&mut self, addresses: Vec<String>, now_ms: u64) {
        self.desk.now_ms = now_ms;
        let me = self.desk.me();
        if self.addresses.get(&me) != Some(&addresses) {
            self.addresses.insert(me, addresses);
            for peer in self.online() {
                self.say_hello(peer, true);
            }
        }
        self.finish();
    }

    /// Input: a frame from a connected device. Whatever it holds, the worst it can do is be counted as refused.
    pub fn handle_frame(&mut self, peer: DeviceId, channel: Channel, frame: impl Into<Bytes>, now_ms: u64) {
        self.desk.now_ms = now_ms;
        if let Err(refusal) = self.take_frame(peer, channel, frame.into()) {
            self.desk.refuse(refusal);
        }
        self.finish();
    }

    /// Input: a frame of an [`Output::Send`] left.
    pub fn handle_sent(&mut self, peer: DeviceId, channel: Channel, now_ms: u64) {
        self.desk.now_ms = now_ms;
        match (self.peers.get_mut(&peer), channel) {
            (Some(peer), Channel::Sync) => {
                peer.in_flight = peer.in_flight.saturating_sub(1);
                peer.unread = peer.unread.saturating_sub(1);
            }
            (Some(peer), Channel::Bulk) => peer.bulk_in_flight = peer.bulk_in_flight.saturating_sub(1),
            (_, Channel::Join) => self.joins.sent(&peer),
            _ => {}
        }
        self.finish();
    }

    /// Input: what was sent to a peer lately may not have arrived. Whatever it was, comparing finds it.
    pub fn handle_interrupted(&mut self, peer: DeviceId, channel: Channel, now_ms: u64) {
        self.desk.now_ms = now_ms;
        if let Some(link) = self.peers.get_mut(&peer).filter(|_| self.permitted.contains(&peer)) {
            match channel {
                Channel::Sync => {
                    *link = Peer {
                        retries: link.retries,
                        retry_at_ms: link.retry_at_ms,
                        chunks: std::mem::take(&mut link.chunks),
                        presented: std::mem::take(&mut link.presented),
                        bulk_in_flight: link.bulk_in_flight,
                        asked_to_return: std::mem::take(&mut link.asked_to_return),
                        asks_to_return: std::mem::take(&mut link.asks_to_return),
                        believed: std::mem::take(&mut link.believed),
                        ..Peer::default()
                    };
                    link.retry_later(now_ms);
                    self.wants.lose_peer(&peer);
                }
                // The peer may wait for chunks that were lost: the hello has it ask again.
                Channel::Bulk => {
                    link.bulk_in_flight = 0;
                    link.retry_later(now_ms);
                    self.fetches.lose_peer(&peer);
                }
                Channel::Join | Channel::Mailbox => {}
            }
        }
        match channel {
            Channel::Join => self.joins.lose_attempt(&peer, now_ms),
            Channel::Mailbox => self.relay_interrupted(peer),
            Channel::Sync | Channel::Bulk => {}
        }
        self.finish();
    }

    /// When the next attempt after lost frames is due.
    pub(super) fn next_retry_ms(&self) -> Option<u64> {
        self.peers.values().filter_map(|peer| peer.retry_at_ms).chain(self.next_join_ms()).min()
    }

    /// Begins anew with those whose frames were lost, and with joins that were not answered.
    pub(super) fn retry_when_due(&mut self) {
        let now_ms = self.desk.now_ms;
        let due = |peer: &mut Peer| peer.retry_at_ms.take_if(|at| *at <= now_ms).is_some();
        let due: Vec<DeviceId> = self.peers.iter_mut().filter_map(|(id, peer)| due(peer).then_some(*id)).collect();
        for device in due {
            if self.permitted.contains(&device) {
                self.say_hello(device, false);
            }
        }
        self.retry_joins();
    }

    /// Members' devices that are connected.
    #[must_use]
    pub fn online(&self) -> Vec<DeviceId> {
        self.peers.keys().filter(|peer| self.permitted.contains(peer)).copied().collect()
    }

    /// Members' devices that are connected and listen.
    pub(super) fn ready_peers(&self) -> Vec<DeviceId> {
        self.ready_peers_that(|_| true)
    }

    /// Those of them that are as said. Who is not permitted is not ready either. Inputs come so often that what each of them
    /// walks along is looked at in place.
    pub(super) fn ready_peers_that(&self, are_so: impl Fn(&Peer) -> bool) -> Vec<DeviceId> {
        self.peers.iter().filter(|(_, peer)| peer.ready && are_so(peer)).map(|(device, _)| *device).collect()
    }

    fn take_frame(&mut self, peer: DeviceId, channel: Channel, frame: Bytes) -> Result<(), Refusal> {
        if frame.len() > FRAME_BYTES_MAX {
            return Err(Refusal::Oversized);
        }
        if !self.peers.contains_key(&peer) {
            return Err(Refusal::Unexpected);
        }
        match channel {
            Channel::Join => return self.take_join_frame(peer, &frame),
            Channel::Mailbox => return self.take_mailbox_frame(peer, &frame),
            Channel::Sync | Channel::Bulk => {}
        }
        if !self.permitted.contains(&peer) {
            return Err(Refusal::NotAMember);
        }
        let frame_bytes = frame.len();
        let frame = proto::Frame::decode(frame).map_err(|_| Refusal::Malformed)?;
        tracing::trace!(from = %peer.short(), kind = frame_kind(&frame), "frame");
        self.peers.get_mut(&peer).expect("looked up above").retries = 0;
        let body = frame.body.ok_or(Refusal::UnknownBody)?;
        let wants_answer = matches!(body, Body::Hello(_) | Body::Reconcile(_) | Body::Have(_));
        if wants_answer && self.peers[&peer].unread >= UNREAD_FRAMES_MAX {
            return Err(Refusal::TooManyHeld);
        }
        match body {
            Body::Hello(hello) => self.take_hello(peer, hello),
            Body::Reconcile(step) => self.take_reconcile(peer, step),
            Body::Entries(entries) => self.take_entries(peer, entries),
            Body::Have(ids) => self.take_have(peer, &ids),
            Body::Want(ids) => self.take_want(peer, &ids),
            Body::WantChunks(ids) => self.take_want_chunks(peer, &ids),
            Body::Chunks(chunks) => self.take_chunks(peer, chunks, frame_bytes),
            Body::Verify(step) => self.take_verify(peer, &step),
            Body::Presence(presence) => self.take_presence(peer, &presence),
        }
    }

    /// The circle a peer speaks of, if it is in it.
    pub(super) fn shared(&mut self, peer: DeviceId, circle: &[u8]) -> Result<CircleId, Refusal> {
        let id = CircleId::try_from(circle).map_err(|_| Refusal::Malformed)?;
        if !self.circles.get(&id).is_some_and(|circle| circle.is_member(&peer) || off(Rule::MembersOnly)) {
            return Err(Refusal::NotAMember);
        }
        // Who speaks of a circle knows it, whatever became of its hello.
        if let Some(link) = self.peers.get_mut(&peer).filter(|link| link.ready) {
            let is_news = link.circles.insert(id);
            link.settled &= !is_news;
            if is_news {
                self.fetches.look_again();
            }
        }
        Ok(id)
    }

    pub(super) fn send(&mut self, peer: DeviceId, channel: Channel, body: Body) {
        let frame = proto::Frame { body: Some(body) };
        tracing::trace!(to = %peer.short(), kind = frame_kind(&frame), "frame");
        self.send_pieces(peer, channel, vec![frame.encode_to_vec().into()]);
    }

    pub(super) fn send_pieces(&mut self, peer: DeviceId, channel: Channel, frame: Vec<Bytes>) {
        match (self.peers.get_mut(&peer), channel) {
            (Some(peer), Channel::Sync) => (peer.in_flight, peer.unread) = (peer.in_flight + 1, peer.unread + 1),
            (Some(peer), Channel::Bulk) => peer.bulk_in_flight += 1,
            _ => {}
        }
        self.outbox.push(Output::Send { peer, channel, frame });
    }

    /// Lets in who became a member, shuts out who no longer is, and begins to reconcile what is newly shared.
    pub(super) fn update_permissions(&mut self) {
        let rosters = || self.circles.iter().map(|(id, circle)| (*id, circle.roster_version()));
        let changed = !rosters().eq(self.rosters.iter().map(|(id, version)| (*id, *version)));
        if changed {
            self.rosters = rosters().collect();
            self.permit_members();
            self.peers.values_mut().for_each(|peer| peer.looked_for_farewells = false);
            self.end_presence_of_former();
        }
        if self.letters.take_relays_changed() || changed {
            self.update_relays();
        }
        for device in self.ready_peers_that(|peer| changed || !peer.settled) {
            self.share(device);
        }
    }

    fn permit_members(&mut self) {
        let me = self.desk.me();
        let members: BTreeSet<DeviceId> =
            self.circles.values().flat_map(|circle| circle.members()).filter(|device| *device != me).collect();
        let former = std::mem::replace(&mut self.permitted, members);
        for gone in former.difference(&self.permitted) {
            self.outbox.push(Output::Forbid(*gone));
            self.fetches.lose_peer(gone);
            self.wants.lose_peer(gone);
            if let Some(peer) = self.peers.get_mut(gone) {
                *peer = Peer { believed: std::mem::take(&mut peer.believed), ..Peer::default() };
                self.desk.events.push(Event::Presence { device: *gone, online: false });
            }
        }
        for new in self.permitted.difference(&former).copied().collect::<Vec<_>>() {
            self.outbox.push(Output::Permit(new));
            self.believe_hearsay(new);
            if self.peers.contains_key(&new) {
                self.welcome_peer(new);
            }
        }
    }

    /// Names the circles that are shared with a peer, if that is news, and begins to reconcile those that it named too.
    fn share(&mut self, device: DeviceId) {
        let shared = self.circles_shared_with(&device);
        let peer = self.peers.get_mut(&device).expect("only connected peers are ready");
        peer.settled = true;
        let is_news = peer.told.as_ref() != Some(&shared);
        peer.overlooked.retain(|circle, _| shared.contains(circle) && !peer.circles.contains(circle));
        for circle in shared.difference(&peer.circles) {
            let of_space = self.circles[circle].log.membership().parent.is_some();
            if of_space && !off(Rule::IntroducedAnew) {
                peer.overlooked.entry(*circle).or_insert((self.desk.now_ms + INTRODUCE_QUIET_MS, false));
            }
        }
        peer.begun.retain(|circle| shared.contains(circle) && peer.circles.contains(circle));
        let begun = peer.begun.clone();
        let ready: BTreeSet<CircleId> = shared.intersection(&peer.circles).copied().collect();
        if is_news {
            self.say_hello(device, true);
        }
        for circle in ready.difference(&begun) {
            self.begin_reconcile(device, *circle);
            self.show_presence(device, *circle);
        }
    }

    /// Whether a peer is in a circle and knows it.
    pub(super) fn speaks_of(&self, peer: &DeviceId, circle: &CircleId) -> bool {
        self.circles.get(circle).is_some_and(|circle| circle.is_member(peer) || off(Rule::MembersOnly))
            && self.peers.get(peer).is_some_and(|peer| peer.circles.contains(circle))
    }

    fn circles_shared_with(&self, device: &DeviceId) -> BTreeSet<CircleId> {
        self.circles.values().filter(|circle| circle.is_member(device)).map(|circle| circle.id).collect()
    }

    fn welcome_peer(&mut self, peer: DeviceId) {
        self.desk.events.push(Event::Presence { device: peer, online: true });
        self.say_hello(peer, false);
    }

    /// This device entered a circle. Members it was connected with already may have begun to reconcile it before this
    /// device knew of it, and were refused: the conversation begins anew.
    pub(super) fn greet_anew(&mut self, circle: CircleId) {
        for peer in self.ready_peers() {
            if self.circles[&circle].is_member(&peer) {
                self.say_hello(peer, false);
            }
        }
    }

    fn say_hello(&mut self, to: DeviceId, reply: bool) {
        let mut devices = Vec::new();
        for (device, addresses) in &self.addresses {
            if devices.len() == HELLO_DEVICES_MAX {
                break;
            }
            let known_to_both = self.circles.values().any(|circle| circle.is_member(device) && circle.is_member(&to));
            if known_to_both && *device != to {
                let addresses = addresses.clone();
                devices.push(proto::DeviceAddresses { device: device.as_bytes().to_vec(), addresses });
            }
        }
        let shared: BTreeSet<CircleId> = self.circles_shared_with(&to).into_iter().take(HELLO_CIRCLES_MAX).collect();
        let circles = shared.iter().flat_map(|circle| circle.as_bytes().iter().copied()).collect();
        if let Some(peer) = self.peers.get_mut(&to) {
            peer.told = Some(shared);
        }
        let hello = proto::Hello { version: PROTOCOL_VERSION, devices, reply, circles, hears_presence: true };
        self.send(to, Channel::Sync, Body::Hello(hello));
    }

    /// A hello says that the other side listens, which it may not have done when this side said hello: so it is
    /// answered by one.
    fn take_hello(&mut self, peer: DeviceId, hello: proto::Hello) -> Result<(), Refusal> {
        if hello.devices.len() > HELLO_DEVICES_MAX {
            return Err(Refusal::Oversized);
        }
        let (named, rest) = hello.circles.as_chunks::<32>();
        if !rest.is_empty() {
            return Err(Refusal::Malformed);
        }
        if named.len() > HELLO_CIRCLES_MAX {
            return Err(Refusal::Oversized);
        }
        let circles: BTreeSet<CircleId> = named.iter().map(|id| CircleId::from_bytes(*id)).collect();
        let mut devices = Vec::with_capacity(hello.devices.len());
        for entry in hello.devices {
            let device = DeviceId::try_from(entry.device.as_slice()).map_err(|_| Refusal::Malformed)?;
            if entry.addresses.len() > ADDRESSES_MAX
                || entry.addresses.iter().any(|address| address.len() > ADDRESS_BYTES_MAX)
            {
                return Err(Refusal::Oversized);
            }
            devices.push((device, entry.addresses));
        }
        let mut hearsay = BTreeMap::new();
        for (device, addresses) in devices {
            if self.permitted.contains(&device) {
                self.hear_addresses(peer, device, addresses);
            } else if hearsay.len() < HEARSAY_MAX && device != self.desk.me() {
                hearsay.insert(device, addresses);
            }
        }
        if !hello.reply {
            self.fetches.lose_peer(&peer);
            self.say_hello(peer, true);
        }
        let link = self.peers.get_mut(&peer).expect("take_frame() saw it");
        if !link.ready || !hello.reply {
            // How much it leaves unread is the only thing that no hello makes forgotten.
            let (unread, bulk_in_flight, told) = (link.unread, link.bulk_in_flight, link.told.take());
            let (bidden, corrected) = (std::mem::take(&mut link.bidden), std::mem::take(&mut link.corrected));
            let asks_to_return = std::mem::take(&mut link.asks_to_return);
            let believed = std::mem::take(&mut link.believed);
            let asked_to_return = std::mem::take(&mut link.asked_to_return);
            let presented = std::mem::take(&mut link.presented);
            *link = Peer {
                ready: true,
                unread,
                bulk_in_flight,
                told,
                bidden,
                corrected,
                asked_to_return,
                asks_to_return,
                presented,
                believed,
                ..Peer::default()
            };
            self.wants.lose_peer(&peer);
        }
        let link = self.peers.get_mut(&peer).expect("take_frame() saw it");
        (link.circles, link.settled, link.looked_for_farewells, link.hearsay) = (circles, false, false, hearsay);
        link.hears_presence = hello.hears_presence;
        self.fetches.look_again();
        // What is shared is reconciled as this input ends.
        Ok(())
    }

    /// Remembers what `peer` says of where a device can be reached. Of itself it knows best; of others it may add to what
    /// is known, so that nobody makes anybody else unreachable.
    fn hear_addresses(&mut self, peer: DeviceId, device: DeviceId, addresses: Vec<String>) {
        let mut known = match self.addresses.get(&device) {
            Some(known) if device != peer => known.clone(),
            _ => Vec::new(),
        };
        for address in addresses {
            if known.len() < ADDRESSES_MAX && !known.contains(&address) {
                known.push(address);
            }
        }
        self.learn_addresses(device, known);
    }

    /// A device turned out to be a member's: what was said of it meanwhile counts.
    fn believe_hearsay(&mut self, device: DeviceId) {
        let said = |(peer, link): (&DeviceId, &mut Peer)| Some((*peer, link.hearsay.remove(&device)?));
        for (peer, addresses) in self.peers.iter_mut().filter_map(said).collect::<Vec<_>>() {
            self.hear_addresses(peer, device, addresses);
        }
    }

    /// Remembers where a device can be reached.
    pub(super) fn learn_addresses(&mut self, device: DeviceId, addresses: Vec<String>) {
        if addresses.is_empty() || self.addresses.get(&device) == Some(&addresses) {
            return;
        }
        let record = local::Addresses { addresses: addresses.clone() }.encode_to_vec();
        self.desk.put(Key::new(Keyspace::Addresses, [], device.as_bytes()), record);
        self.addresses.insert(device, addresses.clone());
        self.outbox.push(Output::Addresses { device, addresses });
    }

    pub(super) fn load_addresses(&mut self) -> Result<(), EngineError> {
        for (suffix, record) in self.desk.store.all(Keyspace::Addresses, &[])? {
            let device = DeviceId::try_from(suffix.as_slice()).map_err(|_| EngineError::Damaged)?;
            let addresses = local::Addresses::decode(record.as_slice())?.addresses;
            self.addresses.insert(device, addresses.clone());
            self.outbox.push(Output::Addresses { device, addresses });
        }
        Ok(())
    }
}

/// For traces: what a frame is, without what it says.
fn frame_kind(frame: &proto::Frame) -> &'static str {
    match &frame.body {
        None => "unknown",
        Some(Body::Hello(_)) => "hello",
        Some(Body::Reconcile(_)) => "reconcile",
        Some(Body::Entries(_)) => "entries",
        Some(Body::Have(_)) => "have",
        Some(Body::Want(_)) => "want",
        Some(Body::WantChunks(_)) => "want chunks",
        Some(Body::Chunks(_)) => "chunks",
        Some(Body::Verify(_)) => "verify",
        Some(Body::Presence(_)) => "presence",
    }
}
