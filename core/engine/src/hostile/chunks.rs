//! Fetching from several members, from some who stall and some who lie; and collecting what nothing refers to.

use std::collections::BTreeMap;

use clave_crdt::{DocumentKind, FileVersion, NodeId};
use proptest::prelude::*;

use super::rig::{Rig, Sent};
use crate::proto::frame as proto;
use crate::proto::frame::frame::Body;
use crate::{Channel, ChunkId, CircleId, DocumentId, Event, FileContent, Manifest, Refusal, SealedChunk, seal_content};
use prost::Message as _;

const ALICE: usize = 0;
const BOB: usize = 1;
const CAROL: usize = 2;

fn content(bytes: usize, seed: u8) -> Vec<u8> {
    let mut content = vec![0; bytes];
    clave_crypto::Entropy::from_seed([seed; 32]).fill(&mut content);
    content
}

fn sealed(content: &[u8]) -> (FileContent, Vec<SealedChunk>) {
    let mut chunks = Vec::new();
    let file = seal_content(&[9; 32], content, |chunk, _| {
        chunks.push(chunk);
        true
    });
    (file.expect("memory does not fail").expect("nobody cancelled"), chunks)
}

fn put(rig: &mut Rig, who: usize, circle: CircleId, chunks: Vec<SealedChunk>) {
    let now_ms = rig.now_ms;
    rig.devices[who].engine.put_chunks(circle, chunks, now_ms).expect("there is room");
    rig.settle();
}

fn fetch(rig: &mut Rig, who: usize, circle: CircleId, file: &FileContent) {
    let now_ms = rig.now_ms;
    rig.devices[who].engine.fetch(circle, [file.clone()], now_ms).expect("a member may");
}

/// What is here of a content, if all of it is.
fn here(rig: &Rig, who: usize, circle: CircleId, file: &FileContent) -> Option<Vec<u8>> {
    let read = |id| rig.devices[who].engine.chunk(circle, id).expect("memory can be read");
    match file.open_manifest(&read(file.manifest)?).expect("its own") {
        Manifest::Content(content) => Some(content),
        Manifest::Chunks(chunks) => {
            let open = |chunk: &crate::ChunkRef| Some(chunk.open(read(chunk.id)?).expect("its own"));
            chunks.iter().map(open).collect::<Option<Vec<_>>>().map(|pieces| pieces.concat())
        }
    }
}

fn chunks_in(frame: &[u8]) -> Vec<proto::Chunk> {
    match proto::Frame::decode(frame).expect("an engine's own frame").body {
        Some(Body::Chunks(chunks)) => chunks.chunks,
        _ => Vec::new(),
    }
}

/// Passes everything on and counts the chunks that each of the others gave to Alice.
fn settle_counting(rig: &mut Rig) -> BTreeMap<usize, usize> {
    let mut given = BTreeMap::new();
    rig.settle_through(|sent: &Sent| {
        let count = chunks_in(&sent.frame).iter().filter(|chunk| chunk.sealed.is_some()).count();
        *given.entry(sent.from).or_default() += count;
        vec![sent.frame.clone()]
    });
    given
}

#[test]
fn several_who_have_a_file_share_the_work_and_nothing_comes_twice() {
    let (mut rig, circle) = Rig::team(&["Alice", "Bob", "Carol"]);
    let content = content(20_000_000, 1);
    let (file, chunks) = sealed(&content);
    let count = chunks.len();
    put(&mut rig, BOB, circle, chunks.clone());
    put(&mut rig, CAROL, circle, chunks);
    fetch(&mut rig, ALICE, circle, &file);
    let given = settle_counting(&mut rig);
    assert_eq!(here(&rig, ALICE, circle, &file), Some(content));
    assert_eq!(given.values().sum::<usize>(), count);
    assert!(given[&BOB] * 4 > count && given[&CAROL] * 4 > count, "{given:?} of {count}");
}

