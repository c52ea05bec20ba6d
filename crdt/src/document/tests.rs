use automerge::ObjType;
use automerge::transaction::Transactable;

use super::*;
use crate::kind::KIND_KEY;

fn actor(byte: u8) -> Actor {
    Actor::new([byte; 32], [0; 4], 0)
}

fn put(document: &mut Document, key: &str, value: &str) -> Vec<u8> {
    document.automerge_mut().put(ROOT, key, value).unwrap();
    document.commit(1_790_000_000_000).unwrap()
}

fn text(document: &Document, key: &str) -> Option<String> {
    document.automerge().get(ROOT, key).unwrap().map(|(value, _)| value.as_str().unwrap().to_owned())
}

const NOTHING: &[Vec<u8>] = &[];

#[test]
fn two_devices_that_create_a_document_share_its_start() {
    for kind in DocumentKind::ALL {
        let (mut alice, mut bob) = (Document::new(kind, actor(1)), Document::new(kind, actor(2)));
        assert_eq!(alice.heads(), bob.heads());
        let written = alice.automerge().get(ROOT, KIND_KEY).unwrap().unwrap().0;
        assert_eq!(written.as_u64(), Some(u64::from(kind.number())));
        assert_eq!((alice.schema(), alice.changes().unwrap().len()), (crate::SCHEMA, 0));
        let change = put(&mut alice, "x", "你好 👋");
        assert!(bob.apply(&[change]).unwrap().changed);
        assert_eq!(text(&bob, "x").as_deref(), Some("你好 👋"));
        assert_eq!(alice.heads(), bob.heads());
    }
}

#[test]
fn a_burst_is_one_change() {
    let mut alice = Document::new(DocumentKind::Timeline, actor(1));
    assert_eq!(alice.commit(0), None);
    for n in 0..10 {
        alice.automerge_mut().put(ROOT, format!("k{n}"), n).unwrap();
    }
    assert!(alice.is_edited());
    let before = alice.heads();
    let bytes = alice.commit(1_790_000_000_999).unwrap();
    let info = crate::inspect_change(&bytes).unwrap();
    assert_eq!((info.actor, info.seq, info.operations, info.time_s), (actor(1), 1, 10, 1_790_000_000));
    assert_eq!((info.deps, vec![info.hash]), (before, alice.heads()));
    assert_eq!(alice.commit(0), None);
    alice.automerge_mut().put(ROOT, "dropped", 1).unwrap();
    alice.discard();
    assert_eq!((alice.commit(0), text(&alice, "dropped")), (None, None));
}

#[test]
fn nothing_commits_behind_the_callers_back() {
    let mut alice = Document::new(DocumentKind::Timeline, actor(1));
    alice.automerge_mut().put(ROOT, "x", 1).unwrap();
    assert_eq!(alice.apply(NOTHING), Err(CrdtError::Uncommitted));
    assert_eq!(alice.save(), Err(CrdtError::Uncommitted));
    assert_eq!(alice.changes(), Err(CrdtError::Uncommitted));
    assert!(alice.fork(actor(2)).is_err());
    let _ = alice.contains(&[0; 32]);
    assert!(alice.is_edited() && alice.commit(0).is_some());
}

#[test]
fn what_came_too_early_waits_and_survives_a_restart() {
    let mut alice = Document::new(DocumentKind::Note, actor(1));
    let changes: Vec<_> = ["一", "二", "三"].iter().map(|value| put(&mut alice, "x", value)).collect();
    let mut bob = Document::new(DocumentKind::Note, actor(2));
    let applied = bob.apply(&changes[1..]).unwrap();
    assert_eq!(applied, Applied { changed: false, missing: 1, refused: vec![] });
    let first = crate::inspect_change(&changes[0]).unwrap().hash;
    assert_eq!((bob.missing(), bob.held()), (vec![first], 2));
    let saved = bob.save().unwrap();
    let mut bob = Document::load(DocumentKind::Note, actor(2), Some(&saved), NOTHING).unwrap();
    assert_eq!((bob.missing(), bob.held()), (vec![first], 2));
    let applied = bob.apply(&changes[..1]).unwrap();
    assert_eq!(applied, Applied { changed: true, missing: 0, refused: vec![] });
    assert_eq!((bob.heads(), bob.held()), (alice.heads(), 0));
    assert!(!bob.apply(&changes).unwrap().changed);
}

