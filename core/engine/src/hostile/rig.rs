//! A few devices over stores in memory, and a wire that the test can read and write.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use clave_crdt::{DocumentKind, Draft, MessageId};
use clave_crypto::{
    ContentKey, DeviceId, DeviceKey, Entropy, GroupKeyAgreement, KeyId, Mls, RecoveryPhrase, RosterChange, SealedSecret,
};

use crate::entry::{Body, Envelope};
use crate::fuzzing::Memory;
use crate::membership::Action;
use crate::proto::entry as entry_proto;
use crate::proto::frame as proto;
use crate::proto::frame::frame::Body as FrameBody;
use crate::{
    Channel, CircleId, DocumentId, Engine, EntryId, Event, Identity, Key, Keyspace, Output, Refusal, RefusalCounts,
    StoreRead,
};
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestRunner};
use prost::Message as _;

pub(super) const START_MS: u64 = 1_790_000_000_000;
pub(super) const DAY_MS: u64 = 86_400_000;

/// One device.
pub(super) struct Device {
    pub(super) id: DeviceId,
    pub(super) key: DeviceKey,
    pub(super) store: Arc<Memory>,
    pub(super) engine: Engine,
    pub(super) events: Vec<Event>,
}

/// A frame on its way or that was.
#[derive(Clone)]
pub(super) struct Sent {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) channel: Channel,
    pub(super) frame: Vec<u8>,
}

/// Several devices and the wire between them.
pub(super) struct Rig {
    pub(super) devices: Vec<Device>,
    pub(super) now_ms: u64,
    pub(super) entropy: Entropy,
    /// Everything that was sent.
    pub(super) tape: Vec<Sent>,
    connected: BTreeSet<(usize, usize)>,
    mls: bool,
}

pub(super) const ALICE: usize = 0;
pub(super) const BOB: usize = 1;
pub(super) const CAROL: usize = 2;

impl Rig {
    /// Devices by name that know nothing of each other. The key agreement is the simple one, which is fast.
    pub(super) fn new(names: &[&str]) -> Self {
        Self::with(names, false)
    }

    /// The same over MLS.
    pub(super) fn with_mls(names: &[&str]) -> Self {
        Self::with(names, true)
    }

    fn with(names: &[&str], mls: bool) -> Self {
        let mut rig = Self {
            devices: Vec::new(),
            now_ms: START_MS,
            entropy: Entropy::from_seed([7; 32]),
            tape: Vec::new(),
            connected: BTreeSet::new(),
            mls,
        };
        for name in names {
            let identity = Identity::generate(name, "phone", &mut rig.entropy).expect("a plain name");
            rig.add(identity);
        }
        rig
    }

    /// A device that belongs to nobody yet.
    pub(super) fn add_provisional(&mut self, name: &str) -> usize {
        let identity = Identity::provisional(name, &mut self.entropy).expect("a plain name");
        self.add(identity)
    }

    /// Makes a device, before it is in any space, that of the person of a phrase.
    pub(super) fn give_phrase(&mut self, who: usize) -> RecoveryPhrase {
        let phrase = RecoveryPhrase::generate(&mut self.entropy);
        let identity = Identity::of_phrase(&phrase, "Bob", "phone", &mut self.entropy).expect("plain names");
        self.add(identity);
        // The new one takes the place of the one that was there.
        self.devices.swap_remove(who);
        phrase
    }

    fn add(&mut self, identity: Identity) -> usize {
        let store = Arc::new(Memory::default());
        store.write(&identity.to_batch());
        let engine = self.open(&store);
        let (id, key) = (identity.device(), identity.device_key());
        self.devices.push(Device { id, key, store, engine, events: Vec::new() });
        self.devices.len() - 1
    }

    fn open(&mut self, store: &Arc<Memory>) -> Engine {
        let identity = Identity::load(&**store).expect("memory can be read").expect("it was written");
        let agreement: Box<dyn GroupKeyAgreement + Send> =
            if self.mls { Box::new(Mls) } else { Box::new(SealedSecret) };
        let entropy = Entropy::from_seed(self.entropy.bytes());
        Engine::open(identity, agreement, store.clone(), entropy, self.now_ms).expect("the store can be opened")
    }

