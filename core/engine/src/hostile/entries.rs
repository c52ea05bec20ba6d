//! Entries that no honest device makes.

use std::cell::RefCell;

use clave_crdt::{Actor, Document, DocumentKind, Draft};
use clave_crypto::{ContentKey, DeviceId, DeviceKey, Domain};
use proptest::prelude::*;
use prost::Message as _;

use super::rig::*;
use crate::entry::{Body, ENTRY_BYTES_MAX, Envelope, entry_id};
use crate::proto::entry as proto;
use crate::proto::frame as proto_frame;
use crate::{CircleId, DocumentId, Keyspace, Refusal};

/// An entry whose every part can be wrong.
pub(super) struct Forgery<'a> {
    version: u32,
    hour: u32,
    /// The tag on the outside and in what is signed.
    tag: [u8; 16],
    /// What it is sealed under.
    key: ContentKey,
    circle: CircleId,
    author: DeviceId,
    signer: &'a DeviceKey,
    body: Option<Body>,
}

impl<'a> Forgery<'a> {
    /// Nothing is wrong with it yet: it is `author`'s.
    fn of(rig: &Rig, author: usize, signer: &'a DeviceKey, circle: CircleId, body: Body) -> Self {
        let key = rig.head_key(author, circle);
        Self {
            version: 1,
            hour: u32::try_from(rig.now_ms / 3_600_000).expect("the present"),
            tag: *key.key_id().as_bytes(),
            key,
            circle,
            author: rig.devices[author].id,
            signer,
            body: Some(body),
        }
    }

    fn seal(self, rig: &mut Rig) -> Vec<u8> {
        let header = [&self.version.to_be_bytes()[..], &self.hour.to_be_bytes(), &self.tag].concat();
        let context = [self.circle.as_bytes().as_slice(), &header].concat();
        let is_within = matches!(self.body, Some(Body::Operation(_)));
        let author = if is_within { Vec::new() } else { self.author.as_bytes().to_vec() };
        let entry = proto::Entry { author, body: self.body }.encode_to_vec();
        let signature = self.signer.sign(Domain::Entry, &[context.as_slice(), &entry].concat());
        let signature = if is_within { Vec::new() } else { signature.as_bytes().to_vec() };
        let signed = proto::SignedEntry { entry, signature }.encode_to_vec();
        let (salt, ciphertext) = self.key.seal(&mut rig.entropy, &context, &signed);
        proto::Envelope {
            version: self.version,
            hour: self.hour,
            tag: self.tag.to_vec(),
            salt: salt.to_vec(),
            ciphertext,
        }
        .encode_to_vec()
    }
}

pub(super) fn key_of(rig: &Rig, who: usize) -> DeviceKey {
    DeviceKey::from_seed(rig.devices[who].key.seed().clone())
}

/// A change to the chat by `author` that their device knows nothing of.
pub(super) fn change(rig: &mut Rig, author: usize, circle: CircleId) -> Body {
    let (id, now_ms) = (rig.entropy.bytes(), rig.now_ms);
    let incarnation = u32::from_be_bytes(rig.entropy.bytes());
    let id_of = rig.devices[author].id;
    let since = rig.devices[author].engine.membership(circle).expect("a member").devices[&id_of].since;
    let stay = *since.as_bytes().first_chunk().expect("an id is longer");
    change_as(Actor::new(*id_of.as_bytes(), stay, incarnation), id, now_ms, circle)
}

/// A change to the chat by some actor.
pub(super) fn change_as(actor: Actor, id: [u8; 6], now_ms: u64, circle: CircleId) -> Body {
    let mut document = Document::new(DocumentKind::Timeline, actor);
    document.timeline().expect("a timeline").post(now_ms, id, &Draft::text("forged")).expect("it is short");
    let change = document.commit(now_ms).expect("something was posted");
    Body::Changes(proto::Changes {
        document: chat(circle).as_bytes().to_vec(),
        kind: DocumentKind::Timeline.number().into(),
        changes: vec![change],
    })
}

pub(super) fn bundle(epoch: [u8; 32], key: [u8; 32]) -> Body {
    bundle_of(vec![proto::ContentKey { epoch: epoch.to_vec(), key: key.to_vec(), lasting: false }])
}

