//! A copy of the whole store as it is at one moment, while others go on writing.

use std::path::Path;

use redb::{Database, Key, ReadTransaction, ReadableTable, TableDefinition, Value};

use super::{
    Failure, builder,
    tables::{BLOBS, IDS, MAILBOXES, META, ORDER},
};

/// Records that one transaction copies.
const COPY_RECORDS: usize = 4_096;

const CACHE_BYTES: usize = 64 << 20;

/// Writes the store to a file that does not exist yet, durably.
pub(super) fn copy(from: &ReadTransaction, to: &Path) -> Result<(), Failure> {
    if to.exists() {
        return Err(redb::StorageError::Io(std::io::ErrorKind::AlreadyExists.into()).into());
    }
    let copy = builder(CACHE_BYTES).create(to)?;
    copy_table(from, &copy, BLOBS)?;
    copy_table(from, &copy, ORDER)?;
    copy_table(from, &copy, IDS)?;
    copy_table(from, &copy, MAILBOXES)?;
    // Last: without it a copy that was broken off is no store.
    copy_table(from, &copy, META)
}

fn copy_table<K: Key + 'static, V: Value + 'static>(
    from: &ReadTransaction,
    to: &Database,
    table: TableDefinition<'_, K, V>,
) -> Result<(), Failure> {
    let source = from.open_table(table)?;
    let mut records = source.iter()?.peekable();
    loop {
        let mut transaction = to.begin_write()?;
        transaction.set_quick_repair(true);
        {
            let mut target = transaction.open_table(table)?;
            for record in records.by_ref().take(COPY_RECORDS) {
                let (key, value) = record?;
                target.insert(key.value(), value.value())?;
            }
        }
        transaction.commit()?;
        if records.peek().is_none() {
            return Ok(());
        }
    }
}
