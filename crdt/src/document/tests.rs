use automerge::ObjType;

use super::*;

fn actor(byte: u8) -> Actor {
    Actor::new([byte; 32], 0)
}

fn put(document: &mut Document, key: &str, value: &str) -> Vec<u8> {
    document.automerge_mut().put(ROOT, key, value).unwrap();
    document.commit(1_790_000_000_000).unwrap()
}

fn text(document: &Document, key: &str) -> Option<String> {
    document.automerge().get(ROOT, key).unwrap().map(|(value, _)| value.to_str().unwrap().to_owned())
}

const NOTHING: &[Vec<u8>] = &[];

#[test]
fn two_devices_that_create_a_document_share_its_start() {
    for kind in DocumentKind::ALL {
        let (mut alice, mut bob) = (Document::new(kind, actor(1)), Document::new(kind, actor(2)));
        assert_eq!(alice.heads(), bob.heads());
        assert_eq!(alice.root_kind(), Some(u64::from(kind.number())));
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
    assert_eq!(field.to_str(), Some("未来"));
}