pub(super) fn bundle_of(keys: Vec<proto::ContentKey>) -> Body {
    Body::Keys(proto::KeyBundle { keys, ..proto::KeyBundle::default() })
}

pub(super) fn head(rig: &Rig, who: usize, circle: CircleId) -> [u8; 32] {
    *rig.devices[who].engine.status(circle).expect("a member").epoch.as_bytes()
}

pub(super) fn held(rig: &Rig, who: usize, circle: CircleId) -> usize {
    rig.devices[who].engine.status(circle).expect("a member").held
}

// Envelopes.

#[test]
fn a_sound_forgery_is_taken() {
    let (mut rig, circle) = Rig::pair();
    let (body, signer) = (change(&mut rig, BOB, circle), key_of(&rig, BOB));
    let entry = Forgery::of(&rig, BOB, &signer, circle, body).seal(&mut rig);
    rig.give(BOB, ALICE, circle, vec![entry]);
    assert!(rig.refusals(ALICE).is_empty());
    assert_eq!(rig.messages(ALICE, circle), ["forged"]);
}

#[test]
fn what_is_written_in_a_stay_that_never_was_is_set_aside() {
    let (mut rig, circle) = Rig::pair();
    let (bob, now_ms) = (rig.devices[BOB].id, rig.now_ms);
    let body = change_as(Actor::new(*bob.as_bytes(), [0xee; 4], 0), [1; 6], now_ms, circle);
    let entry = Forgery::of(&rig, BOB, &key_of(&rig, BOB), circle, body).seal(&mut rig);
    rig.give(BOB, ALICE, circle, vec![entry]);
    assert_eq!(rig.messages(ALICE, circle), [""; 0]);
    let set_aside = rig.devices[ALICE].engine.set_aside(circle, chat(circle), DocumentKind::Timeline);
    let devices: Vec<_> = set_aside.expect("a member").iter().map(|change| change.device).collect();
    assert_eq!(devices, [Some(bob)]);
    rig.honest_exchange(circle);
}

/// How much of the chat waits, once somebody looked at it.
fn waiting(rig: &mut Rig, who: usize, circle: CircleId) -> usize {
    rig.messages(who, circle);
    rig.devices[who].engine.status(circle).expect("a member").waiting
}

#[test]
fn of_two_changes_in_one_place_all_show_one_and_keep_the_evidence() {
    let (mut rig, circle) = Rig::pair();
    let (bob, now_ms) = (rig.devices[BOB].id, rig.now_ms);
    let since = rig.devices[ALICE].engine.membership(circle).expect("a member").devices[&bob].since;
    let actor = Actor::new(*bob.as_bytes(), *since.as_bytes().first_chunk().expect("an id is longer"), 7);
    let [one, other] = [[1; 6], [2; 6]].map(|id| {
        let body = change_as(actor, id, now_ms, circle);
        Forgery::of(&rig, BOB, &key_of(&rig, BOB), circle, body).seal(&mut rig)
    });
    // They look at it in between, and hear of the two in different orders.
    for (who, first, second) in [(ALICE, &one, &other), (BOB, &other, &one)] {
        rig.give(if who == ALICE { BOB } else { ALICE }, who, circle, vec![first.clone()]);
        assert_eq!(rig.messages(who, circle).len(), 1);
        rig.give(if who == ALICE { BOB } else { ALICE }, who, circle, vec![second.clone()]);
    }
    let mut seen = Vec::new();
    for who in [ALICE, BOB] {
        assert_eq!(waiting(&mut rig, who, circle), 1);
        let document = rig.devices[who].engine.document(circle, chat(circle), DocumentKind::Timeline);
        let document = document.expect("a member may read");
        seen.push((document.heads(), document.equivocations().to_vec()));
    }
    assert_eq!(seen[0], seen[1]);
    let evidence = &seen[0].1[0];
    assert_eq!((evidence.actor, evidence.seq, evidence.waiting.len()), (actor, 1, 1));
    rig.honest_exchange(circle);
}