#[test]
fn a_document_is_rebuilt_from_its_changes() {
    let mut alice = Document::new(DocumentKind::Drive, actor(1));
    let mut bob = alice.fork(actor(2)).unwrap();
    let kept = put(&mut alice, "a", "kept");
    let dropped = put(&mut bob, "b", "dropped");
    alice.apply(&[dropped]).unwrap();
    let changes = alice.changes().unwrap();
    assert_eq!(changes.len(), 2);
    for (info, bytes) in &changes {
        assert_eq!(crate::inspect_change(bytes).unwrap(), *info);
    }
    let accepted: Vec<_> = changes.into_iter().filter(|(info, _)| info.actor == actor(1)).map(|(_, b)| b).collect();
    assert_eq!(accepted, vec![kept]);
    let rebuilt = Document::load(DocumentKind::Drive, actor(1), None, &accepted).unwrap();
    assert_eq!((text(&rebuilt, "a").as_deref(), text(&rebuilt, "b")), (Some("kept"), None));
}

#[test]
fn a_document_of_another_kind_is_told_apart() {
    let mut note = Document::new(DocumentKind::Note, actor(1));
    let change = put(&mut note, "x", "y");
    let saved = note.save().unwrap();
    let wrong = CrdtError::WrongKind { expected: DocumentKind::Drive, found: Some(DocumentKind::Note) };
    assert_eq!(Document::load(DocumentKind::Drive, actor(1), Some(&saved), NOTHING).unwrap_err(), wrong);
    assert_eq!(wrong.to_string(), "this is not a drive document; open it as what it is (note)");
    let mut drive = Document::new(DocumentKind::Drive, actor(2));
    let hash = crate::inspect_change(&change).unwrap().hash;
    let refused = vec![(hash, ChangeFault::AnotherDocument)];
    assert_eq!(drive.apply(&[change]).unwrap(), Applied { changed: false, missing: 0, refused });
    let stray = AutoCommit::new().save();
    let unknown = CrdtError::WrongKind { expected: DocumentKind::Drive, found: None };
    assert_eq!(Document::load(DocumentKind::Drive, actor(1), Some(&stray), NOTHING).unwrap_err(), unknown);
}

#[test]
fn fields_of_a_newer_schema_are_kept() {
    let mut newer = Document::new(DocumentKind::Calendar, actor(1));
    newer.automerge_mut().put(ROOT, SCHEMA_KEY, crate::SCHEMA + 1).unwrap();
    let future = newer.automerge_mut().put_object(ROOT, "future", ObjType::Map).unwrap();
    newer.automerge_mut().put(&future, "field", "未来").unwrap();
    let change = newer.commit(0).unwrap();
    let mut older = Document::new(DocumentKind::Calendar, actor(2));
    older.apply(&[change]).unwrap();
    put(&mut older, "mine", "x");
    let saved = older.save().unwrap();
    let older = Document::load(DocumentKind::Calendar, actor(2), Some(&saved), NOTHING).unwrap();
    assert_eq!(older.schema(), crate::SCHEMA + 1);
    let field = older.automerge().get(&future, "field").unwrap().unwrap().0;
    assert_eq!(field.as_str(), Some("未来"));
}

/// A note with some text, and its text object.
fn note(byte: u8) -> (Document, automerge::ObjId) {
    let mut document = Document::new(DocumentKind::Note, actor(byte));
    let text = document.automerge_mut().put_object(ROOT, "some text", ObjType::Text).unwrap();
    document.automerge_mut().splice_text(&text, 0, 0, "你好 world").unwrap();
    document.commit(0).unwrap();
    (document, text)
}

