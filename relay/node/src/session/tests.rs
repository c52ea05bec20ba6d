use std::net::IpAddr;

use clave_mailbox::{
    Acknowledge, BlobId, Close, Get, Hello, Open, Opening, Position, Put, Reconcile, Reply, Wake, request::Body,
};
use ed25519_dalek::{Signer, SigningKey};
use futures::FutureExt;

use super::*;
use crate::{
    frames,
    service::{Sets, perform},
    sources::{Network, Rates, Sources},
    store::{MailboxStore, MemoryStore, News, Quotas, StoredEntry},
};

const QUOTAS: Quotas = Quotas {
    kept_seconds: 1_000,
    mailbox_bytes_max: 1 << 30,
    mailbox_entries_max: 100_000,
    store_bytes_max: 1 << 30,
    new_mailboxes_bytes_max: 1 << 30,
    mailboxes_max: 100,
};

const RATES: Rates = Rates {
    bytes_per_second: 0,
    bytes_burst: 1,
    requests_per_second: 0,
    requests_burst: 1,
    subscriptions_per_day: 0,
    network_devices: 1,
    sessions_max: 100,
    sessions_per_device_max: 100,
    sessions_per_network_max: 100,
};

const RELAY: [u8; 32] = [9; 32];

#[derive(Default)]
struct Told(std::sync::Mutex<Vec<Arrival>>);

impl News for Told {
    fn stored(&self, mailbox: MailboxId, entry: &StoredEntry) {
        let StoredEntry { position, id, bytes } = entry;
        let frame = frames::delivery(mailbox, entry);
        self.0.lock().unwrap().push(Arrival { mailbox, position: *position, id: *id, bytes: bytes.len(), frame });
    }

    fn lagged(&self, _: MailboxId) {}
}

/// A relay without a network: sessions, a store, and the clock.
struct World {
    store: MemoryStore,
    told: Arc<Told>,
    sources: Arc<Sources>,
    terms: Arc<Terms>,
    now: Instant,
}

impl World {
    fn new() -> Self {
        Self::with(RATES, Access::Open)
    }

    fn with(rates: Rates, access: Access) -> Self {
        let told = Arc::new(Told::default());
        let store = MemoryStore::new(QUOTAS, told.clone());
        let terms = Terms {
            relay: RELAY,
            generation: store.generation(),
            kept_seconds: QUOTAS.kept_seconds,
            blob_bytes_max: 1 << 20,
            mailboxes_max: 3,
            access,
            blocks: Arc::new(Blocks::nothing()),
            wakes: None,
        };
        Self { store, told, sources: Sources::new(rates), terms: Arc::new(terms), now: Instant::now() }
    }

    fn device(&self, number: u8) -> Device {
        let network = Network::of(IpAddr::from([192, 0, number, 1]));
        let ticket = self.sources.admit(PeerKey([number; 32]), network, self.now).unwrap();
        let session = Session::new(self.terms.clone(), PeerKey([number; 32]), ticket, [number; 32], self.now);
        Device { session, number: 0, challenge: [number; 32], tasks: Vec::new(), replies: VecDeque::new(), ended: None }
    }

    fn greeted(&self, number: u8) -> Device {
        let mut device = self.device(number);
        device.send(self, Body::Hello(Hello { version: 1, token: Bytes::new() }));
        assert!(matches!(device.answer(), reply::Body::Welcome(_)));
        device
    }

    /// Passes on what was stored.
    fn tell(&self, devices: &mut [&mut Device]) {
        for arrival in self.told.0.lock().unwrap().drain(..) {
            for device in devices.iter_mut() {
                device.session.handle_arrival(&arrival, self.now);
            }
        }
        devices.iter_mut().for_each(|device| device.turn(self));
    }
}

struct Device {
    session: Session,
    number: u64,
    challenge: [u8; 32],
    /// Those that the store has not done yet.
    tasks: Vec<(TaskId, Task)>,
    replies: VecDeque<Reply>,
    ended: Option<Ended>,
}

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

fn name(number: u8) -> Bytes {
    Bytes::copy_from_slice(key(number).verifying_key().as_bytes())
}

fn put(mailbox: u8, kind: Kind, blobs: &[&[u8]]) -> Body {
    let blobs = blobs.iter().map(|bytes| Bytes::copy_from_slice(bytes)).collect();
    Body::Put(Put { mailbox: name(mailbox), kind: kind.into(), blobs })
}

