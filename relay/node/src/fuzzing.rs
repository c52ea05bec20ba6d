//! A door for `fuzz/` into the session's state machine. Not part of any API.
//!
//! The input is a program: what devices send, in any order and broken in any way; when the store answers, in any order, or fails; when time passes. Checked at each
//! step: what is sent is a frame; requests are answered once and in order; nothing is stored, read or delivered whose mailbox was not proven in that session; and the bounds.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use clave_mailbox::{
    Acknowledge, BLOB_BYTES_MAX, BlobId, Bytes, Close, DELIVERED_BYTES_MAX, FRAME_BYTES_MAX, Get, Hello, Kind, Open,
    Opening, Position, Put, Reconcile, Reply, Request, Wake, reply, request::Body,
};
use clave_transport::PeerKey;
use ed25519_dalek::{Signer, SigningKey};
use futures::FutureExt;

use crate::{
    access::{Access, Blocks},
    frames,
    service::{Sets, perform, reconcile, set_of},
    session::{
        Arrival, Done, Ended, Output, PUT_BYTES_IN_FLIGHT_MAX, REQUESTS_IN_FLIGHT_MAX, Session, Task, TaskId, Terms,
    },
    sources::{Network, Rates, Sources},
    store::{MailboxId, MailboxStore, MemoryStore, News, Quotas, StoreError, StoredEntry},
};

const RELAY: [u8; 32] = [9; 32];
const DEVICES: usize = 3;
const MAILBOXES: u8 = 4;
/// One less than there are, so that it is met.
const OPEN_MAX: u32 = 3;

/// So little that blobs are dropped, and mailboxes refused.
const QUOTAS: Quotas = Quotas {
    kept_seconds: 1_000,
    mailbox_bytes_max: 200_000,
    mailbox_entries_max: 12,
    store_bytes_max: 400_000,
    new_mailboxes_bytes_max: 350_000,
    mailboxes_max: 3,
};

const RATES: Rates = Rates {
    bytes_per_second: 50_000,
    bytes_burst: 500_000,
    requests_per_second: 100,
    requests_burst: 200,
    subscriptions_per_day: 0,
    network_devices: 16,
    sessions_max: 100,
    sessions_per_device_max: 100,
    sessions_per_network_max: 100,
};

/// What was stored, for whoever follows.
#[derive(Default)]
struct Told(Mutex<Vec<Arrival>>);

impl News for Told {
    fn stored(&self, mailbox: MailboxId, entry: &StoredEntry) {
        let StoredEntry { position, id, bytes } = entry;
        let frame = frames::delivery(mailbox, entry);
        let arrival = Arrival { mailbox, position: *position, id: *id, bytes: bytes.len(), frame };
        self.0.lock().expect("nothing panics while it holds this lock").push(arrival);
    }

    fn lagged(&self, _: MailboxId) {}
}

/// A device, its session, and what is known of that from outside.
struct Device {
    session: Session,
    challenge: [u8; 32],
    number: u64,
    /// Requests that are to be answered, in order.
    asked: VecDeque<u64>,
    /// Tasks that the store has not done.
    tasks: Vec<(TaskId, Task)>,
    /// Mailboxes that were proven.
    proven: BTreeSet<MailboxId>,
    /// Those that it is told of, by its own account.
    told_of: BTreeSet<MailboxId>,
    /// Up to where it was delivered, since the session follows it as it does now.
    delivered: BTreeMap<MailboxId, u64>,
    ended: Option<Ended>,
}

struct World {
    store: MemoryStore,
    told: Arc<Told>,
    sources: Arc<Sources>,
    terms: Arc<Terms>,
    keys: Vec<SigningKey>,
    devices: Vec<Device>,
    began: u8,
    now: Instant,
    now_seconds: u64,
}

/// Reads the program.
struct Program<'a>(&'a [u8]);

impl<'a> Program<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    /// Those that follow, with their number before them.
    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(self.byte()?).min(self.0.len());
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        Some(bytes)
    }
}

