use automerge::transaction::Transactable;
use proptest::prelude::*;

use super::*;
use crate::testing::{Net, Step, steps};
use crate::{Applied, ChangeFault, NodeId, inspect_change};

const NOON: u64 = 1_790_000_000_000;

fn actor(byte: u8) -> Actor {
    Actor::new([byte; 32], [0; 4], 0)
}

fn document(byte: u8) -> Document {
    Document::new(DocumentKind::Timeline, actor(byte))
}

fn post(document: &mut Document, now_ms: u64, body: &str) -> (MessageId, Vec<u8>) {
    let id = document.timeline().unwrap().post(now_ms, [0; 6], &Draft::text(body)).unwrap();
    (id, document.commit(now_ms).unwrap())
}

fn message(document: &mut Document, id: &MessageId) -> Message {
    document.timeline().unwrap().message(id).unwrap()
}

#[test]
fn a_message_carries_what_was_said() {
    let mut alice = document(1);
    let (first, _) = post(&mut alice, NOON, "吃了吗？");
    let file = Attachment { node: NodeId::file([9; 16]), name: "菜单 🍜.pdf".into(), bytes: 12_345 };
    let draft =
        Draft {
            body: "**走** 👩‍🍳".into(), reply_to: Some(first), attachments: vec![file], mentions: vec![[2; 32]]
        };
    let mut timeline = alice.timeline().unwrap();
    let id = timeline.post(NOON + 5, [1, 2, 3, 4, 5, 6], &draft).unwrap();
    assert_eq!((timeline.len(), timeline.is_empty(), timeline.is_full()), (2, false, false));
    let message = timeline.message(&id).unwrap();
    assert_eq!((message.author, message.sent_ms), (actor(1), NOON + 5));
    assert_eq!((message.body, message.reply_to), (draft.body.clone(), draft.reply_to));
    assert_eq!((message.attachments, message.mentions), (draft.attachments, draft.mentions));
    assert_eq!(
        (message.edited_ms, message.withdrawn, message.altered_by, message.unreadable),
        (None, false, None, false)
    );
    assert_eq!(id.to_string().parse::<MessageId>().unwrap(), id);
    assert!("x".parse::<MessageId>().is_err());
}

#[test]
fn the_stored_form_of_a_message_is_fixed() {
    let draft = Draft {
        body: "嗨".into(),
        reply_to: Some(MessageId::from_bytes([1; 36])),
        attachments: vec![Attachment { node: NodeId::from_bytes([2; 16]), name: "a".into(), bytes: 300 }],
        mentions: vec![[3; 32]],
    };
    let wire = Wire { edited_ms: 5, withdrawn: true, ..Wire::from_draft(&draft) };
    let golden = [
        vec![0x0a, 3, 0xe5, 0x97, 0xa8],
        [vec![0x12, 36], vec![1; 36]].concat(),
        [vec![0x1a, 24, 0x0a, 16], vec![2; 16], vec![0x12, 1, b'a', 0x18, 0xac, 2]].concat(),
        [vec![0x22, 32], vec![3; 32]].concat(),
        vec![0x28, 5, 0x30, 1],
    ];
    let bytes = wire.encode_with(&[]).unwrap();
    assert_eq!(bytes, golden.concat());
    assert_eq!(Wire::read(&bytes).unwrap().into_draft(), draft);
    let id = MessageId::new(NOON, [1, 2, 3, 4, 5, 6], Actor::new([7; 32], [5; 4], 8));
    assert_eq!(id.to_string(), "06gc8k3c000g40o40k30e1o70s3ge1o70s3ge1o70s3ge1850k2g000010");
    assert_eq!((id.sent_ms(), id.author()), (NOON, Actor::new([7; 32], [5; 4], 8)));
}

