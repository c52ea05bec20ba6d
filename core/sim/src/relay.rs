//! A relay as `docs/relay-protocol.md` has it, in memory: what devices are tested against.

use std::collections::{BTreeMap, BTreeSet};

use clave_engine::crypto::{DeviceId, Domain, Signature};
use clave_mailbox::{self as wire, BlobId, Bytes, Kind, Reason, Reply, Request, reply, request};
use negentropy::{Id, Negentropy, NegentropyStorageVector};

mod malice;

pub use malice::Malice;

/// How many mailboxes may be open in a session.
const MAILBOXES_MAX: usize = 1_024;
const KEPT_SECONDS: u64 = 14 * 86_400;

/// What a relay keeps, and its sessions with clients.
pub struct ModelRelay<Client> {
    /// Its key.
    pub id: DeviceId,
    /// What it refuses to take, if anything: for tests.
    pub refuses_puts: Option<Reason>,
    /// Whether it says nothing, whatever it is asked, though the connection stays: for tests.
    pub is_silent: bool,
    /// Whom it lets in, if not everybody: who shows this token.
    pub token: Option<Vec<u8>>,
    /// Where it would have pushed to, in order: each time that something came for a device that was not there.
    pub pushes: Vec<String>,
    /// Whom to wake, by the ids that devices chose.
    subscriptions: BTreeMap<Bytes, wire::Wake>,
    /// How it betrays those who use it, if it does.
    pub malice: Option<Malice>,
    /// How many of its frames were not what they should have been.
    pub(crate) betrayals: u64,
    /// How long it keeps what it was given.
    pub kept_seconds: u64,
    now_ms: u64,
    generation: [u8; 16],
    positions: u64,
    mailboxes: BTreeMap<[u8; 32], Mailbox>,
    sessions: BTreeMap<Client, Session>,
}

#[derive(Default)]
struct Mailbox {
    /// Entries by position.
    entries: BTreeMap<u64, Held>,
    ids: BTreeSet<[u8; 32]>,
    chunks: BTreeMap<[u8; 32], Held>,
}

struct Held {
    blob: Bytes,
    since_ms: u64,
}

#[derive(Default)]
struct Session {
    challenge: [u8; 32],
    /// The open mailboxes, and after which position to deliver, if at all.
    open: BTreeMap<[u8; 32], Option<u64>>,
    /// Positions that this session put itself.
    own: BTreeSet<u64>,
    /// Who it is, for being woken.
    wake: Option<Bytes>,
    /// What is on its way, by mailbox and position, in bytes.
    unacknowledged: BTreeMap<([u8; 32], u64), usize>,
}

impl<Client: Ord + Copy> ModelRelay<Client> {
    /// A relay that keeps nothing yet.
    #[must_use]
    pub fn new(id: DeviceId, generation: [u8; 16]) -> Self {
        Self {
            id,
            refuses_puts: None,
            is_silent: false,
            token: None,
            pushes: Vec::new(),
            subscriptions: BTreeMap::new(),
            malice: None,
            betrayals: 0,
            kept_seconds: KEPT_SECONDS,
            now_ms: 0,
            generation,
            positions: 0,
            mailboxes: BTreeMap::new(),
            sessions: BTreeMap::new(),
        }
    }

    /// Time passes: what was kept for long enough goes.
    pub(crate) fn pass_time(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        let is_young = |held: &Held| held.since_ms + self.kept_seconds * 1_000 > now_ms;
        for mailbox in self.mailboxes.values_mut() {
            mailbox.chunks.retain(|_, held| is_young(held));
            for (_, held) in mailbox.entries.extract_if(.., |_, held| !is_young(held)) {
                mailbox.ids.remove(&BlobId::of(Kind::Entry, &held.blob).0);
            }
        }
        self.mailboxes.retain(|_, mailbox| !mailbox.entries.is_empty() || !mailbox.chunks.is_empty());
    }