    /// Alice and Bob in Alice's space, connected.
    pub(super) fn pair() -> (Self, CircleId) {
        Self::team(&["Alice", "Bob"])
    }

    /// Everybody in the first one's space, connected.
    pub(super) fn team(names: &[&str]) -> (Self, CircleId) {
        Self::gather(Self::new(names))
    }

    /// The same over MLS.
    pub(super) fn mls_team(names: &[&str]) -> (Self, CircleId) {
        Self::gather(Self::with_mls(names))
    }

    fn gather(mut rig: Self) -> (Self, CircleId) {
        let circle = rig.create(ALICE);
        for who in 1..rig.devices.len() {
            rig.invite(ALICE, circle, who);
        }
        for one in 1..rig.devices.len() {
            for other in one + 1..rig.devices.len() {
                rig.connect(one, other);
            }
        }
        rig.settle();
        (rig, circle)
    }

    pub(super) fn create(&mut self, who: usize) -> CircleId {
        let now_ms = self.now_ms;
        let circle = self.devices[who].engine.create_space("Team", now_ms).expect("anybody may found a space");
        self.settle();
        circle
    }

    /// Has `who` join by an invitation of `by`; connects the two.
    pub(super) fn invite(&mut self, by: usize, circle: CircleId, who: usize) {
        let now_ms = self.now_ms;
        let link = self.devices[by].engine.invite(circle, DAY_MS, now_ms).expect("a member may invite");
        self.devices[who].engine.join(link, now_ms).expect("nobody joined before");
        self.connect(by, who);
        self.settle();
        assert!(self.devices[who].engine.circles().any(|id| id == circle), "{:?}", self.devices[who].events);
    }

    pub(super) fn connect(&mut self, one: usize, other: usize) {
        if self.connected.insert((one.min(other), one.max(other))) {
            let now_ms = self.now_ms;
            let (one_id, other_id) = (self.devices[one].id, self.devices[other].id);
            self.devices[one].engine.handle_connected(other_id, now_ms);
            self.devices[other].engine.handle_connected(one_id, now_ms);
        }
    }

    /// Connects one way: `one` hears `other`, and answers into nothing.
    pub(super) fn listen(&mut self, one: usize, other: usize) {
        let (other_id, now_ms) = (self.devices[other].id, self.now_ms);
        self.devices[one].engine.handle_connected(other_id, now_ms);
        self.drain(one);
    }

    /// Has `who` make a commit that changes nobody.
    pub(super) fn renew(&mut self, who: usize, circle: CircleId) {
        let engine = &mut self.devices[who].engine;
        let (circle, desk) = engine.circle_mut(circle).expect("a member");
        circle.commit(RosterChange::default(), None, desk).expect("a member may commit");
        engine.finish();
    }

    pub(super) fn disconnect(&mut self, one: usize, other: usize) {
        if self.connected.remove(&(one.min(other), one.max(other))) {
            let now_ms = self.now_ms;
            let (one_id, other_id) = (self.devices[one].id, self.devices[other].id);
            self.devices[one].engine.handle_disconnected(other_id, now_ms);
            self.devices[other].engine.handle_disconnected(one_id, now_ms);
        }
    }

    /// Closes a device and opens it over what is stored; its connections are lost.
    pub(super) fn reopen(&mut self, who: usize) {
        for other in 0..self.devices.len() {
            self.disconnect(who, other);
        }
        self.settle();
        let store = self.devices[who].store.clone();
        self.devices[who].engine = self.open(&store);
    }

