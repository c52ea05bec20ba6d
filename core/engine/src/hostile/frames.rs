//! Frames that no honest device sends.

use std::cell::RefCell;

use clave_crypto::{DeviceKey, Entropy};
use proptest::prelude::*;
use prost::Message as _;

use super::rig::*;
use crate::engine::peers::{ADDRESS_BYTES_MAX, ADDRESSES_MAX, HELLO_DEVICES_MAX, UNREAD_FRAMES_MAX};
use crate::engine::serve::{CHUNK_FRAMES_SENT_MAX, CHUNKS_QUEUED_MAX};
use crate::engine::sync::IDS_MAX;
use crate::proto::frame as proto;
use crate::proto::frame::frame::Body;
use crate::{
    CHUNKS_IN_FLIGHT_MAX, Channel, ChunkId, CircleId, Event, FRAME_BYTES_MAX, FetchId, FileContent, Keyspace, Output,
    Refusal, SEALED_CHUNK_BYTES_MAX, seal_content,
};

const CHANNELS: [Channel; 3] = [Channel::Sync, Channel::Join, Channel::Bulk];

fn bytes(circle: CircleId) -> Vec<u8> {
    circle.as_bytes().to_vec()
}

/// One of each body that speaks of a circle.
fn about(circle: Vec<u8>) -> Vec<(Channel, Body)> {
    let ids = || proto::EntryIds { circle: circle.clone(), ids: vec![1; 32] };
    vec![
        (
            Channel::Sync,
            Body::Reconcile(proto::Reconcile {
                circle: circle.clone(),
                initiator: true,
                message: vec![0x61],
                ..proto::Reconcile::default()
            }),
        ),
        (Channel::Sync, Body::Entries(proto::Entries { circle: circle.clone(), envelopes: vec![vec![1]] })),
        (Channel::Sync, Body::Have(ids())),
        (Channel::Sync, Body::Want(ids())),
        (Channel::Bulk, Body::WantChunks(proto::ChunkIds { circle: circle.clone(), ids: vec![1; 32] })),
        (Channel::Bulk, chunk_frame(circle.clone(), vec![1; 32], None)),
    ]
}

#[test]
fn frames_of_garbage_are_refused_on_every_channel() {
    let (rig, circle) = Rig::pair();
    let rig = RefCell::new(rig);
    cases(any::<Vec<u8>>(), |garbage| {
        let rig = &mut *rig.borrow_mut();
        for channel in CHANNELS {
            // A wire type that there is not.
            let frame = [&[0x07], garbage.as_slice()].concat();
            rig.refuses(ALICE, Refusal::Malformed, |rig| rig.frame(BOB, ALICE, channel, &frame));
            // Whatever it may mean: nothing is kept of it.
            let before = rig.store(ALICE);
            rig.frame(BOB, ALICE, channel, &garbage);
            rig.drain(ALICE);
            assert!(rig.store(ALICE) == before);
        }
        rig.honest_exchange(circle);
    });
}

#[test]
fn an_oversized_frame_is_refused_unread() {
    let (mut rig, circle) = Rig::pair();
    let frame = vec![0; FRAME_BYTES_MAX + 1];
    for channel in CHANNELS {
        rig.refuses(ALICE, Refusal::Oversized, |rig| rig.frame(BOB, ALICE, channel, &frame));
    }
    rig.honest_exchange(circle);
}

#[test]
fn a_frame_with_an_unknown_body_or_none_is_refused() {
    let (mut rig, circle) = Rig::pair();
    for frame in [&b""[..], b"\x7a\x00", b"\xfa\x01\x01x"] {
        for channel in [Channel::Sync, Channel::Bulk] {
            rig.refuses(ALICE, Refusal::UnknownBody, |rig| rig.frame(BOB, ALICE, channel, frame));
        }
    }
    rig.honest_exchange(circle);
}