    /// Forgets everything that it kept.
    pub(crate) fn lose_data(&mut self, generation: [u8; 16]) {
        self.generation = generation;
        self.mailboxes.clear();
        self.sessions.clear();
    }

    /// The mailboxes that hold anything.
    pub fn mailboxes(&self) -> impl Iterator<Item = [u8; 32]> {
        self.mailboxes.keys().copied()
    }

    /// The mailboxes that a device has open.
    #[must_use]
    pub fn opened_by(&self, who: Client) -> BTreeSet<[u8; 32]> {
        self.sessions.get(&who).map(|session| session.open.keys().copied().collect()).unwrap_or_default()
    }

    /// Every blob that it holds, by its mailbox.
    pub fn blobs(&self) -> impl Iterator<Item = ([u8; 32], &[u8])> {
        self.mailboxes.iter().flat_map(|(mailbox, held)| {
            held.entries.values().chain(held.chunks.values()).map(|held| (*mailbox, held.blob.as_ref()))
        })
    }

    /// Every entry that it holds: its position among all, its mailbox, itself.
    pub fn entries(&self) -> impl Iterator<Item = (u64, [u8; 32], &[u8])> {
        self.mailboxes.iter().flat_map(|(mailbox, held)| {
            held.entries.iter().map(|(position, blob)| (*position, *mailbox, blob.blob.as_ref()))
        })
    }

    /// A client connected; the challenge is to be random.
    pub fn connect(&mut self, who: Client, challenge: [u8; 32]) {
        self.sessions.insert(who, Session { challenge, ..Session::default() });
    }

    /// A client is gone.
    pub fn disconnect(&mut self, who: Client) {
        self.sessions.remove(&who);
    }

    /// Takes a frame; gives those that follow, and for whom.
    ///
    /// # Panics
    /// If a device would never send it.
    pub fn take(&mut self, who: Client, frame: &[u8]) -> Vec<(Client, Vec<u8>)> {
        if !self.sessions.contains_key(&who) || self.is_silent {
            return Vec::new();
        }
        let Ok(Request { number, body: Some(body) }) = wire::decode::<Request>(frame) else {
            panic!("a device sent a frame that is none");
        };
        let answer = self.answer(who, body);
        let mut frames: Vec<(Client, Vec<u8>)> = Vec::new();
        frames.extend(answer.map(|body| (who, wire::encode(&Reply { number, body: Some(body) }))));
        for who in self.sessions.keys().copied().collect::<Vec<Client>>() {
            frames.extend(self.deliver(who).into_iter().map(|frame| (who, frame)));
        }
        frames
    }

    fn answer(&mut self, who: Client, body: request::Body) -> Option<reply::Body> {
        Some(match body {
            request::Body::Hello(hello) if self.token.as_ref().is_some_and(|token| hello.token != *token) => {
                refused(Reason::Access)
            }
            request::Body::Hello(_) => reply::Body::Welcome(wire::Welcome {
                version: wire::VERSION,
                challenge: self.sessions[&who].challenge.to_vec().into(),
                generation: self.generation.to_vec().into(),
                kept_seconds: self.kept_seconds,
                blob_bytes_max: wire::BLOB_BYTES_MAX as u64,
                mailboxes_max: MAILBOXES_MAX as u32,
                wake_key: vec![4; 65].into(),
            }),
            request::Body::Open(open) => self.open(who, &open),
            request::Body::Close(close) => {
                let session = self.sessions.get_mut(&who).expect("take() saw it");
                for mailbox in wire::ids(&close.mailboxes) {
                    session.open.remove(&mailbox);
                }
                reply::Body::Opened(wire::Opened::default())
            }
            request::Body::Put(put) => self.put(who, put),
            request::Body::Get(get) => self.get(who, &get),
            request::Body::Reconcile(step) => self.reconcile(who, &step),
            request::Body::Acknowledge(acknowledge) => {
                let session = self.sessions.get_mut(&who).expect("take() saw it");
                for position in acknowledge.positions {
                    let mailbox = id_of(&position.mailbox);
                    session.unacknowledged.retain(|(of, at), _| *of != mailbox || *at > position.position);
                }
                return None;
            }
            request::Body::Wake(wake) => self.wake(who, wake),
        })
    }