#[test]
fn a_change_whose_cause_never_comes_waits_and_is_counted() {
    let (mut rig, circle) = Rig::pair();
    let (bob, now_ms) = (rig.devices[BOB].id, rig.now_ms);
    let since = rig.devices[ALICE].engine.membership(circle).expect("a member").devices[&bob].since;
    let actor = Actor::new(*bob.as_bytes(), *since.as_bytes().first_chunk().expect("an id is longer"), 7);
    let mut document = Document::new(DocumentKind::Timeline, actor);
    let changes = [[1; 6], [2; 6]].map(|id| {
        document.timeline().expect("a timeline").post(now_ms, id, &Draft::text("twice")).expect("it is short");
        document.commit(now_ms).expect("something was posted")
    });
    let body = Body::Changes(proto::Changes {
        document: chat(circle).as_bytes().to_vec(),
        kind: DocumentKind::Timeline.number().into(),
        changes: changes[1..].to_vec(),
    });
    let entry = Forgery::of(&rig, BOB, &key_of(&rig, BOB), circle, body).seal(&mut rig);
    rig.give(BOB, ALICE, circle, vec![entry]);
    assert_eq!(waiting(&mut rig, ALICE, circle), 1);
    rig.honest_exchange(circle);
    assert_eq!(waiting(&mut rig, ALICE, circle), 1);
}

#[test]
fn a_truncated_entry_is_refused() {
    let (mut rig, circle) = Rig::pair();
    let body = change(&mut rig, BOB, circle);
    let (entry, rig) = (rig.seal(BOB, circle, body), RefCell::new(rig));
    cases(any::<(prop::sample::Index, bool)>(), |(cut, from_front)| {
        let cut = cut.index(entry.len());
        let part = if from_front { entry[cut + 1..].to_vec() } else { entry[..cut].to_vec() };
        let rig = &mut *rig.borrow_mut();
        let refusals = [Refusal::Malformed, Refusal::UnknownVersion, Refusal::BadSeal];
        rig.refuses_for_one_of(ALICE, &refusals, |rig| rig.give(BOB, ALICE, circle, vec![part]));
        rig.honest_exchange(circle);
    });
}

#[test]
fn a_bit_flipped_entry_is_refused_or_has_no_effect() {
    let (mut rig, circle) = Rig::pair();
    let body = change(&mut rig, BOB, circle);
    let (entry, rig) = (rig.seal(BOB, circle, body), RefCell::new(rig));
    let tag_at = entry.windows(16).position(|part| part == rig.borrow().tag(BOB, circle).as_bytes()).expect("in clear");
    cases(any::<(prop::sample::Index, u8)>(), |(at, bit)| {
        let at = at.index(entry.len());
        let mut flipped = entry.clone();
        flipped[at] ^= 1 << (bit % 8);
        let rig = &mut *rig.borrow_mut();
        if (tag_at..tag_at + 16).contains(&at) {
            // Under a key that nobody has: it waits for it, for ever, without effect.
            let before = held(rig, ALICE, circle);
            rig.give(BOB, ALICE, circle, vec![flipped.clone()]);
            let known = rig.entry_ids(ALICE, circle);
            rig.give(BOB, ALICE, circle, vec![flipped]);
            assert_eq!(rig.entry_ids(ALICE, circle), known);
            assert!(held(rig, ALICE, circle) <= before + 1);
        } else {
            let refusals = [Refusal::Malformed, Refusal::UnknownVersion, Refusal::BadSeal];
            rig.refuses_for_one_of(ALICE, &refusals, |rig| rig.give(BOB, ALICE, circle, vec![flipped]));
        }
        assert!(!rig.messages(ALICE, circle).iter().any(|message| message == "forged"));
        rig.honest_exchange(circle);
    });
}

#[test]
fn an_entry_of_garbage_is_refused() {
    let (rig, circle) = Rig::pair();
    let rig = RefCell::new(rig);
    cases(any::<Vec<u8>>(), |garbage| {
        let rig = &mut *rig.borrow_mut();
        let refusals = [Refusal::Malformed, Refusal::UnknownVersion];
        rig.refuses_for_one_of(ALICE, &refusals, |rig| rig.give(BOB, ALICE, circle, vec![garbage]));
    });
    rig.borrow_mut().honest_exchange(circle);
}