#[test]
fn a_frame_from_nobody_who_is_connected_is_refused() {
    let (mut rig, circle) = Rig::pair();
    rig.disconnect(ALICE, BOB);
    for (channel, body) in about(bytes(circle)) {
        rig.refuses(ALICE, Refusal::Unexpected, |rig| rig.say(BOB, ALICE, channel, body));
    }
    rig.refuses(ALICE, Refusal::Unexpected, |rig| rig.frame(BOB, ALICE, Channel::Join, b""));
    rig.connect(ALICE, BOB);
    rig.honest_exchange(circle);
}

#[test]
fn a_stranger_is_heard_on_the_join_channel_only() {
    let mut rig = Rig::new(&["Alice", "Bob", "Carol"]);
    let circle = rig.create(ALICE);
    rig.invite(ALICE, circle, BOB);
    rig.connect(ALICE, CAROL);
    rig.settle();
    let hello = (Channel::Sync, Body::Hello(proto::Hello { version: 1, ..proto::Hello::default() }));
    for (channel, body) in about(bytes(circle)).into_iter().chain([hello]) {
        rig.refuses(ALICE, Refusal::NotAMember, |rig| rig.say(CAROL, ALICE, channel, body));
    }
    rig.honest_exchange_of(circle, &[ALICE, BOB]);
}

#[test]
fn a_frame_about_a_circle_the_sender_is_not_in_is_refused() {
    let (rig, circle) = Rig::pair();
    let rig = RefCell::new(rig);
    let secret = rig.borrow_mut().create(ALICE);
    cases(any::<[u8; 32]>(), |nowhere| {
        let rig = &mut *rig.borrow_mut();
        for other in [bytes(secret), nowhere.to_vec()] {
            for (channel, body) in about(other) {
                rig.refuses(ALICE, Refusal::NotAMember, |rig| rig.say(BOB, ALICE, channel, body));
            }
        }
        rig.honest_exchange(circle);
    });
}

#[test]
fn a_circle_id_of_the_wrong_length_is_refused() {
    let (mut rig, circle) = Rig::pair();
    for length in [0, 31, 33] {
        for (channel, body) in about(vec![1; length]) {
            rig.refuses(ALICE, Refusal::Malformed, |rig| rig.say(BOB, ALICE, channel, body));
        }
    }
    rig.honest_exchange(circle);
}

#[test]
fn lists_of_ids_have_whole_ids_and_a_greatest_length() {
    let (rig, circle) = Rig::pair();
    let rig = RefCell::new(rig);
    let lists = |ids: Vec<u8>| {
        let entries = || proto::EntryIds { circle: bytes(circle), ids: ids.clone() };
        let chunks = proto::ChunkIds { circle: bytes(circle), ids: ids.clone() };
        [
            (Channel::Sync, Body::Have(entries())),
            (Channel::Sync, Body::Want(entries())),
            (Channel::Bulk, Body::WantChunks(chunks)),
        ]
    };
    cases((0..20_usize, 1..32_usize), |(whole, part)| {
        let rig = &mut *rig.borrow_mut();
        for (channel, body) in lists(vec![7; whole * 32 + part]) {
            rig.refuses(ALICE, Refusal::Malformed, |rig| rig.say(BOB, ALICE, channel, body));
        }
        rig.honest_exchange(circle);
    });
    let rig = &mut *rig.borrow_mut();
    for (channel, body) in lists(vec![7; (IDS_MAX + 1) * 32]) {
        rig.refuses(ALICE, Refusal::Oversized, |rig| rig.say(BOB, ALICE, channel, body));
    }
    let want = proto::ChunkIds { circle: bytes(circle), ids: vec![7; (CHUNKS_IN_FLIGHT_MAX + 1) * 32] };
    rig.refuses(ALICE, Refusal::Oversized, |rig| rig.say(BOB, ALICE, Channel::Bulk, Body::WantChunks(want)));
    let many = vec![Vec::new(); IDS_MAX + 1];
    rig.refuses(ALICE, Refusal::Oversized, |rig| rig.give(BOB, ALICE, circle, many));
    rig.honest_exchange(circle);
}

