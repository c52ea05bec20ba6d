//! Bundles, and what no honest device bundles.

use std::collections::BTreeSet;

use clave_crdt::{Bundle, Bundled, DocumentKind, inspect_change};
use clave_crypto::{ContentKey, DeviceId};
use prost::Message as _;

use super::entries::{change_as, key_of};
use super::rig::*;
use crate::entry::{Body, Envelope};
use crate::proto::entry as proto;
use crate::{Bundling, CircleId, EntryId, Key, Keyspace, Refusal};

const KIND: DocumentKind = DocumentKind::Timeline;

/// Has everybody bundle from now on, early and often.
fn bundle_early(rig: &mut Rig) {
    let early = Bundling { settled_hours: 0, closed_only: false, changes_min: 4, changes_again: 4, at_once_max: 2 };
    rig.devices.iter_mut().for_each(|device| device.engine.set_bundling(early));
}

fn bundle_never(rig: &mut Rig) {
    let never = Bundling { changes_min: u64::MAX, changes_again: u64::MAX, ..Bundling::default() };
    rig.devices.iter_mut().for_each(|device| device.engine.set_bundling(never));
}

fn tick(rig: &mut Rig, who: usize) {
    for _ in 0..50 {
        rig.now_ms += 100;
        let now_ms = rig.now_ms;
        rig.devices[who].engine.handle_tick(now_ms);
        rig.drain(who);
    }
}

/// What is in an entry that `who` can read.
fn opened(rig: &Rig, who: usize, circle: CircleId, id: &EntryId) -> Option<(Envelope, proto::SignedEntry, Body)> {
    let envelope = Envelope::decode(rig.stored(who, Keyspace::Entries, circle, id.as_bytes())).expect("it was checked");
    let key = rig.devices[who].engine.circles[&circle].content_key(&envelope.tag)?;
    let signed = envelope.reopen(circle, key).ok()?;
    let body = proto::Entry::decode(signed.entry.as_slice()).ok()?.body?;
    Some((envelope, signed, body))
}

fn bundles(rig: &Rig, who: usize, circle: CircleId) -> Vec<(EntryId, u32, proto::Bundle)> {
    let all = rig.entry_ids(who, circle).into_iter().filter_map(|id| opened(rig, who, circle, &id));
    let bundle = |(envelope, _, body): (Envelope, _, Body)| match body {
        Body::Bundle(bundle) => Some((envelope.id, envelope.hour, bundle)),
        _ => None,
    };
    all.filter_map(bundle).collect()
}

/// How many entries bring changes of the chat.
fn loose(rig: &Rig, who: usize, circle: CircleId) -> usize {
    let all = rig.entry_ids(who, circle).into_iter().filter_map(|id| opened(rig, who, circle, &id));
    all.filter(|(_, _, body)| matches!(body, Body::Changes(changes) if changes.kind == 1)).count()
}

/// Three people who said four things each, nothing of it bundled yet.
fn chatting() -> (Rig, CircleId, Vec<String>) {
    let (mut rig, circle) = Rig::team(&["Alice", "Bob", "Carol"]);
    bundle_never(&mut rig);
    let mut said = Vec::new();
    for n in 0..12 {
        let text = format!("你好 {n}");
        rig.post(n % 3, circle, &text);
        said.push(text);
    }
    (rig, circle, said)
}

fn part(rig: &mut Rig) {
    for (one, other) in [(ALICE, BOB), (ALICE, CAROL), (BOB, CAROL)] {
        rig.disconnect(one, other);
    }
}

fn meet(rig: &mut Rig) {
    for (one, other) in [(ALICE, BOB), (ALICE, CAROL), (BOB, CAROL)] {
        rig.connect(one, other);
    }
    rig.settle();
}

/// A bundle that Alice made, and the rest of what she has.
fn bundled() -> (Rig, CircleId, u32, proto::Bundle) {
    let (mut rig, circle, _) = chatting();
    part(&mut rig);
    bundle_early(&mut rig);
    tick(&mut rig, ALICE);
    let (_, hour, bundle) = bundles(&rig, ALICE, circle).pop().expect("she made one");
    bundle_never(&mut rig);
    (rig, circle, hour, bundle)
}

fn seal(key: &ContentKey, circle: CircleId, hour: u32, bundle: proto::Bundle) -> Vec<u8> {
    Envelope::seal_alike(circle, key, Body::Bundle(bundle), hour).expect("it fits").bytes
}

