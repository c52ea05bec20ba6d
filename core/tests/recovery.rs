//! Recovery with real nodes: a phone that is lost for ever, its account on a bare machine.

use std::path::Path;
use std::time::Duration;

use clave::{AccountError, EngineError, Error, JoinError, NetworkConfig, Node, NodeConfig, RecoveryPhrase, Space};

const SAFETY: Duration = Duration::from_secs(60);

fn loopback() -> NetworkConfig {
    NetworkConfig { listen: vec!["/ip4/127.0.0.1/tcp/0".to_owned()], mdns: false, ..NetworkConfig::default() }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SAFETY, future).await.expect("it takes far less than a minute")
}

async fn device(directory: &Path, name: &str) -> (Node, RecoveryPhrase) {
    let config = NodeConfig::new(directory.join(name)).online(loopback());
    let made = Node::create_with_phrase(config, name, "phone").await.expect("a new directory");
    within(made.0.listening()).await.expect("it runs");
    made
}

async fn bodies(space: &Space) -> Vec<String> {
    let messages = space.timeline().history(100, None).await.expect("it can be read");
    messages.into_iter().map(|message| message.body).collect()
}

async fn until_said(space: &Space, body: &str) {
    within(async {
        while !bodies(space).await.iter().any(|said| said == body) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_phone_comes_back_from_phrase_and_export() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (alice, _) = device(directory.path(), "Alice").await;
    let (bob, phrase) = device(directory.path(), "Bob").await;
    let hers = alice.create_space("Team").await.expect("a space");
    let link = hers.invite(Duration::from_secs(3600)).await.expect("an invitation");
    let his = within(bob.join(&link, SAFETY)).await.expect("the link is good");
    hers.timeline().send("from Alice").await.expect("a message");
    until_said(&his, "from Alice").await;
    let note = his.create_note("Plan").await.expect("a note");
    note.append_markdown("to the **lake**\n").await.expect("a small text");
    let person = bob.profile().person;
    let lost = bob.profile().device;

    // While it runs, and while something is being written.
    let file = directory.path().join("bob.clave");
    let writing = async {
        for n in 0..20 {
            his.timeline().send(&format!("Bob {n}")).await.expect("a message");
        }
    };
    let (_, exported) = tokio::join!(writing, bob.export_account(&file, &phrase, false));
    let exported = exported.expect("his own phrase");
    assert_eq!(exported.bytes, std::fs::metadata(&file).expect("it is there").len());
    assert_eq!((exported.head.person, exported.head.person_name.as_str()), (person, "Bob"));
    until_said(&hers, "Bob 19").await;
    let exported = bob.export_account(&file, &phrase, false).await.expect("over the older one");
    assert!(exported.records > 40);
    bob.shutdown().await;
    drop((his, note, bob));
    std::fs::remove_dir_all(directory.path().join("Bob")).expect("it was let go of");

    // Read offline, from the words as they are on paper.
    let typed = RecoveryPhrase::parse(&phrase.words()).expect("the words");
    let bare = directory.path().join("bare");
    let restored = Node::restore_account(NodeConfig::new(&bare), &typed, &file, "tablet").await.expect("it is whole");
    assert_eq!((restored.profile().person, restored.profile().person_name.as_str()), (person, "Bob"));
    assert_ne!(restored.profile().device, lost);
    let spaces = restored.spaces().await.expect("it runs");
    let [space] = spaces.as_slice() else { panic!("one space") };
    assert_eq!(space.name().await.expect("it runs"), "Team");
    let said = bodies(space).await;
    assert_eq!(
        (said.len(), said.contains(&"from Alice".to_owned()), said.contains(&"Bob 7".to_owned())),
        (21, true, true)
    );
    let notes = space.notes().await.expect("it runs");
    let plan = space.note(notes[0].id).await.expect("it is there").snapshot().await.expect("it can be read");
    assert!(plan.markdown.contains("lake"));
    let error = space.timeline().send("too early").await.expect_err("nobody has let it in");
    assert!(matches!(error, Error::Engine(EngineError::Rejoining)) && error.is_retryable(), "{error}");
    assert_eq!(error.code(), "recovery.rejoining");
    assert_eq!(restored.rejoining().await.expect("it runs"), [space.id()]);
    restored.shutdown().await;
    drop((spaces, restored));

    // Online, after a restart: let in, and writing.
    hers.timeline().send("where is Bob?").await.expect("a message");
    let restored = Node::open(NodeConfig::new(&bare).online(loopback())).await.expect("it was restored");
    let space = restored.space(hers.id()).await.expect("it is in it");
    within(async {
        while let Err(error) = space.timeline().send("Bob is back").await {
            assert!(error.is_retryable(), "{error}");
            tokio::task::yield_now().await;
        }
    })
    .await;
    until_said(&hers, "Bob is back").await;
    until_said(&space, "where is Bob?").await;
    assert!(restored.rejoining().await.expect("it runs").is_empty());

    // With the phrase alone there is a person, whom the space has in already.
    let config = NodeConfig::new(directory.path().join("phrase alone")).online(loopback());
    let alone = Node::restore_identity(config, &phrase, "Bob", "laptop").await.expect("a new directory");
    let link = hers.invite(Duration::from_secs(3600)).await.expect("an invitation");
    let refused = within(alone.join(&link, SAFETY)).await.err().expect("Bob is in");
    assert!(matches!(refused, Error::Join(JoinError::PersonThere)), "{refused}");
    assert_eq!(refused.code(), "invitation.person_there");
    alone.shutdown().await;
    restored.shutdown().await;
    alice.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_restored_says_why_and_leaves_nothing() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = NodeConfig::new(directory.path().join("Alice"));
    let (alice, phrase) = Node::create_with_phrase(config, "Alice", "phone").await.expect("a new directory");
    alice.create_space("Team").await.expect("a space");
    let file = directory.path().join("alice.clave");

    let other = Node::create_with_phrase(NodeConfig::new(directory.path().join("other")), "Other", "phone").await;
    let (_, other_phrase) = other.expect("a new directory");
    let refused = alice.export_account(&file, &other_phrase, false).await.expect_err("not hers");
    assert!(matches!(refused, Error::Engine(EngineError::OtherPhrase)), "{refused}");
    assert!(!file.exists());
    let nowhere = directory.path().join("no such directory").join("alice.clave");
    let refused = alice.export_account(&nowhere, &phrase, false).await.expect_err("there is no such directory");
    assert!(matches!(refused, Error::File { .. }), "{refused}");

    alice.export_account(&file, &phrase, true).await.expect("her own phrase");
    let whole = std::fs::read(&file).expect("it was written");
    assert!(!whole.windows(4).any(|bytes| bytes == b"Team") && !whole.windows(5).any(|bytes| bytes == b"Alice"));
    let bare = directory.path().join("bare");
    let restore = async |phrase: &RecoveryPhrase, bytes: &[u8]| {
        std::fs::write(&file, bytes).expect("a writable directory");
        Node::restore_account(NodeConfig::new(&bare), phrase, &file, "tablet").await
    };
    let mut altered = whole.clone();
    altered[whole.len() / 2] ^= 1;
    let mut newer = whole.clone();
    newer[9] += 1;
    for (phrase, bytes, why) in [
        (&other_phrase, whole.as_slice(), AccountError::OtherPhrase),
        (&phrase, &altered, AccountError::Damaged),
        (&phrase, &whole[..whole.len() - 1], AccountError::CutShort),
        (&phrase, &newer, AccountError::TooNew(2)),
        (&phrase, b"<html>", AccountError::NotAnExport),
    ] {
        match restore(phrase, bytes).await {
            Err(Error::Account(error)) => assert_eq!(error, why),
            other => panic!("{:?} instead of {why:?}", other.err()),
        }
        assert!(!Node::exists(&bare), "{why:?}");
    }
    let restored = restore(&phrase, &whole).await.expect("it is whole");
    // There is nobody else in it who could let her in.
    let spaces = restored.spaces().await.expect("it runs");
    assert!(spaces[0].timeline().send("too early").await.is_err_and(|error| error.is_retryable()));
    restored.begin_anew(spaces[0].id()).await.expect("she is alone there");
    spaces[0].timeline().send("a new page").await.expect("it is hers again");
    assert_eq!(bodies(&spaces[0]).await, ["a new page"]);
    restored.shutdown().await;
    drop(restored);
    assert!(matches!(restore(&phrase, &whole).await, Err(Error::IdentityExists)));

    // Without the file: the person, and nothing else.
    let config = NodeConfig::new(directory.path().join("identity"));
    let person = Node::restore_identity(config, &phrase, "Alice", "laptop").await.expect("a new directory");
    assert_eq!(person.profile().person, alice.profile().person);
    assert!(person.spaces().await.expect("it runs").is_empty());
}
