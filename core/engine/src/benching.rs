//! Doors for `bench/` into what is private. Not part of the API.

use std::sync::Arc;

use clave_crdt::{DocumentKind, MessageId};
use clave_crypto::{Checkpoint, ContentKey, DeviceKey, Entropy, Export, GroupKeyAgreement as _, Mls, RosterChange};

use crate::circle::Circle;
use crate::desk::View;
use crate::entry::{Body, Envelope};
use crate::membership::Log;
use crate::proto::entry::Changes;
use crate::search::{self, Change, Index, Item};
use crate::{Batch, CircleId, DocumentId, Engine, EngineError, ReadError, SearchPage, SearchQuery, StoreRead};

/// Puts a device into a circle as if it had just joined, so that a circle of thousands takes no thousand joins.
///
/// # Errors
/// If the checkpoint is not of this engine's key agreement.
pub fn enter(engine: &mut Engine, log: Log, checkpoint: Checkpoint, now_ms: u64) -> Result<(), EngineError> {
    engine.begin(now_ms)?;
    let circle = Circle::join(log, checkpoint, Vec::new(), &mut engine.desk)?;
    engine.circles.insert(circle.id, circle);
    engine.finish();
    Ok(())
}

/// The key that entries are sealed with in an epoch.
///
/// # Errors
/// If the checkpoint is not of MLS.
pub fn content_key(checkpoint: &Checkpoint, circle: CircleId) -> Result<ContentKey, EngineError> {
    Ok(ContentKey::from_bytes(Mls.export(checkpoint, Export::ContentKey, circle.as_bytes())?))
}

/// Signs a change of a chat and seals it, as its author's device does.
#[must_use]
pub fn seal_change(
    key: &ContentKey,
    circle: CircleId,
    author: &DeviceKey,
    document: DocumentId,
    change: Vec<u8>,
    now_ms: u64,
    entropy: &mut Entropy,
) -> Vec<u8> {
    let kind = DocumentKind::Timeline.number().into();
    let body = Body::Changes(Changes { document: document.as_bytes().to_vec(), kind, changes: vec![change] });
    Envelope::seal(circle, author, key, body, now_ms, entropy).expect("a message fits an entry").bytes
}

/// Has a circle keep entries that nobody can open, of about the size of a short message, in one batch: filed, indexed and
/// written as others are, but neither sealed, signed nor judged. The same numbers make the same entries.
///
/// # Errors
/// If this device is not in the circle, or the store cannot be read.
pub fn fill(
    engine: &mut Engine,
    circle: CircleId,
    entries: impl IntoIterator<Item = (u32, u64)>,
    now_ms: u64,
) -> Result<(), EngineError> {
    engine.begin(now_ms)?;
    let (circle, desk) = engine.circle_mut(circle)?;
    let tag = circle.head_key().key_id();
    for (hour, number) in entries {
        let mut filler = [0; 256 + 16];
        blake3::Hasher::new().update(&number.to_be_bytes()).finalize_xof().fill(&mut filler);
        circle.keep(&Envelope::filler(hour, tag, &filler), desk)?;
    }
    engine.finish();
    Ok(())
}

/// Has a device renew its keys.
///
/// # Errors
/// If this device is not in the circle.
pub fn rotate(engine: &mut Engine, circle: CircleId, now_ms: u64) -> Result<(), EngineError> {
    engine.begin(now_ms)?;
    let (circle, desk) = engine.circle_mut(circle)?;
    let done = circle.commit(RosterChange::default(), None, desk).map(drop);
    engine.finish();
    done
}

/// A search index without an engine.
pub struct Search(View);

impl Search {
    /// Over what is stored.
    #[must_use]
    pub fn new(store: Arc<dyn StoreRead + Send + Sync>) -> Self {
        Self(View::new(store))
    }

    /// What is to be written when messages of a document come in, with a step of merging; without a text, a message goes.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn update(
        &self,
        circle: CircleId,
        document: DocumentId,
        messages: Vec<(MessageId, Option<String>)>,
    ) -> Result<Batch, ReadError> {
        let change = |(id, text): (MessageId, Option<String>)| match text {
            Some(text) => {
                let item = Item { id: id.as_bytes().to_vec(), author: id.author(), time_ms: id.sent_ms(), text };
                Change::Put(item)
            }
            None => Change::Remove(id.as_bytes().to_vec()),
        };
        let changes = messages.into_iter().map(change).collect();
        let written = self.write(circle, |index| {
            index.update((document, DocumentKind::Timeline), changes)?;
            index.step()
        });
        written.map(|(_, batch)| batch)
    }

    /// Goes a step with merging. Whether there is more to do.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn step(&self, circle: CircleId) -> Result<(bool, Batch), ReadError> {
        self.write(circle, |index| index.step())
    }

    /// Answers a query.
    ///
    /// # Errors
    /// If there is nothing to search for, or the store cannot be read.
    pub fn search(&self, query: &SearchQuery, now_ms: u64) -> Result<SearchPage, EngineError> {
        search::run(query, now_ms, &self.0)
    }

    fn write<T>(
        &self,
        circle: CircleId,
        write: impl FnOnce(&mut Index<'_>) -> Result<T, ReadError>,
    ) -> Result<(T, Batch), ReadError> {
        let mut index = Index::open(circle, &self.0)?;
        let result = write(&mut index)?;
        Ok((result, index.finish()?.0.into_iter().collect()))
    }
}
