//! What a relay can say that no honest relay says.

use std::cell::RefCell;

use clave_crypto::{DeviceId, MailboxKey};
use clave_mailbox::{self as wire, Bytes, Kind, Reason, Reply, Request, reply, request};
use proptest::prelude::*;

use super::rig::*;
use crate::entry::Body;
use crate::membership::RelayAddress;
use crate::{Channel, CircleId, EntryId, Event, Keyspace, Output, Refusal, RelayError};

/// A relay whose every word the test chooses.
pub(super) struct Puppet {
    pub(super) id: DeviceId,
    /// What Alice asked and was not answered.
    pub(super) asked: Vec<Request>,
    pub(super) hung_up: bool,
}

/// Alice alone in her space, whose relay is connected and has said nothing so far.
pub(super) fn met() -> (Rig, CircleId, Puppet) {
    let mut rig = Rig::new(&["Alice", "Bob"]);
    let circle = rig.create(ALICE);
    rig.invite(ALICE, circle, BOB);
    rig.post(ALICE, circle, "before there was a relay");
    let id = DeviceId::from_bytes([99; 32]);
    let address = RelayAddress::of("/ip4/192.0.2.1/tcp/4400", &id).expect("an address");
    let now_ms = rig.now_ms;
    rig.devices[ALICE].engine.set_policy(circle, "relay.1", address.as_str(), now_ms).expect("an owner may");
    rig.settle();
    rig.disconnect(ALICE, BOB);
    let mut puppet = Puppet { id, asked: Vec::new(), hung_up: false };
    rig.devices[ALICE].engine.handle_connected(id, now_ms);
    puppet.hear(&mut rig);
    (rig, circle, puppet)
}

/// The same, when Alice has opened her mailboxes and stored what the relay lacked.
pub(super) fn open() -> (Rig, CircleId, Puppet) {
    let (mut rig, circle, mut puppet) = met();
    puppet.serve(&mut rig);
    assert!(puppet.status(&rig, circle).0 && !puppet.hung_up);
    (rig, circle, puppet)
}

impl Puppet {
    /// Takes what Alice says, once it may be said.
    pub(super) fn hear(&mut self, rig: &mut Rig) {
        let alice = &mut rig.devices[ALICE];
        while let Some(output) = alice.engine.poll_output() {
            match output {
                Output::Write { io, batch } => {
                    alice.store.write(&batch);
                    alice.engine.handle_written(io, true);
                }
                Output::Send { peer, channel: Channel::Mailbox, frame } if peer == self.id => {
                    self.asked.push(wire::decode(&frame.concat()).expect("she is honest"));
                }
                Output::HangUp(relay) if relay == self.id => self.hung_up = true,
                Output::Event(event) => alice.events.push(event),
                _ => {}
            }
        }
    }

    pub(super) fn say(&mut self, rig: &mut Rig, number: u64, body: reply::Body) {
        self.frame(rig, &wire::encode(&Reply { number, body: Some(body) }));
    }

    fn frame(&mut self, rig: &mut Rig, frame: &[u8]) {
        let now_ms = rig.now_ms;
        rig.devices[ALICE].engine.handle_frame(self.id, Channel::Mailbox, frame.to_vec(), now_ms);
        self.hear(rig);
    }

    /// Answers as an honest relay with nothing in it would, until nothing is asked any more.
    pub(super) fn serve(&mut self, rig: &mut Rig) {
        while !self.asked.is_empty() {
            self.serve_one(rig);
        }
    }

