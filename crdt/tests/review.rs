//! What is shown of a document whose authors are not all in standing, or not all honest: a function of the set of changes.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use clave_crdt::{Actor, ChangeHash, ChangeInfo, Document, DocumentKind, Draft, inspect_change};
use proptest::prelude::*;

const NOON: u64 = 1_790_000_000_000;
const NOTHING: &[Vec<u8>] = &[];

fn actor(n: u8) -> Actor {
    Actor::new([n; 32], [0; 4], 0)
}

fn open(n: u8) -> Document {
    Document::new(DocumentKind::Timeline, actor(n))
}

/// Posts something; the change and its hash.
fn post(document: &mut Document, text: &str) -> (Vec<u8>, ChangeHash) {
    let random = std::array::from_fn(|at| text.as_bytes().get(at).copied().unwrap_or_default());
    document.timeline().unwrap().post(NOON, random, &Draft::text(text)).unwrap();
    let change = document.commit(NOON).unwrap();
    let hash = inspect_change(&change).unwrap().hash;
    (change, hash)
}

fn texts(document: &mut Document) -> BTreeSet<String> {
    document.timeline().unwrap().messages(..).into_iter().map(|message| message.body).collect()
}

fn without(out: u8) -> impl Fn(&Actor) -> bool {
    move |author| *author != actor(out)
}

fn nothing(_: &ChangeHash) -> bool {
    false
}

fn set_aside(document: &Document) -> Vec<ChangeHash> {
    document.set_aside().iter().map(|info| info.hash).collect()
}

#[test]
fn what_an_author_out_of_standing_wrote_is_set_aside_until_somebody_builds_on_it() {
    let (mut alice, mut bob, mut carol) = (open(1), open(2), open(3));
    let (before, kept) = post(&mut bob, "before");
    let (during, held) = post(&mut bob, "during");
    carol.apply(&[&before]).unwrap();
    let (hers, _) = post(&mut carol, "hers");
    alice.apply(&[&before, &during, &hers]).unwrap();
    // Carol built on the first, so it stays; the second is set aside.
    assert!(alice.review(without(2), nothing).unwrap());
    assert_eq!((texts(&mut alice), set_aside(&alice)), (["before", "hers"].map(String::from).into(), vec![held]));
    assert!(!alice.review(without(2), nothing).unwrap());
    // It survives a restart, with the review said again.
    let saved = alice.save().unwrap();
    let mut again = Document::load(DocumentKind::Timeline, actor(1), Some(&saved), NOTHING).unwrap();
    assert!(again.contains(&held) && again.review(without(2), nothing).unwrap());
    assert_eq!(again.heads(), alice.heads());
    // Somebody answers it.
    carol.apply(&[&during]).unwrap();
    let (answer, _) = post(&mut carol, "answer");
    assert!(alice.apply(&[answer]).unwrap().changed);
    assert!(alice.contains(&held) && alice.set_aside().is_empty());
    assert_eq!(alice.heads(), carol.heads());
    // A removal may keep what its author had seen.
    let mut dave = open(4);
    dave.apply(&[&before]).unwrap();
    dave.review(without(2), |hash| *hash == kept).unwrap();
    assert!(dave.contains(&kept));
    dave.review(without(2), nothing).unwrap();
    assert_eq!(texts(&mut dave), BTreeSet::new());
    dave.review(|_| true, nothing).unwrap();
    assert!(dave.contains(&kept));
}

#[test]
fn who_vouches_takes_over_what_was_set_aside() {
    let (mut alice, mut bob, mut carol) = (open(1), open(2), open(3));
    let (his, held) = post(&mut bob, "his");
    let (more, _) = post(&mut bob, "more");
    for document in [&mut alice, &mut carol] {
        document.apply(&[&his, &more]).unwrap();
        document.review(without(2), nothing).unwrap();
    }
    assert_eq!(alice.set_aside().len(), 2);
    let vouched = alice.vouch(NOON).unwrap().unwrap();
    assert_eq!(inspect_change(&vouched).unwrap().operations, 0);
    assert_eq!((alice.vouch(NOON).unwrap(), alice.set_aside()), (None, vec![]));
    assert!(carol.apply(&[vouched]).unwrap().changed && carol.contains(&held));
    assert_eq!((carol.heads(), carol.set_aside()), (alice.heads(), vec![]));
    assert!(!carol.review(without(2), nothing).unwrap());
    // And both go on.
    let (next, _) = post(&mut alice, "next");
    assert_eq!(carol.apply(&[next]).unwrap().refused, vec![]);
}

