//! A live engine under frames, entries and presence of a member, and of a relay, who keep to nothing.

use std::collections::VecDeque;
use std::sync::{Arc, LazyLock};

use clave_crdt::{DocumentKind, Draft};
use clave_crypto::{DeviceId, Entropy, MailboxKey, SealedSecret};
use clave_engine::fuzzing::Sealer;
use clave_engine::membership::RelayAddress;
use clave_engine::{
    Batch, Channel, CircleId, DocumentId, Engine, Event, Identity, Keyspace, Output, Selection, StoreRead,
};
use clave_mailbox::{self as mailbox, Reply, reply};
use clave_sim::Disk;

const NOW_MS: u64 = 1_790_000_000_000;
const HOUR_MS: u64 = 3_600_000;
/// The relay of the space.
const RELAY: DeviceId = DeviceId::from_bytes([99; 32]);
/// The most steps of one input: an engine in a debug build is slow.
const STEPS_MAX: usize = 64;

/// An honest session of two, and what is needed to take it up again.
pub(super) struct Session {
    circle: CircleId,
    /// What Alice wrote, in order.
    batches: Vec<Batch>,
    bob: DeviceId,
    sealer: Sealer,
    /// What Bob sent to Alice.
    frames: Vec<(Channel, Vec<u8>)>,
    pub(super) entries: Vec<Vec<u8>>,
    pub(super) operations: Vec<Vec<u8>>,
    pub(super) link: String,
}

struct Device {
    engine: Engine,
    disk: Arc<Disk>,
    batches: Vec<Batch>,
    events: Vec<Event>,
}

impl Device {
    fn new(name: &str, seed: u8) -> Self {
        let identity = Identity::generate(name, "phone", &mut Entropy::from_seed([seed; 32])).expect("a plain name");
        let (disk, batch) = (Arc::new(Disk::default()), identity.to_batch());
        disk.write(&batch);
        Self { engine: open(&disk, seed), disk, batches: vec![batch], events: Vec::new() }
    }

    fn drain(&mut self) -> Vec<(Channel, Vec<u8>)> {
        let mut frames = Vec::new();
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Write { io, batch } => {
                    self.disk.write(&batch);
                    self.batches.push(batch);
                    self.engine.handle_written(io, true);
                }
                Output::Send { peer, channel, frame } => {
                    self.engine.handle_sent(peer, channel, NOW_MS);
                    frames.push((channel, frame.concat()));
                }
                Output::Event(event) => self.events.push(event),
                _ => {}
            }
        }
        frames
    }
}

fn open(disk: &Arc<Disk>, seed: u8) -> Engine {
    let identity = Identity::load(&**disk).expect("memory can be read").expect("it was written");
    let entropy = Entropy::from_seed([seed ^ 0x80; 32]);
    Engine::open(identity, Box::new(SealedSecret), disk.clone(), entropy, NOW_MS).expect("the store opens")
}

fn chat(circle: CircleId) -> DocumentId {
    DocumentId::well_known(circle, DocumentKind::Timeline, 0)
}

fn post(engine: &mut Engine, circle: CircleId, id: u8) {
    let posted = engine.edit(circle, chat(circle), DocumentKind::Timeline, NOW_MS, |document, _| {
        document.timeline()?.post(NOW_MS, [id; 6], &Draft::text("hello")).map(drop)
    });
    posted.expect("a member may post");
}

/// The session, the same in every run.
pub(super) fn session() -> &'static Session {
    static SESSION: LazyLock<Session> = LazyLock::new(record);
    &SESSION
}

fn record() -> Session {
    let (mut alice, mut bob) = (Device::new("Alice", 1), Device::new("Bob", 2));
    let circle = alice.engine.create_space("Team", NOW_MS).expect("anybody may");
    let link = alice.engine.invite(circle, HOUR_MS, NOW_MS).expect("an owner may");
    let text = link.to_string();
    bob.engine.join(link, NOW_MS).expect("it is not in there");
    let ids = (alice.engine.identity().device(), bob.engine.identity().device());
    let mut frames = Vec::new();
    alice.engine.handle_connected(ids.1, NOW_MS);
    bob.engine.handle_connected(ids.0, NOW_MS);
    settle(&mut alice, &mut bob, ids, &mut frames);
    post(&mut alice.engine, circle, 1);
    post(&mut bob.engine, circle, 2);
    settle(&mut alice, &mut bob, ids, &mut frames);
    let address = RelayAddress::of("/ip4/192.0.2.1/tcp/4400", &RELAY).expect("an address");
    alice.engine.set_policy(circle, "relay.1", address.as_str(), NOW_MS).expect("an owner may");
    alice.drain();
    let records = |keyspace| {
        let mut values = Vec::new();
        let scanned = alice.disk.scan(keyspace, circle.as_bytes(), &[], &mut |_, value| {
            values.push(value);
            true
        });
        scanned.expect("memory can be read");
        values
    };
    let (entries, mut operations) = (records(Keyspace::Entries), records(Keyspace::Operations));
    // The genesis has no parents, and so is what hashes to the circle's id.
    operations.sort_by_key(|bytes| {
        let operation = clave_engine::membership::Operation::decode(bytes).expect("it is sound");
        operation.id().as_bytes() != circle.as_bytes()
    });
    let sealer = Sealer::of(&bob.engine, circle).expect("Bob is in");
    Session { circle, batches: alice.batches, bob: ids.1, sealer, frames, entries, operations, link: text }
}

