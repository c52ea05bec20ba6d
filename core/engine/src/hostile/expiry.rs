//! Ratcheted circles: what is erased when, and what nobody gets back in.

use std::collections::BTreeSet;

use super::rig::*;
use crate::entry::{Body, HOUR_MS};
use crate::membership::Action;
use crate::proto::{entry as proto, local};
use crate::{CircleId, EntryId, Keyspace, Refusal};
use clave_crypto::KeyId;
use prost::Message as _;

const DAVE: usize = 3;

/// A day: periods of six hours.
const RATCHET_SECONDS: u64 = 86_400;
const PERIOD_MS: u64 = 6 * HOUR_MS;

fn set(rig: &mut Rig, circle: CircleId, value: &str) {
    let (key, value) = ("history".to_owned(), value.to_owned());
    rig.act(ALICE, circle, Action::SetPolicy { key, value, keep_heads: Vec::new() });
    rig.settle();
}

fn ratcheted(names: &[&str], members: &[usize]) -> (Rig, CircleId) {
    let mut rig = Rig::with_mls(names);
    let circle = rig.create(ALICE);
    for member in members {
        rig.invite(ALICE, circle, *member);
    }
    for one in members {
        for other in members.iter().filter(|other| *other > one) {
            rig.connect(*one, *other);
        }
    }
    set(&mut rig, circle, &format!("ratcheted:{RATCHET_SECONDS}"));
    (rig, circle)
}

/// Lets time pass as it does: by the hour.
fn pass(rig: &mut Rig, ms: u64) {
    let until_ms = rig.now_ms + ms;
    while rig.now_ms < until_ms {
        rig.now_ms = (rig.now_ms + HOUR_MS).min(until_ms);
        rig.settle();
    }
    for _ in 0..8 {
        rig.settle();
    }
}

fn keys(rig: &Rig, who: usize, circle: CircleId) -> BTreeSet<Vec<u8>> {
    let names = rig.key_names(who, circle).into_iter().filter(|name| !name.is_lasting());
    names.map(|name| name.as_bytes().to_vec()).collect()
}

/// How many epochs have their secrets in the store.
fn secrets(rig: &Rig, who: usize, circle: CircleId) -> usize {
    let records = rig.store(who).into_iter();
    let records = records.filter(|(key, _)| key.keyspace == Keyspace::Checkpoints && key.scope == circle.as_bytes());
    let read = |record: Vec<u8>| local::Checkpoint::decode(record.as_slice()).expect("it was written as one");
    records.filter(|(_, record)| !read(record.clone()).state.is_empty()).count()
}

/// The entries that are to expire.
fn fleeting(rig: &Rig, who: usize, circle: CircleId) -> BTreeSet<EntryId> {
    let (circle, desk) = (&rig.devices[who].engine.circles[&circle], &rig.devices[who].engine.desk);
    let tag = |id: &EntryId| {
        let bytes = circle.envelope(id, desk).expect("memory can be read").expect("it is in the index");
        crate::entry::Envelope::decode(bytes).expect("it was stored as one").tag
    };
    rig.entry_ids(who, circle.id).into_iter().filter(|id| !tag(id).is_lasting()).collect()
}

fn has(rig: &Rig, who: usize, circle: CircleId, tag: &KeyId) -> bool {
    keys(rig, who, circle).contains(tag.as_bytes().as_slice())
}