    /// Answers the first that was asked.
    pub(super) fn serve_one(&mut self, rig: &mut Rig) {
        let request = self.asked.remove(0);
        let body = match request.body.expect("she is honest") {
            request::Body::Hello(_) => reply::Body::Welcome(welcome([5; 16])),
            request::Body::Open(open) => {
                let state = |opening: wire::Opening| wire::State { mailbox: opening.mailbox, last: 0, entries: 0 };
                reply::Body::Opened(wire::Opened { mailboxes: open.mailboxes.into_iter().map(state).collect() })
            }
            request::Body::Put(put) => reply::Body::Stored(wire::Stored { new: put.blobs.len() as u32 }),
            request::Body::Close(_) => reply::Body::Opened(wire::Opened::default()),
            request::Body::Acknowledge(_) => return,
            request::Body::Wake(_) => reply::Body::Woken(wire::Woken::default()),
            other => panic!("an empty relay is not asked {other:?}"),
        };
        self.say(rig, request.number, body);
    }

    /// Delivers entries of a mailbox from a position on.
    fn deliver(&mut self, rig: &mut Rig, mailbox: &MailboxKey, first: u64, entries: Vec<Vec<u8>>) {
        let item =
            |(place, bytes): (usize, Vec<u8>)| wire::Item { position: first + place as u64, bytes: bytes.into() };
        let entries = entries.into_iter().enumerate().map(item).collect();
        let mailbox = mailbox.id().as_bytes().to_vec().into();
        self.say(rig, 0, reply::Body::Delivery(wire::Delivery { mailbox, entries }));
    }

    /// Whether Alice takes it to be connected, and what she holds against it.
    pub(super) fn status(&self, rig: &Rig, circle: CircleId) -> (bool, Option<RelayError>) {
        let status = rig.devices[ALICE].engine.relays(circle).expect("a member").remove(0);
        (status.connected, status.error)
    }

    /// What it just did made Alice end the session, for that reason and nothing else.
    pub(super) fn was_given_up(&mut self, rig: &Rig, circle: CircleId, why: RelayError) {
        assert!(std::mem::take(&mut self.hung_up));
        assert_eq!(self.status(rig, circle), (false, Some(why)));
    }
}

pub(super) fn welcome(generation: [u8; 16]) -> wire::Welcome {
    wire::Welcome {
        version: 1,
        challenge: vec![3; 32].into(),
        generation: generation.to_vec().into(),
        kept_seconds: 1_209_600,
        blob_bytes_max: wire::BLOB_BYTES_MAX as u64,
        mailboxes_max: 512,
        wake_key: Bytes::new(),
    }
}

fn head_mailbox(rig: &Rig, circle: CircleId) -> MailboxKey {
    MailboxKey::of_epoch(&rig.head_key(ALICE, circle))
}

/// Something that Bob says, and that Alice has not heard.
fn unheard(rig: &mut Rig, circle: CircleId, text: &str) -> Vec<u8> {
    let before = rig.entry_ids(BOB, circle);
    rig.post(BOB, circle, text);
    let new = rig.entry_ids(BOB, circle).into_iter().find(|id| !before.contains(id)).expect("he said something");
    rig.stored(BOB, Keyspace::Entries, circle, new.as_bytes())
}

#[test]
fn garbage_ends_the_session_and_leaves_nothing() {
    let rig = RefCell::new(open());
    cases(any::<Vec<u8>>(), |garbage| {
        let (rig, circle, puppet) = &mut *rig.borrow_mut();
        let before = rig.store(ALICE);
        puppet.frame(rig, &[&[0x07], garbage.as_slice()].concat());
        puppet.was_given_up(rig, *circle, RelayError::Nonsense);
        assert!(rig.store(ALICE) == before);
        // Nothing more is heard of it until it is spoken with again.
        let refused = rig.refusals(ALICE);
        puppet.frame(rig, &garbage);
        assert_eq!(rig.refusals(ALICE)[&Refusal::Unexpected], refused.get(&Refusal::Unexpected).unwrap_or(&0) + 1);
        rig.now_ms += 700_000;
        let now_ms = rig.now_ms;
        rig.devices[ALICE].engine.handle_tick(now_ms);
        puppet.hear(rig);
        puppet.serve(rig);
        assert!(puppet.status(rig, *circle).0);
    });
}