/// Runs a program.
pub fn sessions(data: &[u8]) {
    let mut world = World::new();
    let mut program = Program(data);
    while world.step(&mut program).is_some() {}
    // Whatever waits is answered in the end.
    world.settle();
}

impl World {
    fn new() -> Self {
        let told = Arc::new(Told::default());
        let store = MemoryStore::new(QUOTAS, told.clone());
        let terms = Terms {
            relay: RELAY,
            generation: store.generation(),
            kept_seconds: QUOTAS.kept_seconds,
            blob_bytes_max: 100_000,
            mailboxes_max: OPEN_MAX,
            access: Access::Open,
            blocks: Arc::new(Blocks::nothing()),
            wakes: None,
        };
        let now = Instant::now();
        let keys = (1..=MAILBOXES).map(|number| SigningKey::from_bytes(&[number; 32])).collect();
        let (sources, terms) = (Sources::new(RATES), Arc::new(terms));
        let mut world =
            Self { store, told, sources, terms, keys, devices: Vec::new(), began: 0, now, now_seconds: 1_000 };
        for _ in 0..DEVICES {
            let device = world.device();
            world.devices.push(device);
        }
        world
    }

    fn device(&mut self) -> Device {
        self.began = self.began.wrapping_add(1);
        let (peer, challenge) = (PeerKey([self.began; 32]), [self.began; 32]);
        let network = Network::of(IpAddr::from([192, 0, 2, 1]));
        let ticket = self.sources.admit(peer, network, self.now).expect("there are only a few");
        Device {
            session: Session::new(self.terms.clone(), peer, ticket, challenge, self.now),
            challenge,
            number: 0,
            asked: VecDeque::new(),
            tasks: Vec::new(),
            proven: BTreeSet::new(),
            told_of: BTreeSet::new(),
            delivered: BTreeMap::new(),
            ended: None,
        }
    }

    /// One step; `None` at the end of the program.
    fn step(&mut self, program: &mut Program<'_>) -> Option<()> {
        let (what, who) = (program.byte()?, usize::from(program.byte()?) % DEVICES);
        match what % 16 {
            0 => self.frame(who, program.bytes()?),
            1..=8 => {
                let body = self.body(what % 16, who, program)?;
                self.request(who, body);
            }
            9 | 10 => self.work(who, usize::from(program.byte()?), false),
            11 => self.work(who, usize::from(program.byte()?), true),
            12 => self.tell(),
            13 => {
                let seconds = u64::from(program.byte()?);
                self.now += Duration::from_secs(seconds);
                self.now_seconds += seconds;
                let now = self.now;
                for who in 0..DEVICES {
                    self.devices[who].session.handle_tick(now);
                    self.collect(who);
                }
                self.store.sweep(self.now_seconds).now_or_never().expect("at once").expect("memory does not fail");
            }
            14 => {
                match program.byte()? % 4 {
                    0 => self.devices[who].session.handle_drain(),
                    1 => self.devices[who].session.handle_end(Ended::Replaced),
                    2 => {
                        let mailbox = self.mailbox(program.byte()?);
                        self.devices[who].session.handle_lagged(mailbox);
                    }
                    _ => {
                        let device = self.device();
                        self.devices[who] = device;
                    }
                }
                self.collect(who);
            }
            _ => {
                self.store.set_disk_full(program.byte()? % 2 == 1);
            }
        }
        Some(())
    }

    fn key(&self, number: u8) -> &SigningKey {
        &self.keys[usize::from(number % MAILBOXES)]
    }

    fn mailbox(&self, number: u8) -> MailboxId {
        MailboxId(self.key(number).verifying_key().to_bytes())
    }

    fn name(&self, number: u8) -> Bytes {
        Bytes::copy_from_slice(&self.mailbox(number).0)
    }

