mod faults;
mod medium;

use super::*;
use crate::store::conformance::{Heard, QUOTAS, batch, entry};

fn open_in(folder: &Path) -> RedbStore {
    RedbStore::open(&folder.join("mailboxes.redb"), 8 << 20, QUOTAS, Heard::new()).unwrap()
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_in(folder.path());
    let generation = store.generation();
    let placed = store.put(batch(1, Kind::Entry, &[b"one", b"two"])).await.unwrap();
    let usage = store.usage();
    drop(store);
    let store = open_in(folder.path());
    assert_eq!(store.generation(), generation);
    assert_eq!(Usage { commits: 0, ..usage }, Usage { commits: 0, ..store.usage() });
    let room = PageRoom { bytes: 100, entries: 10 };
    let page = store.after(MailboxId([1; 32]), 0, room).await.unwrap();
    let found: Vec<_> = page.entries.iter().map(|entry| (entry.id, entry.position)).collect();
    assert_eq!(found, placed.new);
    // Positions go on.
    let next = store.put(batch(1, Kind::Entry, &[b"three"])).await.unwrap();
    assert!(next.new[0].1 > placed.new[1].1);
}

#[tokio::test]
async fn puts_that_wait_share_a_commit() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_in(folder.path());
    let before = store.usage().commits;
    let puts = (0..500u32).map(|n| store.put(batch(1, Kind::Entry, &[&n.to_be_bytes()])));
    for placed in futures::future::join_all(puts).await {
        assert_eq!(placed.unwrap().new.len(), 1);
    }
    let commits = store.usage().commits - before;
    assert_eq!(store.usage().entries, 500);
    // The first may go alone; those that came while it was written go together. All 500 are queued before the first is answered only if
    // the thread is slow to start, so this leaves much room.
    assert!(commits < 250, "{commits} commits for 500 puts that came at once");
}

#[tokio::test]
async fn a_backup_is_one_moment_and_opens_as_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_in(folder.path());
    let chunk = vec![7; 3 * tables::PIECE_BYTES + 1];
    store.put(batch(1, Kind::Chunk, &[&chunk])).await.unwrap();
    store.put(batch(2, Kind::Entry, &[b"sealed"])).await.unwrap();
    let copy = folder.path().join("copy");
    let (copied, put) = tokio::join!(store.backup(copy.clone()), store.put(batch(3, Kind::Entry, &[b"meanwhile"])));
    copied.unwrap();
    put.unwrap();
    assert_eq!(store.backup(copy.clone()).await, Err(StoreError::Failed), "nothing is written over");
    renew_generation(&copy).unwrap();
    let restored = RedbStore::open(&copy, 8 << 20, QUOTAS, Heard::new()).unwrap();
    assert_ne!(restored.generation(), store.generation());
    let id = BlobId::of(Kind::Chunk, &chunk);
    let found = restored.get(vec![MailboxId([1; 32])], Kind::Chunk, vec![id], 1).await.unwrap();
    assert_eq!(found, [Some(Bytes::from(chunk))]);
    let state = restored.states(vec![MailboxId([2; 32])]).await.unwrap();
    assert_eq!(state[0].entries, 1);
}

#[test]
fn what_is_no_store_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mailboxes.redb");
    let open = || RedbStore::open(&path, 8 << 20, QUOTAS, Heard::new()).map(drop).unwrap_err();
    std::fs::write(&path, vec![7; 8192]).unwrap();
    assert!(matches!(open(), OpenError::Damaged(_)), "{:?}", open());
    assert_eq!(std::fs::read(&path).unwrap(), vec![7; 8192]);
    std::fs::remove_file(&path).unwrap();
    let held = open_in(folder.path());
    let said = open().to_string();
    assert!(said.ends_with("is another relay running with this data directory?"), "{said}");
    drop(held);
    let missing = folder.path().join("missing/mailboxes.redb");
    let said = RedbStore::open(&missing, 8 << 20, QUOTAS, Heard::new()).map(drop).unwrap_err().to_string();
    assert!(said.ends_with("Check the data directory's owner and mode, and the disk"), "{said}");
}

/// A store in a file as another program finds it who copies it now: as a kill would leave it.
async fn copied(folder: &Path, name: &str) -> RedbStore {
    let copy = folder.join(name);
    std::fs::create_dir(&copy).unwrap();
    for file in ["mailboxes.redb", "mailboxes.journal"] {
        std::fs::copy(folder.join(file), copy.join(file)).unwrap();
    }
    open_in(&copy)
}