#[test]
fn a_delivery_that_nobody_asked_for_is_refused() {
    let (mut rig, circle, mut puppet) = open();
    let entry = unheard(&mut rig, circle, "unheard");
    let of_another = MailboxKey::of_device(circle.as_bytes(), &rig.devices[BOB].id);
    rig.refuses(ALICE, Refusal::Unexpected, |rig| puppet.deliver(rig, &of_another, 1, vec![entry.clone()]));
    assert!(!puppet.hung_up);
    // A device that is no relay has no such channel.
    let delivery = wire::Delivery { mailbox: vec![1; 32].into(), entries: Vec::new() };
    let frame = wire::encode(&Reply { number: 0, body: Some(reply::Body::Delivery(delivery)) });
    rig.refuses(ALICE, Refusal::Unexpected, |rig| rig.frame(BOB, ALICE, Channel::Mailbox, &frame));
    let head = head_mailbox(&rig, circle);
    puppet.deliver(&mut rig, &head, 1, vec![entry]);
    assert!(rig.messages(ALICE, circle).contains(&"unheard".to_owned()));
}

#[test]
fn what_does_not_belong_into_a_mailbox_is_refused() {
    let (mut rig, circle, mut puppet) = open();
    let (sound, direct) =
        (unheard(&mut rig, circle, "sound"), MailboxKey::of_device(circle.as_bytes(), &rig.devices[ALICE].id));
    let head = head_mailbox(&rig, circle);
    let foreign = rig.create(BOB);
    let of_another_circle = rig.seal(BOB, foreign, Body::Operation(Vec::new()));
    let mut altered = sound.clone();
    *altered.last_mut().expect("it is long") ^= 1;
    for (mailbox, entry, why) in [
        (&direct, &sound, Refusal::WrongMailbox),
        (&head, &of_another_circle, Refusal::WrongMailbox),
        (&head, &altered, Refusal::BadSeal),
        (&head, &vec![1, 2, 3], Refusal::Malformed),
    ] {
        let (before, entries) = (rig.refusals(ALICE), rig.entry_ids(ALICE, circle));
        let at = before.values().sum::<u64>() + 1;
        puppet.deliver(&mut rig, mailbox, at, vec![entry.clone()]);
        assert_eq!(rig.refusals(ALICE)[&why], before.get(&why).unwrap_or(&0) + 1, "{why:?}");
        assert_eq!(rig.entry_ids(ALICE, circle), entries);
    }
    // None of it keeps the sound one from being taken, and the relay is not given up for what others put there.
    assert!(!puppet.hung_up);
    puppet.deliver(&mut rig, &head, 1_000, vec![sound]);
    assert!(rig.messages(ALICE, circle).contains(&"sound".to_owned()));
}

#[test]
fn positions_rise() {
    let (mut rig, circle, mut puppet) = open();
    let head = head_mailbox(&rig, circle);
    let (one, other) = (unheard(&mut rig, circle, "one"), unheard(&mut rig, circle, "other"));
    puppet.deliver(&mut rig, &head, 7, vec![one.clone()]);
    // Once more at a later position: it is here, and nothing but the position is noted.
    let before = rig.entry_ids(ALICE, circle);
    puppet.deliver(&mut rig, &head, 8, vec![one]);
    assert_eq!(rig.entry_ids(ALICE, circle), before);
    puppet.deliver(&mut rig, &head, 8, vec![other]);
    puppet.was_given_up(&rig, circle, RelayError::Nonsense);
    assert!(!rig.messages(ALICE, circle).contains(&"other".to_owned()));
}