    /// A request that is well formed.
    fn body(&self, what: u8, who: usize, program: &mut Program<'_>) -> Option<Body> {
        let number = program.byte()?;
        let kind = Kind::try_from(i32::from(number >> 7)).expect("one of the two").into();
        Some(match what {
            1 => Body::Hello(Hello { version: u32::from(number % 3), token: Bytes::new() }),
            2 => {
                let of = |number: &u8| self.opening(who, *number);
                Body::Open(Open { mailboxes: program.bytes()?.iter().take(8).map(of).collect() })
            }
            3 | 4 => {
                let blob = |length: &u8| Bytes::from(vec![*length; usize::from(*length).pow(2) + 1]);
                Body::Put(Put { mailbox: self.name(number), kind, blobs: program.bytes()?.iter().map(blob).collect() })
            }
            5 => {
                let id = |length: &u8| BlobId::of(Kind::Entry, &vec![*length; usize::from(*length).pow(2) + 1]).0;
                let ids: Vec<u8> = program.bytes()?.iter().flat_map(id).collect();
                let only_whether = number % 2 == 1;
                Body::Get(Get { mailboxes: self.name(number), kind, ids: ids.into(), only_whether })
            }
            6 => Body::Reconcile(Reconcile {
                mailbox: self.name(number),
                message: Bytes::copy_from_slice(program.bytes()?),
            }),
            7 => {
                let position = |position: &u8| Position { mailbox: self.name(number), position: u64::from(*position) };
                Body::Acknowledge(Acknowledge { positions: program.bytes()?.iter().map(position).collect() })
            }
            _ if number % 2 == 0 => Body::Close(Close { mailboxes: self.name(number / 2) }),
            _ => Body::Wake(Wake { id: vec![number; 16].into(), ..Wake::default() }),
        })
    }

    /// With a proof; or, for one number in four, with one for another session.
    fn opening(&self, who: usize, number: u8) -> Opening {
        let mailbox = self.mailbox(number);
        let mut challenge = self.devices[who].challenge;
        challenge[31] ^= u8::from(number & 0xc0 == 0xc0);
        let proof = clave_mailbox::proof(&RELAY, &challenge, &mailbox.0);
        let signature = Bytes::copy_from_slice(&self.key(number).sign(&proof).to_bytes());
        let after = u64::from(number >> 2 & 7);
        Opening { mailbox: self.name(number), signature, after, follow: number & 0x20 == 0 }
    }

    fn request(&mut self, who: usize, body: Body) {
        let device = &mut self.devices[who];
        device.number += 1;
        let frame = clave_mailbox::encode(&Request { number: device.number, body: Some(body) });
        self.frame(who, &frame);
    }

    /// What the device sent, if it is read now.
    fn frame(&mut self, who: usize, frame: &[u8]) {
        let device = &mut self.devices[who];
        if device.ended.is_some()
            || device.session.wants_frames(self.now).is_err()
            || frame.len() > device.session.frame_bytes_max()
        {
            return;
        }
        match clave_mailbox::decode::<Request>(frame) {
            Ok(Request { body: Some(Body::Acknowledge(_)), .. }) if device.session.is_greeted() => {}
            Ok(Request { number, body: Some(body) }) => {
                device.asked.push_back(number);
                if let Body::Open(open) = body {
                    device.note_proofs(&open, self.terms.blocks.as_ref());
                }
            }
            // It could not be read.
            _ => device.asked.push_back(0),
        }
        device.session.handle_frame(frame, self.now, self.now_seconds);
        self.collect(who);
    }