/// Re-encodes a change after it was tampered with.
fn tampered(bytes: &[u8], tamper: impl FnOnce(&mut automerge::ExpandedChange)) -> Vec<u8> {
    let mut change = automerge::ExpandedChange::from(&Change::try_from(bytes).unwrap());
    tamper(&mut change);
    Change::from(change).raw_bytes().to_vec()
}

#[test]
fn an_unsound_change_is_refused_and_the_others_are_taken() {
    use automerge::legacy::{Key, ObjectId, OpId};
    let (mut alice, text) = note(1);
    let mut bob = alice.fork(actor(2)).unwrap();
    bob.automerge_mut().splice_text(&text, 2, 1, "，").unwrap();
    let good = bob.commit(0).unwrap();
    let tamper = |tamper: &dyn Fn(&mut automerge::ExpandedChange)| tampered(&good, tamper);
    let nowhere = OpId(7_777, actor(1).to_automerge());
    let cases = [
        (tamper(&|change| change.start_op = change.start_op.saturating_add(1)), ChangeFault::Numbering),
        (tamper(&|change| change.seq = 2), ChangeFault::Sequence),
        (tamper(&|change| change.deps.clear()), ChangeFault::AnotherDocument),
        (tamper(&|change| change.operations[0].obj = ObjectId::Id(nowhere.clone())), ChangeFault::Operations),
        (tamper(&|change| change.operations[0].pred = vec![nowhere.clone()].into()), ChangeFault::Operations),
        (tamper(&|change| change.operations[0].key = Key::Map("x".into())), ChangeFault::Operations),
        (tamper(&|change| change.operations[0].key = Key::from(nowhere.clone())), ChangeFault::Operations),
    ];
    for (bad, fault) in cases {
        let mut carol = alice.fork(actor(3)).unwrap();
        let sound = put(&mut carol, "x", "sound");
        let mut dave = alice.fork(actor(4)).unwrap();
        let applied = dave.apply(&[bad.clone(), sound]).unwrap();
        let refused = vec![(crate::inspect_change(&bad).unwrap().hash, fault)];
        assert_eq!(applied, Applied { changed: true, missing: 0, refused });
        assert_eq!(dave.heads(), carol.heads());
    }
    assert!(alice.apply(&[good]).unwrap().changed);
}

#[test]
fn changes_are_inspected_before_anything_else() {
    let (mut alice, _) = note(1);
    let good = put(&mut alice, "x", &"long ".repeat(100));
    let fault = |bytes: &[u8]| match crate::inspect_change(bytes) {
        Err(CrdtError::Change(fault)) => fault,
        other => panic!("{other:?}"),
    };
    let compressed = Change::try_from(&good[..]).unwrap().bytes().into_owned();
    assert!(compressed.len() < good.len());
    assert_eq!(fault(&compressed), ChangeFault::Compressed);
    assert_eq!(fault(&good[..good.len() - 1]), ChangeFault::Malformed);
    assert_eq!(fault(&[]), ChangeFault::Malformed);
    assert_eq!(fault(&vec![0; crate::CHANGE_BYTES_MAX + 1]), ChangeFault::TooLarge);
    let mut wrong_checksum = good.clone();
    wrong_checksum[4] ^= 1;
    assert_eq!(fault(&wrong_checksum), ChangeFault::Malformed);
    let nobody = tampered(&good, |change| change.actor_id = Actor::GENESIS.to_automerge());
    assert_eq!(fault(&nobody), ChangeFault::Actor);
    let short = tampered(&good, |change| change.actor_id = vec![1, 2, 3].into());
    assert_eq!(fault(&short), ChangeFault::Actor);
    let at_the_end =
        tampered(&good, |change| change.start_op = std::num::NonZeroU64::new(u64::from(u32::MAX)).unwrap());
    assert_eq!(fault(&at_the_end), ChangeFault::Numbering);
    let crowded = tampered(&good, |change| {
        change.deps = (0..=crate::CHANGE_DEPENDENCIES_MAX)
            .map(|n| automerge::ChangeHash(std::array::from_fn(|at| n.to_be_bytes().get(at).copied().unwrap_or(0))))
            .collect();
    });
    assert_eq!(fault(&crowded), ChangeFault::TooLarge);
    let before = alice.heads();
    assert_eq!(alice.apply(&[good, compressed]), Err(ChangeFault::Compressed.into()));
    assert_eq!(alice.heads(), before);
}

