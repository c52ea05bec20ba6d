//! Two devices over real libp2p on loopback: join, chat, files, notes.

use std::time::Duration;

use clave::{Error, JoinError, ListDiff, NetworkConfig, Node, NodeConfig, Role};

const SAFETY: Duration = Duration::from_secs(60);

fn loopback() -> NetworkConfig {
    NetworkConfig { listen: vec!["/ip4/127.0.0.1/tcp/0".to_owned()], mdns: false, ..NetworkConfig::default() }
}

async fn device(directory: &std::path::Path, name: &str) -> Node {
    let node = Node::create(NodeConfig::new(directory.join(name)).online(loopback()), name, "laptop").await;
    let node = node.expect("a new directory");
    // A link carries addresses: be reachable before making one.
    while node.status().await.expect("it runs").addresses.is_empty() {
        tokio::task::yield_now().await;
    }
    node
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SAFETY, future).await.expect("it takes far less than a minute")
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_work_together() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let alice = device(directory.path(), "Alice").await;
    let bob = device(directory.path(), "小波").await;
    let hers = alice.create_space("团队 Team").await.expect("a space");
    hers.timeline().send("before Bob").await.expect("a message");

    let link = hers.invite(Duration::from_secs(3600)).await.expect("an invitation");
    let his = within(bob.join(&link, SAFETY)).await.expect("the link is good");
    assert_eq!(his.name().await.expect("it runs"), "团队 Team");
    let members = his.members().await.expect("it runs");
    assert_eq!(
        members.iter().map(|m| (m.name.as_str(), m.role)).collect::<Vec<_>>(),
        [("Alice", Role::Owner), ("小波", Role::Member)]
    );

    // Both ways, live, and what was said before he came.
    let mut seen = Vec::new();
    let mut updates = his.timeline().observe(50);
    let first = within(updates.next()).await.expect("it runs");
    assert!(matches!(first[0], ListDiff::Reset(_)));
    first.into_iter().for_each(|step| step.apply(&mut seen));
    hers.timeline().send("你好，小波").await.expect("a message");
    his.timeline().send("hello Alice").await.expect("a message");
    while seen.len() < 3 {
        within(updates.next()).await.expect("it runs").into_iter().for_each(|step| step.apply(&mut seen));
    }
    let bodies: std::collections::BTreeSet<_> = seen.iter().map(|message| message.body.as_str()).collect();
    assert_eq!(bodies, ["before Bob", "hello Alice", "你好，小波"].into());

    // A file.
    let source = directory.path().join("报告.bin");
    let content: Vec<u8> = (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    std::fs::write(&source, &content).expect("a writable directory");
    let node = hers.drive().add(&source, clave::NodeId::ROOT, "报告.bin", |_| {}).await.expect("a readable file");
    let copy = directory.path().join("copy.bin");
    within(async {
        while his.drive().file(node).await.is_err() {
            tokio::task::yield_now().await
        }
    })
    .await;
    let mut last = 0;
    within(his.drive().get(node, &copy, |progress| last = progress.done_bytes)).await.expect("Alice has it");
    assert_eq!(std::fs::read(&copy).expect("it was written"), content);
    assert_eq!(last, content.len() as u64);

    // One note, two writers.
    let note = hers.create_note("会议记录").await.expect("a note");
    note.append_markdown("# Agenda\n\n- one\n").await.expect("a small text");
    let his_note = within(async {
        loop {
            if let Ok(note) = his.note(note.id()).await
                && note.snapshot().await.expect("it runs").markdown.contains("one")
            {
                return note;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    let (a, b) = (note.snapshot().await.expect("it runs"), his_note.snapshot().await.expect("it runs"));
    let (left, right) = tokio::join!(
        note.edit_markdown(&a.heads, a.markdown.replace("Agenda", "Agenda by Alice")),
        his_note.edit_markdown(&b.heads, format!("{}- two by 小波\n", b.markdown)),
    );
    left.expect("her edit");
    right.expect("his edit");
    within(async {
        loop {
            let (a, b) = (note.snapshot().await.expect("it runs"), his_note.snapshot().await.expect("it runs"));
            if a == b && a.markdown.contains("Agenda by Alice") && a.markdown.contains("two by 小波") {
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;

    alice.shutdown().await;
    bob.shutdown().await;
    assert!(matches!(hers.timeline().send("too late").await, Err(Error::Stopped)));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refused_invitation_says_why() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let alice = device(directory.path(), "Alice").await;
    let bob = device(directory.path(), "Bob").await;
    let carol = device(directory.path(), "Carol").await;
    let space = alice.create_space("Team").await.expect("a space");
    let day = Duration::from_secs(86_400);

    let used = space.invite(day).await.expect("an invitation");
    within(bob.join(&used, SAFETY)).await.expect("the link is good");
    assert!(matches!(within(carol.join(&used, SAFETY)).await.err(), Some(Error::Join(JoinError::Used))));
    assert!(matches!(bob.join(&used, SAFETY).await.err(), Some(Error::Join(JoinError::AlreadyMember))));

    let expired = space.invite(Duration::ZERO).await.expect("an invitation");
    assert!(matches!(within(carol.join(&expired, SAFETY)).await.err(), Some(Error::Join(JoinError::Expired))));

    let revoked = space.invite(day).await.expect("an invitation");
    space.revoke_invitation(revoked.invitation).await.expect("it is hers");
    assert!(matches!(within(carol.join(&revoked, SAFETY)).await.err(), Some(Error::Join(JoinError::Revoked))));

    let mut tampered = space.invite(day).await.expect("an invitation");
    tampered.circle = clave::SpaceId::from_bytes([7; 32]);
    assert!(matches!(within(carol.join(&tampered, SAFETY)).await.err(), Some(Error::Join(JoinError::Tampered))));

    let good = space.invite(day).await.expect("an invitation");
    within(carol.join(&good, SAFETY)).await.expect("a good link still works");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_is_there_after_a_restart() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = || NodeConfig::new(directory.path().join("alice"));
    let node = Node::create(config(), "Alice", "laptop").await.expect("a new directory");
    let space = node.create_space("Team").await.expect("a space");
    for n in 0..300 {
        space.timeline().send(format!("message {n}")).await.expect("a message");
    }
    assert!(matches!(Node::open(config()).await.err(), Some(Error::Store(clave::StoreError::Busy { .. }))));
    node.shutdown().await;
    for _ in 0..2 {
        let node = Node::open(config()).await.expect("it was shut down");
        let space = node.space(space.id()).await.expect("it was there before");
        let messages = space.timeline().history(1_000, None).await.expect("it runs");
        assert_eq!(messages.len(), 300);
        assert_eq!(messages[299].body, "message 299");
        node.shutdown().await;
    }
    assert!(matches!(Node::create(config(), "Eve", "laptop").await.err(), Some(Error::IdentityExists)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_calendar_is_shared() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let alice = device(directory.path(), "Alice").await;
    let bob = device(directory.path(), "Bob").await;
    let hers = alice.create_space("Team").await.expect("a space");
    let ics = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//x//y\r\nBEGIN:VEVENT\r\nUID:1@x\r\nDTSTAMP:20261101T000000Z\r\n\
               DTSTART;TZID=Asia/Shanghai:20261125T100000\r\nDURATION:PT1H\r\nSUMMARY:周会\r\nRRULE:FREQ=WEEKLY;COUNT=3\r\n\
               X-ROOM;X-FLOOR=3:Blue\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";
    let report = hers.calendar().import_ics(ics).await.expect("it is small");
    assert_eq!((report.added, report.problems.len()), (1, 0));
    let link = hers.invite(Duration::from_secs(3600)).await.expect("an invitation");
    let his = within(bob.join(&link, SAFETY)).await.expect("the link is good").calendar();
    within(async {
        while his.events().await.expect("it runs").is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let agenda = his.agenda(1_795_000_000_000, 1_800_000_000_000, "Asia/Shanghai").await.expect("a known zone");
    assert_eq!(agenda.occurrences.iter().filter(|occurrence| occurrence.summary == "周会").count(), 3);
    assert!(his.export_ics().await.expect("it runs").contains("X-ROOM;X-FLOOR=3:Blue"));
}