fn unpacked(bundle: &proto::Bundle) -> Vec<Bundled> {
    Bundle::unpack(KIND, &bundle.changes).expect("it is sound").into_changes()
}

/// Bob does not take that bundle, for this reason.
fn is_refused(why: Refusal, alter: impl FnOnce(&mut Rig, CircleId, &mut proto::Bundle)) {
    let (mut rig, circle, hour, mut bundle) = bundled();
    alter(&mut rig, circle, &mut bundle);
    let key = rig.head_key(BOB, circle);
    let entry = seal(&key, circle, hour, bundle);
    rig.listen(BOB, CAROL);
    rig.refuses(BOB, why, |rig| rig.give(CAROL, BOB, circle, vec![entry]));
}

#[test]
fn whoever_has_the_same_entries_makes_the_same_bundle_and_lets_go_of_them() {
    let (mut rig, circle, said) = chatting();
    let before = rig.entry_ids(ALICE, circle);
    assert_eq!(loose(&rig, ALICE, circle), 12);
    part(&mut rig);
    bundle_early(&mut rig);
    for who in [ALICE, BOB, CAROL] {
        tick(&mut rig, who);
        assert_eq!((bundles(&rig, who, circle).len(), loose(&rig, who, circle)), (1, 0));
    }
    let after = rig.entry_ids(ALICE, circle);
    assert_eq!(after.len(), before.len() - 12 + 1);
    assert!([BOB, CAROL].iter().all(|who| rig.entry_ids(*who, circle) == after));
    for who in [ALICE, BOB, CAROL] {
        assert_eq!(rig.messages(who, circle), said);
        rig.reopen(who);
        assert_eq!(rig.messages(who, circle), said);
    }
    meet(&mut rig);
    assert_eq!(rig.entry_ids(CAROL, circle), after);
}

#[test]
fn who_comes_later_reads_the_bundle_and_what_is_said_to_it() {
    let mut rig = Rig::new(&["Alice", "Bob", "Carol"]);
    let circle = rig.create(ALICE);
    rig.invite(ALICE, circle, BOB);
    bundle_never(&mut rig);
    for n in 0..8 {
        rig.post(n % 2, circle, &format!("会议 {n}"));
    }
    bundle_early(&mut rig);
    rig.settle();
    assert_eq!((bundles(&rig, BOB, circle).len(), loose(&rig, BOB, circle)), (1, 0));
    rig.invite(ALICE, circle, CAROL);
    rig.settle();
    assert_eq!(rig.messages(CAROL, circle).len(), 8);
    // Not one of the changes was written by itself.
    assert!(rig.store(CAROL).keys().all(|key| key.keyspace != Keyspace::Changes));
    rig.post(CAROL, circle, "你好");
    for who in [ALICE, BOB, CAROL] {
        assert_eq!(rig.messages(who, circle).len(), 9);
        rig.reopen(who);
        assert_eq!(rig.messages(who, circle).len(), 9);
    }
}

#[test]
fn who_was_away_gets_the_bundle_and_is_not_asked_for_what_it_covers() {
    let (mut rig, circle, said) = chatting();
    rig.disconnect(ALICE, CAROL);
    rig.disconnect(BOB, CAROL);
    bundle_early(&mut rig);
    bundle_never_of(&mut rig, CAROL);
    rig.settle();
    assert_eq!((loose(&rig, ALICE, circle), loose(&rig, BOB, circle), loose(&rig, CAROL, circle)), (0, 0, 12));
    let covered: BTreeSet<EntryId> =
        rig.entry_ids(CAROL, circle).into_iter().filter(|id| !rig.entry_ids(ALICE, circle).contains(id)).collect();
    rig.tape.clear();
    meet(&mut rig);
    rig.settle();
    assert_eq!(rig.entry_ids(CAROL, circle), rig.entry_ids(ALICE, circle));
    assert_eq!((loose(&rig, CAROL, circle), rig.messages(CAROL, circle)), (0, said));
    // A few are asked for at once, in case they are no bundle's.
    let entries = covered.iter().map(|id| &id.as_bytes()[..]).collect::<Vec<_>>();
    let wanted = rig.tape.iter().filter(|sent| sent.to == CAROL).map(|sent| {
        let frame = crate::proto::frame::Frame::decode(sent.frame.as_slice()).ok().and_then(|frame| frame.body);
        match frame {
            Some(crate::proto::frame::frame::Body::Want(ids)) => {
                ids.ids.chunks(32).filter(|id| entries.contains(id)).count()
            }
            _ => 0,
        }
    });
    assert_eq!(wanted.sum::<usize>(), 0);
}