#[test]
fn reconciliation_of_garbage_is_refused_or_answered_briefly() {
    let (rig, circle) = Rig::pair();
    let rig = RefCell::new(rig);
    for n in 0..40 {
        rig.borrow_mut().post(ALICE, circle, &format!("{n}"));
    }
    cases((any::<Vec<u8>>(), any::<bool>()), |(garbage, versioned)| {
        let rig = &mut *rig.borrow_mut();
        let message = if versioned { [&[0x61], garbage.as_slice()].concat() } else { garbage };
        for (from, to) in [(ALICE, BOB), (BOB, ALICE)] {
            for initiator in [true, false] {
                let before = rig.store(to);
                let message = message.clone();
                let step =
                    proto::Reconcile { circle: bytes(circle), initiator, message, ..proto::Reconcile::default() };
                rig.say(from, to, Channel::Sync, Body::Reconcile(step));
                rig.drain(to);
                assert!(rig.store(to) == before, "something was written");
            }
        }
        let unexpected = |why: &Refusal| !matches!(why, Refusal::Malformed | Refusal::Unexpected);
        assert!(!rig.refusals(ALICE).keys().chain(rig.refusals(BOB).keys()).any(unexpected));
        rig.honest_exchange(circle);
    });
}

#[test]
fn a_wellformed_reconciliation_of_lies_costs_a_bounded_answer() {
    let (mut rig, circle) = Rig::pair();
    for n in 0..200 {
        rig.post(ALICE, circle, &format!("{n}"));
    }
    // "I have nothing": every id comes back, up to the bound. Ten thousand ranges that overlap nothing: as little.
    let nothing = vec![0x61, 0x00, 0x00, 0x02, 0x00];
    let ranges = std::iter::once(0x61).chain((0..10_000).flat_map(|_| [0x02, 0x00, 0x02, 0x00])).collect();
    for message in [nothing, ranges] {
        let step = proto::Reconcile { circle: bytes(circle), initiator: true, message, ..proto::Reconcile::default() };
        rig.say(BOB, ALICE, Channel::Sync, Body::Reconcile(step));
        let answered: usize = rig.drain(ALICE).iter().map(|sent| sent.frame.len()).sum();
        assert!(answered <= 300 * 1024, "{answered} bytes");
    }
    rig.honest_exchange(circle);
}

/// What a device begins a reconciliation with.
fn first_message(rig: &mut Rig, who: usize, circle: CircleId) -> Vec<u8> {
    let engine = &mut rig.devices[who].engine;
    engine.circles[&circle].index.begin(&mut engine.desk).expect("memory can be read")
}

#[test]
fn an_answer_to_a_reconciliation_that_one_never_begins_is_refused() {
    let (mut rig, circle) = Rig::pair();
    // Of two, the one with the lesser id begins.
    let (lesser, greater) = if rig.devices[ALICE].id < rig.devices[BOB].id { (ALICE, BOB) } else { (BOB, ALICE) };
    let message = first_message(&mut rig, lesser, circle);
    let step = proto::Reconcile { circle: bytes(circle), initiator: false, message, ..proto::Reconcile::default() };
    rig.refuses(greater, Refusal::Unexpected, |rig| rig.say(lesser, greater, Channel::Sync, Body::Reconcile(step)));
    rig.honest_exchange(circle);
}

#[test]
fn altered_and_repeated_frames_of_honest_devices_do_no_harm() {
    let (mut rig, circle) = Rig::team(&["Alice", "Bob", "Carol"]);
    rig.honest_exchange(circle);
    let (tape, rig) = (std::mem::take(&mut rig.tape), RefCell::new(rig));
    let case = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>(), 0..4_u8);
    cases(case, |(which, at, bit, how)| {
        let rig = &mut *rig.borrow_mut();
        let Sent { from, to, channel, mut frame } = tape[which.index(tape.len())].clone();
        let at = at.index(frame.len().max(1));
        match how {
            0 if at < frame.len() => frame[at] ^= 1 << (bit % 8),
            1 => frame.truncate(at),
            2 => frame.extend_from_slice(&[bit; 9]),
            _ => {}
        }
        let members = rig.devices[to].engine.membership(circle).expect("a member").clone();
        rig.frame(from, to, channel, &frame);
        rig.frame(from, to, channel, &frame);
        rig.settle();
        assert_eq!(*rig.devices[to].engine.membership(circle).expect("a member"), members);
        rig.honest_exchange(circle);
    });
}