    /// The store does one of the tasks that wait, or fails.
    fn work(&mut self, who: usize, at: usize, fails: bool) {
        let device = &mut self.devices[who];
        if device.tasks.is_empty() {
            return;
        }
        let (id, task) = device.tasks.remove(at % device.tasks.len());
        let done = match (fails, task) {
            (false, Task::Reconcile { mailbox, message }) => {
                let ids = self.store.entry_ids(mailbox).now_or_never().expect("at once").expect("memory does not fail");
                Done::Reconcile(Ok(reconcile(&set_of(&ids), &message)))
            }
            (false, task) => {
                perform(&self.store, None, &Sets::default(), task).now_or_never().expect("memory answers at once")
            }
            (true, Task::Put(_)) => Done::Put(Err(StoreError::Full)),
            (true, Task::States(_)) => Done::States(Err(StoreError::Unavailable)),
            (true, Task::Get { .. }) => Done::Get(Err(StoreError::Failed)),
            (true, Task::Which { .. }) => Done::Which(Err(StoreError::Stopped)),
            (true, Task::Reconcile { .. }) => Done::Reconcile(Err(StoreError::Unavailable)),
            (true, Task::Read { .. }) => Done::Read(Err(StoreError::Failed)),
            (true, Task::Wake { .. }) => Done::Wake(Err(StoreError::Failed)),
        };
        self.devices[who].session.handle_done(id, done, self.now);
        self.collect(who);
    }

    /// All who follow hear what was stored.
    fn tell(&mut self) {
        let arrivals = std::mem::take(&mut *self.told.0.lock().expect("nothing panics while it holds this lock"));
        for arrival in arrivals {
            for who in 0..DEVICES {
                if self.devices[who].told_of.contains(&arrival.mailbox) {
                    self.devices[who].session.handle_arrival(&arrival, self.now);
                    self.collect(who);
                }
            }
        }
    }

    fn settle(&mut self) {
        for who in 0..DEVICES {
            while !self.devices[who].tasks.is_empty() {
                self.work(who, 0, false);
            }
            let device = &self.devices[who];
            assert!(
                device.ended.is_some() || device.asked.is_empty(),
                "requests without an answer: {:?}",
                device.asked
            );
        }
    }

    fn collect(&mut self, who: usize) {
        let device = &mut self.devices[who];
        while device.ended.is_none()
            && let Some(output) = device.session.poll_output()
        {
            device.take(output);
        }
        if device.ended.is_some() {
            // Its owner drops it: what the store still does for it is of no use.
            device.tasks.clear();
        }
        let (requests, put_bytes, on_way_bytes) = device.session.held();
        assert!(requests <= REQUESTS_IN_FLIGHT_MAX);
        assert!(put_bytes <= PUT_BYTES_IN_FLIGHT_MAX + FRAME_BYTES_MAX);
        assert!(on_way_bytes <= DELIVERED_BYTES_MAX + BLOB_BYTES_MAX);
    }
}

impl Device {
    fn note_proofs(&mut self, open: &Open, blocks: &Blocks) {
        for opening in &open.mailboxes {
            let Some(mailbox) = MailboxId::from_bytes(&opening.mailbox) else { continue };
            let proof = clave_mailbox::proof(&RELAY, &self.challenge, &mailbox.0);
            let key = ed25519_dalek::VerifyingKey::from_bytes(&mailbox.0);
            let signature = ed25519_dalek::Signature::from_slice(&opening.signature);
            if let (Ok(key), Ok(signature)) = (key, signature)
                && key.verify_strict(&proof, &signature).is_ok()
                && !blocks.has_mailbox(&mailbox)
            {
                self.proven.insert(mailbox);
            }
        }
    }

    fn take(&mut self, output: Output) {
        match output {
            Output::Send(frame) => {
                let (length, message) = frame.split_first_chunk().expect("a length");
                assert!(u32::from_be_bytes(*length) as usize == message.len() && message.len() <= FRAME_BYTES_MAX);
                self.hear(clave_mailbox::decode(message).expect("a relay's frame is within its bounds"));
            }
            Output::Task(id, task) => {
                let of: Vec<MailboxId> = match &task {
                    Task::Put(batch) => vec![batch.mailbox],
                    Task::States(mailboxes) | Task::Get { mailboxes, .. } | Task::Which { mailboxes, .. } => {
                        mailboxes.clone()
                    }
                    Task::Reconcile { mailbox, .. } | Task::Read { mailbox, .. } => vec![*mailbox],
                    Task::Wake { .. } => Vec::new(),
                };
                assert!(of.iter().all(|mailbox| self.proven.contains(mailbox)), "no proof was given: {task:?}");
                self.tasks.push((id, task));
            }
            Output::Follow(mailbox) => {
                assert!(self.proven.contains(&mailbox));
                self.told_of.insert(mailbox);
                // Not when it was asked for: what comes before the store has answered belongs to how it was followed until then.
                self.delivered.remove(&mailbox);
            }
            Output::Unfollow(mailbox) => drop(self.told_of.remove(&mailbox)),
            Output::End(why) => self.ended = Some(why),
        }
    }