#[test]
fn what_expired_is_in_no_keyspace() {
    let (mut rig, circle) = ratcheted(&["Alice", "Bob"], &[BOB]);
    rig.post(ALICE, circle, "gone soon");
    let (tag, entries) = (rig.tag(ALICE, circle), fleeting(&rig, ALICE, circle));
    pass(&mut rig, PERIOD_MS);
    rig.post(BOB, circle, "a period younger");
    assert!(has(&rig, ALICE, circle, &tag) && has(&rig, BOB, circle, &tag));
    pass(&mut rig, DAY_MS - PERIOD_MS);
    // At least the stated time.
    assert_eq!(rig.messages(ALICE, circle), ["gone soon", "a period younger"]);
    pass(&mut rig, PERIOD_MS);
    for who in [ALICE, BOB] {
        assert_eq!(rig.messages(who, circle), ["a period younger"]);
    }
    pass(&mut rig, PERIOD_MS + HOUR_MS);
    for who in [ALICE, BOB] {
        assert_eq!(rig.messages(who, circle), [""; 0]);
        assert!(!has(&rig, who, circle, &tag));
        assert!(!rig.entry_ids(who, circle).iter().any(|id| entries.contains(id)));
        let left: BTreeSet<Keyspace> = rig.store(who).into_keys().map(|key| key.keyspace).collect();
        for keyspace in [Keyspace::Documents, Keyspace::Snapshots, Keyspace::Changes, Keyspace::Authors, Keyspace::Held]
        {
            assert!(!left.contains(&keyspace), "{keyspace:?}");
        }
    }
    // In silence nothing is replaced any more, and all that is left is the head.
    let head = rig.tag(ALICE, circle);
    pass(&mut rig, 3 * DAY_MS);
    for who in [ALICE, BOB] {
        assert_eq!(keys(&rig, who, circle), BTreeSet::from([head.as_bytes().to_vec()]));
        assert_eq!(secrets(&rig, who, circle), 1);
    }
    rig.reopen(ALICE);
    rig.connect(ALICE, BOB);
    rig.honest_exchange(circle);
    assert_eq!(rig.messages(BOB, circle).len(), 2);
}

#[test]
fn the_key_is_replaced_once_a_period_when_it_is_used() {
    let (mut rig, circle) = ratcheted(&["Alice", "Bob", "Carol"], &[BOB, CAROL]);
    pass(&mut rig, DAY_MS);
    let depth = |rig: &Rig| rig.devices[CAROL].engine.status(circle).expect("a member").depth;
    let before = depth(&rig);
    pass(&mut rig, DAY_MS);
    assert_eq!(depth(&rig), before);
    for _ in 0..8 {
        rig.post(BOB, circle, "on and on");
        pass(&mut rig, PERIOD_MS / 2);
    }
    let made = depth(&rig) - before;
    assert!((3..=5).contains(&made), "{made} commits in a day");
    assert_eq!(rig.tag(ALICE, circle), rig.tag(CAROL, circle));
}

#[test]
fn an_expired_entry_is_refused_and_not_asked_for_again() {
    let (mut rig, circle) = ratcheted(&["Alice", "Bob"], &[BOB]);
    let entry = rig.seal(BOB, circle, Body::Acknowledge(proto::Acknowledge { epoch: vec![1; 32] }));
    let changes = {
        rig.post(BOB, circle, "once");
        let id = *rig.entry_ids(ALICE, circle).last().expect("there is one");
        rig.stored(ALICE, Keyspace::Entries, circle, id.as_bytes())
    };
    pass(&mut rig, 2 * DAY_MS);
    for late in [entry, changes.clone()] {
        rig.refuses(ALICE, Refusal::Expired, |rig| rig.give(BOB, ALICE, circle, vec![late]));
    }
    // A device whose clock stands still has it yet, and offers it at each reconciliation.
    let id = crate::entry::entry_id(&changes);
    assert!(!rig.devices[ALICE].engine.circles[&circle].wants(&id));
}

#[test]
fn a_device_that_has_not_expired_anything_yet_is_no_endless_talk() {
    let (mut rig, circle) = ratcheted(&["Alice", "Bob"], &[BOB]);
    for n in 0..20 {
        rig.post(ALICE, circle, &format!("{n}"));
    }
    rig.reopen(BOB);
    // Only Alice's clock goes on.
    let then_ms = rig.now_ms;
    rig.now_ms += 2 * DAY_MS;
    let now_ms = rig.now_ms;
    rig.devices[ALICE].engine.handle_tick(now_ms);
    rig.drain(ALICE);
    assert!(rig.messages(ALICE, circle).is_empty());
    rig.now_ms = then_ms;
    rig.reopen(ALICE);
    rig.now_ms = now_ms;
    rig.devices[ALICE].engine.handle_tick(now_ms);
    rig.now_ms = then_ms;
    rig.tape.clear();
    rig.connect(ALICE, BOB);
    // It comes to rest, though Bob has what Alice will not have.
    rig.settle();
    assert!(rig.tape.len() < 200, "{} frames", rig.tape.len());
}