// Hello.

fn hello(circle: CircleId, devices: Vec<(Vec<u8>, Vec<String>)>) -> Body {
    let devices = devices.into_iter().map(|(device, addresses)| proto::DeviceAddresses { device, addresses }).collect();
    Body::Hello(proto::Hello { version: 1, devices, circles: circle.as_bytes().to_vec(), ..proto::Hello::default() })
}

#[test]
fn a_hello_out_of_bounds_is_refused_as_a_whole() {
    let (mut rig, circle) = Rig::team(&["Alice", "Bob", "Carol"]);
    let (bob, carol) = (rig.devices[BOB].id.as_bytes().to_vec(), rig.devices[CAROL].id.as_bytes().to_vec());
    let good = (bob.clone(), vec!["/ip4/192.0.2.1/tcp/1".to_owned()]);
    for (why, bad) in [
        (Refusal::Malformed, vec![(vec![1; 31], Vec::new())]),
        (Refusal::Oversized, vec![(carol.clone(), vec!["x".repeat(ADDRESS_BYTES_MAX + 1)])]),
        (Refusal::Oversized, vec![(carol, vec!["x".to_owned(); ADDRESSES_MAX + 1])]),
        (Refusal::Oversized, vec![(bob, Vec::new()); HELLO_DEVICES_MAX]),
    ] {
        let devices = [vec![good.clone()], bad].concat();
        rig.refuses(ALICE, why, |rig| rig.say(BOB, ALICE, Channel::Sync, hello(circle, devices)));
    }
    assert!(rig.devices[ALICE].engine.known_addresses().is_empty());
    rig.honest_exchange(circle);
}

#[test]
fn nobody_makes_another_unreachable_by_a_hello() {
    let (mut rig, circle) = Rig::team(&["Alice", "Bob", "Carol"]);
    let carol = rig.devices[CAROL].id;
    let stranger = DeviceKey::generate(&mut Entropy::from_seed([1; 32])).id();
    let at = |n: usize| format!("/ip4/192.0.2.{n}/tcp/1");
    let says = |addresses: Vec<String>| hello(circle, vec![(carol.as_bytes().to_vec(), addresses)]);
    rig.say(CAROL, ALICE, Channel::Sync, says(vec![at(1)]));
    rig.say(BOB, ALICE, Channel::Sync, says((2..18).map(at).collect()));
    rig.say(BOB, ALICE, Channel::Sync, hello(circle, vec![(stranger.as_bytes().to_vec(), vec![at(1)])]));
    rig.settle();
    let known = rig.devices[ALICE].engine.known_addresses();
    assert_eq!((known[&carol][0].clone(), known[&carol].len()), (at(1), ADDRESSES_MAX));
    assert!(!known.contains_key(&stranger));
    // What a device says of itself replaces all.
    rig.say(CAROL, ALICE, Channel::Sync, says(vec![at(99)]));
    assert_eq!(rig.devices[ALICE].engine.known_addresses()[&carol], [at(99)]);
    rig.honest_exchange(circle);
}

/// What an engine puts out, while nothing of it is ever sent.
fn stalled(rig: &mut Rig, who: usize) -> usize {
    let device = &mut rig.devices[who];
    let mut frames = 0;
    while let Some(output) = device.engine.poll_output() {
        match output {
            Output::Write { io, batch } => {
                device.store.write(&batch);
                device.engine.handle_written(io, true);
            }
            Output::Send { .. } => frames += 1,
            _ => {}
        }
    }
    frames
}

