use super::*;

fn entropy(seed: u8) -> Entropy {
    Entropy::from_seed([seed; 32])
}

fn phrase(seed: u8) -> RecoveryPhrase {
    RecoveryPhrase::generate(&mut entropy(seed))
}

fn head() -> AccountHead {
    AccountHead {
        person: phrase(1).person_key().id(),
        person_name: "Alice".to_owned(),
        device: DeviceId::from_bytes([2; 32]),
        device_name: "phone".to_owned(),
        made_ms: 1_800_000_000_000,
        with_files: false,
    }
}

fn records() -> Vec<AccountRecord> {
    let record = |n: u8, bytes| (Key::new(Keyspace::Entries, [1; 32], [n; 32]), vec![n; bytes]);
    vec![record(1, 10), record(2, CHUNK_BYTES), record(3, 0), record(4, 700_000), record(5, 700_000), record(6, 1)]
}

fn written(records: Vec<AccountRecord>) -> Vec<u8> {
    let export = AccountExport::empty(&phrase(1).person_key());
    let mut writer =
        AccountWriter::new(Vec::new(), &phrase(1), (&head(), &export), entropy(3)).expect("memory takes it");
    for record in records {
        writer.add(record).expect("memory takes it");
    }
    writer.finish().expect("memory takes it").1
}

fn read(bytes: &[u8], phrase: &RecoveryPhrase) -> Result<(AccountHead, Vec<AccountRecord>), AccountError> {
    let failed = |error| match error {
        ExportError::Account(error) => error,
        ExportError::Io(error) => panic!("memory can be read: {error}"),
    };
    let mut reader = AccountReader::open(bytes, phrase).map_err(failed)?;
    let mut all = Vec::new();
    while let Some(records) = reader.next_records().map_err(failed)? {
        all.extend(records);
    }
    assert_eq!(reader.records(), all.len() as u64);
    Ok((reader.head().clone(), all))
}

#[test]
fn what_was_written_is_read_back() {
    assert_eq!(read(&written(records()), &phrase(1)), Ok((head(), records())));
    assert_eq!(read(&written(Vec::new()), &phrase(1)), Ok((head(), Vec::new())));
}

#[test]
fn another_phrase_opens_nothing_and_is_told_from_damage() {
    assert_eq!(read(&written(records()), &phrase(2)), Err(AccountError::OtherPhrase));
}

#[test]
fn a_file_cut_short_anywhere_is_refused_as_such() {
    let whole = written(vec![records().remove(0)]);
    for length in 0..whole.len() {
        let why = if length < HEAD_BYTES { AccountError::NotAnExport } else { AccountError::CutShort };
        assert_eq!(read(&whole[..length], &phrase(1)), Err(why), "{length} bytes");
    }
    // Between two chunks, too.
    let whole = written(records());
    let first = HEAD_BYTES + 5 + u32::from_be_bytes(whole[HEAD_BYTES + 1..HEAD_BYTES + 5].try_into().unwrap()) as usize;
    assert!(first < whole.len() - 100);
    assert_eq!(read(&whole[..first], &phrase(1)), Err(AccountError::CutShort));
}

#[test]
fn a_file_altered_anywhere_is_refused() {
    let whole = written(vec![records().remove(0)]);
    for place in 0..whole.len() {
        let mut altered = whole.clone();
        altered[place] ^= 0x40;
        assert!(read(&altered, &phrase(1)).is_err(), "byte {place}");
    }
    let mut longer = whole;
    longer.push(0);
    assert_eq!(read(&longer, &phrase(1)), Err(AccountError::Damaged));
}

#[test]
fn chunks_that_are_swapped_left_out_or_of_another_export_are_refused() {
    let whole = written(records());
    let mut chunks = Vec::new();
    let mut rest = &whole[HEAD_BYTES..];
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(5 + u32::from_be_bytes(rest[1..5].try_into().unwrap()) as usize);
        chunks.push(chunk);
        rest = after;
    }
    assert_eq!(chunks.len(), 3);
    let with = |chunks: &[&[u8]]| [&whole[..HEAD_BYTES], &chunks.concat()].concat();
    assert_eq!(with(&chunks), whole);
    for order in [[1, 0, 2].as_slice(), &[0, 2], &[0, 2, 1], &[1, 2], &[0, 0, 1, 2], &[2]] {
        let chosen: Vec<&[u8]> = order.iter().map(|n| chunks[*n]).collect();
        assert_eq!(read(&with(&chosen), &phrase(1)), Err(AccountError::Damaged), "{order:?}");
    }
}

#[test]
fn a_newer_version_says_to_update() {
    let mut newer = written(records());
    newer[9] += 1;
    assert_eq!(read(&newer, &phrase(1)), Err(AccountError::TooNew(2)));
    newer[9] = 0;
    assert_eq!(read(&newer, &phrase(1)), Err(AccountError::Damaged));
    assert_eq!(
        read(b"PK\x03\x04, and much more of what is not ours at all", &phrase(1)),
        Err(AccountError::NotAnExport)
    );
}

#[test]
fn what_an_export_never_holds_is_refused() {
    for keyspace in Keyspace::ALL {
        let record = (Key::new(keyspace, [1; 32], [2; 32]), vec![3]);
        let holds = KEYSPACES.contains(&keyspace) || keyspace == Keyspace::Chunks;
        assert_eq!(read(&written(vec![record]), &phrase(1)).is_ok(), holds, "{keyspace:?}");
    }
    assert!(!KEYSPACES.contains(&Keyspace::Meta) && !KEYSPACES.contains(&Keyspace::KeyPackages));
}