#[test]
fn an_oversized_entry_is_refused() {
    let (rig, circle) = Rig::pair();
    let rig = RefCell::new(rig);
    few_cases(1..32_768_usize, |over| {
        let rig = &mut *rig.borrow_mut();
        let entry = vec![0x08; ENTRY_BYTES_MAX + over];
        rig.refuses(ALICE, Refusal::Oversized, |rig| rig.give(BOB, ALICE, circle, vec![entry]));
        rig.honest_exchange(circle);
    });
}

#[test]
fn an_entry_of_another_version_is_refused() {
    let (rig, circle) = Rig::pair();
    let rig = RefCell::new(rig);
    cases(any::<u32>(), |version| {
        let version = if version == 1 { 2 } else { version };
        let rig = &mut *rig.borrow_mut();
        let signer = key_of(rig, BOB);
        let forgery = Forgery::of(rig, BOB, &signer, circle, Body::Operation(Vec::new()));
        let entry = Forgery { version, ..forgery }.seal(rig);
        rig.refuses(ALICE, Refusal::UnknownVersion, |rig| rig.give(BOB, ALICE, circle, vec![entry]));
        rig.honest_exchange(circle);
    });
}

#[test]
fn a_second_encoding_of_an_envelope_is_refused() {
    let (mut rig, circle) = Rig::pair();
    let body = change(&mut rig, BOB, circle);
    let entry = rig.seal(BOB, circle, body);
    // An unknown field, a field twice, a version as a longer varint.
    for again in [[&entry[..], b"\x3a\x01x"].concat(), [b"\x08\x01", &entry[..]].concat(), {
        let mut longer = entry.clone();
        longer.splice(1..2, *b"\x81\x00");
        longer
    }] {
        rig.refuses(ALICE, Refusal::Malformed, |rig| rig.give(BOB, ALICE, circle, vec![again]));
    }
    rig.honest_exchange(circle);
}

#[test]
fn an_entry_under_another_key_than_it_says_is_refused() {
    let (rig, circle) = Rig::pair();
    let rig = RefCell::new(rig);
    cases(any::<[u8; 32]>(), |key| {
        let rig = &mut *rig.borrow_mut();
        let signer = key_of(rig, BOB);
        let forgery = Forgery::of(rig, BOB, &signer, circle, Body::Operation(Vec::new()));
        let entry = Forgery { key: ContentKey::from_bytes(key.into()), ..forgery }.seal(rig);
        rig.refuses(ALICE, Refusal::BadSeal, |rig| rig.give(BOB, ALICE, circle, vec![entry]));
        rig.honest_exchange(circle);
    });
}

#[test]
fn an_entry_for_another_circle_is_refused() {
    let (rig, circle) = Rig::pair();
    let rig = RefCell::new(rig);
    cases(any::<[u8; 32]>(), |other| {
        let rig = &mut *rig.borrow_mut();
        let signer = key_of(rig, BOB);
        let forgery = Forgery::of(rig, BOB, &signer, circle, Body::Operation(Vec::new()));
        let entry = Forgery { circle: CircleId::from_bytes(other), ..forgery }.seal(rig);
        rig.refuses(ALICE, Refusal::BadSeal, |rig| rig.give(BOB, ALICE, circle, vec![entry]));
        rig.honest_exchange(circle);
    });
}

#[test]
fn what_was_signed_in_one_circle_is_refused_in_another() {
    let (mut rig, circle) = Rig::pair();
    let (signer, hour) = (key_of(&rig, BOB), u32::try_from(rig.now_ms / 3_600_000).expect("the present"));
    let Body::Changes(changes) = change(&mut rig, BOB, circle) else { unreachable!("it makes changes") };
    let key = rig.head_key(BOB, circle);
    let context = |circle: &[u8]| [circle, &1_u32.to_be_bytes(), &hour.to_be_bytes(), key.key_id().as_bytes()].concat();
    let (here, there) = (context(circle.as_bytes()), context(&[7; 32]));
    let author = signer.id().as_bytes().to_vec();
    let entry = proto::Entry { author, body: Some(Body::Changes(changes)) }.encode_to_vec();
    let signature = signer.sign(Domain::Entry, &[there.as_slice(), &entry].concat()).as_bytes().to_vec();
    let signed = proto::SignedEntry { entry, signature }.encode_to_vec();
    let (salt, ciphertext) = key.seal(&mut rig.entropy, &here, &signed);
    let (tag, salt) = (key.key_id().as_bytes().to_vec(), salt.to_vec());
    let envelope = proto::Envelope { version: 1, hour, tag, salt, ciphertext }.encode_to_vec();
    rig.refuses(ALICE, Refusal::BadSignature, |rig| rig.give(BOB, ALICE, circle, vec![envelope]));
    rig.honest_exchange(circle);
}