#[test]
fn who_stalls_is_replaced_and_may_still_come_late() {
    let (mut rig, circle) = Rig::team(&["Alice", "Bob", "Carol"]);
    let content = content(3_000_000, 2);
    let (file, chunks) = sealed(&content);
    put(&mut rig, BOB, circle, chunks.clone());
    put(&mut rig, CAROL, circle, chunks);
    fetch(&mut rig, ALICE, circle, &file);
    // Bob says nothing more.
    let mut late = Vec::new();
    rig.settle_through(|sent| {
        if sent.from == BOB && !chunks_in(&sent.frame).is_empty() {
            late.push(sent.frame.clone());
            return Vec::new();
        }
        vec![sent.frame.clone()]
    });
    assert_eq!(here(&rig, ALICE, circle, &file), None);
    let due = rig.devices[ALICE].engine.poll_timeout().expect("it waits for Bob");
    assert!(due <= rig.now_ms + 10_000);
    rig.now_ms += 10_000;
    let now_ms = rig.now_ms;
    rig.devices[ALICE].engine.handle_tick(now_ms);
    rig.settle_through(|sent| {
        if sent.from == BOB && !chunks_in(&sent.frame).is_empty() { vec![] } else { vec![sent.frame.clone()] }
    });
    assert_eq!(here(&rig, ALICE, circle, &file), Some(content));
    // What comes after all is no offence, and changes nothing.
    assert!(!late.is_empty());
    let before = (rig.refusals(ALICE), rig.store(ALICE));
    late.iter().for_each(|frame| rig.frame(BOB, ALICE, Channel::Bulk, frame));
    rig.settle();
    assert_eq!((rig.refusals(ALICE), rig.store(ALICE)), before);
}

#[test]
fn who_leaves_is_replaced() {
    let (mut rig, circle) = Rig::team(&["Alice", "Bob", "Carol"]);
    let content = content(3_000_000, 3);
    let (file, chunks) = sealed(&content);
    put(&mut rig, BOB, circle, chunks.clone());
    put(&mut rig, CAROL, circle, chunks);
    fetch(&mut rig, ALICE, circle, &file);
    rig.drain(ALICE);
    rig.disconnect(ALICE, BOB);
    rig.settle();
    assert_eq!(here(&rig, ALICE, circle, &file), Some(content));
}

#[test]
fn what_one_gives_wrongly_is_counted_and_fetched_from_another() {
    let (mut rig, circle) = Rig::team(&["Alice", "Bob", "Carol"]);
    let content = content(3_000_000, 4);
    let (file, chunks) = sealed(&content);
    put(&mut rig, BOB, circle, chunks.clone());
    put(&mut rig, CAROL, circle, chunks);
    fetch(&mut rig, ALICE, circle, &file);
    let mut spoilt = 0;
    rig.settle_through(|sent| {
        let mut frame = proto::Frame::decode(sent.frame.as_slice());
        if let Ok(proto::Frame { body: Some(Body::Chunks(chunks)) }) = &mut frame
            && sent.from == BOB
        {
            for sealed in chunks.chunks.iter_mut().filter_map(|chunk| chunk.sealed.as_mut()) {
                let spoiled = sealed.iter().enumerate().map(|(at, byte)| byte ^ u8::from(at == 0));
                *sealed = spoiled.collect();
                spoilt += 1;
            }
        }
        vec![frame.expect("an engine's own frame").encode_to_vec()]
    });
    assert_eq!(here(&rig, ALICE, circle, &file), Some(content));
    assert!(spoilt > 0);
    assert_eq!(rig.refusals(ALICE)[&Refusal::BadChunk], spoilt);
}

#[test]
fn what_nobody_has_yet_is_asked_for_again() {
    let (mut rig, circle) = Rig::pair();
    let content = content(300_000, 5);
    let (file, chunks) = sealed(&content);
    fetch(&mut rig, ALICE, circle, &file);
    rig.settle();
    put(&mut rig, BOB, circle, chunks);
    assert_eq!(here(&rig, ALICE, circle, &file), None);
    rig.now_ms = rig.devices[ALICE].engine.poll_timeout().expect("it asks again").max(rig.now_ms) + 30_000;
    let now_ms = rig.now_ms;
    rig.devices[ALICE].engine.handle_tick(now_ms);
    rig.settle();
    assert_eq!(here(&rig, ALICE, circle, &file), Some(content));
}