#[test]
fn who_was_away_for_longer_than_anything_lasts_comes_back() {
    let (mut rig, circle) = ratcheted(&["Alice", "Bob", "Carol", "Dave"], &[BOB, CAROL]);
    rig.honest_exchange_of(circle, &[ALICE, BOB, CAROL]);
    for other in [ALICE, BOB] {
        rig.disconnect(CAROL, other);
    }
    pass(&mut rig, PERIOD_MS);
    // Meanwhile Bob is removed and Dave comes, and of that no entry is left.
    let bob = rig.devices[BOB].engine.identity().person().expect("he is somebody");
    rig.act(ALICE, circle, Action::RevokePerson { person: bob, keep_heads: Vec::new(), keep_changes: Vec::new() });
    rig.settle();
    rig.invite(ALICE, circle, DAVE);
    for _ in 0..16 {
        rig.post(DAVE, circle, "while she is away");
        pass(&mut rig, PERIOD_MS / 2);
    }
    pass(&mut rig, 2 * DAY_MS);
    assert_ne!(rig.tag(CAROL, circle), rig.tag(ALICE, circle));
    rig.connect(CAROL, ALICE);
    pass(&mut rig, 60_000);
    assert_eq!(rig.tag(CAROL, circle), rig.tag(ALICE, circle));
    rig.connect(CAROL, DAVE);
    rig.honest_exchange_of(circle, &[ALICE, CAROL, DAVE]);
    let roster = |rig: &Rig, who: usize| rig.devices[who].engine.membership(circle).expect("a member").clone();
    assert_eq!(roster(&rig, CAROL).devices.len(), 3);
    assert_eq!(roster(&rig, CAROL), roster(&rig, ALICE));
}

#[test]
fn a_newcomer_reads_what_is_written_since_it_came() {
    for policy in ["since_joining", "ratcheted:86400"] {
        let mut rig = Rig::with_mls(&["Alice", "Bob", "Carol"]);
        let circle = rig.create(ALICE);
        rig.invite(ALICE, circle, BOB);
        rig.post(BOB, circle, "with all of the past");
        set(&mut rig, circle, policy);
        rig.post(ALICE, circle, "before");
        rig.invite(BOB, circle, CAROL);
        rig.connect(ALICE, CAROL);
        rig.settle();
        for who in [ALICE, BOB, CAROL] {
            rig.post(who, circle, &format!("{who} after"));
        }
        assert_eq!(rig.messages(CAROL, circle), ["0 after", "1 after", "2 after"], "{policy}");
        for who in [ALICE, BOB] {
            let all = ["with all of the past", "before", "0 after", "1 after", "2 after"];
            assert_eq!(rig.messages(who, circle), all, "{policy}");
        }
        assert_eq!(rig.devices[CAROL].engine.status(circle).expect("a member").waiting, 0);
    }
}

#[test]
fn a_policy_of_less_than_an_hour_is_refused_where_it_is_set() {
    let (mut rig, circle) = Rig::pair();
    let (key, now_ms) = ("history".to_owned(), rig.now_ms);
    let action = Action::SetPolicy { key, value: "ratcheted:3599".to_owned(), keep_heads: Vec::new() };
    assert!(rig.devices[ALICE].engine.act(circle, action, now_ms).is_err());
}

#[test]
fn operations_come_with_the_answer_to_a_plea_only() {
    let (mut rig, circle) = Rig::pair();
    let log = vec![rig.stored(BOB, Keyspace::Operations, circle, &rig.first_operation(BOB, circle))];
    let bundle = proto::KeyBundle { log, ..proto::KeyBundle::default() };
    let entry = rig.seal(BOB, circle, Body::Keys(bundle));
    rig.refuses(ALICE, Refusal::Unexpected, |rig| rig.give(BOB, ALICE, circle, vec![entry]));
    let bundle = proto::KeyBundle { log: vec![vec![1, 2, 3]], ..proto::KeyBundle::default() };
    let entry = rig.seal_direct(BOB, ALICE, circle, Body::Keys(bundle));
    rig.refuses(ALICE, Refusal::Malformed, |rig| rig.give(BOB, ALICE, circle, vec![entry]));
}