    fn open(&mut self, who: Client, open: &wire::Open) -> reply::Body {
        let session = self.sessions.get_mut(&who).expect("take() saw it");
        let mut states = Vec::new();
        for opening in &open.mailboxes {
            let mailbox = id_of(&opening.mailbox);
            let signature = Signature::try_from(opening.signature.as_ref()).expect("it is within bounds");
            let proof = [self.id.as_bytes().as_slice(), &session.challenge, &mailbox].concat();
            let key = DeviceId::from_bytes(mailbox);
            if key.verify(Domain::MailboxProof, &proof, &signature).is_err() {
                return refused(Reason::Proof);
            }
            if session.open.len() >= MAILBOXES_MAX && !session.open.contains_key(&mailbox) {
                return refused(Reason::Mailboxes);
            }
            session.open.insert(mailbox, opening.follow.then_some(opening.after));
            let held = self.mailboxes.get(&mailbox);
            states.push(wire::State {
                mailbox: opening.mailbox.clone(),
                last: held.and_then(|held| held.entries.last_key_value()).map_or(0, |(position, _)| *position),
                entries: held.map_or(0, |held| held.entries.len() as u64),
            });
        }
        reply::Body::Opened(wire::Opened { mailboxes: states })
    }

    fn put(&mut self, who: Client, put: wire::Put) -> reply::Body {
        let (mailbox, kind) = (id_of(&put.mailbox), Kind::try_from(put.kind).expect("it is within bounds"));
        let session = self.sessions.get_mut(&who).expect("take() saw it");
        if let Some(reason) = self.refuses_puts {
            return refused(reason);
        }
        if !session.open.contains_key(&mailbox) {
            return refused(Reason::NotOpen);
        }
        let held = self.mailboxes.entry(mailbox).or_default();
        let mut new = 0;
        for blob in put.blobs {
            let id = BlobId::of(kind, &blob).0;
            let blob = Held { blob, since_ms: self.now_ms };
            let is_new = match kind {
                Kind::Chunk => held.chunks.insert(id, blob).is_none(),
                Kind::Entry if held.ids.insert(id) => {
                    // Positions have gaps.
                    self.positions += 3;
                    session.own.insert(self.positions);
                    held.entries.insert(self.positions, blob);
                    true
                }
                Kind::Entry => false,
            };
            new += u32::from(is_new);
        }
        if new > 0 && kind == Kind::Entry {
            self.push(&mailbox);
        }
        reply::Body::Stored(wire::Stored { new })
    }

    fn wake(&mut self, who: Client, wake: wire::Wake) -> reply::Body {
        let session = self.sessions.get_mut(&who).expect("take() saw it");
        if wire::ids(&wake.mailboxes).any(|mailbox| !session.open.contains_key(&mailbox)) {
            return refused(Reason::NotOpen);
        }
        session.wake = Some(wake.id.clone());
        if wake.endpoint.is_empty() {
            self.subscriptions.remove(&wake.id);
        } else {
            self.subscriptions.insert(wake.id.clone(), wake);
        }
        reply::Body::Woken(wire::Woken::default())
    }

    /// Something new is in a mailbox: pushes to those who want that and are not there.
    fn push(&mut self, mailbox: &[u8; 32]) {
        for wake in self.subscriptions.values() {
            let wants = wire::ids(&wake.mailboxes).any(|wanted| wanted == *mailbox);
            let is_told = self.sessions.values().any(|session| {
                session.wake.as_ref() == Some(&wake.id) && session.open.get(mailbox).is_some_and(Option::is_some)
            });
            if wants && !is_told {
                self.pushes.push(wake.endpoint.clone());
            }
        }
    }