#[test]
fn who_reads_nothing_is_answered_only_so_often() {
    let (mut rig, circle) = Rig::pair();
    let mut frames = 0;
    let message = first_message(&mut rig, BOB, circle);
    for _ in 0..4 * UNREAD_FRAMES_MAX {
        let step = proto::Reconcile {
            circle: bytes(circle),
            initiator: true,
            message: message.clone(),
            ..proto::Reconcile::default()
        };
        // To begin anew with a hello helps nobody.
        for body in [Body::Reconcile(step), hello(circle, Vec::new())] {
            rig.say(BOB, ALICE, Channel::Sync, body);
            frames += stalled(&mut rig, ALICE);
        }
    }
    // What the last hello began may go beyond by a frame or two.
    assert!((UNREAD_FRAMES_MAX..UNREAD_FRAMES_MAX + 4).contains(&frames), "{frames}");
    assert!(rig.refusals(ALICE)[&Refusal::TooManyHeld] > 0);
    rig.disconnect(ALICE, BOB);
    rig.connect(ALICE, BOB);
    rig.honest_exchange(circle);
}

// Chunks.

/// A file that Bob has in the circle.
fn share(rig: &mut Rig, circle: CircleId, bytes: usize) -> FileContent {
    let mut content = vec![0; bytes];
    rig.entropy.fill(&mut content);
    let (engine, now_ms) = (&mut rig.devices[BOB].engine, rig.now_ms);
    let file = seal_content(&[9; 32], content.as_slice(), |chunk, _| {
        engine.put_chunks(circle, [chunk], now_ms).expect("a member may");
        true
    });
    rig.settle();
    file.expect("memory does not fail").expect("nobody cancelled")
}

fn fetch(rig: &mut Rig, circle: CircleId, file: &FileContent) -> FetchId {
    let now_ms = rig.now_ms;
    rig.devices[ALICE].engine.fetch(circle, [file.clone()], now_ms).expect("a member may")
}

fn chunk(circle: CircleId, id: ChunkId, sealed: Option<Vec<u8>>) -> Body {
    chunk_frame(bytes(circle), id.as_bytes().to_vec(), sealed)
}

fn chunk_frame(circle: Vec<u8>, id: Vec<u8>, sealed: Option<Vec<u8>>) -> Body {
    Body::Chunks(proto::Chunks { circle, chunks: vec![proto::Chunk { id, sealed: sealed.map(Into::into) }] })
}

#[test]
fn a_chunk_that_nobody_asked_for_is_refused() {
    let (rig, circle) = Rig::pair();
    let rig = RefCell::new(rig);
    cases((any::<[u8; 32]>(), any::<Option<Vec<u8>>>()), |(id, sealed)| {
        let rig = &mut *rig.borrow_mut();
        let chunk = chunk(circle, ChunkId::from_bytes(id), sealed);
        rig.refuses(ALICE, Refusal::Unexpected, |rig| rig.say(BOB, ALICE, Channel::Bulk, chunk));
    });
    rig.borrow_mut().honest_exchange(circle);
}

#[test]
fn a_chunk_with_the_wrong_hash_is_refused_and_another_is_asked() {
    let (rig, circle) = Rig::team(&["Alice", "Bob", "Carol"]);
    let rig = RefCell::new(rig);
    few_cases(any::<Vec<u8>>(), |garbage| {
        let rig = &mut *rig.borrow_mut();
        let file = share(rig, circle, 300_000);
        rig.disconnect(ALICE, BOB);
        let fetch = fetch(rig, circle, &file);
        // Carol is asked, and lies.
        rig.drain(ALICE);
        let lie = chunk(circle, file.manifest, Some(garbage));
        rig.refuses(ALICE, Refusal::BadChunk, |rig| rig.say(CAROL, ALICE, Channel::Bulk, lie));
        rig.connect(ALICE, BOB);
        rig.settle();
        assert!(rig.devices[ALICE].events.contains(&Event::Fetched { fetch }));
        rig.honest_exchange(circle);
    });
}

