//! Indexes that are missing or damaged, and peers that make reconciliation costly.

use std::collections::BTreeMap;

use prost::Message as _;

use super::rig::*;
use crate::index::RECONCILE_BYTES_MAX;
use crate::proto::frame as proto;
use crate::proto::frame::frame::Body;
use crate::{Batch, Channel, CircleId, Key, Keyspace, Refusal, benching};

const FILLERS: u64 = 500;

/// The records of a device's index.
fn index_of(rig: &Rig, who: usize) -> BTreeMap<Key, Vec<u8>> {
    let mut records = rig.store(who);
    records.retain(|key, _| matches!(key.keyspace, Keyspace::Index | Keyspace::LastingUses));
    records
}

fn fill(rig: &mut Rig, who: usize, circle: CircleId) {
    let entries = (0..FILLERS).map(|number| (400_000 + (number / 40) as u32, number));
    let now_ms = rig.now_ms;
    benching::fill(&mut rig.devices[who].engine, circle, entries, now_ms).expect("a member");
    rig.settle();
}

/// Whether the index is what it would be if it were made anew.
fn is_sound(rig: &mut Rig, who: usize, circle: CircleId) -> bool {
    let now_ms = rig.now_ms;
    let (entries, agreed) = rig.devices[who].engine.rebuild_indexes(circle, now_ms).expect("the entries can be read");
    rig.settle();
    agreed && entries == rig.entry_ids(who, circle).len()
}

#[test]
fn a_store_from_before_there_was_an_index_gets_one_once() {
    let (mut rig, circle) = Rig::pair();
    rig.honest_exchange(circle);
    rig.write_note(ALICE, circle, "会议记录");
    fill(&mut rig, ALICE, circle);
    let before = index_of(&rig, ALICE);
    assert!(before.keys().any(|key| key.keyspace == Keyspace::LastingUses), "a note lasts");
    let removals = before.keys().map(|key| (key.clone(), None)).collect();
    rig.devices[ALICE].store.write(&Batch { writes: removals });
    rig.reopen(ALICE);
    rig.settle();
    let made = index_of(&rig, ALICE);
    let lasting = |records: &BTreeMap<Key, Vec<u8>>| {
        let mut records = records.clone();
        records.retain(|key, _| key.keyspace == Keyspace::LastingUses);
        records
    };
    assert_eq!(lasting(&made), lasting(&before));
    assert!(is_sound(&mut rig, ALICE, circle));
    // The next start finds it.
    let entry = rig.entry_ids(ALICE, circle)[0];
    let key = Key::new(Keyspace::Entries, circle.as_bytes(), entry.as_bytes());
    rig.devices[ALICE].store.write(&[(key, Some(vec![0xff; 3]))].into_iter().collect());
    rig.reopen(ALICE);
    rig.settle();
    assert_eq!(rig.devices[ALICE].engine.status(circle).expect("a member").entries, rig.entry_ids(ALICE, circle).len());
}

#[test]
fn a_damaged_index_is_made_anew_while_the_device_works() {
    for value in [None, Some(vec![7; 40])] {
        let (mut rig, circle) = Rig::pair();
        rig.disconnect(ALICE, BOB);
        fill(&mut rig, ALICE, circle);
        assert!(is_sound(&mut rig, ALICE, circle));
        let root = 0_u64.to_be_bytes().to_vec();
        let pages: Vec<Key> = index_of(&rig, ALICE).into_keys().filter(|key| key.keyspace == Keyspace::Index).collect();
        let below: Vec<Key> = pages.into_iter().filter(|key| key.suffix != root).collect();
        assert!(below.len() >= 5, "{} pages", below.len());
        rig.devices[ALICE].store.write(&below.into_iter().map(|key| (key, value.clone())).collect());
        rig.reopen(ALICE);
        let before = rig.entry_ids(ALICE, circle).len();
        // That cannot be filed at once. Nothing is lost by it.
        let now_ms = rig.now_ms;
        let failed = benching::fill(&mut rig.devices[ALICE].engine, circle, [(400_000, 9_999)], now_ms).unwrap_err();
        assert!(failed.to_string().contains("clave doctor"), "{failed}");
        rig.settle();
        assert_eq!(rig.entry_ids(ALICE, circle).len(), before + 1);
        assert!(is_sound(&mut rig, ALICE, circle));
        rig.reopen(ALICE);
        assert!(is_sound(&mut rig, ALICE, circle));
    }
}