#[test]
fn an_operation_in_an_entry_with_an_author_is_refused() {
    let (mut rig, circle) = Rig::pair();
    let (signer, author) = (key_of(&rig, BOB), rig.devices[BOB].id.as_bytes().to_vec());
    let (now_ms, key) = (rig.now_ms, rig.head_key(BOB, circle));
    let body = Some(Body::Operation(rig.first_operation(BOB, circle)));
    let entry = proto::Entry { author, body }.encode_to_vec();
    let sealed = Envelope::seal_entry(circle, &signer, &key, entry, now_ms, &mut rig.entropy).expect("it is small");
    rig.refuses(ALICE, Refusal::Malformed, |rig| rig.give(BOB, ALICE, circle, vec![sealed.bytes]));
    rig.honest_exchange(circle);
}

#[test]
fn an_entry_of_one_circle_means_nothing_in_another() {
    let (mut rig, circle) = Rig::pair();
    let other = rig.create(ALICE);
    rig.invite(ALICE, other, BOB);
    rig.post(BOB, other, "elsewhere");
    let stolen: Vec<_> = rig.entry_ids(BOB, other);
    for id in stolen {
        let entry = rig.stored(BOB, Keyspace::Entries, other, id.as_bytes());
        rig.give(BOB, ALICE, circle, vec![entry]);
    }
    rig.settle();
    assert!(rig.messages(ALICE, circle).is_empty());
    rig.honest_exchange(circle);
    rig.honest_exchange(other);
}

#[test]
fn an_entry_signed_by_another_than_its_author_is_refused() {
    let (rig, circle) = Rig::team(&["Alice", "Bob", "Carol"]);
    let rig = RefCell::new(rig);
    cases(any::<(bool, [u8; 32])>(), |(author, signer)| {
        let rig = &mut *rig.borrow_mut();
        // Bob, or a stranger's key, signs for Alice or Carol.
        let (author, signer) = (if author { ALICE } else { CAROL }, DeviceKey::from_seed(signer.into()));
        for signer in [key_of(rig, BOB), signer] {
            let body = Body::Acknowledge(proto::Acknowledge { epoch: vec![1; 32] });
            let entry = Forgery::of(rig, author, &signer, circle, body).seal(rig);
            rig.refuses(ALICE, Refusal::BadSignature, |rig| rig.give(BOB, ALICE, circle, vec![entry]));
        }
        rig.honest_exchange(circle);
    });
}

#[test]
fn what_a_stranger_wrote_with_a_leaked_key_has_no_effect() {
    let (rig, circle) = Rig::pair();
    let rig = RefCell::new(rig);
    cases(any::<[u8; 32]>(), |seed| {
        let rig = &mut *rig.borrow_mut();
        let (stranger, before) = (DeviceKey::from_seed(seed.into()), head(rig, ALICE, circle));
        for body in [
            Body::Changes(proto::Changes { document: vec![1; 16], kind: 1, changes: Vec::new() }),
            Body::Commit(proto::Commit { parent: before.to_vec(), epoch: vec![1; 32], ..Default::default() }),
        ] {
            let forgery = Forgery::of(rig, BOB, &stranger, circle, body);
            let entry = Forgery { author: stranger.id(), ..forgery }.seal(rig);
            let waiting = held(rig, ALICE, circle);
            rig.give(BOB, ALICE, circle, vec![entry]);
            assert_eq!(held(rig, ALICE, circle), waiting + 1);
        }
        assert_eq!(head(rig, ALICE, circle), before);
        rig.honest_exchange(circle);
    });
}

