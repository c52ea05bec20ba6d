//! Lists as a screen shows them: pages at both ends, the inbox, notes with cursors.

use std::time::Duration;

use clave::{ListDiff, Message, Node, NodeConfig, TimelineUpdates};

const SAFETY: Duration = Duration::from_secs(60);

async fn alone(directory: &tempfile::TempDir) -> Node {
    Node::create(NodeConfig::new(directory.path()), "Alice", "laptop").await.expect("a new directory")
}

async fn next<T>(next: impl Future<Output = Result<T, clave::Error>>) -> T {
    tokio::time::timeout(SAFETY, next).await.expect("it takes far less than a minute").expect("it runs")
}

async fn step(updates: &mut TimelineUpdates, shown: &mut Vec<Message>) {
    next(updates.next()).await.into_iter().for_each(|step| step.apply(shown));
}

fn bodies(shown: &[Message]) -> Vec<u32> {
    shown.iter().map(|message| message.body.parse().expect("they are numbers")).collect()
}

#[tokio::test]
async fn a_chat_is_shown_in_pages_at_both_ends() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = alone(&directory).await;
    let timeline = node.create_space("Team").await.expect("a space").timeline();
    let mut ids = Vec::new();
    for number in 0..30 {
        ids.push(timeline.send(number.to_string()).await.expect("a message"));
    }
    let (mut updates, mut shown) = (timeline.observe(10), Vec::new());
    step(&mut updates, &mut shown).await;
    assert_eq!(bodies(&shown), (20..30).collect::<Vec<_>>());
    let pages = updates.pages();
    let (more, ()) = tokio::join!(pages.earlier(15), step(&mut updates, &mut shown));
    assert!(more.expect("it is awaited"));
    assert_eq!(bodies(&shown), (5..30).collect::<Vec<_>>());
    timeline.send("30").await.expect("a message");
    step(&mut updates, &mut shown).await;
    let (more, ()) = tokio::join!(pages.earlier(15), step(&mut updates, &mut shown));
    assert!(!more.expect("it is awaited"), "that was the first");
    assert_eq!(bodies(&shown), (0..31).collect::<Vec<_>>());

    // From the middle, and on to the end.
    let (mut updates, mut shown) = (timeline.observe_around(ids[10], 3), Vec::new());
    step(&mut updates, &mut shown).await;
    assert_eq!(bodies(&shown), (7..13).collect::<Vec<_>>());
    let pages = updates.pages();
    let (more, ()) = tokio::join!(pages.later(5), step(&mut updates, &mut shown));
    assert!(more.expect("it is awaited"));
    assert_eq!(bodies(&shown), (7..18).collect::<Vec<_>>());
    // What comes at the end is not shown here, what happens to what is shown is.
    timeline.send("31").await.expect("a message");
    timeline.edit(ids[8], "800").await.expect("it is hers");
    step(&mut updates, &mut shown).await;
    assert_eq!(bodies(&shown)[..2], [7, 800]);
    assert_eq!(shown.len(), 11);
    let (more, ()) = tokio::join!(pages.later(1_000), step(&mut updates, &mut shown));
    assert!(!more.expect("it is awaited"));
    timeline.send("32").await.expect("a message");
    step(&mut updates, &mut shown).await;
    assert_eq!(bodies(&shown).last(), Some(&32), "the end is followed now");
    drop(updates);
    assert!(matches!(pages.later(1).await, Err(clave::Error::Stopped)));
    node.shutdown().await;
}

#[tokio::test]
async fn the_inbox_tells_what_moved() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = alone(&directory).await;
    let (first, second) =
        (node.create_space("一").await.expect("a space"), node.create_space("二").await.expect("a space"));
    first.timeline().send("older").await.expect("a message");
    second.timeline().send("newer").await.expect("a message");
    let (mut updates, mut shown) = (node.observe_inbox(), Vec::new());
    let steps = next(updates.next()).await;
    assert!(matches!(steps[..], [ListDiff::Reset(_)]));
    steps.into_iter().for_each(|step| step.apply(&mut shown));
    let names = |shown: &[clave::InboxItem]| shown.iter().map(|item| item.circle.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&shown), ["二", "一"]);
    first.timeline().send("newest").await.expect("a message");
    while names(&shown) != ["一", "二"] {
        next(updates.next()).await.into_iter().for_each(|step| step.apply(&mut shown));
    }
    assert_eq!(shown[0].preview.newest.as_ref().map(|newest| newest.text.as_str()), Some("newest"));
    assert_eq!(shown, node.inbox().await.expect("it runs"));
    let dump = node.debug_dump().await.expect("it runs");
    assert!(dump.lines().filter(|line| line.starts_with("circle ")).count() == 2, "{dump}");
    assert!(!dump.contains('一') && !dump.contains("newest") && !dump.contains("Alice"), "{dump}");
    node.shutdown().await;
}

#[tokio::test]
async fn cursors_in_a_note_stay_with_their_characters() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = alone(&directory).await;
    let note = node.create_space("Team").await.expect("a space").create_note("会议").await.expect("a note");
    let mut updates = note.observe();
    let empty = next(updates.next()).await;
    assert_eq!((empty.title.as_str(), empty.text.as_str()), ("会议", ""));
    note.splice(vec![(0, 0, "你好世界".to_owned())]).await.expect("it fits");
    let seen = next(updates.next()).await;
    assert_eq!(seen.text, "你好世界");
    let cursors = note.cursors(vec![2, 4]).await.expect("they are in it");
    // Written against what was seen, while something else came: both are there.
    note.splice(vec![(0, 0, "大家".to_owned())]).await.expect("it fits");
    note.splice_at(next(updates.next()).await.heads, vec![(6, 0, "！".to_owned())]).await.expect("it fits");
    assert_eq!(note.text().await.expect("it runs"), "大家你好世界！");
    assert_eq!(note.positions(cursors.clone()).await.expect("they are of it"), [4, 7]);
    let text: Vec<String> = cursors.iter().map(ToString::to_string).collect();
    assert_eq!(text.iter().map(|text| text.parse().expect("a cursor")).collect::<Vec<clave::Cursor>>(), cursors);
    node.shutdown().await;
    assert!(matches!(updates.next().await, Err(clave::Error::Stopped)));
}