#[test]
fn only_its_author_may_edit_or_withdraw() {
    let (mut alice, mut bob) = (document(1), document(2));
    let (id, change) = post(&mut alice, NOON, "draft");
    bob.apply(&[change]).unwrap();
    let mut theirs = bob.timeline().unwrap();
    assert_eq!(theirs.edit(&id, NOON, &Draft::text("mine")), Err(CrdtError::NotAuthor));
    assert_eq!(theirs.withdraw(&id), Err(CrdtError::NotAuthor));
    let mut timeline = alice.timeline().unwrap();
    timeline.edit(&id, NOON + 9, &Draft::text("final")).unwrap();
    let edited = timeline.message(&id).unwrap();
    assert_eq!((edited.body.as_str(), edited.sent_ms, edited.edited_ms), ("final", NOON, Some(NOON + 9)));
    timeline.withdraw(&id).unwrap();
    let gone = timeline.message(&id).unwrap();
    assert_eq!((gone.body.as_str(), gone.withdrawn, gone.altered_by), ("", true, None));
    assert!(matches!(timeline.edit(&id, NOON, &Draft::text("again")), Err(CrdtError::Invalid(_))));
    let unknown = MessageId::new(NOON, [9; 6], actor(1));
    assert_eq!(timeline.withdraw(&unknown), Err(CrdtError::NotFound("message")));
    assert_eq!(timeline.len(), 1);
}

#[test]
fn words_put_into_anothers_mouth_are_shown_as_such() {
    let (mut alice, mut mallory) = (document(1), document(66));
    let (id, change) = post(&mut alice, NOON, "I did not agree");
    mallory.apply(&[change]).unwrap();
    let forged = Wire::from_draft(&Draft::text("I agree")).encode_with(&[]).unwrap();
    mallory.put_root(message_key(&id), forged).unwrap();
    alice.apply(&[mallory.commit(0).unwrap()]).unwrap();
    let altered = message(&mut alice, &id);
    assert_eq!((altered.author, altered.altered_by, altered.body.as_str()), (actor(1), Some(actor(66)), "I agree"));
    // The author puts it right.
    alice.timeline().unwrap().edit(&id, NOON, &Draft::text("I did not")).unwrap();
    assert_eq!((message(&mut alice, &id).altered_by, message(&mut alice, &id).body.as_str()), (None, "I did not"));
    let repaired = alice.commit(0).unwrap();
    // Withdrawn by another: visible, by whom.
    mallory.apply(&[repaired]).unwrap();
    let tombstone = Wire { withdrawn: true, ..Wire::default() }.encode_with(&[]).unwrap();
    mallory.put_root(message_key(&id), tombstone).unwrap();
    alice.apply(&[mallory.commit(0).unwrap()]).unwrap();
    assert_eq!((message(&mut alice, &id).withdrawn, message(&mut alice, &id).altered_by), (true, Some(actor(66))));
    // Replaced by what is no message at all: it keeps its place.
    mallory.put_root(message_key(&id), 7).unwrap();
    alice.apply(&[mallory.commit(0).unwrap()]).unwrap();
    assert_eq!((message(&mut alice, &id).unreadable, message(&mut alice, &id).altered_by), (true, Some(actor(66))));
    assert_eq!(alice.timeline().unwrap().len(), 1);
}

#[test]
fn what_others_write_at_the_same_time_does_not_hide_the_author() {
    let (mut alice, mut mallory) = (document(1), document(66));
    let (id, mine) = post(&mut alice, NOON, "hello");
    let forged = Wire::from_draft(&Draft::text("forged")).encode_with(&[]).unwrap();
    mallory.put_root(message_key(&id), forged).unwrap();
    mallory.put_root("padding".into(), 1).unwrap();
    mallory
        .put_root(message_key(&id), Wire::from_draft(&Draft::text("forged later")).encode_with(&[]).unwrap())
        .unwrap();
    let theirs = mallory.commit(0).unwrap();
    alice.apply(&[&theirs]).unwrap();
    mallory.apply(&[&mine]).unwrap();
    for document in [&mut alice, &mut mallory] {
        let shown = message(document, &id);
        assert_eq!((shown.body.as_str(), shown.altered_by), ("hello", None));
        assert_eq!(document.timeline().unwrap().newest(1), vec![shown]);
    }
}