#[test]
fn two_who_saw_two_histories_of_one_author_come_to_see_one() {
    let (mut alice, mut carol, mut dave) = (open(1), open(3), open(4));
    let (mut one, mut other) = (open(2), open(2));
    let ((first, first_hash), (second, second_hash)) = (post(&mut one, "one"), post(&mut other, "other"));
    let (shown, waits) = if first_hash < second_hash { (&second, &first) } else { (&first, &second) };
    // Carol and Dave build on the one with the greater hash, Alice on the other.
    let mut written = vec![first.clone(), second.clone()];
    alice.apply(&[waits]).unwrap();
    let (hers, lost) = post(&mut alice, "Alice's");
    for (document, text) in [(&mut carol, "Carol's"), (&mut dave, "Dave's")] {
        document.apply(&[shown]).unwrap();
        written.push(post(document, text).0);
    }
    written.push(hers);
    for document in [&mut alice, &mut carol, &mut dave] {
        assert_eq!(document.apply(&written).unwrap().refused, vec![]);
    }
    assert_eq!((alice.heads(), dave.heads()), (carol.heads(), carol.heads()));
    assert!(!alice.contains(&lost) && texts(&mut alice).contains("Carol's") && alice.held() == 2);
    let seen = &alice.equivocations()[0];
    assert_eq!((seen.shown, &seen.waiting), (Some(first_hash.max(second_hash)), &vec![first_hash.min(second_hash)]));
    // Alice writes on, and not in the place of what has to wait.
    let (next, _) = post(&mut alice, "again");
    let info = inspect_change(&next).unwrap();
    assert!(info.actor != actor(1) && info.actor.same_author(&actor(1)) && info.seq == 1);
    assert!(carol.apply(&[&next]).unwrap().changed && carol.equivocations().len() == 1);
    // A restart changes nothing.
    let saved = alice.save().unwrap();
    let mut again = Document::load(DocumentKind::Timeline, actor(1), Some(&saved), NOTHING).unwrap();
    assert_eq!((again.heads(), again.held(), again.actor()), (alice.heads(), 2, alice.actor()));
    assert_eq!(carol.apply(&[post(&mut again, "and again").0]).unwrap().refused, vec![]);
    assert_eq!((carol.heads(), carol.held()), (again.heads(), 2));
}

/// What happens next to one of the devices; numbers are reduced to what there is.
#[derive(Clone, Debug)]
enum Step {
    Post(usize),
    /// The second gets what the first shows.
    Send(usize, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        any::<usize>().prop_map(Step::Post),
        any::<(usize, usize)>().prop_map(|(from, to)| Step::Send(from, to)),
    ];
    proptest::collection::vec(step, 1..40)
}

/// Has devices write to each other; everything that anybody wrote, by hash.
fn written(steps: &[Step], devices: &[u8]) -> BTreeMap<ChangeHash, (ChangeInfo, Vec<u8>)> {
    let mut documents: Vec<Document> = devices.iter().map(|n| open(*n)).collect();
    let mut written = BTreeMap::new();
    for (number, step) in steps.iter().enumerate() {
        match step {
            Step::Post(at) => {
                let at = at % documents.len();
                let (change, hash) = post(&mut documents[at], &format!("{number}"));
                written.insert(hash, (inspect_change(&change).unwrap(), change));
            }
            Step::Send(from, to) => {
                let (from, to) = (from % documents.len(), to % documents.len());
                let changes: Vec<_> = documents[from].changes().unwrap().into_iter().map(|(_, bytes)| bytes).collect();
                assert_eq!(documents[to].apply(&changes).unwrap().refused, vec![]);
            }
        }
    }
    written
}