#[test]
fn what_was_fetched_before_a_kill_is_not_fetched_again() {
    let (mut rig, circle) = Rig::pair();
    let content = content(20_000_000, 6);
    let (file, chunks) = sealed(&content);
    let count = chunks.len();
    put(&mut rig, BOB, circle, chunks);
    fetch(&mut rig, ALICE, circle, &file);
    // The power goes in the middle.
    let mut given = 0;
    rig.settle_through(|sent| {
        given += chunks_in(&sent.frame).len();
        if given > count / 2 { Vec::new() } else { vec![sent.frame.clone()] }
    });
    rig.reopen(ALICE);
    let had = rig.store(ALICE).keys().filter(|key| key.keyspace == crate::Keyspace::Chunks).count();
    assert!(had > 5 && had < count, "{had} of {count}");
    rig.connect(ALICE, BOB);
    rig.settle();
    fetch(&mut rig, ALICE, circle, &file);
    let given = settle_counting(&mut rig);
    assert_eq!(given[&BOB], count - had);
    assert_eq!(here(&rig, ALICE, circle, &file), Some(content));
}

#[test]
fn a_quota_refuses_what_exceeds_it_and_names_the_figures() {
    let (mut rig, circle) = Rig::pair();
    let (small, chunks) = sealed(&content(100_000, 7));
    put(&mut rig, BOB, circle, chunks.clone());
    let (_, large) = sealed(&content(1_000_000, 8));
    let now_ms = rig.now_ms;
    for who in [ALICE, BOB] {
        rig.devices[who].engine.set_chunk_quota(circle, Some(200_000), now_ms).expect("a member may");
    }
    let refused = rig.devices[BOB].engine.put_chunks(circle, large, now_ms).expect_err("it is too much");
    assert!(refused.to_string().contains("over the quota of 200000: raise the quota"), "{refused}");
    rig.settle();
    // What fits is fetched, what does not is not begun.
    fetch(&mut rig, ALICE, circle, &small);
    rig.settle();
    assert!(here(&rig, ALICE, circle, &small).is_some());
    let other = FileContent { manifest: ChunkId::from_bytes([1; 32]), bytes: 150_000, ..small };
    assert!(rig.devices[ALICE].engine.fetch(circle, [other], now_ms).is_err());
    // What is there already needs no room.
    put(&mut rig, BOB, circle, chunks);
    let usage = rig.devices[BOB].engine.chunk_usage(circle).expect("a member may");
    assert!(usage.bytes >= 100_000 && usage.bytes <= 200_000 && usage.quota_bytes == Some(200_000), "{usage:?}");
}