    fn hear(&mut self, reply: Reply) {
        match reply.body.expect("a reply says something") {
            reply::Body::Delivery(delivery) => {
                let mailbox = MailboxId::from_bytes(&delivery.mailbox).expect("32 bytes");
                assert!(reply.number == 0 && self.proven.contains(&mailbox), "delivered without a proof");
                let last = self.delivered.entry(mailbox).or_default();
                for item in delivery.entries {
                    assert!(item.position > *last, "delivered twice, or out of order");
                    *last = item.position;
                }
            }
            reply::Body::Notice(_) => assert_eq!(reply.number, 0),
            _ => assert_eq!(self.asked.pop_front(), Some(reply.number), "answers come in the order of requests"),
        }
    }
}

/// Programs that say something sound: hello, open, put, follow, fetch, compare, acknowledge, close, leave.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let hello = |who: u8| vec![1, who, 1];
    let open = |who: u8, mailbox: u8| vec![2, who, 0, 1, mailbox];
    let work = |who: u8| vec![9, who, 0];
    let put = |who: u8, mailbox: u8, lengths: &[u8]| [&[3, who, mailbox, lengths.len() as u8][..], lengths].concat();
    let begin = |who| [hello(who), open(who, 1), work(who), work(who)].concat();
    let talk = [begin(0), begin(1), put(0, 1, &[5, 6, 7]), work(0), vec![12, 0], vec![7, 1, 1, 1, 3]].concat();
    let fetch = [begin(0), put(0, 1, &[9]), work(0), vec![5, 0, 1, 1, 9], work(0), vec![5, 0, 0, 1, 9]].concat();
    let compare = [begin(0), vec![6, 0, 1, 1, 0x61], work(0)].concat();
    let overflow =
        [begin(0), begin(1), put(0, 1, &[250, 251, 252, 253]), work(0), put(0, 1, &[1; 20]), work(0)].concat();
    let end = [begin(0), vec![14, 0, 0], put(0, 1, &[1]), vec![13, 0, 61], vec![14, 0, 1]].concat();
    let broken = [hello(0), vec![2, 0, 0, 1, 0xc1], vec![0, 0, 3, 1, 2, 3]].concat();
    let fails = [begin(0), begin(1), put(1, 1, &[3]), vec![11, 1, 0], put(1, 1, &[3]), work(1), work(0)].concat();
    vec![talk, fetch, compare, overflow, end, broken, fails]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `fuzz-smoke` does for longer: programs that are sound, and such with some bytes changed, taken out or put together.
    #[test]
    fn no_program_breaks_a_session() {
        let seeds = seeds();
        seeds.iter().for_each(|seed| sessions(seed));
        let mut random = 7_u64;
        let mut next = |bound: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % bound
        };
        for _ in 0..300 {
            let mut program = Vec::new();
            for _ in 0..1 + next(6) {
                program.extend_from_slice(&seeds[next(seeds.len())]);
            }
            for _ in 0..next(12) {
                let at = next(program.len());
                program[at] = next(256) as u8;
            }
            sessions(&program);
        }
    }

    /// The looks would see it: the same programs do reach what they are about.
    #[test]
    fn sound_programs_reach_deliveries_and_answers() {
        let mut world = World::new();
        let seeds = seeds();
        let mut program = Program(&seeds[0]);
        while world.step(&mut program).is_some() {}
        assert!(
            world.devices[1].delivered.values().any(|position| *position > 0),
            "what one puts, the other is delivered"
        );
        assert!(world.devices[0].asked.is_empty() && world.store.usage().entries == 3);
    }
}