#[test]
fn an_author_has_one_history() {
    let (mut alice, _) = note(1);
    let (mut one, mut two) = (alice.fork(actor(2)).unwrap(), alice.fork(actor(2)).unwrap());
    let (first, second) = (put(&mut one, "x", "one thing"), put(&mut two, "x", "another"));
    assert!(alice.apply(&[&first]).unwrap().changed);
    let hash = |change: &[u8]| crate::inspect_change(change).unwrap().hash;
    let (least, other) = (hash(&first).min(hash(&second)), hash(&first).max(hash(&second)));
    assert_eq!(alice.apply(&[&second]).unwrap().refused, vec![]);
    assert_eq!((alice.contains(&least), alice.contains(&other), alice.held()), (true, false, 1));
    let seen = Equivocation { actor: actor(2), seq: 1, shown: Some(least), waiting: vec![other] };
    assert_eq!(alice.equivocations(), [seen]);
}

#[test]
fn a_change_may_only_name_what_it_depends_on() {
    let (mut alice, text) = note(1);
    let mut bob = alice.fork(actor(2)).unwrap();
    let mut mallory = alice.fork(actor(66)).unwrap();
    alice.automerge_mut().splice_text(&text, 0, 0, "concurrent ").unwrap();
    let theirs = alice.commit(0).unwrap();
    let base = crate::inspect_change(&theirs).unwrap().deps;
    mallory.apply(&[&theirs]).unwrap();
    mallory.automerge_mut().splice_text(&text, 3, 1, "").unwrap();
    // It says that it does not know Alice's change, and deletes a character of it.
    let start_op = Change::try_from(&theirs[..]).unwrap().start_op();
    let attack = tampered(&mallory.commit(0).unwrap(), |change| {
        change.deps = base.iter().copied().map(automerge::ChangeHash).collect();
        change.start_op = start_op;
    });
    let refused = vec![(crate::inspect_change(&attack).unwrap().hash, ChangeFault::Operations)];
    // Refused by who has what it names, by who has not, and by who gets both at once.
    assert_eq!(alice.apply(&[&attack]).unwrap().refused, refused);
    assert_eq!(bob.fork(actor(3)).unwrap().apply(&[&theirs, &attack]).unwrap().refused, refused);
    assert_eq!(bob.apply(&[&attack]).unwrap().refused, refused);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(256))]

    /// Whatever a member sends: nothing panics, and what is accepted can be stored and given to others.
    #[test]
    fn no_change_can_break_a_document(damage in proptest::collection::vec((10..400_usize, 0..=255_u8), 1..4)) {
        let (mut alice, text) = note(1);
        let mut mallory = alice.fork(actor(66)).unwrap();
        mallory.automerge_mut().splice_text(&text, 3, 2, "abc").unwrap();
        let map = mallory.automerge_mut().put_object(ROOT, "object", ObjType::Map).unwrap();
        mallory.automerge_mut().put(&map, "key", "值").unwrap();
        mallory.automerge_mut().put(ROOT, KIND_KEY, 9).unwrap();
        let mut bytes = mallory.commit(0).unwrap();
        for (at, value) in damage {
            let at = 10 + (at - 10) % (bytes.len() - 10);
            bytes[at] = value;
        }
        let Ok(change) = Change::try_from(&bytes[..]) else { return Ok(()) };
        bytes[4..8].copy_from_slice(&change.hash().0[..4]);
        if alice.apply(&[&bytes]).is_ok_and(|applied| applied.changed) {
            let changes: Vec<_> = alice.changes().unwrap().into_iter().map(|(_, bytes)| bytes).collect();
            let mut copies = vec![Document::load(DocumentKind::Note, actor(4), None, &changes).unwrap()];
            match alice.save() {
                Ok(saved) => {
                    copies.push(Document::load(DocumentKind::Note, actor(3), Some(&saved), NOTHING).unwrap());
                }
                Err(error) => proptest::prop_assert_eq!(error, CrdtError::NotStorable),
            }
            let seen = |document: &Document| (document.heads(), document.automerge().hydrate(ROOT, None).unwrap());
            for copy in copies {
                proptest::prop_assert_eq!(seen(&copy), seen(&alice));
            }
        }
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    /// Nothing that honest devices write is ever refused, and all come to see the same text.
    #[test]
    fn texts_converge(
        steps in crate::testing::steps(proptest::arbitrary::any::<(u16, u8, u8)>(), 60),
    ) {
        let mut net = crate::testing::Net::new(DocumentKind::Note, 3);
        let text = net.documents[0].automerge_mut().put_object(ROOT, "some text", ObjType::Text).unwrap();
        net.documents[0].automerge_mut().splice_text(&text, 0, 0, "起初").unwrap();
        let start = net.documents[0].commit(0).unwrap();
        for document in &mut net.documents[1..] {
            document.apply(&[&start]).unwrap();
        }
        net.run(steps, |document, _, (at, deleted, inserted)| {
            let length = document.automerge().length(&text);
            let at = usize::from(at) % (length + 1);
            let deleted = isize::try_from(usize::from(deleted % 4).min(length - at)).unwrap();
            let inserted = "天地玄黄🌏".chars().cycle().take(usize::from(inserted % 6)).collect::<String>();
            document.automerge_mut().splice_text(&text, at, deleted, &inserted).unwrap();
        });
        let first = net.documents[0].automerge().text(&text).unwrap();
        for document in &net.documents[1..] {
            proptest::prop_assert_eq!(&document.automerge().text(&text).unwrap(), &first);
        }
    }
}

