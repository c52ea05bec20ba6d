//! Puts: to the object store, to the stream, and acknowledged.

use std::{collections::HashSet, sync::atomic::Ordering::Relaxed, time::Instant};

use async_nats::jetstream::context::{PublishAckFuture, PublishErrorKind};
use clave_mailbox::{BlobId, Bytes, Kind};
use futures::{
    StreamExt, TryStreamExt,
    stream::{self, FuturesOrdered},
};

use super::{
    PATIENCE, RETRY, RETRY_MAX, Shared,
    record::{self, Record},
};
use crate::store::{Batch, Placed, StoreError};

/// Entries up to this length are messages; longer ones are objects. A server takes 1 MiB unless told otherwise.
pub(super) const INLINE_BYTES_MAX: usize = 512 << 10;

/// Blobs of one request that are on their way to the stream at a time.
const ON_WAY_MAX: usize = 64;

/// Objects that one request writes at a time.
const UPLOADS_MAX: usize = 8;

impl Shared {
    pub(super) async fn put(&self, batch: Batch) -> Result<Placed, StoreError> {
        let Batch { mailbox, kind, blobs, now_seconds } = batch;
        if self.disk_full.load(Relaxed) {
            return Err(StoreError::Full);
        }
        let blobs: Vec<_> = {
            let index = self.index();
            if !index.has_room_for(mailbox) {
                return Err(StoreError::NoNewMailboxes);
            }
            let mut known = HashSet::new();
            let mut is_new = |id: BlobId| known.insert(id) && index.position(mailbox, kind, id).is_none();
            blobs.into_iter().filter(|(id, _)| is_new(*id)).collect()
        };
        let seconds = u32::try_from(now_seconds).unwrap_or(u32::MAX);
        let as_records = blobs.into_iter().map(|(id, bytes)| {
            let in_object = kind == Kind::Chunk || bytes.len() > INLINE_BYTES_MAX;
            let object = if in_object { fresh_number() } else { 0 };
            let record = Record { mailbox, kind, id, seconds, bytes: bytes.len() as u32, object };
            async move {
                match record.object_name() {
                    Some(name) => self.objects.put(&name, bytes).await.map(|()| (record, Bytes::new())),
                    None => Ok((record, bytes)),
                }
            }
        });
        let blobs: Vec<_> = stream::iter(as_records).buffered(UPLOADS_MAX).try_collect().await?;
        Ok(Placed { new: self.place_all(&blobs).await? })
    }

    /// Publishes blobs in their order, several on their way at a time. Their positions.
    async fn place_all(&self, blobs: &[(Record, Bytes)]) -> Result<Vec<(BlobId, u64)>, StoreError> {
        // All at once: nobody holds a part of it and waits for the rest.
        let many = blobs.len().min(ON_WAY_MAX);
        let room = self.on_way.acquire_many(many as u32).await;
        let _room = room.map_err(|_| StoreError::Stopped)?;
        let (mut on_way, mut placed) = (FuturesOrdered::new(), Vec::with_capacity(blobs.len()));
        for (record, bytes) in blobs {
            if on_way.len() >= many {
                placed.extend(on_way.try_next().await?);
            }
            let first = self.publish(record, bytes).await.ok();
            on_way.push_back(self.place(first, record, bytes));
        }
        while let Some(one) = on_way.try_next().await? {
            placed.push(one);
        }
        Ok(placed)
    }

    /// Where a blob is that was published, once the cluster has it and it was seen.
    async fn place(
        &self,
        first: Option<PublishAckFuture>,
        record: &Record,
        bytes: &Bytes,
    ) -> Result<(BlobId, u64), StoreError> {
        let position = self.acknowledged(first, record, bytes).await?;
        self.take_own(position, record, bytes);
        self.seen(position).await;
        self.commits.fetch_add(1, Relaxed);
        // Published twice, or by two: then the first counts.
        let position = self.index().position(record.mailbox, record.kind, record.id).unwrap_or(position);
        Ok((record.id, position))
    }

    async fn publish(&self, record: &Record, bytes: &Bytes) -> Result<PublishAckFuture, PublishErrorKind> {
        let subject = record::subject(&self.config.stream, record.mailbox, record.kind);
        self.context.send_publish(subject, record.message(bytes.clone())).await.map_err(|error| error.kind())
    }

    /// Waits for the cluster's acknowledgement, publishing again for as long as there is none. The position.
    async fn acknowledged(
        &self,
        mut on_way: Option<PublishAckFuture>,
        record: &Record,
        bytes: &Bytes,
    ) -> Result<u64, StoreError> {
        let (until, mut wait) = (Instant::now() + PATIENCE, RETRY);
        loop {
            let answer = match on_way.take() {
                Some(on_way) => Ok(on_way),
                None => self.publish(record, bytes).await,
            };
            let why = match answer {
                Ok(on_way) => match on_way.await {
                    Ok(ack) => return Ok(ack.sequence),
                    Err(error) => error.kind(),
                },
                Err(why) => why,
            };
            if why == PublishErrorKind::MaxPayloadExceeded {
                tracing::error!("a NATS server takes no messages of {} bytes: raise its `max_payload`", bytes.len());
                return Err(StoreError::Failed);
            }
            if Instant::now() >= until {
                tracing::warn!(%why, "the cluster did not take a blob");
                return Err(StoreError::Unavailable);
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(RETRY_MAX);
        }
    }
}

/// Not zero.
fn fresh_number() -> u64 {
    let mut number = [0; 8];
    getrandom::fill(&mut number).expect("a system without randomness could not have made the relay's key");
    u64::from_be_bytes(number) | 1
}