/// The changes in another order, in runs.
fn runs(changes: &[Vec<u8>], seed: u64) -> Vec<Vec<Vec<u8>>> {
    let (mut random, mut changes, mut runs) = (seed, changes.to_vec(), Vec::new());
    let mut below = |bound: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(random >> 33).unwrap() % bound
    };
    while !changes.is_empty() {
        let mut run = Vec::new();
        for _ in 0..=below(4).min(changes.len() - 1) {
            run.push(changes.swap_remove(below(changes.len())));
        }
        runs.push(run);
    }
    runs
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever arrives in whatever order, reviewed early or late: the view is what the definition says.
    #[test]
    fn the_view_follows_from_the_set(
        steps in steps(), out in any::<u8>(), kept in any::<u8>(), lost in any::<u8>(), seeds in any::<[u64; 3]>(),
    ) {
        let mut all = written(&steps, &[0x11, 0x12, 0x13, 0x14, 0x15]);
        // Some changes arrive nowhere.
        all.retain(|hash, _| hash[0] & 0x0f != lost & 0x1f);
        let in_standing = |author: &Actor| out >> (author.device_prefix()[0] & 7) & 1 == 0;
        let kept = |hash: &ChangeHash| hash[1] & 0x0f == kept & 0x1f;
        // By the definition.
        let mut accepted: BTreeSet<ChangeHash> =
            all.values().map(|(info, _)| info).filter(|info| in_standing(&info.actor) || kept(&info.hash)).map(|info| info.hash).collect();
        loop {
            let more: Vec<_> = accepted.iter().flat_map(|hash| &all[hash].0.deps).filter(|dep| all.contains_key(*dep) && !accepted.contains(*dep)).copied().collect();
            if more.is_empty() { break }
            accepted.extend(more);
        }
        let genesis = open(9).heads()[0];
        let mut shown = accepted.clone();
        loop {
            let before = shown.len();
            let there = shown.clone();
            shown.retain(|hash| all[hash].0.deps.iter().all(|dep| *dep == genesis || there.contains(dep)));
            if shown.len() == before { break }
        }
        let aside: BTreeSet<_> = all.keys().filter(|hash| !accepted.contains(*hash)).copied().collect();
        let bytes: Vec<_> = all.values().map(|(_, bytes)| bytes.clone()).collect();
        for seed in seeds {
            let mut document = open(9);
            for run in runs(&bytes, seed) {
                document.apply(&run).unwrap();
                let is_due = run.iter().any(|change| !in_standing(&inspect_change(change).unwrap().actor));
                if is_due && run.len() % 2 == 0 {
                    document.review(in_standing, kept).unwrap();
                }
            }
            // Once more if the last review was before somebody not in standing was heard.
            document.review(in_standing, kept).unwrap();
            let there: BTreeSet<_> = document.changes().unwrap().into_iter().map(|(info, _)| info.hash).collect();
            prop_assert_eq!(&there, &shown);
            prop_assert_eq!(set_aside(&document).into_iter().collect::<BTreeSet<_>>(), aside.clone());
            prop_assert_eq!(document.held(), accepted.len() - shown.len());
            // What comes later by those in standing needs no review.
            let saved = document.save().unwrap();
            let mut again = Document::load(DocumentKind::Timeline, actor(9), Some(&saved), NOTHING).unwrap();
            again.review(in_standing, kept).unwrap();
            prop_assert_eq!((again.heads(), again.held()), (document.heads(), document.held()));
        }
    }

    /// What authors in standing write after a review enters without another, and takes in what it builds on.
    #[test]
    fn to_review_and_then_apply_is_to_apply_and_then_review(steps in steps(), out in any::<u8>(), cut in any::<u64>()) {
        let all = written(&steps, &[0x11, 0x12, 0x13, 0x14, 0x15]);
        let in_standing = |author: &Actor| out >> (author.device_prefix()[0] & 7) & 1 == 0;
        let (theirs, others): (Vec<_>, Vec<_>) = all.values().cloned().partition(|(info, _)| in_standing(&info.actor));
        let bytes = |changes: &[(ChangeInfo, Vec<u8>)]| changes.iter().map(|(_, bytes)| bytes.clone()).collect::<Vec<_>>();
        let (mut late, mut early) = (open(9), open(9));
        late.apply(&bytes(&theirs)).unwrap();
        late.apply(&bytes(&others)).unwrap();
        late.review(in_standing, nothing).unwrap();
        early.apply(&bytes(&others)).unwrap();
        early.review(in_standing, nothing).unwrap();
        for run in runs(&bytes(&theirs), cut) {
            early.apply(&run).unwrap();
        }
        prop_assert_eq!((early.heads(), set_aside(&early)), (late.heads(), set_aside(&late)));
        prop_assert!(theirs.iter().all(|(info, _)| early.contains(&info.hash)));
    }

    /// Of an author with several histories all devices show the same one, live and after a restart, and whoever wrote on
    /// another one writes nothing in one place twice.
    #[test]
    fn several_histories_of_one_author_converge(steps in steps(), out in any::<u8>(), seeds in any::<[u64; 3]>()) {
        let all = written(&steps, &[0x11, 0x11, 0x12, 0x13, 0x12, 0x14]);
        let honest: BTreeMap<_, _> = all.values().filter(|(info, _)| info.actor.device_prefix()[0] > 0x12).map(|(info, _)| ((info.actor, info.seq), info.hash)).collect();
        let count = all.values().filter(|(info, _)| info.actor.device_prefix()[0] > 0x12).count();
        prop_assert_eq!(honest.len(), count, "an honest author wrote two changes in one place");
        let in_standing = |author: &Actor| out >> (author.device_prefix()[0] & 7) & 1 == 0;
        let bytes: Vec<_> = all.values().map(|(_, bytes)| bytes.clone()).collect();
        let mut seen = BTreeSet::new();
        let mut reviewed = BTreeSet::new();
        for seed in seeds {
            let mut document = open(9);
            for run in runs(&bytes, seed) {
                prop_assert_eq!(document.apply(&run).unwrap().refused, vec![]);
            }
            let shown = document.changes().unwrap().len();
            prop_assert_eq!(shown + document.held(), all.len());
            let saved = document.save().unwrap();
            let mut again = Document::load(DocumentKind::Timeline, actor(9), Some(&saved), NOTHING).unwrap();
            prop_assert_eq!((again.heads(), again.equivocations()), (document.heads(), document.equivocations()));
            seen.insert((document.heads(), format!("{:?}", document.equivocations())));
            again.review(in_standing, nothing).unwrap();
            reviewed.insert((again.heads(), set_aside(&again), again.held()));
        }
        prop_assert_eq!((seen.len(), reviewed.len()), (1, 1));
    }
}
