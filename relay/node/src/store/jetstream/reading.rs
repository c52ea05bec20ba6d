//! Reads: from the stream by position, or from the object store.

use std::time::Instant;

use async_nats::jetstream::{
    message::StreamMessage,
    stream::{DirectGetErrorKind, RawMessageErrorKind},
};
use clave_mailbox::{BlobId, Bytes, Kind};
use futures::{StreamExt, TryStreamExt, stream};

use super::{PATIENCE, RETRY, RETRY_MAX, Shared, record::Record};
use crate::store::{MailboxId, Page, PageRoom, StoreError, StoredEntry};

/// Blobs that one request reads at a time.
const READS_MAX: usize = 32;

impl Shared {
    /// A blob from where it lies; `None` if it is not there any more.
    async fn read(&self, position: u64, record: Record) -> Result<Option<Bytes>, StoreError> {
        let found = match record.object_name() {
            Some(name) => self.objects.get(&name).await?,
            None => self.message(position, &record).await?,
        };
        if found.is_none() {
            self.index().forget(position);
        }
        Ok(found)
    }

    async fn message(&self, position: u64, record: &Record) -> Result<Option<Bytes>, StoreError> {
        let is_it = |message: &StreamMessage| {
            Record::read(&message.headers, message.payload.len()).is_some_and(|found| found == *record)
        };
        let (until, mut wait) = (Instant::now() + PATIENCE, RETRY);
        loop {
            let why = match self.stream.direct_get(position).await {
                Ok(message) if is_it(&message) => return Ok(Some(message.payload)),
                Err(error) if error.kind() != DirectGetErrorKind::NotFound => error.to_string(),
                // Any server may have answered, even one that is behind: the leader knows.
                _ => match self.stream.get_raw_message(position).await {
                    Ok(message) if is_it(&message) => return Ok(Some(message.payload)),
                    Ok(_) => {
                        tracing::error!(position, "the stream is not what it was: it is read anew");
                        self.changed.notify_one();
                        return Err(StoreError::Unavailable);
                    }
                    Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => return Ok(None),
                    Err(error) => error.to_string(),
                },
            };
            if Instant::now() >= until {
                tracing::warn!(why, "the cluster did not give a blob");
                return Err(StoreError::Unavailable);
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(RETRY_MAX);
        }
    }

    pub(super) async fn after(&self, mailbox: MailboxId, after: u64, room: PageRoom) -> Result<Page, StoreError> {
        let (mut wanted, mut more, mut bytes) = (Vec::new(), false, 0);
        for (position, record) in self.index().after(mailbox, after) {
            bytes += record.bytes as usize;
            if !wanted.is_empty() && (bytes > room.bytes || wanted.len() >= room.entries) {
                more = true;
                break;
            }
            wanted.push((position, record));
        }
        let read = |(position, record): (u64, Record)| async move {
            let found = self.read(position, record).await?;
            Ok::<_, StoreError>(found.map(|bytes| StoredEntry { position, id: record.id, bytes }))
        };
        let read: Vec<_> = stream::iter(wanted).map(read).buffered(READS_MAX).try_collect().await?;
        Ok(Page { entries: read.into_iter().flatten().collect(), more })
    }

    pub(super) async fn get(
        &self,
        mailboxes: &[MailboxId],
        kind: Kind,
        ids: Vec<BlobId>,
        bytes_max: usize,
    ) -> Result<Vec<Option<Bytes>>, StoreError> {
        let (mut wanted, mut bytes) = (Vec::new(), 0);
        {
            let index = self.index();
            for id in ids {
                let found = index.find(mailboxes, kind, id);
                bytes += found.map_or(0, |(_, record)| record.bytes as usize);
                if found.is_some() && !wanted.is_empty() && bytes > bytes_max {
                    break;
                }
                wanted.push(found);
            }
        }
        let read = |found: Option<(u64, Record)>| async move {
            match found {
                Some((position, record)) => self.read(position, record).await,
                None => Ok(None),
            }
        };
        stream::iter(wanted).map(read).buffered(READS_MAX).try_collect().await
    }
}