    /// Takes what an engine puts out until there is nothing; returns its frames.
    pub(super) fn drain(&mut self, who: usize) -> Vec<Sent> {
        let mut sent = Vec::new();
        loop {
            let device = &mut self.devices[who];
            match device.engine.poll_output() {
                Some(Output::Write { io, batch }) => {
                    device.store.write(&batch);
                    device.engine.handle_written(io, true);
                }
                Some(Output::Send { peer, channel, frame }) => {
                    device.engine.handle_sent(peer, channel, self.now_ms);
                    if let Some(to) = self.devices.iter().position(|device| device.id == peer) {
                        sent.push(Sent { from: who, to, channel, frame: frame.concat() });
                    }
                }
                Some(Output::Event(event)) => device.events.push(event),
                Some(_) => {}
                None => return sent,
            }
        }
    }

    /// Carries frames until nobody has anything to say, and lets rosters be mended.
    pub(super) fn settle(&mut self) {
        self.settle_through(|sent| vec![sent.frame.clone()]);
    }

    /// The same, with somebody on the wire who says what arrives of each frame.
    pub(super) fn settle_through(&mut self, mut wire_tap: impl FnMut(&Sent) -> Vec<Vec<u8>>) {
        for _ in 0..3 {
            let mut wire = VecDeque::new();
            for step in 0.. {
                assert!(step < 10_000, "the devices do not come to rest");
                for who in 0..self.devices.len() {
                    wire.extend(self.drain(who));
                }
                let Some(next) = wire.pop_front() else { break };
                self.tape.push(next.clone());
                if self.connected.contains(&(next.from.min(next.to), next.from.max(next.to))) {
                    for frame in wire_tap(&next) {
                        self.frame(next.from, next.to, next.channel, &frame);
                    }
                }
            }
            self.now_ms += 2_000;
            for device in &mut self.devices {
                device.engine.handle_tick(self.now_ms);
            }
        }
    }

    /// Gives `to` a frame from `from`, whatever it is.
    pub(super) fn frame(&mut self, from: usize, to: usize, channel: Channel, frame: &[u8]) {
        let (from, now_ms) = (self.devices[from].id, self.now_ms);
        self.devices[to].engine.handle_frame(from, channel, frame.to_vec(), now_ms);
    }

    /// Gives `to` a well-formed sync or bulk frame from `from`.
    pub(super) fn say(&mut self, from: usize, to: usize, channel: Channel, body: FrameBody) {
        self.frame(from, to, channel, &proto::Frame { body: Some(body) }.encode_to_vec());
    }

    /// Gives `to` entries from `from`.
    pub(super) fn give(&mut self, from: usize, to: usize, circle: CircleId, envelopes: Vec<Vec<u8>>) {
        let circle = circle.as_bytes().to_vec();
        self.say(from, to, Channel::Sync, FrameBody::Entries(proto::Entries { circle, envelopes }));
    }

    /// Seals what `author` says, under the key that seals at `of`.
    pub(super) fn seal(&mut self, author: usize, circle: CircleId, body: Body) -> Vec<u8> {
        let key = self.head_key(author, circle);
        self.seal_under(author, circle, &key, body)
    }

    pub(super) fn seal_under(&mut self, author: usize, circle: CircleId, key: &ContentKey, body: Body) -> Vec<u8> {
        let device = &self.devices[author].key;
        Envelope::seal(circle, device, key, body, self.now_ms, &mut self.entropy).expect("it is small").bytes
    }

    /// Seals what `author` says to one device alone.
    pub(super) fn seal_direct(&mut self, author: usize, recipient: usize, circle: CircleId, body: Body) -> Vec<u8> {
        let to = (self.devices[recipient].id, &self.devices[recipient].key.noise_public());
        let device = &self.devices[author].key;
        let envelope = Envelope::seal_direct(circle, device, to, body, self.now_ms, &mut self.entropy);
        envelope.expect("it is small").bytes
    }

    /// The key of the head of `who`.
    pub(super) fn head_key(&self, who: usize, circle: CircleId) -> ContentKey {
        let circle = &self.devices[who].engine.circles[&circle];
        let key = circle.content_key(&circle.status().key).expect("the head has a key");
        ContentKey::from_bytes(key.as_bytes().clone())
    }

    /// Under which tag `who` seals now.
    pub(super) fn tag(&self, who: usize, circle: CircleId) -> KeyId {
        self.head_key(who, circle).key_id()
    }