#[test]
fn commits_come_before_the_messages_of_who_was_away_for_long() {
    let (mut rig, circle) = Rig::pair();
    rig.disconnect(ALICE, BOB);
    rig.renew(ALICE, circle);
    rig.settle();
    let now_ms = rig.now_ms;
    let (_, commits) = (rig.entry_ids(ALICE, circle), index_suffixes(&rig, ALICE, Keyspace::KeyChanges));
    let newer = (0..1_200).map(|number| ((now_ms / 3_600_000) as u32 + 1, number));
    benching::fill(&mut rig.devices[ALICE].engine, circle, newer, now_ms).expect("a member");
    rig.connect(ALICE, BOB);
    let mut offered = Vec::new();
    rig.settle_through(|sent| {
        if let Ok(proto::Frame { body: Some(Body::Want(ids)) }) = proto::Frame::decode(sent.frame.as_slice())
            && sent.from == BOB
        {
            offered.extend(ids.ids.as_chunks::<32>().0.to_vec());
        }
        vec![sent.frame.clone()]
    });
    let newest_commit = commits.iter().filter_map(|commit| offered.iter().position(|id| id == commit.as_slice())).max();
    assert!(newest_commit.is_some_and(|at| at < 20), "asked for at place {newest_commit:?} of {}", offered.len());
    assert!(offered.len() >= 1_200);
    rig.honest_exchange(circle);
}

fn index_suffixes(rig: &Rig, who: usize, keyspace: Keyspace) -> Vec<Vec<u8>> {
    rig.store(who).into_keys().filter(|key| key.keyspace == keyspace).map(|key| key.suffix).collect()
}

#[test]
fn who_offers_much_is_answered_once_that_was_asked_for() {
    let (mut rig, circle) = Rig::pair();
    let ids = (0..8_192_u32).flat_map(|n| *blake3::hash(&n.to_be_bytes()).as_bytes()).collect();
    let offer = Body::Have(proto::EntryIds { circle: circle.as_bytes().to_vec(), ids });
    rig.say(BOB, ALICE, Channel::Sync, offer);
    let step = |message| proto::Reconcile {
        circle: circle.as_bytes().to_vec(),
        initiator: true,
        message,
        ..proto::Reconcile::default()
    };
    let too_much = step(vec![0x61; RECONCILE_BYTES_MAX + 1]);
    rig.refuses(ALICE, Refusal::Oversized, |rig| rig.say(BOB, ALICE, Channel::Sync, Body::Reconcile(too_much)));
    // Everything there is, which Bob says that he lacks.
    rig.say(BOB, ALICE, Channel::Sync, Body::Reconcile(step(vec![0x61, 0, 0, 2, 0])));
    let answers = |rig: &mut Rig| {
        let frames = rig.drain(ALICE);
        let is_answer = |frame: &[u8]| {
            let frame = proto::Frame::decode(frame).expect("an honest frame");
            matches!(frame.body, Some(Body::Reconcile(step)) if !step.initiator)
        };
        frames.iter().filter(|sent| is_answer(&sent.frame)).count()
    };
    assert_eq!(answers(&mut rig), 0);
    let mut minutes = 0;
    while answers(&mut rig) == 0 {
        minutes += 1;
        assert!(minutes < 10, "it is never answered");
        rig.now_ms += 60_000;
        let now_ms = rig.now_ms;
        rig.devices[ALICE].engine.handle_tick(now_ms);
    }
    assert!(minutes >= 3, "{minutes}");
    rig.disconnect(ALICE, BOB);
    rig.connect(ALICE, BOB);
    rig.honest_exchange(circle);
}