#[test]
fn an_answer_to_nothing_ends_the_session() {
    let stored = || reply::Body::Stored(wire::Stored { new: 1 });
    let answers: [(u64, reply::Body); 5] = [
        (1, stored()),
        (9_999, stored()),
        (0, stored()),
        (0, reply::Body::Blobs(wire::Blobs { blobs: Vec::new() })),
        (9_999, reply::Body::Refused(wire::Refused { reason: Reason::Full.into(), retry_after_ms: 0 })),
    ];
    for (number, body) in answers {
        let (mut rig, circle, mut puppet) = open();
        rig.post(ALICE, circle, "waits");
        let waiting = rig.devices[ALICE].engine.waiting_for_relays(circle);
        assert!(waiting > 0);
        puppet.say(&mut rig, number, body);
        puppet.was_given_up(&rig, circle, RelayError::Nonsense);
        // It is not believed that it has what it was never given.
        assert_eq!(rig.devices[ALICE].engine.waiting_for_relays(circle), waiting);
    }
}

#[test]
fn an_answer_of_another_kind_ends_the_session() {
    let (mut rig, circle, mut puppet) = met();
    let hello = puppet.asked.remove(0).number;
    puppet.say(&mut rig, hello, reply::Body::Stored(wire::Stored { new: 1 }));
    puppet.was_given_up(&rig, circle, RelayError::Nonsense);

    let (mut rig, circle, mut puppet) = met();
    let hello = puppet.asked.remove(0).number;
    puppet.say(&mut rig, hello, reply::Body::Welcome(wire::Welcome { version: 2, ..welcome([5; 16]) }));
    puppet.was_given_up(&rig, circle, RelayError::Version);

    // Mailboxes that were not asked to be open.
    let (mut rig, circle, mut puppet) = met();
    let hello = puppet.asked.remove(0).number;
    puppet.say(&mut rig, hello, reply::Body::Welcome(welcome([5; 16])));
    let open = puppet.asked.remove(0).number;
    let states = vec![wire::State { mailbox: vec![8; 32].into(), last: 0, entries: 0 }];
    puppet.say(&mut rig, open, reply::Body::Opened(wire::Opened { mailboxes: states }));
    puppet.was_given_up(&rig, circle, RelayError::Nonsense);
}

#[test]
fn a_relay_that_withholds_its_answer_is_given_up_and_asked_again_ever_more_rarely() {
    let (mut rig, circle, mut puppet) = met();
    let mut waits = Vec::new();
    let mut last_ms = rig.now_ms;
    for _ in 0..4 {
        assert_eq!(puppet.asked.len(), 1);
        puppet.asked.clear();
        while puppet.asked.is_empty() {
            rig.now_ms = rig.devices[ALICE].engine.poll_timeout().expect("she waits").max(rig.now_ms + 1);
            let now_ms = rig.now_ms;
            rig.devices[ALICE].engine.handle_tick(now_ms);
            puppet.hear(&mut rig);
        }
        puppet.was_given_up(&rig, circle, RelayError::Silent);
        waits.push(rig.now_ms - last_ms);
        last_ms = rig.now_ms;
    }
    assert!(waits.is_sorted() && waits[3] > waits[0], "{waits:?}");
}

#[test]
fn a_comparison_that_makes_no_sense_ends_the_session() {
    let wrong: [Vec<u8>; 3] = [vec![0x61, 1, 2, 3], vec![0xff; 100], vec![0x61, 0, 0, 2, 0xff, 0xff, 0xff, 0xff, 0x7f]];
    for message in wrong {
        let (mut rig, circle, mut puppet) = met();
        let hello = puppet.asked.remove(0).number;
        puppet.say(&mut rig, hello, reply::Body::Welcome(welcome([5; 16])));
        let Request { number, body: Some(request::Body::Open(open)) } = puppet.asked.remove(0) else {
            panic!("mailboxes are opened first");
        };
        let state = |opening: wire::Opening| wire::State { mailbox: opening.mailbox, last: 5, entries: 5 };
        let mailboxes = open.mailboxes.into_iter().map(state).collect();
        puppet.say(&mut rig, number, reply::Body::Opened(wire::Opened { mailboxes }));
        let Request { number, body: Some(request::Body::Reconcile(step)) } = puppet.asked.remove(0) else {
            panic!("then one is compared");
        };
        let mailbox = step.mailbox;
        puppet.say(&mut rig, number, reply::Body::Reconcile(wire::Reconcile { mailbox, message: message.into() }));
        puppet.was_given_up(&rig, circle, RelayError::Nonsense);
    }
}

