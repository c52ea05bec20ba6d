//! Who else is in a note, and who is writing, between devices over real libp2p on loopback.

use std::path::Path;
use std::time::Duration;

use clave::{COLOURS, Circle, NetworkConfig, Node, NodeConfig, PresenceUpdates, Present, Selected};

const SAFETY: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

async fn device(directory: &Path, name: &str) -> Node {
    let listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
    let network = NetworkConfig { listen, mdns: false, ..NetworkConfig::default() };
    let config = NodeConfig::new(directory.join(name)).online(network);
    let node = Node::create(config, name, "手机").await.expect("a new directory");
    within(node.listening()).await.expect("loopback is there");
    node
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SAFETY, future).await.expect("it takes far less than a minute")
}

/// The first state that is as said.
async fn until(updates: &mut PresenceUpdates, is_so: impl Fn(&[Present]) -> bool) -> Vec<Present> {
    within(async {
        loop {
            let now = updates.next().await.expect("it runs");
            if is_so(&now) {
                return now;
            }
        }
    })
    .await
}

/// 小红 and 小明 in her space, connected.
async fn pair(directory: &Path) -> (Node, Node, Circle, Circle) {
    let (hong, ming) = (device(directory, "小红").await, device(directory, "小明").await);
    let hers = hong.create_space("编辑部").await.expect("a space");
    let link = hers.invite(HOUR).await.expect("she may");
    let his = within(ming.join(&link, SAFETY)).await.expect("the link is good");
    let (hers, his) =
        (hong.circle(hers.id()).await.expect("she is in"), ming.circle(his.id()).await.expect("he is in"));
    (hong, ming, hers, his)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_see_each_other_in_a_note_and_where_they_are_while_both_write() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (hong, ming, hers, his) = pair(directory.path()).await;
    let note = hers.create_note("四月").await.expect("a note");
    note.append_markdown("春天的计划").await.expect("she may");
    let text = note.text().await.expect("it runs");
    let at = |what: &str| text.chars().position(|c| what.starts_with(c)).expect("it is in there");

    let same = his.note(note.id()).await;
    let same = match same {
        Ok(same) => same,
        Err(_) => {
            let mut happenings = ming.happenings();
            within(async {
                loop {
                    if let Ok(same) = his.note(note.id()).await {
                        break same;
                    }
                    happenings.next().await.expect("it runs");
                }
            })
            .await
        }
    };
    let mut states = same.observe();
    within(async { while states.next().await.expect("it runs").text != text {} }).await;

    let mut seen = note.presence();
    assert!(until(&mut seen, |_| true).await.is_empty(), "nobody is there at first");
    let selected = Selected { anchor: at("计"), focus: at("计") + 2 };
    same.set_selection(Some(selected)).await.expect("it is in the text");
    let there = until(&mut seen, |now| !now.is_empty()).await;
    assert_eq!((there[0].name.as_str(), there[0].person), ("小明", ming.profile().person));
    assert_eq!((there[0].device, there[0].is_me), (ming.profile().device, false));
    assert_eq!(there[0].selection, Some(selected));
    assert!(there[0].colour < COLOURS);

    // What she writes before it moves it along, without a word of his.
    note.splice(vec![(at("春"), 0, "我们".to_owned())]).await.expect("she may");
    let moved = Selected { anchor: selected.anchor + 2, focus: selected.focus + 2 };
    until(&mut seen, |now| now.first().is_some_and(|there| there.selection == Some(moved))).await;
    let colour = there[0].colour;

    // Only looking; then gone.
    same.set_selection(None).await.expect("it runs");
    until(&mut seen, |now| now.first().is_some_and(|there| there.selection.is_none() && there.colour == colour)).await;
    same.leave().await.expect("it runs");
    until(&mut seen, <[Present]>::is_empty).await;

    // A pause ends it at once, whatever was said.
    same.set_selection(None).await.expect("it runs");
    until(&mut seen, |now| now.len() == 1).await;
    ming.pause().await.expect("it runs");
    until(&mut seen, <[Present]>::is_empty).await;
    assert!(same.set_selection(None).await.is_err_and(|error| error.is_retryable()));
    ming.resume().await.expect("the directory is there");
    assert!(same.set_selection(Some(Selected { anchor: 0, focus: 9_999 })).await.is_err(), "beyond the end");
    same.set_selection(None).await.expect("it runs");
    until(&mut seen, |now| now.len() == 1).await;

    // So does a removal.
    hers.remove(ming.profile().person).await.expect("she may");
    until(&mut seen, <[Present]>::is_empty).await;
    hong.shutdown().await;
    ming.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_writing_in_a_chat_is_seen_until_the_message_is_there() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (hong, ming, hers, his) = pair(directory.path()).await;
    let mut writing = his.timeline().observe_typing();
    assert!(until(&mut writing, |_| true).await.is_empty());
    hers.timeline().set_typing(true).await.expect("it runs");
    let there = until(&mut writing, |now| !now.is_empty()).await;
    assert_eq!(format!("{} is writing…", there[0].name), "小红 is writing…");
    hers.timeline().send("四月一日见").await.expect("a message");
    until(&mut writing, <[Present]>::is_empty).await;

    hers.timeline().set_typing(true).await.expect("it runs");
    until(&mut writing, |now| now.len() == 1).await;
    assert_eq!(his.timeline().typing().await.expect("it runs").len(), 1);
    hers.timeline().set_typing(false).await.expect("it runs");
    until(&mut writing, <[Present]>::is_empty).await;
    // Nothing of it was stored anywhere.
    let entries = |status: clave::CircleStatus| status.entries;
    let before = entries(hers.status().await.expect("it runs"));
    hers.timeline().set_typing(true).await.expect("it runs");
    until(&mut writing, |now| now.len() == 1).await;
    assert_eq!(entries(hers.status().await.expect("it runs")), before);
    hong.shutdown().await;
    ming.shutdown().await;
}