#[tokio::test]
async fn what_is_in_the_journal_alone_is_there_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_in(folder.path());
    let room = PageRoom { bytes: usize::MAX, entries: usize::MAX };
    for number in 0..5 {
        let placed = store.put(batch(1, Kind::Entry, &[&entry(number)])).await.unwrap();
        let killed = copied(folder.path(), &number.to_string()).await;
        let page = killed.after(MailboxId([1; 32]), 0, room).await.unwrap();
        assert_eq!(page.entries.len(), number as usize + 1);
        assert_eq!(page.entries.last().unwrap().position, placed.new[0].1);
        assert_eq!(killed.generation(), store.generation());
    }
    // An orderly end leaves everything in the database.
    drop(store);
    std::fs::remove_file(folder.path().join("mailboxes.journal")).unwrap();
    let store = open_in(folder.path());
    assert_eq!(store.after(MailboxId([1; 32]), 0, room).await.unwrap().entries.len(), 5);
}

#[tokio::test]
async fn opening_after_a_kill_does_not_walk_over_the_whole_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_in(folder.path());
    let room = PageRoom { bytes: usize::MAX, entries: usize::MAX };
    for number in 0..3 {
        store.put(batch(1, Kind::Entry, &[&entry(number)])).await.unwrap();
        store.sweep(1_000).await.unwrap();
        // Committed since the checkpoint, without a sync.
        store.put(batch(2, Kind::Entry, &[&entry(number)])).await.unwrap();
        store.after(MailboxId([2; 32]), 0, room).await.unwrap();
        store.put(batch(3, Kind::Entry, &[&entry(number)])).await.unwrap();
        let copy = folder.path().join(number.to_string());
        std::fs::copy(folder.path().join("mailboxes.redb"), &copy).unwrap();
        let walked = Arc::new(AtomicBool::new(false));
        let told = walked.clone();
        let mut opening = Builder::new();
        opening.set_repair_callback(move |_| told.store(true, Relaxed));
        drop(opening.open(&copy).unwrap());
        assert!(!walked.load(Relaxed));
    }
}

#[tokio::test]
async fn a_store_from_before_there_was_a_journal_opens_and_is_of_this_format_then() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_in(folder.path());
    let placed = store.put(batch(1, Kind::Entry, &[&entry(1)])).await.unwrap();
    drop(store);
    let path = folder.path().join("mailboxes.redb");
    let format = |set: Option<u8>| {
        let database = Database::open(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        let mut meta = transaction.open_table(META).unwrap();
        if let Some(format) = set {
            meta.insert(FORMAT, [format].as_slice()).unwrap();
            meta.remove(JOURNALED).unwrap();
        }
        let format = meta.get(FORMAT).unwrap().unwrap().value().to_vec();
        drop(meta);
        transaction.commit().unwrap();
        format
    };
    format(Some(VERSION_ALONE));
    std::fs::remove_file(folder.path().join("mailboxes.journal")).unwrap();
    let store = open_in(folder.path());
    let next = store.put(batch(1, Kind::Entry, &[&entry(1), &entry(2)])).await.unwrap();
    assert_eq!(next.new.len(), 1);
    assert!(next.new[0].1 > placed.new[0].1);
    drop(store);
    assert_eq!(format(None), [VERSION]);
    format(Some(VERSION + 1));
    let error = RedbStore::open(&path, 8 << 20, QUOTAS, Heard::new()).map(drop).unwrap_err();
    assert!(matches!(error, OpenError::Later(_)), "{error}");
}

#[test]
fn the_journal_of_another_store_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(open_in(folder.path()));
    std::fs::remove_file(folder.path().join("mailboxes.redb")).unwrap();
    let path = folder.path().join("mailboxes.redb");
    let error = RedbStore::open(&path, 8 << 20, QUOTAS, Heard::new()).map(drop).unwrap_err();
    assert!(matches!(&error, OpenError::Damaged(path) if path.ends_with("mailboxes.journal")), "{error}");
}

#[tokio::test]
async fn of_what_was_removed_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_in(folder.path());
    store.put(batch(1, Kind::Chunk, &[&vec![1; 200_000]])).await.unwrap();
    store.put(batch(1, Kind::Entry, &[&entry(1), &entry(2)])).await.unwrap();
    store.sweep(QUOTAS.kept_seconds + 2_000).await.unwrap();
    assert_eq!(Usage { commits: 0, ..store.usage() }, Usage { expired: 3, ..Usage::default() });
    store.read(None, |_| Ok(())).await.unwrap();
    let database = store.shared.database().unwrap();
    let transaction = database.begin_read().unwrap();
    assert!(transaction.open_table(BLOBS).unwrap().first().unwrap().is_none());
    assert!(transaction.open_table(ORDER).unwrap().first().unwrap().is_none());
    assert!(transaction.open_table(IDS).unwrap().first().unwrap().is_none());
    assert!(transaction.open_table(MAILBOXES).unwrap().first().unwrap().is_none());
}