fn settle(alice: &mut Device, bob: &mut Device, ids: (DeviceId, DeviceId), frames: &mut Vec<(Channel, Vec<u8>)>) {
    let mut wire = VecDeque::new();
    loop {
        wire.extend(alice.drain().into_iter().map(|(channel, frame)| (true, channel, frame)));
        wire.extend(bob.drain().into_iter().map(|(channel, frame)| (false, channel, frame)));
        match wire.pop_front() {
            Some((true, channel, frame)) => bob.engine.handle_frame(ids.0, channel, frame, NOW_MS),
            Some((false, channel, frame)) => {
                alice.engine.handle_frame(ids.1, channel, frame.clone(), NOW_MS);
                frames.push((channel, frame));
            }
            None => return,
        }
    }
}

/// The steps of an input: what to do (one byte), how many bytes (two, big-endian), the bytes.
fn steps(mut data: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (head, rest) = data.split_first_chunk::<3>()?;
        let length = usize::from(u16::from_be_bytes([head[1], head[2]])).min(rest.len());
        let (step, after) = rest.split_at(length);
        data = after;
        Some((head[0], step))
    })
    .take(STEPS_MAX)
}

/// Takes the session up at Alice's, gives her the steps from Bob, and sees that she is well.
pub fn run(data: &[u8]) {
    let session = session();
    let disk = Arc::new(Disk::default());
    for batch in &session.batches {
        disk.write(batch);
    }
    let engine = open(&disk, 1);
    let mut alice = Device { engine, disk, batches: Vec::new(), events: Vec::new() };
    alice.engine.handle_connected(session.bob, NOW_MS);
    alice.engine.handle_connected(RELAY, NOW_MS);
    alice.drain();
    for (what, bytes) in steps(data) {
        let (channel, frame) = match what % 6 {
            5 => (Channel::Sync, Some(session.sealer.presence(bytes))),
            4 => (Channel::Mailbox, Some(bytes.to_vec())),
            0 => (Channel::Sync, Some(bytes.to_vec())),
            1 => (Channel::Join, Some(bytes.to_vec())),
            2 => (Channel::Bulk, Some(bytes.to_vec())),
            _ => (Channel::Sync, session.sealer.frame(bytes, NOW_MS)),
        };
        if let Some(frame) = frame {
            let from = if channel == Channel::Mailbox { RELAY } else { session.bob };
            alice.engine.handle_frame(from, channel, frame, NOW_MS);
            alice.drain();
        }
    }
    look_around(&mut alice.engine, session.circle);
    assert!(!alice.events.contains(&Event::Removed { circle: session.circle }), "Bob may not remove Alice");
    post(&mut alice.engine, session.circle, 9);
    alice.drain();
    assert!(!alice.engine.has_failed());
    let mut again = open(&alice.disk, 1);
    let document = again.document(session.circle, chat(session.circle), DocumentKind::Timeline).expect("it loads");
    let messages = document.timeline().expect("it is a timeline").newest(usize::MAX);
    assert!(messages.len() >= 3, "what Alice wrote is gone");
}

/// Shows who is where, as an app does: positions from whatever cursors were said.
fn look_around(engine: &mut Engine, circle: CircleId) {
    let note = DocumentId::well_known(circle, DocumentKind::Note, 0);
    let edited = engine.edit(circle, note, DocumentKind::Note, NOW_MS, |document, _| {
        let mut note = document.note()?;
        note.set_title("四月")?;
        note.splice(0, 0, "会议 notes")
    });
    edited.expect("a member may write");
    for there in engine.who_is_in(circle, note, DocumentKind::Note).expect("Alice is in") {
        let document = engine.document(circle, note, DocumentKind::Note).expect("it loads");
        let note = document.note().expect("it is a note");
        if let Some(Selection { anchor, focus }) = &there.selection {
            let at = [anchor, focus].map(|cursor| note.position(cursor).unwrap_or_default());
            assert!(at.iter().all(|at| *at <= note.len()), "a cursor beyond the end");
        }
    }
}

