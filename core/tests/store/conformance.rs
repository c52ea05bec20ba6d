//! The suite that every backend passes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use clave::{FailingStore, Fault, KEY_BYTES_MAX, RawBatch, Store, StoreError, StoreKind, VALUE_BYTES_MAX};

use crate::fixture::{Fixture, keys, records};

/// Turns each function below into one test for each backend.
macro_rules! conformance {
    ($($name:ident),+ $(,)?) => {
        mod memory {
            $(#[test] fn $name() { super::$name(&super::Fixture::memory()); })+
        }
        mod redb {
            $(#[test] fn $name() { super::$name(&super::Fixture::disk(super::StoreKind::Redb)); })+
        }
        mod sled {
            $(#[test] fn $name() { super::$name(&super::Fixture::disk(super::StoreKind::Sled)); })+
        }
    };
}

conformance!(
    what_is_applied_is_read,
    the_last_write_to_a_key_wins,
    tables_do_not_touch,
    scans_are_in_byte_order,
    scans_stop_at_the_end_of_a_prefix,
    scans_start_where_told_and_stop_when_told,
    a_visitor_may_read,
    empty_values_are_values,
    large_values_come_back_whole,
    limits_are_refused_whole,
    several_batches_are_one_commit,
    all_is_there_after_reopening,
    a_hundred_thousand_records,
    readers_see_whole_batches,
    a_scan_sees_one_state,
    compaction_keeps_every_record,
    size_grows_with_what_is_stored,
    a_failing_store_keeps_the_old_state,
);

fn one(writes: &[(&[u8], Option<&[u8]>)]) -> RawBatch {
    let mut batch = RawBatch::default();
    for (key, value) in writes {
        match value {
            Some(value) => batch.put(1, *key, *value),
            None => batch.remove(1, *key),
        }
    }
    batch
}

fn what_is_applied_is_read(fixture: &Fixture) {
    let store = fixture.open();
    assert_eq!(store.get(1, b"a").unwrap(), None);
    store.apply(&[one(&[(b"a", Some(b"1")), (b"b", Some(b"2"))])]).unwrap();
    assert_eq!(store.get(1, b"a").unwrap().unwrap(), b"1");
    store.apply(&[one(&[(b"a", None), (b"b", Some(b"3")), (b"nothing", None)])]).unwrap();
    assert_eq!(store.get(1, b"a").unwrap(), None);
    assert_eq!(records(&*store, 1, b"", b""), [(b"b".to_vec(), b"3".to_vec())]);
    store.apply(&[]).unwrap();
    store.apply(&[RawBatch::default()]).unwrap();
}

fn the_last_write_to_a_key_wins(fixture: &Fixture) {
    let store = fixture.open();
    let long = vec![7; 20_000];
    store
        .apply(&[
            one(&[(b"put", None), (b"put", Some(b"1")), (b"put", Some(b"2"))]),
            one(&[(b"gone", Some(b"1")), (b"gone", Some(&long)), (b"gone", None)]),
            one(&[(b"back", Some(b"1")), (b"back", None), (b"back", Some(&long))]),
        ])
        .unwrap();
    assert_eq!(store.get(1, b"put").unwrap().unwrap(), b"2");
    assert_eq!(store.get(1, b"gone").unwrap(), None);
    assert_eq!(store.get(1, b"back").unwrap().unwrap(), long);
}

fn tables_do_not_touch(fixture: &Fixture) {
    let store = fixture.open();
    let mut batch = RawBatch::default();
    for table in [0, 1, 2, 0xfe, 0xff] {
        batch.put(table, *b"key", [table]);
        batch.put(table, [0xff; 3], [table]);
        batch.put(table, [], [table]);
    }
    store.apply(&[batch]).unwrap();
    for table in [0, 1, 2, 0xfe, 0xff] {
        assert_eq!(store.get(table, b"key").unwrap().unwrap(), [table]);
        let found = records(&*store, table, b"", b"");
        assert_eq!(found, [vec![], b"key".to_vec(), vec![0xff; 3]].map(|key| (key, vec![table])));
    }
    assert_eq!(keys(&*store, 3, b"", b""), Vec::<Vec<u8>>::new());
}

fn scans_are_in_byte_order(fixture: &Fixture) {
    let store = fixture.open();
    let mut expected: Vec<Vec<u8>> =
        (0..=255_u8).flat_map(|byte| [vec![byte], vec![byte, 0], vec![byte, 255]]).collect();
    let mut batch = RawBatch::default();
    for key in expected.iter().rev() {
        batch.put(1, key.clone(), *b"v");
    }
    store.apply(&[batch]).unwrap();
    expected.sort();
    assert_eq!(keys(&*store, 1, b"", b""), expected);
}

fn scans_stop_at_the_end_of_a_prefix(fixture: &Fixture) {
    let store = fixture.open();
    let all: [&[u8]; 8] = [b"a", b"a\xfe", b"a\xff", b"a\xff\xff", b"b", b"\xff", b"\xff\xff", b"\xff\xff\x01"];
    let mut batch = RawBatch::default();
    for key in all {
        batch.put(1, key, key);
    }
    batch.put(2, *b"a\xff\xff\xff", *b"another table");
    store.apply(&[batch]).unwrap();
    assert_eq!(keys(&*store, 1, b"a", b""), all[..4]);
    assert_eq!(keys(&*store, 1, b"a\xff", b""), all[2..4]);
    assert_eq!(keys(&*store, 1, b"\xff", b""), all[5..]);
    assert_eq!(keys(&*store, 1, b"\xff\xff", b""), all[6..]);
    assert_eq!(keys(&*store, 1, b"\xff\xff\xff", b""), all[..0]);
    assert_eq!(keys(&*store, 1, b"c", b""), all[..0]);
}

fn scans_start_where_told_and_stop_when_told(fixture: &Fixture) {
    let store = fixture.open();
    let mut batch = RawBatch::default();
    for n in 0..100_u8 {
        batch.put(1, [b'p', n], [n]);
    }
    store.apply(&[batch]).unwrap();
    assert_eq!(keys(&*store, 1, b"p", &[40]), (40..100).map(|n| vec![b'p', n]).collect::<Vec<_>>());
    assert_eq!(keys(&*store, 1, b"p", &[40, 0]), (41..100).map(|n| vec![b'p', n]).collect::<Vec<_>>());
    assert_eq!(keys(&*store, 1, b"p", &[100]), Vec::<Vec<u8>>::new());
    let mut seen = Vec::new();
    store
        .scan(1, b"p", &[10], &mut |key, value| {
            seen.push((key[1], value[0]));
            seen.len() < 3
        })
        .unwrap();
    assert_eq!(seen, [(10, 10), (11, 11), (12, 12)]);
}

fn a_visitor_may_read(fixture: &Fixture) {
    let store = fixture.open();
    store.apply(&[one(&[(b"a", Some(b"b")), (b"b", Some(b"c"))])]).unwrap();
    let mut found = Vec::new();
    store
        .scan(1, b"", b"", &mut |_, value| {
            found.push(store.get(1, value).unwrap());
            found.push(records(&*store, 1, value, b"").pop().map(|(_, value)| value));
            true
        })
        .unwrap();
    assert_eq!(found, [Some(b"c".to_vec()), Some(b"c".to_vec()), None, None]);
}

fn empty_values_are_values(fixture: &Fixture) {
    let store = fixture.open();
    store.apply(&[one(&[(b"", Some(b"")), (b"empty", Some(b""))])]).unwrap();
    assert_eq!(store.get(1, b"empty").unwrap().unwrap(), b"");
    assert_eq!(store.get(1, b"").unwrap().unwrap(), b"");
    assert_eq!(keys(&*store, 1, b"", b""), [b"".to_vec(), b"empty".to_vec()]);
}

fn pattern(bytes: usize, seed: u8) -> Vec<u8> {
    (0..bytes).map(|index| (index % 251) as u8 ^ seed).collect()
}

fn large_values_come_back_whole(fixture: &Fixture) {
    let sizes = [4095, 4096, 4097, 8192, 65_536, 1 << 20, (3 << 20) + 17];
    let store = fixture.open();
    for (round, grow) in [0, 1, 2, 3].into_iter().enumerate() {
        let mut batch = RawBatch::default();
        for (n, size) in sizes.iter().enumerate() {
            batch.put(1, [n as u8], pattern(size + grow, round as u8));
        }
        store.apply(&[batch]).unwrap();
        for (n, size) in sizes.iter().enumerate() {
            assert_eq!(store.get(1, &[n as u8]).unwrap().unwrap(), pattern(size + grow, round as u8));
        }
    }
    drop(store);
    let store = fixture.open();
    let found = records(&*store, 1, b"", b"");
    assert_eq!(found.len(), sizes.len());
    for ((_, value), size) in found.into_iter().zip(sizes) {
        assert_eq!(value, pattern(size + 3, 3));
    }
    if let Fixture::Disk(StoreKind::Sled, directory) = fixture {
        let blobs = directory.path().join("store/sled/blobs");
        assert_eq!(std::fs::read_dir(blobs).unwrap().count(), 0, "sled keeps blobs that nobody fsyncs");
    }
}

fn limits_are_refused_whole(fixture: &Fixture) {
    let store = fixture.open();
    let long_key = vec![1; KEY_BYTES_MAX + 1];
    let error = store.apply(&[one(&[(b"a", Some(b"1")), (&long_key, Some(b"1"))])]).unwrap_err();
    assert_eq!(error, StoreError::TooLarge { bytes: KEY_BYTES_MAX + 1, bytes_max: KEY_BYTES_MAX });
    let long_value = vec![0; VALUE_BYTES_MAX + 1];
    let error = store.apply(&[one(&[(b"a", Some(b"1"))]), one(&[(b"b", Some(&long_value))])]).unwrap_err();
    assert_eq!(error, StoreError::TooLarge { bytes: VALUE_BYTES_MAX + 1, bytes_max: VALUE_BYTES_MAX });
    assert_eq!(keys(&*store, 1, b"", b""), Vec::<Vec<u8>>::new());
    store.apply(&[one(&[(&long_key[1..], Some(b"1"))])]).unwrap();
    assert_eq!(store.get(1, &long_key[1..]).unwrap().unwrap(), b"1");
}

fn several_batches_are_one_commit(fixture: &Fixture) {
    let store = fixture.open();
    store
        .apply(&[
            one(&[(b"a", Some(b"1")), (b"b", Some(b"1"))]),
            one(&[(b"a", None), (b"c", Some(b"2"))]),
            one(&[(b"b", Some(b"3"))]),
        ])
        .unwrap();
    assert_eq!(records(&*store, 1, b"", b""), [(b"b".to_vec(), b"3".to_vec()), (b"c".to_vec(), b"2".to_vec())]);
}

fn all_is_there_after_reopening(fixture: &Fixture) {
    for round in 0..5_u8 {
        let store = fixture.open();
        assert_eq!(keys(&*store, 1, b"", b"").len(), usize::from(round));
        store.apply(&[one(&[(&[round], Some(&pattern(5000, round)))])]).unwrap();
    }
    let store = fixture.open();
    for round in 0..5_u8 {
        assert_eq!(store.get(1, &[round]).unwrap().unwrap(), pattern(5000, round));
    }
}

fn a_hundred_thousand_records(fixture: &Fixture) {
    const RECORDS: u32 = 100_000;
    let store = fixture.open();
    // Multiplying by an odd number visits every record once, in no order.
    let mut order = (0..u64::from(RECORDS)).map(|n| (n * 48_271 % u64::from(RECORDS)) as u32);
    for _ in 0..10 {
        let mut batch = RawBatch::default();
        for n in order.by_ref().take(RECORDS as usize / 10) {
            batch.put(1, n.to_be_bytes(), format!("record {n}"));
        }
        store.apply(&[batch]).unwrap();
    }
    let mut batch = RawBatch::default();
    for n in (0..RECORDS).step_by(2) {
        batch.remove(1, n.to_be_bytes());
    }
    store.apply(&[batch]).unwrap();
    drop(store);

    let store = fixture.open();
    let mut expected = (1..RECORDS).step_by(2);
    store
        .scan(1, b"", b"", &mut |key, value| {
            let n = expected.next().unwrap();
            assert_eq!((key, value), (&n.to_be_bytes()[..], format!("record {n}").as_bytes()));
            true
        })
        .unwrap();
    assert_eq!(expected.next(), None);
}

/// Applies `rounds` batches, each of which sets all of `width` records to its own number.
fn write_in_step(store: &dyn Store, rounds: u32, width: u8) {
    for round in 1..=rounds {
        let mut batch = RawBatch::default();
        for n in 0..width {
            batch.put(1, [n], round.to_be_bytes());
        }
        store.apply(&[batch]).unwrap();
    }
}

fn readers_see_whole_batches(fixture: &Fixture) {
    const WIDTH: u8 = 40;
    let store = fixture.open();
    write_in_step(&*store, 1, WIDTH);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut last = Vec::new();
                while !done.load(Ordering::Acquire) {
                    let found = records(&*store, 1, b"", b"");
                    assert_eq!(found.len(), usize::from(WIDTH));
                    assert!(found.iter().all(|(_, value)| *value == found[0].1), "half a batch");
                    let now = store.get(1, &[0]).unwrap().unwrap();
                    assert!(last <= found[0].1 && found[0].1 <= now, "time ran backwards");
                    last = now;
                }
            });
        }
        write_in_step(&*store, 60, WIDTH);
        done.store(true, Ordering::Release);
    });
    assert_eq!(store.get(1, &[0]).unwrap().unwrap(), 60_u32.to_be_bytes());
}