#[test]
fn a_change_that_deletes_a_message_is_refused() {
    let (mut alice, mut mallory) = (document(1), document(66));
    let (id, change) = post(&mut alice, NOON, "stays");
    mallory.apply(&[change]).unwrap();
    mallory.automerge_mut().delete(ROOT, message_key(&id)).unwrap();
    let deletion = mallory.commit(0).unwrap();
    let after = post(&mut mallory, NOON, "builds on it").1;
    let hash = |bytes: &[u8]| inspect_change(bytes).unwrap().hash;
    let refused = vec![(hash(&deletion), ChangeFault::Operations), (hash(&after), ChangeFault::Dependency)];
    assert_eq!(alice.apply(&[deletion, after]).unwrap(), Applied { changed: false, missing: 0, refused });
    assert_eq!(message(&mut alice, &id).body, "stays");
}

#[test]
fn the_devices_of_one_person_speak_for_each_other() {
    let (mut phone, mut laptop) = (document(1), document(2));
    let (id, change) = post(&mut phone, NOON, "from my phone");
    laptop.apply(&[change]).unwrap();
    let same = |_: &Actor, _: &Actor| true;
    laptop.timeline().unwrap().with_persons(&same).edit(&id, NOON, &Draft::text("from my laptop")).unwrap();
    phone.apply(&[laptop.commit(0).unwrap()]).unwrap();
    let shown = phone.timeline().unwrap().with_persons(&same).message(&id).unwrap();
    assert_eq!((shown.body.as_str(), shown.altered_by, shown.edited_ms), ("from my laptop", None, Some(NOON)));
    assert_eq!(message(&mut phone, &id).altered_by, Some(actor(2)));
}

#[test]
fn reactions_belong_to_who_reacted() {
    let (mut alice, mut bob) = (document(1), document(2));
    let (id, change) = post(&mut alice, NOON, "🎂");
    bob.apply(&[change]).unwrap();
    for text in ["🎉", "好"] {
        bob.timeline().unwrap().react(&id, text, true).unwrap();
    }
    alice.timeline().unwrap().react(&id, "🎉", true).unwrap();
    // A forged one, in Alice's name.
    bob.put_root(format!("{REACTION_PREFIX}{id}/{}/💩", actor(1)), true).unwrap();
    let (ours, theirs) = (alice.commit(0).unwrap(), bob.commit(0).unwrap());
    alice.apply(&[theirs]).unwrap();
    bob.apply(&[ours]).unwrap();
    let both = vec![
        Reaction { text: "好".into(), by: vec![actor(2)] },
        Reaction { text: "🎉".into(), by: vec![actor(1), actor(2)] },
    ];
    assert_eq!(message(&mut alice, &id).reactions, both);
    assert_eq!(message(&mut bob, &id).reactions, both);
    bob.timeline().unwrap().react(&id, "好", false).unwrap();
    assert_eq!(message(&mut bob, &id).reactions, both[1..]);
    let mut timeline = bob.timeline().unwrap();
    assert!(matches!(timeline.react(&id, "", true), Err(CrdtError::Invalid(_))));
    assert!(matches!(timeline.react(&id, &"🎉".repeat(17), true), Err(CrdtError::TooLarge { limit: 64, .. })));
}

#[test]
fn the_newest_come_first_and_the_clock_may_be_wrong() {
    let mut alice = document(1);
    // A clock that is set back by more than skew explains.
    let step = 2 * CLOCK_SKEW_MS_MAX;
    let times = [NOON, NOON + 2 * step, NOON + step, NOON + 1_000_000_000, NOON + 3 * step];
    let ids: Vec<_> = times.iter().map(|now_ms| post(&mut alice, *now_ms, &now_ms.to_string()).0).collect();
    let timeline = alice.timeline().unwrap();
    let shown = |messages: Vec<Message>| messages.into_iter().map(|message| message.id).collect::<Vec<_>>();
    let sorted = [ids[0], ids[2], ids[1], ids[4], ids[3]];
    assert_eq!(shown(timeline.messages(..)), sorted);
    assert_eq!(shown(timeline.newest(2)), sorted[3..]);
    assert_eq!(shown(timeline.newest(0)), vec![]);
    assert_eq!(shown(timeline.newest_before(&ids[4], 2)), sorted[1..3]);
    assert_eq!(shown(timeline.messages(ids[1]..=ids[4])), sorted[2..4]);
}