impl Device {
    /// Gives a request and collects what is to be done, but does no task.
    fn ask(&mut self, world: &World, body: Body) {
        self.number += 1;
        let frame = clave_mailbox::encode(&Request { number: self.number, body: Some(body) });
        self.session.handle_frame(&frame, world.now, 1_000);
        self.collect();
    }

    fn collect(&mut self) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Send(frame) => {
                    let length = u32::from_be_bytes(*frame.first_chunk().unwrap());
                    assert_eq!(length as usize, frame.len() - 4);
                    self.replies.push_back(clave_mailbox::decode(&frame[4..]).unwrap());
                }
                Output::Task(id, task) => self.tasks.push((id, task)),
                Output::Follow(_) | Output::Unfollow(_) => {}
                Output::End(why) => self.ended = Some(why),
            }
        }
    }

    /// Has the store do one of the tasks that wait.
    fn work(&mut self, world: &World, at: usize) {
        let (id, task) = self.tasks.remove(at);
        let reconciles = matches!(task, Task::Reconcile { .. });
        let done = perform(&world.store, None, &Sets::default(), task).now_or_never();
        assert!(done.is_some() || reconciles, "the memory store answers at once");
        self.session.handle_done(id, done.unwrap_or(Done::Reconcile(Ok(None))), world.now);
        self.collect();
    }

    /// Until nothing is left to do.
    fn turn(&mut self, world: &World) {
        self.collect();
        while !self.tasks.is_empty() {
            self.work(world, 0);
        }
    }

    fn send(&mut self, world: &World, body: Body) {
        self.ask(world, body);
        self.turn(world);
    }

    fn answer(&mut self) -> reply::Body {
        self.replies.pop_front().expect("an answer").body.unwrap()
    }

    fn refused(&mut self) -> Reason {
        match self.answer() {
            reply::Body::Refused(refused) => refused.reason(),
            other => panic!("{other:?}"),
        }
    }

    fn opening(&self, mailbox: u8, after: u64, follow: bool) -> Opening {
        let key = key(mailbox);
        let proof = clave_mailbox::proof(&RELAY, &self.challenge, key.verifying_key().as_bytes());
        let signature = Bytes::copy_from_slice(&key.sign(&proof).to_bytes());
        Opening { mailbox: name(mailbox), signature, after, follow }
    }

    fn open(&mut self, world: &World, mailbox: u8, after: u64, follow: bool) {
        let mailboxes = vec![self.opening(mailbox, after, follow)];
        self.send(world, Body::Open(Open { mailboxes }));
        assert!(matches!(self.answer(), reply::Body::Opened(opened) if opened.mailboxes.len() == 1));
    }

    fn delivered(&mut self) -> Vec<Vec<u8>> {
        let replies = self.replies.drain(..);
        let entries = replies.flat_map(|reply| match reply {
            Reply { number: 0, body: Some(reply::Body::Delivery(delivery)) } => delivery.entries,
            other => panic!("{other:?}"),
        });
        entries.map(|item| item.bytes.to_vec()).collect()
    }
}

#[test]
fn nothing_is_stored_or_told_without_a_proof() {
    let world = World::new();
    let mut device = world.greeted(1);
    let get = || Body::Get(Get { mailboxes: name(1), kind: 0, ids: vec![0; 32].into(), only_whether: false });
    for body in [put(1, Kind::Entry, &[b"x"]), put(1, Kind::Chunk, &[b"x"]), get()] {
        device.ask(&world, body);
        assert_eq!(device.refused(), Reason::NotOpen);
    }
    device.ask(&world, Body::Reconcile(Reconcile { mailbox: name(1), message: Bytes::new() }));
    assert_eq!(device.refused(), Reason::NotOpen);
    // Of another session, relay or mailbox.
    let other = world.greeted(2).opening(1, 0, true);
    let sound = device.opening(1, 0, true);
    let swapped = Opening { mailbox: name(2), ..sound.clone() };
    let elsewhere = {
        let proof = clave_mailbox::proof(&[8; 32], &device.challenge, &name(1)[..].try_into().unwrap());
        Opening { signature: Bytes::copy_from_slice(&key(1).sign(&proof).to_bytes()), ..sound.clone() }
    };
    for wrong in [other, swapped, elsewhere] {
        device.ask(&world, Body::Open(Open { mailboxes: vec![sound.clone(), wrong] }));
        assert_eq!(device.refused(), Reason::Proof);
    }
    assert!(device.tasks.is_empty() && device.ended.is_none(), "the store was asked nothing");
    device.ask(&world, put(1, Kind::Entry, &[b"x"]));
    assert_eq!(device.refused(), Reason::NotOpen, "a request that was refused had no effect");
    device.open(&world, 1, 0, false);
    device.send(&world, put(1, Kind::Entry, &[b"x"]));
    assert!(matches!(device.answer(), reply::Body::Stored(stored) if stored.new == 1));
    // And no longer once it is closed.
    device.send(&world, Body::Close(Close { mailboxes: name(1) }));
    device.answer();
    device.send(&world, put(1, Kind::Entry, &[b"y"]));
    assert_eq!(device.refused(), Reason::NotOpen);
    assert_eq!(world.store.usage().entries, 1);
}