#[test]
fn the_same_entry_twice_changes_nothing() {
    let (rig, circle) = Rig::pair();
    let rig = RefCell::new(rig);
    rig.borrow_mut().post(BOB, circle, "once");
    cases(any::<prop::sample::Index>(), |which| {
        let rig = &mut *rig.borrow_mut();
        let ids = rig.entry_ids(BOB, circle);
        let entry = rig.stored(BOB, Keyspace::Entries, circle, ids[which.index(ids.len())].as_bytes());
        let before = rig.store(ALICE);
        rig.give(BOB, ALICE, circle, vec![entry.clone(), entry]);
        assert!(rig.drain(ALICE).is_empty());
        assert!(rig.store(ALICE) == before && rig.refusals(ALICE).is_empty());
        rig.honest_exchange(circle);
    });
}

#[test]
fn an_entry_that_a_member_sealed_anew_is_stored_and_has_no_effect() {
    let (rig, circle) = Rig::pair();
    let rig = RefCell::new(rig);
    rig.borrow_mut().post(ALICE, circle, "once");
    cases(any::<prop::sample::Index>(), |which| {
        let rig = &mut *rig.borrow_mut();
        let ids = rig.entry_ids(BOB, circle);
        let entry = rig.stored(BOB, Keyspace::Entries, circle, ids[which.index(ids.len())].as_bytes());
        let again = rig.reseal(BOB, circle, &entry);
        let said = rig.messages(ALICE, circle);
        let (head, members) = (head(rig, ALICE, circle), rig.devices[ALICE].engine.membership(circle).cloned());
        rig.give(BOB, ALICE, circle, vec![again]);
        assert_eq!(rig.messages(ALICE, circle), said);
        assert_eq!(self::head(rig, ALICE, circle), head);
        assert_eq!(rig.devices[ALICE].engine.membership(circle).ok(), members.ok().as_ref());
        assert!(rig.refusals(ALICE).is_empty());
        rig.honest_exchange(circle);
    });
    let rig = &mut *rig.borrow_mut();
    let said = rig.messages(ALICE, circle);
    rig.reopen(ALICE);
    assert_eq!(rig.messages(ALICE, circle), said);
}

#[test]
fn an_entry_from_the_future_is_taken_and_disturbs_nobody() {
    let (mut rig, circle) = Rig::pair();
    for hour in [0, u32::MAX] {
        let (body, signer) = (change(&mut rig, BOB, circle), key_of(&rig, BOB));
        let forgery = Forgery::of(&rig, BOB, &signer, circle, body);
        let entry = Forgery { hour, ..forgery }.seal(&mut rig);
        rig.give(BOB, ALICE, circle, vec![entry.clone()]);
        rig.give(ALICE, BOB, circle, vec![entry]);
    }
    rig.settle();
    assert_eq!(rig.messages(ALICE, circle), ["forged", "forged"]);
    rig.honest_exchange(circle);
    rig.reopen(BOB);
    rig.connect(ALICE, BOB);
    rig.honest_exchange(circle);
}

#[test]
fn what_was_refused_is_not_asked_for_again() {
    let (mut rig, circle) = Rig::pair();
    let signer = key_of(&rig, BOB);
    let body = Body::Acknowledge(proto::Acknowledge { epoch: vec![1; 32] });
    let entry = Forgery::of(&rig, ALICE, &signer, circle, body).seal(&mut rig);
    let id = entry_id(&entry);
    let have = |rig: &mut Rig| {
        let ids = proto_frame::EntryIds { circle: circle.as_bytes().to_vec(), ids: id.as_bytes().to_vec() };
        rig.say(BOB, ALICE, crate::Channel::Sync, proto_frame::frame::Body::Have(ids));
        rig.drain(ALICE).len()
    };
    assert_eq!(have(&mut rig), 1, "what it does not know it asks for");
    rig.refuses(ALICE, Refusal::BadSignature, |rig| rig.give(BOB, ALICE, circle, vec![entry.clone()]));
    assert_eq!(have(&mut rig), 0);
    // And it is refused for the same reason, without being opened.
    rig.refuses(ALICE, Refusal::BadSignature, |rig| rig.give(BOB, ALICE, circle, vec![entry]));
    rig.honest_exchange(circle);
}

// Bodies.