#[test]
fn a_segment_fills_up() {
    let mut alice = document(1);
    for n in 0..SEGMENT_MESSAGES_MAX {
        assert!(!alice.timeline().unwrap().is_full());
        let random = u64::try_from(n).unwrap().to_be_bytes()[2..].try_into().unwrap();
        alice.timeline().unwrap().post(NOON, random, &Draft::text("x")).unwrap();
    }
    let mut timeline = alice.timeline().unwrap();
    assert!(timeline.is_full());
    assert_eq!(timeline.post(NOON, [7; 6], &Draft::text("x")), Err(CrdtError::SegmentFull));
    assert_eq!(CrdtError::SegmentFull.to_string(), "this part of the chat is full; start the next");
}

#[test]
fn a_message_has_a_largest_size() {
    let mut alice = document(1);
    let mut timeline = alice.timeline().unwrap();
    let body = "x".repeat(MESSAGE_BYTES_MAX - 4);
    assert!(timeline.post(NOON, [0; 6], &Draft::text(body.clone())).is_ok());
    let error = timeline.post(NOON, [1; 6], &Draft::text(body + "y")).unwrap_err();
    assert_eq!(error.to_string(), "the message takes 65537 bytes, more than the 65536 that are allowed; shorten it");
}

#[test]
fn what_changed_since_is_known() {
    let (mut alice, mut bob) = (document(1), document(2));
    let (old, change) = post(&mut alice, NOON, "old");
    bob.apply(&[change]).unwrap();
    let heads = alice.heads();
    let (new, _) = post(&mut alice, NOON + 1, "new");
    bob.timeline().unwrap().react(&old, "👍", true).unwrap();
    alice.apply(&[bob.commit(0).unwrap()]).unwrap();
    assert_eq!(alice.timeline().unwrap().changed_since(&heads), Ok(vec![old, new]));
    let now = alice.heads();
    assert_eq!(alice.timeline().unwrap().changed_since(&now), Ok(vec![]));
    assert_eq!(alice.timeline().unwrap().changed_since(&[]), Ok(vec![old, new]));
    assert!(matches!(bob.timeline().unwrap().changed_since(&now), Err(CrdtError::NotFound(_))));
}

#[test]
fn fields_of_a_newer_message_outlive_an_edit() {
    let mut alice = document(1);
    let id = MessageId::new(NOON, [0; 6], actor(1));
    let poll = [0x82, 0x01, 4, b'p', b'o', b'l', b'l'];
    let bytes = Wire::from_draft(&Draft::text("old")).encode_with(&poll).unwrap();
    alice.put_root(message_key(&id), bytes).unwrap();
    alice.timeline().unwrap().edit(&id, NOON, &Draft::text("new")).unwrap();
    let value = alice.automerge().get(ROOT, message_key(&id)).unwrap().unwrap().0;
    let bytes = value.as_bytes().unwrap().to_vec();
    assert!(bytes.ends_with(&poll));
    assert_eq!(unknown_fields(&bytes), poll);
    assert_eq!(message(&mut alice, &id).body, "new");
}

#[test]
fn a_note_is_no_timeline() {
    let mut note = Document::new(DocumentKind::Note, actor(1));
    let wrong = CrdtError::WrongKind { expected: DocumentKind::Timeline, found: Some(DocumentKind::Note) };
    assert_eq!(note.timeline().err(), Some(wrong));
}

#[derive(Clone, Debug)]
enum Edit {
    Post(String),
    Change(usize, String),
    Withdraw(usize),
    React(usize, bool),
}

fn edits() -> impl Strategy<Value = Edit> + Clone {
    let words = || prop_oneof![Just("你好"), Just("👋🏽"), Just("ok"), Just("")].prop_map(str::to_owned);
    prop_oneof![
        4 => words().prop_map(Edit::Post),
        2 => (0..99_usize, words()).prop_map(|(which, body)| Edit::Change(which, body)),
        1 => (0..99_usize).prop_map(Edit::Withdraw),
        2 => (0..99_usize, any::<bool>()).prop_map(|(which, present)| Edit::React(which, present)),
    ]
}