/// A `Here` that is in order: in the circle's note, with these cursors.
fn here(circle: CircleId, anchor: &str, focus: &str) -> Vec<u8> {
    let note = DocumentId::well_known(circle, DocumentKind::Note, 0);
    let text = |field: u8, text: &str| [&[field, text.len() as u8], text.as_bytes()].concat();
    [&[0x0a, 0x10], &note.as_bytes()[..], &[0x10, 0x02], &text(0x22, anchor), &text(0x2a, focus)].concat()
}

/// What a relay says that opens a session and delivers something.
fn relay_frames(session: &Session) -> Vec<Vec<u8>> {
    let alice = Device::new("Alice", 1).engine.identity().device();
    let own = MailboxKey::of_device(session.circle.as_bytes(), &alice).id();
    let own: mailbox::Bytes = own.as_bytes().to_vec().into();
    let welcome = mailbox::Welcome {
        version: 1,
        challenge: vec![1; 32].into(),
        generation: vec![2; 16].into(),
        kept_seconds: 86_400,
        blob_bytes_max: 4 << 20,
        mailboxes_max: 512,
        wake_key: mailbox::Bytes::new(),
    };
    let entry =
        |(place, bytes): (usize, &Vec<u8>)| mailbox::Item { position: place as u64 + 1, bytes: bytes.clone().into() };
    let entries = session.entries.iter().enumerate().map(entry).collect();
    let step = mailbox::Reconcile { mailbox: own.clone(), message: vec![0x61].into() };
    let bodies = [
        (1, reply::Body::Welcome(welcome)),
        (0, reply::Body::Delivery(mailbox::Delivery { mailbox: own, entries })),
        (2, reply::Body::Opened(mailbox::Opened { mailboxes: Vec::new() })),
        (2, reply::Body::Refused(mailbox::Refused { reason: 6, retry_after_ms: 5 })),
        (3, reply::Body::Reconcile(step)),
        (3, reply::Body::Stored(mailbox::Stored { new: 1 })),
        (0, reply::Body::Notice(mailbox::Notice { draining: true })),
    ];
    bodies.into_iter().map(|(number, body)| mailbox::encode(&Reply { number, body: Some(body) })).collect()
}

/// All that Bob sent, each frame alone and all in a row; and some bodies of entries.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let step = |what: u8, bytes: &[u8]| {
        let length = u16::try_from(bytes.len()).expect("the frames of the session are short").to_be_bytes();
        [&[what], &length[..], bytes].concat()
    };
    let session = session();
    let number = |channel: &Channel| match channel {
        Channel::Sync => 0,
        Channel::Join => 1,
        Channel::Bulk => 2,
        Channel::Mailbox => 4,
    };
    let mut seeds: Vec<Vec<u8>> = session.frames.iter().map(|(channel, frame)| step(number(channel), frame)).collect();
    let actor = "ab".repeat(24);
    for (anchor, focus) in [("s", "e"), (&*format!("2@{actor}"), &*format!("-9@{actor}"))] {
        seeds.push(step(5, &here(session.circle, anchor, focus)));
    }
    seeds.push(seeds.concat());
    let relay = relay_frames(session);
    seeds.extend(relay[1..].iter().map(|frame| [step(4, &relay[0]), step(4, frame)].concat()));
    // Field numbers of `Entry`: 3 an operation, 4 a commit, 5 keys, 6 changes, 7 a welcome.
    for operation in &session.operations {
        let length = u8::try_from(operation.len() & 0x7f).expect("seven bits") | 0x80;
        let rest = u8::try_from(operation.len() >> 7).expect("it is short");
        seeds.push(step(3, &[&[0x1a, length, rest], operation.as_slice()].concat()));
    }
    seeds.push(step(3, &[&[0x2a, 0x46, 0x0a, 0x44, 0x0a, 0x20][..], &[1; 32], &[0x12, 0x20], &[2; 32]].concat()));
    seeds.push(step(3, &[&[0x32, 0x14, 0x0a, 0x10][..], &[1; 16], &[0x10, 0x02]].concat()));
    seeds.push(step(3, &[&[0x22, 0x44, 0x0a, 0x20][..], &[1; 32], &[0x22, 0x20], &[2; 32]].concat()));
    seeds
}