fn a_scan_sees_one_state(fixture: &Fixture) {
    let store = fixture.open();
    write_in_step(&*store, 1, 100);
    let mut seen = Vec::new();
    thread::scope(|scope| {
        let mut writer = None;
        store
            .scan(1, b"", b"", &mut |_, value| {
                // The first visit sets a writer to work on what the other visits are about to see.
                writer.get_or_insert_with(|| scope.spawn(|| write_in_step(&*store, 10, 100)));
                seen.push(value.to_vec());
                true
            })
            .unwrap();
    });
    // Round 1 or a later one by the writer's count, but one.
    assert_eq!(seen.len(), 100);
    assert!(seen.iter().all(|value| *value == seen[0]));
    assert_eq!(store.get(1, &[99]).unwrap().unwrap(), 10_u32.to_be_bytes());
}

fn compaction_keeps_every_record(fixture: &Fixture) {
    let store = fixture.open();
    for round in 0..20_u8 {
        let mut batch = RawBatch::default();
        for n in 0..100_u8 {
            batch.put(1, [n], pattern(3000 + usize::from(n) * 50, round));
        }
        store.apply(&[batch]).unwrap();
    }
    let mut batch = RawBatch::default();
    for n in 10..100_u8 {
        batch.remove(1, [n]);
    }
    store.apply(&[batch]).unwrap();
    let before = store.size_bytes().unwrap();
    let done = store.compact().unwrap();
    assert_eq!(done, matches!(fixture, Fixture::Disk(..)));
    if done {
        assert!(store.size_bytes().unwrap() < before / 2, "{} of {before} bytes left", store.size_bytes().unwrap());
    }
    store.apply(&[one(&[(b"after", Some(b"compaction"))])]).unwrap();
    drop(store);
    let store = fixture.open();
    let found = records(&*store, 1, b"", b"");
    assert_eq!(found.len(), 11);
    for (n, (key, value)) in found.into_iter().take(10).enumerate() {
        assert_eq!((key, value), (vec![n as u8], pattern(3000 + n * 50, 19)));
    }
}

