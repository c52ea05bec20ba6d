//! Who wants to be woken, in a redb file of its own beside that of the mailboxes.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition};

use super::{
    MailboxId, StoreError,
    redb::{OpenError, open},
};
use crate::wake::{Health, PushKeys, Subscription, SubscriptionId};

/// Endpoint, `p256dh` and `auth` (or empty), and mailboxes one after another.
type Row = (&'static str, &'static [u8], &'static [u8], &'static [u8]);

/// Accepted, refused, status, gone, waiting, and the day on which the device came last.
type HealthRow = (u64, u64, u32, bool, bool, u64);

/// Both by id.
const SUBSCRIPTIONS: TableDefinition<'_, &[u8; 16], Row> = TableDefinition::new("subscriptions");
const HEALTH: TableDefinition<'_, &[u8; 16], HealthRow> = TableDefinition::new("health");

/// Whether this is such a file, and of which format.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

const FORMAT_KEY: &str = "format";
const FORMAT: u64 = 1;

/// All of it is in memory as well, so little of the file need be.
const CACHE_BYTES: usize = 4 << 20;

type All = BTreeMap<SubscriptionId, (Subscription, Health)>;

/// The file. Its methods block.
pub(crate) struct SubscriptionStore {
    database: Database,
}

impl SubscriptionStore {
    /// Opens the file, creating it if there is none, and reads all of it.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub(crate) fn open(path: &Path) -> Result<(Self, All), OpenError> {
        let database = open(path, CACHE_BYTES)?;
        let damaged = |error: redb::Error| match error {
            redb::Error::Io(error) => OpenError::Io(path.into(), error),
            _ => OpenError::Damaged(path.into()),
        };
        if begin(&database).map_err(damaged)? > FORMAT {
            return Err(OpenError::Later(path.into()));
        }
        let all = read(&database).map_err(damaged)?.ok_or_else(|| OpenError::Damaged(path.into()))?;
        Ok((Self { database }, all))
    }

    /// Puts a subscription in the place of what had its id. Durable when this returns.
    pub(crate) fn put(&self, id: SubscriptionId, of: &Subscription, health: &Health) -> Result<(), StoreError> {
        self.write(|transaction| {
            let mailboxes: Vec<u8> = of.mailboxes.iter().flat_map(|mailbox| mailbox.0).collect();
            let (p256dh, auth) = of.keys.as_ref().map_or((&[][..], &[][..]), |keys| (&keys.p256dh, &keys.auth));
            let row = (of.endpoint.as_str(), p256dh, auth, &mailboxes[..]);
            transaction.open_table(SUBSCRIPTIONS)?.insert(&id.0, row)?;
            transaction.open_table(HEALTH)?.insert(&id.0, row_of(health))?;
            Ok(())
        })
    }

    pub(crate) fn put_health(&self, all: &[(SubscriptionId, Health)]) -> Result<(), StoreError> {
        self.write(|transaction| {
            let mut table = transaction.open_table(HEALTH)?;
            all.iter().try_for_each(|(id, health)| table.insert(&id.0, row_of(health)).map(drop))?;
            Ok(())
        })
    }

    pub(crate) fn remove(&self, ids: &[SubscriptionId]) -> Result<(), StoreError> {
        self.write(|transaction| {
            let (mut subscriptions, mut health) =
                (transaction.open_table(SUBSCRIPTIONS)?, transaction.open_table(HEALTH)?);
            for id in ids {
                subscriptions.remove(&id.0)?;
                health.remove(&id.0)?;
            }
            Ok(())
        })
    }

    /// Writes it as it is at one moment to a file that does not exist yet, durably.
    pub(crate) fn backup(&self, to: PathBuf) -> Result<(), StoreError> {
        let copy = || {
            let from = self.database.begin_read()?;
            let transaction = Database::create(&to)?.begin_write()?;
            copy_table(&from, &transaction, SUBSCRIPTIONS)?;
            copy_table(&from, &transaction, HEALTH)?;
            copy_table(&from, &transaction, META)?;
            Ok::<_, redb::Error>(transaction.commit()?)
        };
        copy().map_err(|error| failed(&error))
    }

    fn write(&self, work: impl FnOnce(&redb::WriteTransaction) -> Result<(), redb::Error>) -> Result<(), StoreError> {
        let write = || {
            let transaction = self.database.begin_write()?;
            work(&transaction)?;
            Ok(transaction.commit()?)
        };
        write().map_err(|error: redb::Error| failed(&error))
    }
}

fn failed(error: &redb::Error) -> StoreError {
    tracing::error!(%error, "the subscriptions could not be written");
    match error {
        redb::Error::Io(error) if error.kind() == std::io::ErrorKind::StorageFull => StoreError::Full,
        _ => StoreError::Failed,
    }
}

/// Makes the tables if there are none. The format that is there.
fn begin(database: &Database) -> Result<u64, redb::Error> {
    let transaction = database.begin_write()?;
    let format = {
        let mut meta = transaction.open_table(META)?;
        let found = meta.get(FORMAT_KEY)?.map(|found| found.value());
        if found.is_none() {
            meta.insert(FORMAT_KEY, FORMAT)?;
            transaction.open_table(SUBSCRIPTIONS)?;
            transaction.open_table(HEALTH)?;
        }
        found.unwrap_or(FORMAT)
    };
    transaction.commit()?;
    Ok(format)
}

/// `None` if a row is not what it should be.
fn read(database: &Database) -> Result<Option<All>, redb::Error> {
    let transaction = database.begin_read()?;
    let (subscriptions, health) = (transaction.open_table(SUBSCRIPTIONS)?, transaction.open_table(HEALTH)?);
    let mut all = All::new();
    for row in subscriptions.iter()? {
        let (id, row) = row?;
        let (endpoint, p256dh, auth, mailboxes) = row.value();
        let keys = match (p256dh.try_into(), auth.try_into()) {
            (Ok(p256dh), Ok(auth)) => Some(PushKeys { p256dh, auth }),
            _ if p256dh.is_empty() && auth.is_empty() => None,
            _ => return Ok(None),
        };
        let (mailboxes, rest) = mailboxes.as_chunks();
        let Some(health) = health.get(id.value())?.filter(|_| rest.is_empty()) else { return Ok(None) };
        let (accepted_seconds, refused_seconds, status, gone, waiting, seen_day) = health.value();
        let health = Health { accepted_seconds, refused_seconds, status, gone, waiting, seen_day };
        let mailboxes = mailboxes.iter().copied().map(MailboxId).collect();
        all.insert(SubscriptionId(*id.value()), (Subscription { endpoint: endpoint.into(), keys, mailboxes }, health));
    }
    Ok(Some(all))
}

fn row_of(health: &Health) -> HealthRow {
    let Health { accepted_seconds, refused_seconds, status, gone, waiting, seen_day } = *health;
    (accepted_seconds, refused_seconds, status, gone, waiting, seen_day)
}

fn copy_table<K: redb::Key + 'static, V: redb::Value + 'static>(
    from: &ReadTransaction,
    to: &redb::WriteTransaction,
    table: TableDefinition<'_, K, V>,
) -> Result<(), redb::Error> {
    let mut target = to.open_table(table)?;
    for row in from.open_table(table)?.iter()? {
        let (key, value) = row?;
        target.insert(key.value(), value.value())?;
    }
    Ok(())
}