fn bundle_never_of(rig: &mut Rig, who: usize) {
    let never = Bundling { changes_min: u64::MAX, changes_again: u64::MAX, ..Bundling::default() };
    rig.devices[who].engine.set_bundling(never);
}

#[test]
fn an_entry_that_a_bundle_covers_is_no_news_and_no_offence() {
    let (mut rig, circle, said) = chatting();
    let ids = rig.entry_ids(CAROL, circle);
    let old: Vec<Vec<u8>> = ids.iter().map(|id| rig.stored(CAROL, Keyspace::Entries, circle, id.as_bytes())).collect();
    bundle_early(&mut rig);
    rig.settle();
    let after = rig.entry_ids(ALICE, circle);
    let refusals = rig.refusals(ALICE);
    rig.give(CAROL, ALICE, circle, old.clone());
    rig.settle();
    rig.reopen(ALICE);
    meet(&mut rig);
    rig.give(CAROL, ALICE, circle, old);
    rig.settle();
    assert_eq!((rig.entry_ids(ALICE, circle), rig.refusals(ALICE)), (after, Default::default()));
    assert_eq!((refusals, rig.messages(ALICE, circle)), (Default::default(), said));
}

#[test]
fn of_two_bundles_one_of_which_includes_the_other_that_one_stays() {
    let (mut rig, circle, said) = chatting();
    part(&mut rig);
    bundle_early(&mut rig);
    tick(&mut rig, ALICE);
    // Bob alone hears more, and bundles more.
    bundle_never_of(&mut rig, CAROL);
    let more: Vec<String> = (0..4).map(|n| format!("再见 {n}")).collect();
    bundle_never_of(&mut rig, BOB);
    for text in &more {
        rig.post(BOB, circle, text);
    }
    bundle_early(&mut rig);
    tick(&mut rig, BOB);
    let greater = bundles(&rig, BOB, circle).pop().expect("he made one").0;
    assert_eq!(unpacked(&bundles(&rig, BOB, circle)[0].2).len(), 16);
    meet(&mut rig);
    rig.settle();
    for who in [ALICE, BOB, CAROL] {
        let ids: Vec<EntryId> = bundles(&rig, who, circle).into_iter().map(|(id, ..)| id).collect();
        assert_eq!((ids, loose(&rig, who, circle)), (vec![greater], 0));
        assert_eq!(rig.messages(who, circle), [said.clone(), more.clone()].concat());
    }
}

#[test]
fn enough_that_came_late_is_bundled_anew_with_what_was() {
    let (mut rig, circle, mut said) = chatting();
    bundle_early(&mut rig);
    rig.settle();
    let first = bundles(&rig, ALICE, circle)[0].0;
    for n in 0..4 {
        said.push(format!("late {n}"));
        rig.post(n % 3, circle, &said[12 + n]);
    }
    rig.settle();
    let all = bundles(&rig, CAROL, circle);
    assert_eq!((all.len(), loose(&rig, CAROL, circle)), (1, 0));
    assert_ne!(all[0].0, first);
    assert_eq!(unpacked(&all[0].2).len(), 16);
    assert_eq!(rig.messages(CAROL, circle), said);
}

#[test]
fn a_bundle_that_leaves_some_out_hides_nothing() {
    let (mut rig, circle, hour, bundle) = bundled();
    // Carol makes one of what Alice and Bob said first, with signatures that they made for it.
    let changes: Vec<Bundled> = unpacked(&bundle);
    let some = Bundle::new(KIND, changes[..5].to_vec()).expect("it is closed");
    let mut proofs = Vec::new();
    for (actor, tip) in some.tips() {
        let hash = some.changes()[tip].0.hash;
        let said = rig.entry_ids(BOB, circle).into_iter().filter_map(|id| opened(&rig, BOB, circle, &id));
        let brings = |changes: &proto::Changes| {
            changes.changes.iter().any(|bytes| inspect_change(bytes).is_ok_and(|info| info.hash == hash))
        };
        let mut said = said;
        let (envelope, signed, _) = said
            .find(|(_, _, body)| matches!(body, Body::Changes(changes) if brings(changes)))
            .expect("Bob has all of it");
        let author = proto::Entry::decode(signed.entry.as_slice()).expect("it was checked").author;
        assert!(actor.belongs_to(author.as_slice().try_into().expect("32 bytes")));
        proofs.push(proto::Proof {
            author: author[16..].to_vec(),
            signature: signed.signature,
            hour: envelope.hour,
            tag: 0,
            changes: vec![u32::try_from(tip).expect("few")],
        });
    }
    let lesser = proto::Bundle { changes: some.pack().expect("few"), proofs, ..bundle };
    let entry = seal(&rig.head_key(BOB, circle), circle, hour, lesser);
    let before = rig.messages(BOB, circle);
    rig.listen(BOB, CAROL);
    rig.give(CAROL, BOB, circle, vec![entry]);
    rig.drain(BOB);
    tick(&mut rig, BOB);
    assert_eq!(rig.refusals(BOB), Default::default());
    assert_eq!((bundles(&rig, BOB, circle).len(), loose(&rig, BOB, circle)), (1, 7));
    assert_eq!(rig.messages(BOB, circle), before);
    // The one that includes it takes its place.
    meet(&mut rig);
    rig.settle();
    assert_eq!((bundles(&rig, BOB, circle).len(), loose(&rig, BOB, circle)), (1, 0));
    assert_eq!(rig.messages(BOB, circle), before);
}