#[test]
fn answers_come_in_the_order_of_requests_however_the_store_works() {
    let world = World::new();
    let mut device = world.greeted(1);
    device.open(&world, 1, 0, false);
    let first = device.number + 1;
    device.ask(&world, put(1, Kind::Entry, &[b"a"]));
    device.ask(&world, put(1, Kind::Entry, &[b"b"]));
    device.ask(&world, Body::Wake(Wake { id: vec![0; 16].into(), ..Wake::default() }));
    let ids = Bytes::copy_from_slice(&BlobId::of(Kind::Entry, b"b").0);
    device.ask(&world, Body::Get(Get { mailboxes: name(1), kind: 0, ids, only_whether: false }));
    device.ask(&world, put(1, Kind::Entry, &[b"c"]));
    // Puts are stored side by side; the long answer has not begun.
    assert_eq!(device.tasks.len(), 3);
    device.work(&world, 2);
    device.work(&world, 1);
    assert!(device.replies.is_empty());
    device.turn(&world);
    let numbers: Vec<_> = device.replies.iter().map(|reply| reply.number).collect();
    assert_eq!(numbers, (first..first + 5).collect::<Vec<_>>());
    let bodies: Vec<_> = device.replies.drain(..).map(|reply| reply.body.unwrap()).collect();
    assert!(matches!(&bodies[2], reply::Body::Refused(refused) if refused.reason() == Reason::Unsupported));
    assert!(
        matches!(&bodies[3], reply::Body::Blobs(blobs) if blobs.blobs[0].bytes == b"b"[..]),
        "it saw what was put before"
    );
}

#[test]
fn a_session_has_at_most_one_long_answer_and_so_many_requests() {
    let world = World::new();
    let mut device = world.greeted(1);
    device.open(&world, 1, 0, true);
    let get = || Body::Get(Get { mailboxes: name(1), kind: 1, ids: vec![0; 32].into(), only_whether: false });
    for _ in 0..REQUESTS_IN_FLIGHT_MAX {
        assert!(device.session.wants_frames(world.now).is_ok());
        device.ask(&world, get());
    }
    assert_eq!(device.tasks.len(), 1);
    assert_eq!(device.session.wants_frames(world.now), Err(None));
    device.work(&world, 0);
    assert!(device.session.wants_frames(world.now).is_ok());
    device.turn(&world);
    assert_eq!(device.replies.len(), REQUESTS_IN_FLIGHT_MAX);
}

#[test]
fn a_session_has_so_many_bytes_of_puts_in_flight_and_no_long_frame_before_hello() {
    let world = World::new();
    assert_eq!(world.device(1).session.frame_bytes_max(), HELLO_BYTES_MAX);
    let mut device = world.greeted(1);
    assert_eq!(device.session.frame_bytes_max(), clave_mailbox::FRAME_BYTES_MAX);
    device.open(&world, 1, 0, false);
    let half = vec![7; PUT_BYTES_IN_FLIGHT_MAX / 2];
    device.ask(&world, put(1, Kind::Chunk, &[&half]));
    assert!(device.session.wants_frames(world.now).is_ok());
    device.ask(&world, put(1, Kind::Entry, &[&half]));
    assert_eq!(device.session.wants_frames(world.now), Err(None));
    device.work(&world, 1);
    assert!(device.session.wants_frames(world.now).is_ok());
}

