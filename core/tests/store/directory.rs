//! The data directory: one holder, one kind, one version, never half a store.

use std::fs;
use std::path::Path;

use clave::{DirectoryLock, RawBatch, STORE_FORMAT, StoreError, StoreKind, open_store};
use tempfile::TempDir;

const KINDS: [StoreKind; 2] = [StoreKind::Redb, StoreKind::Sled];

fn open_error(directory: &Path, kind: StoreKind) -> StoreError {
    open_store(directory, kind).err().expect("this must not open")
}

#[test]
fn a_second_open_is_told_who_holds_the_first() {
    for kind in KINDS {
        let directory = TempDir::new().unwrap();
        let store = open_store(directory.path(), kind).unwrap();
        let error = open_error(directory.path(), kind);
        assert_eq!(error, StoreError::Busy { holder: Some(std::process::id()) });
        assert!(error.is_retryable());
        drop(store);
        open_store(directory.path(), kind).unwrap();
    }
}

#[test]
fn a_lock_taken_by_hand_keeps_the_store_out() {
    let directory = TempDir::new().unwrap();
    let lock = DirectoryLock::take(directory.path()).unwrap();
    assert!(matches!(open_error(directory.path(), StoreKind::Redb), StoreError::Busy { .. }));
    drop(lock);
    open_store(directory.path(), StoreKind::Redb).unwrap();
}

#[test]
fn the_kind_is_remembered() {
    for (kind, other) in [(StoreKind::Redb, StoreKind::Sled), (StoreKind::Sled, StoreKind::Redb)] {
        let directory = TempDir::new().unwrap();
        drop(open_store(directory.path(), kind).unwrap());
        assert_eq!(open_error(directory.path(), other), StoreError::WrongKind { found: kind, asked: other });
        open_store(directory.path(), kind).unwrap();
    }
}

#[test]
fn kinds_are_parsed_from_their_names() {
    for kind in KINDS {
        assert_eq!(kind.name().parse(), Ok(kind));
        assert_eq!(kind.to_string(), kind.name());
    }
    assert!("Redb".parse::<StoreKind>().is_err());
    assert!("".parse::<StoreKind>().is_err());
    assert_eq!(StoreKind::default(), StoreKind::Redb);
}

#[test]
fn the_format_file_is_as_documented() {
    let directory = TempDir::new().unwrap();
    drop(open_store(directory.path(), StoreKind::Sled).unwrap());
    let text = fs::read_to_string(directory.path().join("store/format")).unwrap();
    assert_eq!(text, "clave store\nformat 2\nkind sled\n");
}

#[test]
fn a_later_format_is_refused_by_name() {
    for kind in KINDS {
        let directory = TempDir::new().unwrap();
        drop(open_store(directory.path(), kind).unwrap());
        // What a later version writes after its number is not ours to understand.
        fs::write(
            directory.path().join("store/format"),
            format!("clave store\nformat {}\nflavour x\n", STORE_FORMAT + 1),
        )
        .unwrap();
        let error = open_error(directory.path(), kind);
        assert_eq!(error, StoreError::TooNew { found: STORE_FORMAT + 1, supported: STORE_FORMAT });
        assert!(!error.is_retryable());
    }
}

#[test]
fn a_format_file_that_makes_no_sense_is_damage() {
    let directory = TempDir::new().unwrap();
    drop(open_store(directory.path(), StoreKind::Redb).unwrap());
    let format = directory.path().join("store/format");
    for text in ["", "clave store\n", "clave store\nformat x\nkind redb\n", "clave store\nformat 1\nkind z\n", "hello"]
    {
        fs::write(&format, text).unwrap();
        assert_eq!(open_error(directory.path(), StoreKind::Redb), StoreError::Damaged, "{text:?}");
    }
    fs::write(&format, [0xff, 0xfe]).unwrap();
    assert_eq!(open_error(directory.path(), StoreKind::Redb), StoreError::Damaged);
    fs::remove_file(&format).unwrap();
    assert_eq!(open_error(directory.path(), StoreKind::Redb), StoreError::Damaged);
}

#[test]
fn a_lost_database_is_damage_and_not_a_fresh_start() {
    for (kind, database) in [(StoreKind::Redb, "store/clave.redb"), (StoreKind::Sled, "store/sled/db")] {
        let directory = TempDir::new().unwrap();
        drop(open_store(directory.path(), kind).unwrap());
        fs::remove_file(directory.path().join(database)).unwrap();
        assert_eq!(open_error(directory.path(), kind), StoreError::Damaged);
    }
}

#[test]
fn a_database_that_is_none_is_damage() {
    for (kind, database) in [(StoreKind::Redb, "store/clave.redb"), (StoreKind::Sled, "store/sled/conf")] {
        let directory = TempDir::new().unwrap();
        drop(open_store(directory.path(), kind).unwrap());
        fs::write(directory.path().join(database), vec![b'x'; 100_000]).unwrap();
        assert_eq!(open_error(directory.path(), kind), StoreError::Damaged);
    }
}

#[test]
fn an_unfinished_creation_is_started_over() {
    for kind in KINDS {
        let directory = TempDir::new().unwrap();
        let unfinished = directory.path().join("store.new");
        fs::create_dir(&unfinished).unwrap();
        fs::write(unfinished.join("clave.redb"), b"half").unwrap();
        fs::write(unfinished.join("sled"), b"half").unwrap();
        let store = open_store(directory.path(), kind).unwrap();
        assert!(!unfinished.exists());
        let mut batch = RawBatch::default();
        batch.put(1, *b"a", *b"b");
        store.apply(&[batch]).unwrap();
    }
}

#[test]
fn an_interrupted_compaction_of_sled_is_taken_up() {
    // Between the two renames: the old database is out of the way, the copy is not yet in place.
    let directory = TempDir::new().unwrap();
    let store = open_store(directory.path(), StoreKind::Sled).unwrap();
    let mut batch = RawBatch::default();
    batch.put(1, *b"a", *b"b");
    store.apply(&[batch]).unwrap();
    drop(store);
    let path = directory.path().join("store");
    fs::create_dir(path.join("sled.new")).unwrap();
    fs::rename(path.join("sled"), path.join("sled.old")).unwrap();
    let store = open_store(directory.path(), StoreKind::Sled).unwrap();
    assert_eq!(store.get(1, b"a").unwrap().unwrap(), b"b");
    assert!(!path.join("sled.new").exists() && !path.join("sled.old").exists());
}