#[test]
fn an_oversized_chunk_is_refused() {
    let (mut rig, circle) = Rig::pair();
    let sealed = vec![0; SEALED_CHUNK_BYTES_MAX + 1];
    let manifest = crate::files::chunk_id(&sealed);
    let file = FileContent { manifest, manifest_key: [1; 32], bytes: 1, content_hash: [1; 32] };
    fetch(&mut rig, circle, &file);
    let frame = chunk(circle, manifest, Some(sealed));
    rig.refuses(ALICE, Refusal::BadChunk, |rig| rig.say(BOB, ALICE, Channel::Bulk, frame));
    rig.honest_exchange(circle);
}

#[test]
fn a_chunk_asked_for_in_one_circle_is_not_taken_in_another() {
    let (mut rig, circle) = Rig::pair();
    let other = rig.create(ALICE);
    rig.invite(ALICE, other, BOB);
    let file = share(&mut rig, circle, 100_000);
    let sealed = rig.stored(BOB, Keyspace::Chunks, circle, file.manifest.as_bytes());
    let fetch = fetch(&mut rig, circle, &file);
    rig.drain(ALICE);
    let elsewhere = chunk(other, file.manifest, Some(sealed.clone()));
    rig.refuses(ALICE, Refusal::Unexpected, |rig| rig.say(BOB, ALICE, Channel::Bulk, elsewhere));
    rig.say(BOB, ALICE, Channel::Bulk, chunk(circle, file.manifest, Some(sealed)));
    rig.settle();
    assert!(rig.devices[ALICE].events.contains(&Event::Fetched { fetch }));
}

#[test]
fn a_chunk_of_one_circle_is_not_given_to_who_is_only_in_another() {
    let (mut rig, circle) = Rig::team(&["Alice", "Bob", "Carol"]);
    let secret = rig.create(BOB);
    let file = share(&mut rig, secret, 100_000);
    let want = |circle| Body::WantChunks(proto::ChunkIds { circle, ids: file.manifest.as_bytes().to_vec() });
    rig.refuses(BOB, Refusal::NotAMember, |rig| rig.say(CAROL, BOB, Channel::Bulk, want(bytes(secret))));
    rig.say(CAROL, BOB, Channel::Bulk, want(bytes(circle)));
    let answer = rig.drain(BOB).pop().expect("it says that it has none");
    let Some(Body::Chunks(chunks)) = proto::Frame::decode(answer.frame.as_slice()).expect("its own frame").body else {
        panic!("another answer")
    };
    assert_eq!(chunks.chunks[0].sealed, None);
}

#[test]
fn who_asks_for_chunks_and_reads_none_gets_few() {
    let (mut rig, circle) = Rig::pair();
    let file = share(&mut rig, circle, 100_000);
    let ids = file.manifest.as_bytes().repeat(CHUNKS_IN_FLIGHT_MAX);
    let mut frames = 0;
    for _ in 0..100 {
        let want = proto::ChunkIds { circle: bytes(circle), ids: ids.clone() };
        rig.say(ALICE, BOB, Channel::Bulk, Body::WantChunks(want));
        frames += stalled(&mut rig, BOB);
    }
    assert_eq!(frames, CHUNK_FRAMES_SENT_MAX);
    let answered = CHUNK_FRAMES_SENT_MAX + CHUNKS_QUEUED_MAX / CHUNKS_IN_FLIGHT_MAX;
    assert!(rig.refusals(BOB)[&Refusal::TooManyHeld] as usize > 94 - answered);
    rig.disconnect(ALICE, BOB);
    rig.connect(ALICE, BOB);
    let fetch = fetch(&mut rig, circle, &file);
    rig.settle();
    assert!(rig.devices[ALICE].events.contains(&Event::Fetched { fetch }));
}