#[test]
fn followers_are_delivered_what_was_there_and_what_comes_and_nothing_of_their_own() {
    let world = World::new();
    let (mut alice, mut bob) = (world.greeted(1), world.greeted(2));
    alice.open(&world, 1, 0, true);
    alice.send(&world, put(1, Kind::Entry, &[b"one", b"two"]));
    alice.answer();
    world.tell(&mut [&mut alice]);
    bob.open(&world, 1, 0, true);
    assert_eq!(bob.delivered(), [b"one", b"two"]);
    bob.send(&world, put(1, Kind::Entry, &[b"three"]));
    bob.answer();
    // One that is told before the put is answered.
    bob.ask(&world, put(1, Kind::Entry, &[b"four"]));
    let Some((_, Task::Put(batch))) = bob.tasks.first() else { panic!("a put") };
    world.store.put(batch.clone()).now_or_never().unwrap().unwrap();
    world.tell(&mut [&mut alice, &mut bob]);
    bob.answer();
    assert_eq!(alice.delivered(), [&b"three"[..], b"four"]);
    assert!(bob.replies.is_empty());
    // Closed: nothing more.
    bob.send(&world, Body::Close(Close { mailboxes: name(1) }));
    bob.answer();
    alice.send(&world, put(1, Kind::Entry, &[b"five"]));
    world.tell(&mut [&mut alice, &mut bob]);
    assert!(bob.replies.is_empty());
}

#[test]
fn who_lags_reads_from_the_store() {
    let world = World::new();
    let (mut alice, mut bob) = (world.greeted(1), world.greeted(2));
    alice.open(&world, 1, 0, false);
    bob.open(&world, 1, 0, true);
    for number in 0..5u8 {
        alice.send(&world, put(1, Kind::Entry, &[&[number]]));
    }
    world.told.0.lock().unwrap().clear();
    bob.session.handle_lagged(MailboxId(name(1)[..].try_into().unwrap()));
    bob.turn(&world);
    assert_eq!(bob.delivered(), [[0], [1], [2], [3], [4]]);
}

#[test]
fn who_acknowledges_nothing_is_cut_off() {
    let mut world = World::new();
    let (mut alice, mut bob) = (world.greeted(1), world.greeted(2));
    alice.open(&world, 1, 0, false);
    alice.send(&world, put(1, Kind::Entry, &[b"one"]));
    assert_eq!(alice.session.deadline(), None, "nothing is on its way");
    bob.open(&world, 1, 0, true);
    let deadline = bob.session.deadline().unwrap();
    world.now = deadline - Duration::from_millis(1);
    bob.session.handle_tick(world.now);
    bob.turn(&world);
    assert_eq!(bob.ended, None);
    let positions = vec![Position { mailbox: name(1), position: u64::MAX }];
    let mut other = world.greeted(3);
    other.open(&world, 1, 0, true);
    other.send(&world, Body::Acknowledge(Acknowledge { positions }));
    assert_eq!(other.session.deadline(), None);
    world.now = deadline;
    bob.session.handle_tick(world.now);
    bob.turn(&world);
    assert_eq!(bob.ended, Some(Ended::Unacknowledged));
}

#[test]
fn who_says_nothing_at_first_is_cut_off() {
    let mut world = World::new();
    let mut device = world.device(1);
    world.now = device.session.deadline().unwrap();
    device.session.handle_tick(world.now);
    device.turn(&world);
    assert_eq!(device.ended, Some(Ended::Silent));
}

#[test]
fn what_is_no_request_ends_the_session_after_what_came_before() {
    let world = World::new();
    let mut device = world.greeted(1);
    device.open(&world, 1, 0, false);
    device.ask(&world, put(1, Kind::Entry, &[b"a"]));
    device.session.handle_frame(b"nonsense", world.now, 1_000);
    device.collect();
    assert!(device.ended.is_none() && device.session.wants_frames(world.now).is_err());
    device.turn(&world);
    assert!(matches!(device.answer(), reply::Body::Stored(_)));
    assert_eq!(device.refused(), Reason::Malformed);
    assert_eq!(device.ended, Some(Ended::Malformed));
    for (body, reason, ended) in [
        (Body::Close(Close::default()), Reason::Malformed, Ended::Malformed),
        (Body::Hello(Hello::default()), Reason::Version, Ended::Version),
    ] {
        let mut device = world.device(2);
        device.ask(&world, body);
        assert_eq!((device.refused(), device.ended), (reason, Some(ended)));
    }
}

#[test]
fn who_is_not_admitted_hears_why() {
    let access = Access::Tokens(vec![crate::access::Token("sesame".into())]);
    let world = World::with(RATES, access);
    let mut device = world.device(1);
    device.ask(&world, Body::Hello(Hello { version: 1, token: Bytes::from_static(b"guess") }));
    assert_eq!((device.refused(), device.ended), (Reason::Access, Some(Ended::Refused)));
    let mut device = world.device(1);
    device.ask(&world, Body::Hello(Hello { version: 7, token: Bytes::from_static(b"sesame") }));
    assert!(matches!(device.answer(), reply::Body::Welcome(welcome) if welcome.version == 1));
}