#[test]
fn a_change_in_somebody_elses_name_is_refused() {
    let (rig, circle) = Rig::team(&["Alice", "Bob", "Carol"]);
    let rig = RefCell::new(rig);
    few_cases(any::<bool>(), |of_alice| {
        let rig = &mut *rig.borrow_mut();
        let body = change(rig, if of_alice { ALICE } else { CAROL }, circle);
        let entry = rig.seal(BOB, circle, body);
        rig.refuses(ALICE, Refusal::ForeignActor, |rig| rig.give(BOB, ALICE, circle, vec![entry]));
    });
}

#[test]
fn changes_of_garbage_are_refused() {
    let (rig, circle) = Rig::pair();
    let rig = RefCell::new(rig);
    cases(any::<(Vec<u8>, Vec<u8>)>(), |(document, garbage)| {
        let rig = &mut *rig.borrow_mut();
        for document in [document, vec![1; 16]] {
            let body = Body::Changes(proto::Changes { document, kind: 1, changes: vec![garbage.clone()] });
            let entry = rig.seal(BOB, circle, body);
            rig.refuses(ALICE, Refusal::Malformed, |rig| rig.give(BOB, ALICE, circle, vec![entry]));
        }
        rig.honest_exchange(circle);
    });
}

#[test]
fn one_bad_change_keeps_out_the_good_ones_of_its_entry() {
    let (mut rig, circle) = Rig::pair();
    let Body::Changes(mut changes) = change(&mut rig, BOB, circle) else { unreachable!("it makes changes") };
    changes.changes.push(b"not a change".to_vec());
    let entry = rig.seal(BOB, circle, Body::Changes(changes));
    rig.refuses(ALICE, Refusal::Malformed, |rig| rig.give(BOB, ALICE, circle, vec![entry]));
    assert!(rig.messages(ALICE, circle).is_empty());
}

#[test]
fn whoever_writes_to_a_document_first_does_not_settle_its_kind() {
    let (mut rig, circle) = Rig::pair();
    let body = Body::Changes(proto::Changes {
        document: chat(circle).as_bytes().to_vec(),
        kind: DocumentKind::Note.number().into(),
        changes: Vec::new(),
    });
    let entry = rig.seal(BOB, circle, body);
    rig.give(BOB, ALICE, circle, vec![entry]);
    rig.honest_exchange(circle);
    rig.reopen(ALICE);
    rig.connect(ALICE, BOB);
    rig.honest_exchange(circle);
}

#[test]
fn a_body_or_a_kind_of_a_newer_version_waits() {
    let (mut rig, circle) = Rig::pair();
    let signer = key_of(&rig, BOB);
    let newer = Body::Changes(proto::Changes { document: vec![1; 16], kind: 77, changes: vec![vec![1]] });
    for (count, body) in [None, Some(newer)].into_iter().enumerate() {
        let forgery = Forgery::of(&rig, BOB, &signer, circle, Body::Operation(Vec::new()));
        let entry = Forgery { body, ..forgery }.seal(&mut rig);
        rig.give(BOB, ALICE, circle, vec![entry]);
        assert_eq!(held(&rig, ALICE, circle), count + 1);
    }
    assert!(rig.refusals(ALICE).is_empty());
    rig.reopen(ALICE);
    assert_eq!(held(&rig, ALICE, circle), 2);
    rig.connect(ALICE, BOB);
    rig.honest_exchange(circle);
}

#[test]
fn operations_of_garbage_are_refused() {
    let (rig, circle) = Rig::pair();
    let rig = RefCell::new(rig);
    cases(any::<Vec<u8>>(), |garbage| {
        let rig = &mut *rig.borrow_mut();
        let entry = rig.seal(BOB, circle, Body::Operation(garbage));
        rig.refuses(ALICE, Refusal::Malformed, |rig| rig.give(BOB, ALICE, circle, vec![entry]));
        rig.honest_exchange(circle);
    });
}

