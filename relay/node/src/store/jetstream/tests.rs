//! Against a real server.

#[path = "../../../tests/support/nats.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, reason = "shared with the tests of the whole program")]
mod nats;

use std::{path::Path, sync::Arc};

use clave_mailbox::{BlobId, Kind};
use tempfile::TempDir;

use super::{putting::INLINE_BYTES_MAX, *};
use crate::store::conformance::{Heard, QUOTAS, batch, entry};

fn config(server: &nats::Server, stream: &str) -> ClusterConfig {
    ClusterConfig {
        servers: vec![server.url()],
        credentials: PathBuf::new(),
        ca: PathBuf::new(),
        stream: stream.into(),
        replicas: 1,
    }
}

async fn open(config: ClusterConfig, folder: &Path, heard: Arc<Heard>) -> JetStreamStore {
    let objects = Objects::open(folder.join("objects").to_str().unwrap()).unwrap();
    JetStreamStore::open(config, objects, QUOTAS, heard).await.unwrap()
}

/// A store on a server of its own, for the conformance suite; `None` where there is no server.
pub(in crate::store) async fn alone(heard: Arc<Heard>) -> Option<(TempDir, nats::Server, JetStreamStore)> {
    let program = nats::program().await?;
    let folder = tempfile::tempdir().unwrap();
    let server = nats::Server::start(&program, folder.path()).await;
    let store = open(config(&server, "clave"), folder.path(), heard).await;
    Some((folder, server, store))
}

const MAILBOX: MailboxId = MailboxId([1; 32]);

#[tokio::test]
async fn what_one_relay_stored_another_finds_and_announces() {
    let (here, there) = (Heard::new(), Heard::new());
    let Some((folder, server, one)) = alone(here).await else { return };
    let first = one.put(batch(1, Kind::Entry, &[&entry(1), &entry(2)])).await.unwrap();
    let (big, chunk) = (vec![7; INLINE_BYTES_MAX + 1], b"chunk");
    one.put(batch(1, Kind::Chunk, &[chunk])).await.unwrap();
    // A relay that comes later reads what is there, and has the same positions.
    let other = open(config(&server, "clave"), folder.path(), there.clone()).await;
    assert_eq!(other.generation(), one.generation());
    assert_eq!(other.usage().bytes, one.usage().bytes);
    let all = PageRoom { bytes: usize::MAX, entries: usize::MAX };
    let page = other.after(MAILBOX, 0, all).await.unwrap();
    let positions: Vec<_> = page.entries.iter().map(|entry| entry.position).collect();
    assert_eq!(positions, first.new.iter().map(|(_, position)| *position).collect::<Vec<_>>());
    assert_eq!(page.entries[1].bytes, entry(2));
    let id = BlobId::of(Kind::Chunk, chunk);
    let found = other.get(vec![MAILBOX], Kind::Chunk, vec![id], usize::MAX).await.unwrap();
    assert_eq!(found[0].as_ref().unwrap()[..], chunk[..]);
    assert_eq!(there.take(), [], "what was there is no news");
    // From now on it hears. A long entry is announced, and lies in an object.
    let third = one.put(batch(1, Kind::Entry, &[&entry(3)])).await.unwrap();
    one.put(batch(1, Kind::Entry, &[&big])).await.unwrap();
    // Its own put comes after both in the stream.
    let own = other.put(batch(2, Kind::Entry, &[&entry(4)])).await.unwrap();
    assert_eq!(there.take(), [(MAILBOX, third.new[0].1), (MailboxId([2; 32]), own.new[0].1)]);
    assert_eq!(there.take_lagged(), [MAILBOX]);
    let page = other.after(MAILBOX, third.new[0].1, all).await.unwrap();
    assert!(page.entries.len() == 1 && page.entries[0].bytes == big);
    // What both are given at once is stored once, whoever is first.
    let both = batch(1, Kind::Entry, &[&entry(5)]);
    let (a, b) = tokio::join!(one.put(both.clone()), other.put(both));
    assert!(a.is_ok() && b.is_ok());
    assert_eq!(one.states(vec![MAILBOX]).await.unwrap()[0].entries, 5);
}

#[tokio::test]
async fn what_is_over_a_quota_leaves_the_stream_and_the_objects() {
    let Some((folder, _server, store)) = alone(Heard::new()).await else { return };
    store.set_quotas(Quotas { mailbox_entries_max: 2, ..QUOTAS });
    for number in 0..5 {
        store.put(batch(1, Kind::Entry, &[&entry(number)])).await.unwrap();
    }
    store.put(batch(2, Kind::Chunk, &[b"old"])).await.unwrap();
    let objects = || {
        let mailboxes = std::fs::read_dir(folder.path().join("objects")).unwrap();
        mailboxes.flat_map(|mailbox| std::fs::read_dir(mailbox.unwrap().path()).unwrap()).count()
    };
    assert_eq!((objects(), store.shared.stream.get_info().await.unwrap().state.messages), (1, 6));
    store.sweep(2_000).await.unwrap();
    assert_eq!(objects(), 0, "everything is too old by now");
    let state = store.shared.stream.get_info().await.unwrap().state;
    assert_eq!(state.messages, 3, "two entries and a chunk, until the server finds them too old");
    // Those limits are the stream's by now.
    store.set_quotas(Quotas { kept_seconds: 500, ..QUOTAS });
    store.sweep(2_000).await.unwrap();
    assert_eq!(store.shared.stream.get_info().await.unwrap().config.max_age, Duration::from_secs(500));
}