#[test]
fn a_manifest_that_is_not_the_files_ends_the_fetch() {
    let (rig, circle) = Rig::pair();
    let rig = RefCell::new(rig);
    few_cases((any::<[u8; 32]>(), any::<u64>()), |(wrong, bytes)| {
        let rig = &mut *rig.borrow_mut();
        let file = share(rig, circle, 1_000);
        for lie in [
            FileContent { manifest_key: wrong, ..file.clone() },
            FileContent { content_hash: wrong, ..file.clone() },
            FileContent { bytes: bytes.max(2_000), ..file },
        ] {
            let fetch = fetch(rig, circle, &lie);
            rig.settle();
            assert!(rig.devices[ALICE].events.contains(&Event::FetchFailed { fetch }));
        }
        rig.honest_exchange(circle);
    });
}

// Verification.

fn verify(circle: CircleId, session: u8, step: proto::verify::Step) -> Body {
    Body::Verify(proto::Verify { circle: circle.as_bytes().to_vec(), session: vec![session; 16], step: Some(step) })
}

fn message(kind: u8, filler: u8) -> proto::verify::Step {
    proto::verify::Step::Message([&[kind], [filler; 32].as_slice()].concat())
}

#[test]
fn a_step_of_a_verification_out_of_turn_is_refused() {
    let (mut rig, circle) = Rig::team(&["Alice", "Bob", "Carol"]);
    let garbage = proto::verify::Step::Message(vec![9; 33]);
    rig.refuses(ALICE, Refusal::Malformed, |rig| {
        rig.say(BOB, ALICE, Channel::Sync, verify(circle, 1, garbage.clone()))
    });
    let verdict = proto::verify::Step::Verdict;
    for step in [message(2, 1), message(3, 1), verdict(1), verdict(2)] {
        let body = verify(circle, 1, step);
        rig.refuses(ALICE, Refusal::Unexpected, |rig| rig.say(BOB, ALICE, Channel::Sync, body));
    }
    // A request waits for the user; nothing that follows counts before.
    rig.say(BOB, ALICE, Channel::Sync, verify(circle, 1, message(1, 1)));
    let bob = rig.devices[BOB].id;
    assert_eq!(rig.devices[ALICE].engine.verification_step(bob), Some(crate::VerificationStep::Requested));
    for step in [message(3, 1), verdict(1)] {
        let body = verify(circle, 1, step);
        rig.refuses(ALICE, Refusal::Unexpected, |rig| rig.say(BOB, ALICE, Channel::Sync, body));
    }
    // Carol cannot speak for Bob, nor one session for another.
    let body = verify(circle, 1, verdict(2));
    rig.refuses(ALICE, Refusal::Unexpected, |rig| rig.say(CAROL, ALICE, Channel::Sync, body));
    let body = verify(circle, 2, verdict(2));
    rig.refuses(ALICE, Refusal::Unexpected, |rig| rig.say(BOB, ALICE, Channel::Sync, body));
    assert_eq!(rig.devices[ALICE].engine.verification_step(bob), Some(crate::VerificationStep::Requested));
    rig.honest_exchange(circle);
}

#[test]
fn a_reveal_that_was_not_committed_to_ends_the_verification() {
    let (mut rig, circle) = Rig::team(&["Alice", "Bob", "Carol"]);
    rig.say(BOB, ALICE, Channel::Sync, verify(circle, 1, message(1, 1)));
    let (bob, now_ms) = (rig.devices[BOB].id, rig.now_ms);
    rig.devices[ALICE].engine.accept_verification(bob, now_ms).expect("Bob asked");
    rig.settle();
    rig.say(BOB, ALICE, Channel::Sync, verify(circle, 1, message(3, 1)));
    assert_eq!(rig.devices[ALICE].engine.verification_step(bob), None);
    let person = rig.devices[BOB].engine.identity().person().expect("he is somebody");
    let verification = rig.devices[ALICE].engine.verification(circle, person).expect("she is in");
    assert_eq!(verification, crate::Verification::Unverified);
    rig.honest_exchange(circle);
}