#[test]
fn a_mark_has_a_begin_and_an_end() {
    use automerge::legacy::OpType;
    use automerge::marks::{ExpandMark, Mark};
    let (mut alice, text) = note(1);
    let mut bob = alice.fork(actor(2)).unwrap();
    let bold = Mark::new("bold".to_owned(), true, 0, 2);
    bob.automerge_mut().mark(&text, bold, ExpandMark::After).unwrap();
    let good = bob.commit(0).unwrap();
    let cut = |at: usize| tampered(&good, |change| change.operations[at].action = OpType::Put("x".into()));
    for bad in [cut(0), cut(1)] {
        let refused = vec![(crate::inspect_change(&bad).unwrap().hash, ChangeFault::Operations)];
        assert_eq!(alice.apply(&[bad]).unwrap().refused, refused);
    }
    // Turned round, it fits the document, but Automerge would not load what it saves: the changes are to be kept.
    let turned = tampered(&good, |change| {
        let (begin, end) = (change.operations[0].key.clone(), change.operations[1].key.clone());
        (change.operations[0].key, change.operations[1].key) = (end, begin);
    });
    let mut carol = alice.fork(actor(3)).unwrap();
    assert!(carol.apply(&[turned]).unwrap().changed);
    assert_eq!(carol.save(), Err(CrdtError::NotStorable));
    let kept: Vec<_> = carol.changes().unwrap().into_iter().map(|(_, bytes)| bytes).collect();
    assert_eq!(Document::load(DocumentKind::Note, actor(4), None, &kept).unwrap().heads(), carol.heads());
    assert!(alice.apply(&[good]).unwrap().changed && alice.save().is_ok());
}

#[test]
fn what_a_document_takes_grows_with_what_is_in_it() {
    let actor = Actor::new([1; 32], [0; 4], 0);
    let mut document = Document::new(DocumentKind::Timeline, actor);
    let empty = document.resident_bytes();
    let draft = crate::Draft::text("长".repeat(10_000));
    for n in 0..10 {
        document.timeline().unwrap().post(n, [0; 6], &draft).unwrap();
        document.commit(0);
    }
    assert!(document.resident_bytes() > empty + 10 * 30_000);
    let loaded =
        Document::load(DocumentKind::Timeline, actor, Some(&document.save().unwrap()), &[] as &[&[u8]]).unwrap();
    assert!(loaded.resident_bytes() > empty + 10 * 30_000);
}