#[tokio::test]
async fn more_than_may_be_on_its_way_goes_one_after_another() {
    let Some((_folder, _server, store)) = alone(Heard::new()).await else { return };
    let blobs: Vec<_> = (0..5_000_u32).map(u32::to_be_bytes).collect();
    let blobs: Vec<_> = blobs.iter().map(|bytes| &bytes[..]).collect();
    // Two at once, which together have more than the client lets wait for acknowledgements.
    let puts = tokio::join!(store.put(batch(1, Kind::Entry, &blobs)), store.put(batch(2, Kind::Entry, &blobs)));
    for placed in [puts.0, puts.1] {
        let new = placed.unwrap().new;
        assert!(new.len() == 5_000 && new.is_sorted_by_key(|(_, position)| *position));
    }
}

#[tokio::test]
async fn what_the_stream_lost_is_left_out() {
    let Some((_folder, _server, store)) = alone(Heard::new()).await else { return };
    store.put(batch(1, Kind::Entry, &[&entry(1), &entry(2)])).await.unwrap();
    store.shared.stream.delete_message(1).await.unwrap();
    let page = store.after(MAILBOX, 0, PageRoom { bytes: usize::MAX, entries: 10 }).await.unwrap();
    assert_eq!((page.entries.len(), store.usage().entries), (1, 1));
    // And is taken again.
    let again = store.put(batch(1, Kind::Entry, &[&entry(1)])).await.unwrap();
    assert_eq!(again.new[0].1, 3);
}

#[tokio::test]
async fn a_stream_that_is_not_what_it_was_is_read_anew() {
    let heard = Heard::new();
    let Some((_folder, _server, store)) = alone(heard.clone()).await else { return };
    store.put(batch(1, Kind::Entry, &[&entry(1), &entry(2)])).await.unwrap();
    // As if the cluster had lost the order of what it had.
    {
        let mut index = store.shared.index();
        let second = index.after(MAILBOX, 1).next().unwrap().1;
        index.forget_all();
        index.apply(1, Some(second));
        index.apply(2, None);
    }
    let all = PageRoom { bytes: usize::MAX, entries: 10 };
    assert_eq!(store.after(MAILBOX, 0, all).await, Err(StoreError::Unavailable));
    // It is found out by the time the next is seen.
    store.put(batch(1, Kind::Entry, &[&entry(3)])).await.unwrap();
    while store.states(vec![MAILBOX]).await.unwrap()[0].entries < 3 {
        tokio::task::yield_now().await;
    }
    let page = store.after(MAILBOX, 0, all).await.unwrap();
    assert_eq!(page.entries.iter().map(|entry| entry.bytes[3]).collect::<Vec<_>>(), [1, 2, 3]);
}

#[tokio::test]
async fn a_server_that_comes_back_is_found_again() {
    let Some((_folder, mut server, store)) = alone(Heard::new()).await else { return };
    store.put(batch(1, Kind::Entry, &[&entry(1)])).await.unwrap();
    server.kill().await;
    let (put, ()) = tokio::join!(store.put(batch(1, Kind::Entry, &[&entry(2)])), server.run());
    let second = put.unwrap().new[0].1;
    let page = store.after(MAILBOX, 0, PageRoom { bytes: usize::MAX, entries: 10 }).await.unwrap();
    assert_eq!(page.entries.len(), 2);
    assert_eq!(page.entries[1].position, second);
}

#[tokio::test]
async fn what_cannot_be_used_is_refused_with_what_to_do() {
    let Some((folder, server, _store)) = alone(Heard::new()).await else { return };
    let refused = |config: ClusterConfig| {
        let objects = Objects::open(folder.path().join("objects").to_str().unwrap()).unwrap();
        async move { JetStreamStore::open(config, objects, QUOTAS, Heard::new()).await.err().unwrap().to_string() }
    };
    let three = refused(ClusterConfig { replicas: 3, ..config(&server, "three") }).await;
    assert!(three.contains("storage.replicas"), "{three}");
    let context = cluster::connect(&config(&server, "x")).await.unwrap();
    let foreign = async_nats::jetstream::stream::Config { name: "orders".into(), ..Default::default() };
    context.create_stream(foreign).await.unwrap();
    let foreign = refused(config(&server, "orders")).await;
    assert!(foreign.contains("storage.stream"), "{foreign}");
    let missing = refused(ClusterConfig { credentials: "/nowhere".into(), ..config(&server, "x") }).await;
    assert!(missing.contains("storage.credentials"), "{missing}");
}