    pub(super) fn refusals(&self, who: usize) -> RefusalCounts {
        self.devices[who].engine.refusals().clone()
    }

    pub(super) fn store(&self, who: usize) -> BTreeMap<Key, Vec<u8>> {
        self.devices[who].store.content()
    }

    /// Does something that `who` must refuse for this reason, once, and without a trace.
    pub(super) fn refuses(&mut self, who: usize, why: Refusal, attack: impl FnOnce(&mut Self)) {
        self.refuses_for_one_of(who, &[why], attack);
    }

    /// Does something that `who` must refuse for one of these reasons, once, and without a trace.
    pub(super) fn refuses_for_one_of(&mut self, who: usize, reasons: &[Refusal], attack: impl FnOnce(&mut Self)) {
        self.drain(who);
        let (before, counts) = (self.store(who), self.refusals(who));
        attack(self);
        let frames = self.drain(who);
        let expected = reasons.iter().map(|why| {
            let mut counts = counts.clone();
            *counts.entry(*why).or_default() += 1;
            counts
        });
        let after = self.refusals(who);
        assert!(expected.into_iter().any(|expected| expected == after), "{counts:?}, then {after:?}");
        assert!(self.store(who) == before, "something was written");
        assert!(frames.is_empty(), "something was answered");
    }

    /// What is stored under a key.
    pub(super) fn stored(&self, who: usize, keyspace: Keyspace, circle: CircleId, suffix: &[u8]) -> Vec<u8> {
        let key = Key::new(keyspace, circle.as_bytes(), suffix);
        self.devices[who].store.read(&key).expect("memory can be read").expect("it is there")
    }

    /// How many content keys are stored, without the lasting ones.
    pub(super) fn keys(&self, who: usize, circle: CircleId) -> usize {
        self.key_names(who, circle).iter().filter(|name| !name.is_lasting()).count()
    }

    /// The names of all keys that are stored.
    pub(super) fn key_names(&self, who: usize, circle: CircleId) -> BTreeSet<KeyId> {
        let key = |key: &&Key| key.keyspace == Keyspace::ContentKeys && key.scope == circle.as_bytes();
        let name = |key: &Key| KeyId::try_from(key.suffix.as_slice()).expect("keys are filed by their names");
        self.store(who).keys().filter(key).map(name).collect()
    }

    /// Writes into the circle's note.
    pub(super) fn write_note(&mut self, who: usize, circle: CircleId, text: &str) {
        let (note, now_ms) = (DocumentId::well_known(circle, DocumentKind::Note, 0), self.now_ms);
        let edit = self.devices[who].engine.edit(circle, note, DocumentKind::Note, now_ms, |document, _| {
            let mut note = document.note()?;
            note.splice(note.len(), 0, text)
        });
        edit.expect("a member may write");
        self.settle();
    }

    /// What the circle's note says.
    pub(super) fn note(&mut self, who: usize, circle: CircleId) -> String {
        let note = DocumentId::well_known(circle, DocumentKind::Note, 0);
        let document = self.devices[who].engine.document(circle, note, DocumentKind::Note).expect("a member may read");
        document.note().expect("it is a note").text().expect("it can be read")
    }

    /// The id of the oldest membership operation.
    pub(super) fn first_operation(&self, who: usize, circle: CircleId) -> Vec<u8> {
        let log = &self.devices[who].engine.circles[&circle].log;
        log.operations().next().expect("there is a genesis").id().as_bytes().to_vec()
    }

    /// Seals the same signed entry once more, with a salt of its own.
    pub(super) fn reseal(&mut self, who: usize, circle: CircleId, envelope: &[u8]) -> Vec<u8> {
        let mut envelope = entry_proto::Envelope::decode(envelope).expect("an envelope");
        let tag = KeyId::try_from(envelope.tag.as_slice()).expect("a tag");
        let held = self.devices[who].engine.circles[&circle].content_key(&tag).expect("it was read before");
        let key = ContentKey::from_bytes(held.as_bytes().clone());
        let header = [&1_u32.to_be_bytes()[..], &envelope.hour.to_be_bytes(), &envelope.tag].concat();
        let header = [circle.as_bytes().as_slice(), &header].concat();
        let salt = envelope.salt.as_slice().try_into().expect("16 bytes");
        let signed = key.open(salt, &header, &envelope.ciphertext).expect("a member can");
        let (salt, ciphertext) = key.seal(&mut self.entropy, &header, &signed);
        (envelope.salt, envelope.ciphertext) = (salt.to_vec(), ciphertext);
        envelope.encode_to_vec()
    }