#[test]
fn commits_of_garbage_are_refused_or_wait() {
    let (rig, circle) = Rig::mls_team(&["Alice", "Bob"]);
    let rig = RefCell::new(rig);
    few_cases(any::<(Vec<u8>, [u8; 32])>(), |(message, epoch)| {
        let rig = &mut *rig.borrow_mut();
        let parent = head(rig, ALICE, circle).to_vec();
        let operations = vec![rig.first_operation(ALICE, circle)];
        let commit = proto::Commit { parent, epoch: epoch.to_vec(), message, operations, ..Default::default() };
        let short = proto::Commit { parent: vec![1; 31], ..commit.clone() };
        let many = proto::Commit { operations: vec![vec![1; 32]; 4_097], ..commit.clone() };
        for (why, commit) in
            [(Refusal::UnjustifiedCommit, commit.clone()), (Refusal::Malformed, short), (Refusal::Oversized, many)]
        {
            let entry = rig.seal(BOB, circle, Body::Commit(commit));
            rig.refuses(ALICE, why, |rig| rig.give(BOB, ALICE, circle, vec![entry]));
        }
        // What it follows may be on its way. An epoch that this device is not in takes nobody's place.
        let waiting = held(rig, ALICE, circle);
        for commit in [
            proto::Commit { operations: vec![vec![9; 32]], ..commit.clone() },
            proto::Commit { parent: vec![9; 32], ..commit },
        ] {
            let entry = rig.seal(BOB, circle, Body::Commit(commit));
            rig.give(BOB, ALICE, circle, vec![entry]);
        }
        assert_eq!(held(rig, ALICE, circle), waiting + 1);
        rig.honest_exchange(circle);
    });
}

#[test]
fn welcomes_of_garbage_are_refused() {
    let (rig, circle) = Rig::mls_team(&["Alice", "Bob"]);
    let rig = RefCell::new(rig);
    few_cases(any::<Vec<u8>>(), |message| {
        let rig = &mut *rig.borrow_mut();
        let welcome = Body::Welcome(proto::Welcome { message, operations: Vec::new() });
        // Under a key that others have it says nothing to anybody.
        let open = rig.seal(BOB, circle, welcome.clone());
        rig.refuses(ALICE, Refusal::Unexpected, |rig| rig.give(BOB, ALICE, circle, vec![open]));
        let entry = rig.seal_direct(BOB, ALICE, circle, welcome);
        rig.refuses(ALICE, Refusal::Unexpected, |rig| rig.give(BOB, ALICE, circle, vec![entry]));
        rig.honest_exchange(circle);
    });
}

// Keys.

#[test]
fn a_document_id_of_no_length_that_there_is_is_refused() {
    let (mut rig, circle) = Rig::pair();
    for length in [0, 15, 17, 32] {
        let body = Body::Changes(proto::Changes { document: vec![1; length], kind: 1, changes: Vec::new() });
        let entry = rig.seal(BOB, circle, body);
        rig.refuses(ALICE, Refusal::Malformed, |rig| rig.give(BOB, ALICE, circle, vec![entry]));
    }
    assert_eq!(DocumentId::try_from(&[1; 15][..]).map_err(|error| error.to_string()), Err("not a document id".into()));
}

#[test]
fn a_flood_that_waits_makes_room_for_what_others_bring() {
    let (mut rig, circle) = Rig::team(&["Alice", "Bob", "Carol"]);
    rig.disconnect(ALICE, CAROL);
    rig.disconnect(BOB, CAROL);
    rig.disconnect(ALICE, BOB);
    rig.listen(ALICE, BOB);
    rig.listen(ALICE, CAROL);
    let key = |n: u32| ContentKey::from_bytes((*blake3::hash(&n.to_be_bytes()).as_bytes()).into());
    let bytes = crate::HELD_BYTES_MAX / 80;
    let long = |n| proto::Changes { document: vec![1; 16], kind: 1, changes: vec![vec![n; bytes - 4_096]] };
    for n in 0..90 {
        let entry = rig.seal_under(BOB, circle, &key(n.into()), Body::Changes(long(n)));
        rig.give(BOB, ALICE, circle, vec![entry]);
        rig.drain(ALICE);
    }
    let full = held(&rig, ALICE, circle);
    assert!(full < 90 && rig.refusals(ALICE).contains_key(&Refusal::TooManyHeld));
    let entry = rig.seal_under(CAROL, circle, &key(99), Body::Changes(long(99)));
    let id = entry_id(&entry);
    rig.give(CAROL, ALICE, circle, vec![entry]);
    rig.drain(ALICE);
    assert!(rig.entry_ids(ALICE, circle).contains(&id));
    assert_eq!(held(&rig, ALICE, circle), full);
}

// For one device.