    fn get(&self, who: Client, get: &wire::Get) -> reply::Body {
        let mailboxes: Vec<[u8; 32]> = wire::ids(&get.mailboxes).collect();
        if mailboxes.iter().any(|mailbox| !self.sessions[&who].open.contains_key(mailbox)) {
            return refused(Reason::NotOpen);
        }
        let find = |id: [u8; 32]| {
            mailboxes.iter().filter_map(|mailbox| self.mailboxes.get(mailbox)).find_map(|held| {
                match Kind::try_from(get.kind) {
                    Ok(Kind::Chunk) => held.chunks.get(&id).map(|held| &held.blob),
                    _ => {
                        let mut blobs = held.entries.values().map(|held| &held.blob);
                        blobs.find(|blob| BlobId::of(Kind::Entry, blob).0 == id)
                    }
                }
            })
        };
        let (mut blobs, mut bytes) = (Vec::new(), 0);
        for id in wire::ids(&get.ids) {
            let found = find(id);
            bytes += found.map_or(0, Bytes::len);
            if !blobs.is_empty() && bytes > wire::BLOBS_FRAME_BYTES {
                break;
            }
            blobs.push(wire::Blob { found: found.is_some(), bytes: found.cloned().unwrap_or_default() });
        }
        reply::Body::Blobs(wire::Blobs { blobs })
    }

    fn reconcile(&self, who: Client, step: &wire::Reconcile) -> reply::Body {
        let mailbox = id_of(&step.mailbox);
        if !self.sessions[&who].open.contains_key(&mailbox) {
            return refused(Reason::NotOpen);
        }
        let mut storage = NegentropyStorageVector::new();
        for id in self.mailboxes.get(&mailbox).iter().flat_map(|held| &held.ids) {
            storage.insert(0, Id::from_byte_array(*id)).expect("it is not sealed");
        }
        storage.seal().expect("it is not sealed");
        let mut side = Negentropy::owned(storage, wire::RECONCILE_BYTES_MAX as u64).expect("a limit that is allowed");
        let message = side.reconcile(&step.message).expect("devices send sound messages");
        reply::Body::Reconcile(wire::Reconcile { mailbox: step.mailbox.clone(), message: message.into() })
    }

    /// What a session is to be told now.
    fn deliver(&mut self, who: Client) -> Vec<Vec<u8>> {
        let session = self.sessions.get_mut(&who).expect("the caller saw it");
        let mut frames = Vec::new();
        for (mailbox, after) in &mut session.open {
            let (Some(after), Some(held)) = (after, self.mailboxes.get(mailbox)) else { continue };
            let (mut items, mut bytes) = (Vec::new(), 0);
            for (position, Held { blob, .. }) in held.entries.range(after.saturating_add(1)..) {
                if session.unacknowledged.values().sum::<usize>() > wire::DELIVERED_BYTES_MAX {
                    break;
                }
                *after = *position;
                if session.own.contains(position) {
                    continue;
                }
                if bytes > 0 && bytes + blob.len() > wire::BLOBS_FRAME_BYTES {
                    frames.push(delivery(mailbox, std::mem::take(&mut items)));
                    bytes = 0;
                }
                bytes += blob.len();
                session.unacknowledged.insert((*mailbox, *position), blob.len());
                items.push(wire::Item { position: *position, bytes: blob.clone() });
            }
            if !items.is_empty() {
                frames.push(delivery(mailbox, items));
            }
        }
        frames
    }
}

fn delivery(mailbox: &[u8; 32], entries: Vec<wire::Item>) -> Vec<u8> {
    let delivery = wire::Delivery { mailbox: mailbox.to_vec().into(), entries };
    wire::encode(&Reply { number: 0, body: Some(reply::Body::Delivery(delivery)) })
}

fn refused(reason: Reason) -> reply::Body {
    reply::Body::Refused(wire::Refused { reason: reason.into(), retry_after_ms: 0 })
}

fn id_of(bytes: &[u8]) -> [u8; 32] {
    bytes.try_into().expect("it is within bounds")
}
