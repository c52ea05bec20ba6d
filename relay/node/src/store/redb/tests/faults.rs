//! The store on a medium that loses its power, fails, or is full, at every single operation: against a store in memory that was told what was answered.

use super::{
    super::*,
    medium::{Fault, Medium},
};
use crate::store::{
    MemoryStore,
    conformance::{Heard, QUOTAS, entry},
};

/// When what is to expire was put, and the rest; and when it has expired. In seconds since 1970.
const EARLY: u64 = 1_000;
const LATE: u64 = 1_500;
const SWEPT: u64 = EARLY + QUOTAS.kept_seconds;

const MAILBOXES: [MailboxId; 3] = [MailboxId([1; 32]), MailboxId([2; 32]), MailboxId([3; 32])];

fn quotas() -> Quotas {
    Quotas { mailbox_entries_max: 4, ..QUOTAS }
}

#[derive(Clone)]
enum Step {
    Put(Batch),
    Sweep(u64),
    /// Which has everything published.
    Read,
}

fn put(mailbox: MailboxId, kind: Kind, numbers: &[u32], now_seconds: u64) -> Step {
    // Chunks lie in several pieces.
    let repeated = if kind == Kind::Chunk { 70 } else { 1 };
    let blob = |number: &u32| Bytes::from(entry(*number).repeat(repeated));
    let blobs = numbers.iter().map(|number| (BlobId::of(kind, &blob(number)), blob(number))).collect();
    Step::Put(Batch { mailbox, kind, blobs, now_seconds })
}

/// Something of everything: several mailboxes and pieces, what is there already, what is over a quota, what is too old, a mailbox that is forgotten and made again.
fn steps() -> Vec<Step> {
    let [a, b, c] = MAILBOXES;
    vec![
        put(a, Kind::Entry, &[1, 2], EARLY),
        put(b, Kind::Chunk, &[3], EARLY),
        put(c, Kind::Entry, &[6], EARLY),
        Step::Read,
        put(a, Kind::Entry, &[2, 4], LATE),
        Step::Sweep(LATE),
        put(b, Kind::Chunk, &[3, 5], LATE),
        put(a, Kind::Entry, &[7, 8, 9], LATE),
        Step::Read,
        put(a, Kind::Entry, &[1], LATE),
        Step::Sweep(SWEPT),
        put(c, Kind::Entry, &[6], LATE),
        put(a, Kind::Entry, &[10], LATE),
        put(b, Kind::Entry, &[11], LATE),
    ]
}

async fn take(store: &dyn MailboxStore, step: Step) -> Result<(), StoreError> {
    match step {
        Step::Put(batch) => store.put(batch).await.map(drop),
        Step::Sweep(now_seconds) => store.sweep(now_seconds).await,
        Step::Read => store.states(MAILBOXES.into()).await.map(drop),
    }
}

/// Everything that can be seen of a store, with positions.
#[derive(Debug, PartialEq, Eq)]
struct Picture {
    /// Positions and ids.
    entries: Vec<Vec<(u64, BlobId)>>,
    states: Vec<MailboxState>,
    chunks: Vec<Option<usize>>,
    usage: Usage,
}

async fn picture(store: &dyn MailboxStore) -> Result<Picture, StoreError> {
    let all = PageRoom { bytes: usize::MAX, entries: usize::MAX };
    let mut entries = Vec::new();
    for mailbox in MAILBOXES {
        let page = store.after(mailbox, 0, all).await?;
        assert!(page.entries.iter().all(|entry| entry.id == BlobId::of(Kind::Entry, &entry.bytes)));
        entries.push(page.entries.iter().map(|entry| (entry.position, entry.id)).collect());
    }
    let chunks = [3, 5].map(|number| BlobId::of(Kind::Chunk, &entry(number).repeat(70)));
    let chunks = store.get(MAILBOXES.into(), Kind::Chunk, chunks.into(), usize::MAX).await?;
    Ok(Picture {
        entries,
        states: store.states(MAILBOXES.into()).await?,
        chunks: chunks.into_iter().map(|chunk| chunk.map(|bytes| bytes.len())).collect(),
        usage: Usage { expired: 0, dropped: 0, commits: 0, ..store.usage() },
    })
}

/// What there is to be seen once these were done.
async fn told(steps: &[Step]) -> Picture {
    let model = MemoryStore::new(quotas(), Heard::new());
    for step in steps {
        take(&model, step.clone()).await.unwrap();
    }
    picture(&model).await.unwrap()
}