/// What happens while chunks are collected.
#[derive(Clone, Debug)]
enum Step {
    /// A file begins to be added: its chunks are put.
    Put { who: usize, seed: u8, guarded: bool },
    /// It gets its name.
    Name { who: usize },
    /// The newest file is thrown away.
    Trash { who: usize },
    /// The newest file gets a content that another had.
    Replace { who: usize, seed: u8 },
    /// All that is named is fetched.
    Fetch { who: usize },
    /// A collection that removes what was condemned by an earlier one.
    Collect { who: usize },
    /// Everything arrives.
    Settle,
    /// A kill.
    Reopen { who: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let (who, seed) = (0_usize..2, 0_u8..4);
    prop_oneof![
        3 => (who.clone(), seed.clone(), any::<bool>()).prop_map(|(who, seed, guarded)| Step::Put { who, seed, guarded }),
        3 => who.clone().prop_map(|who| Step::Name { who }),
        1 => who.clone().prop_map(|who| Step::Trash { who }),
        2 => (who.clone(), seed).prop_map(|(who, seed)| Step::Replace { who, seed }),
        2 => who.clone().prop_map(|who| Step::Fetch { who }),
        4 => who.clone().prop_map(|who| Step::Collect { who }),
        2 => Just(Step::Settle),
        1 => who.prop_map(|who| Step::Reopen { who }),
    ]
}

/// A file whose chunks were put and that has no name so far.
struct Unnamed {
    file: FileContent,
    chunks: Vec<SealedChunk>,
    guarded: bool,
}

fn edit(rig: &mut Rig, who: usize, circle: CircleId, file: &FileContent, replaces: bool) {
    let version = FileVersion {
        manifest: *file.manifest.as_bytes(),
        manifest_key: file.manifest_key,
        bytes: file.bytes,
        blake3: file.content_hash,
        modified_ms: 0,
        media_type: String::new(),
    };
    let (document, now_ms) = (DocumentId::well_known(circle, DocumentKind::Drive, 0), rig.now_ms);
    let engine = &mut rig.devices[who].engine;
    let random: [u8; 16] = engine.random();
    let edited = engine.edit(circle, document, DocumentKind::Drive, now_ms, |document, _| {
        let mut drive = document.drive()?;
        let known = drive.files().first().map(|node| node.id).filter(|_| replaces);
        match known {
            Some(node) => drive.put_version(node, &version),
            None => drive.add_file(NodeId::ROOT, &NodeId::file(random).to_string(), random, &version).map(|_| ()),
        }
    });
    edited.expect("a member may");
    rig.settle();
}

fn trash(rig: &mut Rig, who: usize, circle: CircleId) {
    let (document, now_ms) = (DocumentId::well_known(circle, DocumentKind::Drive, 0), rig.now_ms);
    let edited = rig.devices[who].engine.edit(circle, document, DocumentKind::Drive, now_ms, |document, _| {
        let mut drive = document.drive()?;
        drive.files().first().map(|node| node.id).map_or(Ok(()), |node| drive.trash(node))
    });
    edited.expect("a member may");
    rig.settle();
}

fn run(steps: Vec<Step>) {
    let (mut rig, circle) = Rig::pair();
    let mut unnamed: [Vec<Unnamed>; 2] = Default::default();
    // What each device has named or fetched: it must have all of it for good.
    let mut had: [BTreeMap<ChunkId, FileContent>; 2] = Default::default();
    for step in steps {
        rig.now_ms += 1;
        let now_ms = rig.now_ms;
        match step {
            Step::Put { who, seed, guarded } => {
                let (file, chunks) = sealed(&content(150_000, seed));
                if guarded {
                    rig.devices[who].engine.begin_adding(circle);
                }
                rig.devices[who].engine.put_chunks(circle, chunks.clone(), now_ms).expect("there is room");
                rig.drain(who);
                unnamed[who].push(Unnamed { file, chunks, guarded });
            }
            Step::Name { who } => {
                let Some(Unnamed { file, chunks, guarded }) = unnamed[who].pop() else { continue };
                if !guarded {
                    // Whoever does not say that they are adding puts and names without a pause.
                    rig.devices[who].engine.put_chunks(circle, chunks, now_ms).expect("there is room");
                }
                edit(&mut rig, who, circle, &file, false);
                if guarded {
                    rig.devices[who].engine.end_adding(circle);
                }
                had[who].insert(file.manifest, file);
            }
            Step::Replace { who, seed } => {
                let (file, chunks) = sealed(&content(150_000, seed));
                rig.devices[who].engine.put_chunks(circle, chunks, now_ms).expect("there is room");
                edit(&mut rig, who, circle, &file, true);
                had[who].insert(file.manifest, file);
            }
            Step::Trash { who } => trash(&mut rig, who, circle),
            Step::Fetch { who } => {
                rig.settle();
                for file in had[1 - who].values().cloned().collect::<Vec<_>>() {
                    fetch(&mut rig, who, circle, &file);
                    rig.settle();
                    had[who].insert(file.manifest, file);
                }
            }
            Step::Collect { who } => {
                rig.devices[who].engine.collect_chunks(circle, None, 1, now_ms).expect("memory can be read");
                rig.drain(who);
            }
            Step::Settle => rig.settle(),
            Step::Reopen { who } => {
                rig.reopen(who);
                // Who was killed while adding begins anew.
                unnamed[who].clear();
                rig.connect(ALICE, BOB);
                rig.settle();
            }
        }
        for who in [ALICE, BOB] {
            for file in had[who].values() {
                assert!(here(&rig, who, circle, file).is_some(), "{who} lost {:?}", file.manifest);
            }
        }
    }
    // In the end what nothing refers to does go.
    for pending in unnamed.iter().enumerate().flat_map(|(who, files)| files.iter().map(move |file| (who, file.guarded)))
    {
        if pending.1 {
            rig.devices[pending.0].engine.end_adding(circle);
        }
    }
    rig.settle();
    for who in [ALICE, BOB] {
        for _ in 0..2 {
            rig.now_ms += 2;
            let now_ms = rig.now_ms;
            rig.devices[who].engine.collect_chunks(circle, None, 1, now_ms).expect("memory can be read");
            rig.drain(who);
        }
        let collected =
            rig.devices[who].engine.collect_chunks(circle, None, 1, rig.now_ms).expect("memory can be read");
        assert_eq!(collected.condemned.chunks, 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_collection_never_takes_what_something_refers_to(steps in prop::collection::vec(step(), 1..40)) {
        run(steps);
    }
}

#[test]
fn old_versions_go_only_where_that_is_asked_for() {
    let (mut rig, circle) = Rig::pair();
    let files: Vec<_> = (10..13).map(|seed| sealed(&content(150_000, seed))).collect();
    for (file, chunks) in &files {
        put(&mut rig, BOB, circle, chunks.clone());
        edit(&mut rig, BOB, circle, file, true);
    }
    rig.settle();
    let collect = |rig: &mut Rig, kept| {
        rig.now_ms += 1;
        let now_ms = rig.now_ms;
        let collected = rig.devices[BOB].engine.collect_chunks(circle, kept, 1, now_ms).expect("memory can be read");
        rig.drain(BOB);
        collected
    };
    for _ in 0..3 {
        assert_eq!(collect(&mut rig, None), crate::Collected::default());
    }
    let condemned = collect(&mut rig, Some(2)).condemned;
    assert_eq!(condemned.chunks as usize, files[0].1.len());
    assert_eq!(collect(&mut rig, Some(2)).removed, condemned);
    let there: Vec<bool> = files.iter().map(|(file, _)| here(&rig, BOB, circle, file).is_some()).collect();
    assert_eq!(there, [false, true, true]);
}

#[test]
fn what_was_set_aside_is_still_referred_to() {
    let (mut rig, circle) = Rig::pair();
    let (file, chunks) = sealed(&content(150_000, 20));
    put(&mut rig, BOB, circle, chunks);
    rig.disconnect(ALICE, BOB);
    edit(&mut rig, BOB, circle, &file, false);
    let person = rig.devices[BOB].engine.identity().person().expect("he has one");
    let now_ms = rig.now_ms;
    let remove = crate::membership::Action::RevokePerson { person, keep_heads: Vec::new(), keep_changes: Vec::new() };
    rig.devices[ALICE].engine.act(circle, remove, now_ms).expect("she may");
    rig.drain(ALICE);
    rig.connect(ALICE, BOB);
    rig.settle();
    let drive = DocumentId::well_known(circle, DocumentKind::Drive, 0);
    let set_aside = rig.devices[BOB].engine.set_aside(circle, drive, DocumentKind::Drive);
    assert!(!set_aside.expect("it is still there to be read").is_empty());
    for _ in 0..3 {
        rig.now_ms += 1;
        let now_ms = rig.now_ms;
        rig.devices[BOB].engine.collect_chunks(circle, None, 1, now_ms).expect("memory can be read");
        rig.drain(BOB);
    }
    assert!(here(&rig, BOB, circle, &file).is_some());
}

/// Events are there to be seen by whoever waits for them.
#[test]
fn many_files_are_fetched_by_one_request_and_told_of_as_one() {
    let (mut rig, circle) = Rig::pair();
    let files: Vec<_> = (0..200_u8).map(|seed| sealed(&content(4_000, seed))).collect();
    for (_, chunks) in &files {
        put(&mut rig, BOB, circle, chunks.clone());
    }
    let now_ms = rig.now_ms;
    let contents: Vec<_> = files.iter().map(|(file, _)| file.clone()).collect();
    let fetch = rig.devices[ALICE].engine.fetch(circle, contents, now_ms).expect("a member may");
    let mut frames = 0;
    rig.settle_through(|sent| {
        frames += usize::from(sent.channel == Channel::Bulk);
        vec![sent.frame.clone()]
    });
    let (done_bytes, total_bytes) = (800_000, 800_000);
    assert!(rig.devices[ALICE].events.contains(&Event::FetchProgress { fetch, done_bytes, total_bytes }));
    assert!(rig.devices[ALICE].events.contains(&Event::Fetched { fetch }));
    assert!(frames <= 4, "{frames} frames");
    assert!(files.iter().all(|(file, _)| here(&rig, ALICE, circle, file).is_some()));
}