#[test]
fn bounds_are_kept_and_said() {
    let world = World::new();
    let mut device = world.greeted(1);
    let four = (1..=4).map(|mailbox| device.opening(mailbox, 0, false)).collect();
    device.ask(&world, Body::Open(Open { mailboxes: four }));
    assert_eq!(device.refused(), Reason::Mailboxes);
    device.open(&world, 1, 0, false);
    let long = vec![7; (1 << 20) + 1];
    device.ask(&world, put(1, Kind::Chunk, &[&long]));
    assert_eq!(device.refused(), Reason::TooLarge);
    world.store.set_disk_full(true);
    device.send(&world, put(1, Kind::Entry, &[b"x"]));
    assert!(
        matches!(device.answer(), reply::Body::Refused(refused) if refused.reason() == Reason::Full && refused.retry_after_ms > 0)
    );
    world.store.set_disk_full(false);
    device.session.handle_drain();
    device.collect();
    assert!(matches!(device.answer(), reply::Body::Notice(notice) if notice.draining));
    device.ask(&world, put(1, Kind::Entry, &[b"x"]));
    assert_eq!(device.refused(), Reason::Draining);
    device.session.handle_end(Ended::Drained);
    device.collect();
    assert_eq!(device.ended, Some(Ended::Drained));
}

#[test]
fn a_flood_from_one_source_takes_nothing_from_others() {
    let rates = Rates {
        bytes_per_second: 1_000,
        bytes_burst: 10_000,
        requests_per_second: 10,
        requests_burst: 50,
        network_devices: 2,
        ..RATES
    };
    let mut world = World::with(rates, Access::Open);
    // Twenty keys in one network, and one device elsewhere.
    let mut flood: Vec<_> = (0..20)
        .map(|number| {
            let peer = PeerKey([100 + number; 32]);
            let ticket = world.sources.admit(peer, Network::of(IpAddr::from([203, 0, 113, 5])), world.now).unwrap();
            let session = Session::new(world.terms.clone(), peer, ticket, [7; 32], world.now);
            Device { session, number: 0, challenge: [7; 32], tasks: Vec::new(), replies: VecDeque::new(), ended: None }
        })
        .collect();
    for device in &mut flood {
        device.send(&world, Body::Hello(Hello { version: 1, token: Bytes::new() }));
        device.answer();
        device.open(&world, 1, 0, false);
    }
    let mut honest = world.greeted(1);
    honest.open(&world, 2, 0, false);
    let (mut stored, mut asked) = (0, 0u32);
    for second in 0..60 {
        world.now += Duration::from_secs(1);
        for device in &mut flood {
            device.replies.clear();
            if device.session.wants_frames(world.now).is_ok() {
                asked += 1;
                device.send(&world, put(1, Kind::Entry, &[&asked.to_be_bytes(), &[second; 800]]));
                stored += u64::from(matches!(device.answer(), reply::Body::Stored(_))) * 1_316;
            }
        }
        // Within its own rate: never refused, never made to wait.
        assert!(honest.session.wants_frames(world.now).is_ok());
        honest.send(&world, put(2, Kind::Entry, &[&[second; 300]]));
        assert!(matches!(honest.answer(), reply::Body::Stored(stored) if stored.new == 1));
    }
    // Two devices' worth: bursts and a minute; each of its sessions may owe one request.
    let allowed = 2 * (10_000 + 60 * 1_000);
    assert!(stored <= allowed + 1_316, "{stored} of {allowed} bytes");
    assert!(asked <= 2 * (50 + 60 * 10) + 20, "{asked} requests were read");
}

#[test]
fn a_store_that_fails_under_a_delivery_ends_the_session_instead_of_passing_over_entries() {
    let world = World::new();
    let mut device = world.greeted(1);
    let mailboxes = vec![device.opening(1, 0, true)];
    device.ask(&world, Body::Open(Open { mailboxes }));
    device.work(&world, 0);
    device.answer();
    let (id, task) = device.tasks.remove(0);
    assert!(matches!(task, Task::Read { after: 0, .. }));
    device.session.handle_done(id, Done::Read(Err(StoreError::Failed)), world.now);
    device.collect();
    assert_eq!(device.ended, Some(Ended::Failed));
}