#[test]
fn a_bundle_proves_the_last_change_of_each_actor() {
    is_refused(Refusal::Unproven, |_, _, bundle| drop(bundle.proofs.pop()));
    is_refused(Refusal::Unproven, |_, _, bundle| bundle.proofs.push(bundle.proofs[0].clone()));
    is_refused(Refusal::Unproven, |_, _, bundle| bundle.proofs[0].changes.clear());
    is_refused(Refusal::Unproven, |_, _, bundle| {
        // What its author signed before says nothing of what is here.
        let changes = unpacked(bundle);
        let place = bundle.proofs[0].changes[0] as usize;
        let earlier = changes.iter().position(|(info, _)| info.actor == changes[place].0.actor).expect("it is there");
        assert_ne!(earlier, place);
        bundle.proofs[0].changes = vec![u32::try_from(earlier).expect("few")];
    });
    is_refused(Refusal::ForeignActor, |_, _, bundle| {
        let other = bundle.proofs[1].changes[0];
        bundle.proofs[0].changes.push(other);
    });
}

#[test]
fn a_bundle_with_a_change_that_its_author_did_not_sign_is_refused() {
    // Carol goes on in Bob's name, and signs that herself.
    is_refused(Refusal::BadSignature, |rig, circle, bundle| {
        let carol = key_of(rig, CAROL);
        let mut changes = unpacked(bundle);
        let forged = forge(&changes, rig.devices[BOB].id, circle);
        changes.push(forged.clone());
        let forged_bundle = Bundle::new(KIND, changes).expect("it is closed");
        let place = forged_bundle.changes().iter().position(|(info, _)| info.hash == forged.0.hash).expect("it is in");
        let number = forged_bundle.tips().keys().position(|actor| *actor == forged.0.actor).expect("it has a proof");
        let tag = clave_crypto::KeyId::try_from(bundle.tags[0].as_slice()).expect("a tag");
        let hour = bundle.proofs[number].hour;
        let body = Body::Changes(proto::Changes {
            document: bundle.document.clone(),
            kind: bundle.kind,
            changes: vec![forged.1],
        });
        let author = rig.devices[BOB].id.as_bytes().to_vec();
        let entry = proto::Entry { author, body: Some(body) }.encode_to_vec();
        let header = [&1_u32.to_be_bytes()[..], &hour.to_be_bytes(), tag.as_bytes()].concat();
        let context = [circle.as_bytes().as_slice(), &header, &entry].concat();
        let signature = carol.sign(clave_crypto::Domain::Entry, &context);
        bundle.proofs[number].signature = signature.as_bytes().to_vec();
        bundle.proofs[number].changes = vec![u32::try_from(place).expect("few")];
        renumber(bundle, &forged_bundle);
    });
    // With somebody else's signature, hour or tag.
    is_refused(Refusal::BadSignature, |_, _, bundle| {
        bundle.proofs[0].signature = bundle.proofs[1].signature.clone();
    });
    is_refused(Refusal::BadSignature, |_, _, bundle| bundle.tags[0][0] ^= 1);
    is_refused(Refusal::BadSignature, |_, _, bundle| bundle.document[0] ^= 1);
}

