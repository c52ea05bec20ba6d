//! What somebody wrote who was removed meanwhile: looking at it, and taking it over.

use std::collections::{BTreeMap, BTreeSet};

use clave_engine::crdt::DocumentKind;
use clave_engine::membership::DeviceStanding;
use clave_engine::{DocumentId, Engine, EngineError, SetAsideChange};

use crate::{Circle, Error};

/// Changes of a document that are not shown, because of who wrote them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAsideDocument {
    /// Which document.
    pub id: DocumentId,
    /// Of which kind.
    pub kind: DocumentKind,
    /// The title, of a note.
    pub title: String,
    /// Who wrote them.
    pub authors: Vec<String>,
    /// How many changes.
    pub changes: usize,
    /// When the first was written, by its author's clock, in Unix milliseconds.
    pub first_ms: u64,
    /// When the last was written.
    pub last_ms: u64,
    /// Why they are set aside, each reason as a sentence.
    pub reasons: Vec<String>,
}

impl Circle {
    /// What is not shown of each document: changes whose author was removed at the same time, or was never rightly in, and
    /// on which nobody in standing built. [`keep`](Self::keep) takes them over.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn set_aside_changes(&self) -> Result<Vec<SetAsideDocument>, Error> {
        let id = self.id;
        self.node
            .read(move |engine| {
                let all = engine.all_set_aside(id)?;
                let reasons = reasons(engine, id, all.values().flatten())?;
                let mut documents = Vec::with_capacity(all.len());
                for ((document, kind), changes) in all {
                    let title = match kind {
                        DocumentKind::Note => engine.document(id, document, kind)?.note()?.title(),
                        _ => String::new(),
                    };
                    let (authors, why): (BTreeSet<_>, BTreeSet<_>) =
                        changes.iter().filter_map(|change| reasons.get(&change.device?).cloned()).unzip();
                    let time_ms = |change: &SetAsideChange| u64::try_from(change.time_s).unwrap_or(0) * 1_000;
                    documents.push(SetAsideDocument {
                        id: document,
                        kind,
                        title,
                        authors: authors.into_iter().collect(),
                        changes: changes.len(),
                        first_ms: changes.iter().map(time_ms).min().unwrap_or(0),
                        last_ms: changes.iter().map(time_ms).max().unwrap_or(0),
                        reasons: why.into_iter().collect(),
                    });
                }
                Ok(documents)
            })
            .await
    }

    /// Takes over what is set aside in a document, so that everybody is shown it again, and says how many changes that
    /// were. It stands on this person's word from then on.
    ///
    /// # Errors
    /// If this person may not write here.
    pub async fn keep(&self, document: DocumentId, kind: DocumentKind) -> Result<usize, Error> {
        let id = self.id;
        self.node.command(move |engine, now| engine.vouch(id, document, kind, now)).await
    }
}

/// Of each device that wrote what is set aside: whose it was, and why it does not count.
fn reasons<'a>(
    engine: &Engine,
    id: clave_engine::CircleId,
    changes: impl Iterator<Item = &'a SetAsideChange>,
) -> Result<BTreeMap<clave_engine::crypto::DeviceId, (String, String)>, EngineError> {
    let membership = engine.membership(id)?;
    let audit = engine.audit(id)?;
    let mut reasons = BTreeMap::new();
    for device in changes.filter_map(|change| change.device) {
        let standing = membership.device_standing(device);
        let (by, set_aside) = match standing {
            DeviceStanding::Removed { by } => (Some(by), false),
            DeviceStanding::SetAside { admission } => (Some(admission), true),
            // An earlier stay of a device that is in again: the removal in between is what ended that.
            _ => (None, false),
        };
        let record = audit.iter().find(|record| Some(record.operation) == by);
        let why = match record {
            Some(record) if set_aside => record.set_aside.as_ref().map(|(_, why)| why.clone()).unwrap_or_default(),
            Some(record) => format!("{} at the same time.", record.sentence),
            None => "It was written during a stay that a removal had ended.".to_owned(),
        };
        let behind = engine.person_behind(id, &device)?.and_then(|(_, name)| name);
        let name = behind.map_or_else(|| device.short(), str::to_owned);
        reasons.insert(device, (name, why));
    }
    Ok(reasons)
}