    pub(super) fn act(&mut self, who: usize, circle: CircleId, action: Action) {
        let now_ms = self.now_ms;
        self.devices[who].engine.act(circle, action, now_ms).expect("it is allowed");
    }

    pub(super) fn post(&mut self, who: usize, circle: CircleId, text: &str) -> MessageId {
        let (id, now_ms) = ([self.entropy.bytes::<16>(), [0; 16]].concat(), self.now_ms);
        let id: [u8; 6] = *id.first_chunk().expect("it is longer");
        let segment = self.devices[who].engine.segment(circle, 0, now_ms).expect("a member");
        let posted = self.devices[who]
            .engine
            .post(circle, segment, now_ms, |doc| Ok(vec![doc.timeline()?.post(now_ms, id, &Draft::text(text))?]));
        let posted = posted.expect("a member may post");
        self.settle();
        posted[0]
    }

    pub(super) fn messages(&mut self, who: usize, circle: CircleId) -> Vec<String> {
        let engine = &mut self.devices[who].engine;
        let mut messages = Vec::new();
        for document in engine.documents(circle).expect("a member may read") {
            if document.kind == DocumentKind::Timeline {
                let document = engine.document(circle, document.id, document.kind).expect("a member may read");
                messages.extend(document.timeline().expect("it is a timeline").newest(usize::MAX));
            }
        }
        messages.sort_by_key(|message| message.id);
        messages.into_iter().map(|message| message.body).collect()
    }

    /// Everybody posts, and everybody reads it.
    pub(super) fn honest_exchange(&mut self, circle: CircleId) {
        let everybody: Vec<usize> = (0..self.devices.len()).collect();
        self.honest_exchange_of(circle, &everybody);
    }

    pub(super) fn honest_exchange_of(&mut self, circle: CircleId, who: &[usize]) {
        for one in who {
            let text = format!("{} at {}", one, self.now_ms);
            self.post(*one, circle, &text);
            for other in who {
                assert!(self.messages(*other, circle).contains(&text), "{other} lacks {text:?}");
            }
        }
        for other in who {
            assert_eq!(self.tag(*other, circle), self.tag(who[0], circle), "not under one key");
        }
    }

    pub(super) fn entry_ids(&self, who: usize, circle: CircleId) -> Vec<EntryId> {
        let of = |key: &Key| key.keyspace == Keyspace::Entries && key.scope == circle.as_bytes();
        let keys = self.store(who).into_keys().filter(of);
        keys.map(|key| EntryId::try_from(key.suffix.as_slice()).expect("an entry id")).collect()
    }
}

/// Runs `test` over what `strategy` makes.
pub(super) fn cases<S: Strategy>(strategy: S, test: impl Fn(S::Value)) {
    run(64, &strategy, test);
}

/// The same less often: each case is long.
pub(super) fn few_cases<S: Strategy>(strategy: S, test: impl Fn(S::Value)) {
    run(12, &strategy, test);
}

fn run<S: Strategy>(cases: u32, strategy: &S, test: impl Fn(S::Value)) {
    // One rig serves all cases of a test, so a case alone would not repeat what failed: nothing is persisted.
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 64, ..Config::default() };
    let passed = TestRunner::new(config).run(strategy, |value| {
        test(value);
        Ok(())
    });
    passed.unwrap_or_else(|failure| panic!("{failure}"));
}

pub(super) fn chat(circle: CircleId) -> DocumentId {
    DocumentId::well_known(circle, DocumentKind::Timeline, 0)
}