fn open(medium: &Medium) -> Result<RedbStore, OpenError> {
    RedbStore::open_at(Box::new(medium.clone()), Path::new("medium.redb"), quotas(), Heard::new())
}

#[tokio::test]
async fn after_a_power_cut_at_any_moment_everything_that_was_answered_is_there() {
    let steps = steps();
    for operation in 1.. {
        let medium = Medium::default();
        // What a power cut leaves of a database that is being created is redb's, and nobody's loss.
        drop(open(&medium));
        medium.fail(operation, Fault::Cut, operation);
        let mut answered = 0;
        if let Ok(store) = open(&medium) {
            for step in &steps {
                match take(&store, step.clone()).await {
                    Ok(()) => answered += 1,
                    Err(_) => break,
                }
            }
        }
        if !medium.failed() {
            assert_eq!(answered, steps.len());
            assert!(operation > 100, "it has so many operations: {operation}");
            break;
        }
        // Once more, while what was there is being done again.
        let medium = medium.turned_on();
        medium.fail(1 + operation % 23, Fault::Cut, operation);
        drop(open(&medium));
        let medium = medium.turned_on();
        let store = open(&medium).unwrap_or_else(|error| panic!("cut at {operation}: {error}"));
        let found = picture(&store).await.unwrap();
        let done = if found == told(&steps[..answered]).await {
            answered
        } else {
            // What was on its way may be there, but whole.
            assert_eq!(found, told(&steps[..steps.len().min(answered + 1)]).await, "cut at {operation}");
            answered + 1
        };
        for step in &steps[done..] {
            take(&store, step.clone()).await.unwrap();
        }
        drop(store);
        let store = open(&medium.turned_on()).unwrap();
        assert_eq!(picture(&store).await.unwrap(), told(&steps).await, "cut at {operation}");
    }
}

#[tokio::test]
async fn after_any_failure_it_goes_on_with_what_was_answered() {
    let steps = steps();
    for operation in 1.. {
        let medium = Medium::default();
        let store = open(&medium).unwrap();
        medium.fail(operation, Fault::Error, operation);
        let mut answered = 0;
        while let Some(step) = steps.get(answered) {
            match take(&store, step.clone()).await {
                Ok(()) => answered += 1,
                Err(error) => {
                    assert_eq!(error, StoreError::Failed);
                    assert!(medium.failed());
                    // What was refused is not there, nor any part of it.
                    assert_eq!(picture(&store).await.unwrap(), told(&steps[..answered]).await, "{operation}");
                }
            }
        }
        assert_eq!(picture(&store).await.unwrap(), told(&steps).await, "{operation}");
        let last = !medium.failed();
        drop(store);
        let store = open(&medium.turned_on()).unwrap();
        assert_eq!(picture(&store).await.unwrap(), told(&steps).await, "{operation}");
        if last {
            assert!(operation > 60, "it has so many operations: {operation}");
            break;
        }
    }
}

#[tokio::test]
async fn a_full_disk_says_so_and_loses_nothing() {
    let [a, ..] = MAILBOXES;
    let entries = |number| put(a, Kind::Chunk, &[number], LATE);
    for room in (0..2 << 20).step_by(100_000) {
        let medium = Medium::default();
        let store = open(&medium).unwrap();
        medium.set_room(Some(room));
        let mut done: Vec<_> = Vec::new();
        let refused = loop {
            match take(&store, entries(done.len() as u32)).await {
                Ok(()) => done.push(entries(done.len() as u32)),
                Err(error) => break error,
            }
            // So that the database needs room too.
            if done.len() % 3 == 0 && take(&store, Step::Sweep(LATE)).await.is_err() {
                break StoreError::Full;
            }
        };
        assert_eq!(refused, StoreError::Full, "room for {room}");
        drop(store);
        match open(&medium) {
            Ok(store) => assert_eq!(store.usage().chunks, done.len() as u64),
            Err(OpenError::Io(_, error)) => assert_eq!(error.kind(), io::ErrorKind::StorageFull),
            Err(error) => panic!("{error}"),
        }
        medium.set_room(None);
        let store = open(&medium).unwrap();
        assert_eq!(picture(&store).await.unwrap(), told(&done).await, "room for {room}");
        take(&store, entries(done.len() as u32)).await.unwrap();
        assert_eq!(store.usage().chunks, done.len() as u64 + 1);
    }
}