/// A change that goes on from Bob's last in his name.
fn forge(changes: &[Bundled], bob: DeviceId, circle: CircleId) -> Bundled {
    let own = changes.iter().rev().find(|(info, _)| info.actor.belongs_to(bob.as_bytes())).expect("Bob said something");
    let all: Vec<Vec<u8>> = changes.iter().map(|(_, bytes)| bytes.clone()).collect();
    let mut document = clave_crdt::Document::load(KIND, own.0.actor, None, &all).expect("they are sound");
    let Body::Changes(_) = change_as(own.0.actor, [9; 6], 1, circle) else { unreachable!("it makes changes") };
    document.timeline().expect("a chat").post(1, [9; 6], &clave_crdt::Draft::text("forged")).expect("it is short");
    let bytes = document.commit(1).expect("something was posted");
    (inspect_change(&bytes).expect("it is sound"), bytes)
}

/// Puts other changes into a bundle, of which each proof but those that name new ones goes on to say what it said.
fn renumber(bundle: &mut proto::Bundle, now: &Bundle) {
    let before = unpacked(bundle);
    for proof in &mut bundle.proofs {
        for place in &mut proof.changes {
            if let Some((info, _)) = before.get(*place as usize) {
                let at = now.changes().iter().position(|(other, _)| other.hash == info.hash).expect("it stayed");
                *place = u32::try_from(at).expect("few");
            }
        }
    }
    bundle.changes = now.pack().expect("it is small");
}

#[test]
fn a_bundle_is_bounded_whatever_it_unpacks_to() {
    let deflated = |bytes: &[u8]| {
        use std::io::Write as _;
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).expect("memory takes it");
        encoder.finish().expect("memory takes it")
    };
    is_refused(Refusal::Oversized, |_, _, bundle| {
        bundle.changes = deflated(&vec![0; clave_crdt::BUNDLE_BYTES_MAX + 1]);
    });
    is_refused(Refusal::Malformed, |_, _, bundle| bundle.changes = deflated(&[0xff; 100]));
    is_refused(Refusal::Malformed, |_, _, bundle| drop(bundle.changes.split_off(20)));
    is_refused(Refusal::Malformed, |_, _, bundle| bundle.proofs[0].tag = 9);
    is_refused(Refusal::Malformed, |_, _, bundle| bundle.proofs[0].author.truncate(15));
    is_refused(Refusal::Malformed, |_, _, bundle| bundle.document.truncate(15));
}

#[test]
fn a_bundle_names_nobody_is_of_the_hour_that_it_proves_and_is_for_all() {
    let (mut rig, circle, hour, bundle) = bundled();
    rig.listen(BOB, CAROL);
    let key = rig.head_key(BOB, circle);
    let late = seal(&key, circle, hour + 1, bundle.clone());
    rig.refuses(BOB, Refusal::Unproven, |rig| rig.give(CAROL, BOB, circle, vec![late]));
    let lasting = seal(&key.lasting(), circle, hour, bundle.clone());
    rig.refuses(BOB, Refusal::WrongKey, |rig| rig.give(CAROL, BOB, circle, vec![lasting]));
    let author = rig.devices[CAROL].id.as_bytes().to_vec();
    let entry = proto::Entry { author, body: Some(Body::Bundle(bundle.clone())) }.encode_to_vec();
    let signer = key_of(&rig, CAROL);
    let named = Envelope::seal_entry(circle, &signer, &key, entry, rig.now_ms, &mut rig.entropy).expect("it fits");
    rig.refuses(BOB, Refusal::Malformed, |rig| rig.give(CAROL, BOB, circle, vec![named.bytes]));
    let direct = rig.seal_direct(CAROL, BOB, circle, Body::Bundle(bundle.clone()));
    rig.refuses(BOB, Refusal::Unexpected, |rig| rig.give(CAROL, BOB, circle, vec![direct]));
    // A kind that this version does not bundle.
    let other = proto::Bundle { kind: 2, ..bundle };
    let before = rig.devices[BOB].engine.status(circle).expect("a member").held;
    rig.give(CAROL, BOB, circle, vec![seal(&key, circle, hour, other)]);
    assert_eq!(rig.devices[BOB].engine.status(circle).expect("a member").held, before + 1);
}

#[test]
fn what_was_dropped_is_gone_from_the_store() {
    let (mut rig, ..) = chatting();
    let bytes = |rig: &Rig| -> usize {
        let of = |key: &Key| key.keyspace == Keyspace::Entries;
        rig.store(ALICE).iter().filter(|(key, _)| of(key)).map(|(_, value)| value.len()).sum()
    };
    let before = bytes(&rig);
    bundle_early(&mut rig);
    rig.settle();
    assert!(bytes(&rig) < before, "{} of {before}", bytes(&rig));
}