#[test]
fn a_new_generation_makes_positions_mean_nothing() {
    let (mut rig, circle, mut puppet) = open();
    let head = head_mailbox(&rig, circle);
    let entry = unheard(&mut rig, circle, "read");
    puppet.deliver(&mut rig, &head, u64::MAX, vec![entry]);
    let positions = |rig: &Rig| rig.store(ALICE).keys().filter(|key| key.keyspace == Keyspace::Positions).count();
    assert!(positions(&rig) > 0);
    let (id, now_ms) = (puppet.id, rig.now_ms);
    rig.devices[ALICE].engine.handle_disconnected(id, now_ms);
    rig.devices[ALICE].engine.handle_connected(id, now_ms);
    puppet.asked.clear();
    puppet.hear(&mut rig);
    let hello = puppet.asked.remove(0).number;
    puppet.say(&mut rig, hello, reply::Body::Welcome(welcome([6; 16])));
    assert_eq!(positions(&rig), 0);
    let Some(Request { body: Some(request::Body::Open(open)), .. }) = puppet.asked.first() else {
        panic!("mailboxes are opened");
    };
    assert!(open.mailboxes.iter().all(|opening| opening.after == 0));
}

#[test]
fn a_relay_without_room_for_mailboxes_is_asked_for_none() {
    let (mut rig, circle, mut puppet) = met();
    let hello = puppet.asked.remove(0).number;
    puppet.say(&mut rig, hello, reply::Body::Welcome(wire::Welcome { mailboxes_max: 0, ..welcome([5; 16]) }));
    assert!(puppet.asked.is_empty() && !puppet.hung_up);
    rig.post(ALICE, circle, "waits");
    puppet.hear(&mut rig);
    assert!(puppet.asked.is_empty() && rig.devices[ALICE].engine.waiting_for_relays(circle) > 0);
}

#[test]
fn what_is_stored_has_the_ids_of_entries_and_the_proof_is_for_this_relay() {
    let (mut rig, circle, mut puppet) = met();
    let (mut puts, mut opened) = (Vec::new(), 0);
    while !puppet.asked.is_empty() {
        match puppet.asked[0].body.clone() {
            Some(request::Body::Put(put)) => puts.extend(put.blobs),
            Some(request::Body::Open(open)) => {
                for opening in open.mailboxes {
                    let mailbox: [u8; 32] = opening.mailbox.as_ref().try_into().expect("32 bytes");
                    let signed = wire::proof(puppet.id.as_bytes(), &[3; 32], &mailbox);
                    let signature = clave_crypto::Signature::try_from(opening.signature.as_ref()).expect("64 bytes");
                    let domain = clave_crypto::Domain::MailboxProof;
                    let message = signed.strip_prefix(domain.label()).expect("both say the same domain");
                    let key = DeviceId::from_bytes(mailbox);
                    assert!(key.verify(domain, message, &signature).is_ok());
                    opened += 1;
                }
            }
            _ => {}
        }
        puppet.serve_one(&mut rig);
    }
    let ids: Vec<EntryId> =
        puts.iter().map(|blob| EntryId::from_bytes(wire::BlobId::of(Kind::Entry, blob).0)).collect();
    let known = rig.entry_ids(ALICE, circle);
    assert!(opened >= 2 && !ids.is_empty() && ids.iter().all(|id| known.contains(id)));
    assert!(rig.devices[ALICE].events.contains(&Event::Stored { circle }));
}