fn run(steps: Vec<Step<Edit>>) -> (Net, BTreeSet<MessageId>) {
    let mut net = Net::new(DocumentKind::Timeline, 3);
    let mut posted = BTreeSet::new();
    net.run(steps, |document, now_ms, edit| {
        // Two of the three devices are one person's.
        let same = |a: &Actor, b: &Actor| a.same_author(b) || (*a != actor(3) && *b != actor(3));
        let mut timeline = document.timeline().unwrap().with_persons(&same);
        let known: Vec<_> = timeline.messages(..).into_iter().map(|message| message.id).collect();
        let pick = |which: usize| known.get(which % known.len().max(1)).copied();
        // An edit that may not be made is refused; that is all that is asked of it here.
        match edit {
            Edit::Post(body) => drop(posted.insert(timeline.post(now_ms, [0; 6], &Draft::text(body)).unwrap())),
            Edit::Change(which, body) => drop(pick(which).map(|id| timeline.edit(&id, now_ms, &Draft::text(body)))),
            Edit::Withdraw(which) => drop(pick(which).map(|id| timeline.withdraw(&id))),
            Edit::React(which, present) => drop(pick(which).map(|id| timeline.react(&id, "👍", present))),
        }
    });
    (net, posted)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn all_devices_come_to_see_the_same(steps in steps(edits(), 60)) {
        let (mut net, posted) = run(steps);
        let first = net.documents[0].timeline().unwrap().messages(..);
        prop_assert_eq!(first.iter().map(|message| message.id).collect::<BTreeSet<_>>(), posted);
        for document in &mut net.documents {
            prop_assert_eq!(&document.timeline().unwrap().messages(..), &first);
            prop_assert_eq!(&document.timeline().unwrap().newest(3), &first[first.len().saturating_sub(3)..]);
            let saved = document.save().unwrap();
            let mut loaded = Document::load(DocumentKind::Timeline, actor(9), Some(&saved), &[] as &[Vec<u8>]).unwrap();
            prop_assert_eq!(&loaded.timeline().unwrap().messages(..), &first);
        }
    }
}

#[test]
fn a_message_comes_behind_what_its_author_has_seen() {
    let mut alice = document(1);
    // Within one millisecond, and even if the random parts would order them otherwise.
    let ids: Vec<_> = (0..5)
        .map(|n| alice.timeline().unwrap().post(NOON, [9 - n; 6], &Draft::text(n.to_string())).unwrap())
        .collect();
    assert!(ids.is_sorted());
    let change = alice.commit(NOON).unwrap();

    let mut bob = document(2);
    bob.apply(&[change]).unwrap();
    let behind = bob.timeline().unwrap().post(NOON - CLOCK_SKEW_MS_MAX / 2, [0; 6], &Draft::text("reply")).unwrap();
    assert!(behind > ids[4]);
    // A clock that is plainly wrong is left alone: otherwise one bad clock would date everybody's messages.
    let earlier = bob.timeline().unwrap().post(NOON - 2 * CLOCK_SKEW_MS_MAX, [0; 6], &Draft::text("?")).unwrap();
    assert_eq!(earlier.sent_ms(), NOON - 2 * CLOCK_SKEW_MS_MAX);
}

#[test]
fn a_burst_is_in_order_and_dated_truly_across_segments() {
    let (mut first, mut second) = (document(1), document(1));
    let mut ids = Vec::new();
    for number in 0..500_u32 {
        let random = [255, 255, 255, number.to_be_bytes()[2], number.to_be_bytes()[3], 0];
        ids.push(first.timeline().unwrap().post(1_000, random, &Draft::text("早")).unwrap());
    }
    ids.push(second.timeline().unwrap().post_behind(ids.last().copied(), 1_000, [0; 6], &Draft::text("晚")).unwrap());
    // A segment that somebody far ahead wrote to does not count.
    let ahead = MessageId::new(2_000_000_000_000, [0; 6], actor(2));
    ids.push(second.timeline().unwrap().post_behind(Some(ahead), 1_001, [0; 6], &Draft::text("later")).unwrap());
    assert!(ids.is_sorted_by(|a, b| a < b));
    let dates: Vec<u64> = ids.iter().map(MessageId::sent_ms).collect();
    assert!(dates.iter().all(|ms| *ms <= 1_001), "a millisecond has room for all");
}