fn size_grows_with_what_is_stored(fixture: &Fixture) {
    let store = fixture.open();
    let empty = store.size_bytes().unwrap();
    store.apply(&[one(&[(b"a", Some(&pattern(4 << 20, 1)))])]).unwrap();
    assert!(store.size_bytes().unwrap() >= empty + (2 << 20));
}

fn a_failing_store_keeps_the_old_state(fixture: &Fixture) {
    let store = fixture.open();
    let failing = FailingStore::new(Arc::clone(&store));
    failing.apply(&[one(&[(b"a", Some(b"old")), (b"b", Some(b"old"))])]).unwrap();
    let old = records(&*store, 1, b"", b"");
    let new = [one(&[(b"a", None)]), one(&[(b"b", Some(b"new"))])];

    failing.fail_after(1, Fault::OutOfSpace);
    failing.apply(&[one(&[])]).unwrap();
    assert_eq!(failing.apply(&new).unwrap_err(), StoreError::OutOfSpace);
    assert_eq!(failing.apply(&new).unwrap_err(), StoreError::OutOfSpace);
    assert_eq!(records(&failing, 1, b"", b""), old);

    failing.fail_after(0, Fault::Write);
    assert!(failing.apply(&new).unwrap_err().is_retryable());
    assert_eq!(records(&failing, 1, b"", b""), old);

    // What fails in the flush may be on disk: all of it.
    failing.fail_after(0, Fault::Flush);
    assert!(failing.apply(&new).is_err());
    assert_eq!(records(&failing, 1, b"", b""), [(b"b".to_vec(), b"new".to_vec())]);

    // A backend that closed itself can be read again once there is room.
    failing.fail_after(0, Fault::Closed);
    assert_eq!(failing.apply(&new), Err(StoreError::OutOfSpace));
    assert_eq!(failing.get(1, b"b"), Err(StoreError::OutOfSpace));
    assert_eq!(failing.scan(1, b"", b"", &mut |_, _| true), Err(StoreError::OutOfSpace));

    failing.mend();
    failing.apply(&new).unwrap();
    assert_eq!(failing.get(1, b"b").unwrap().unwrap(), b"new");
}
