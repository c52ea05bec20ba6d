//! What was done in a circle, by whom, and what does not count.

use crate::convert::{count, hex, parse};
use crate::{Circle, ClaveError, DocumentKind};

/// Something that changed who is in and who may what. Each record is chained to the one before by its hash.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct AuditRecord {
    /// Its place in the list, from 0.
    pub sequence: u64,
    /// When its author says that it was done, in Unix milliseconds. Clocks lie.
    pub time_ms: u64,
    /// The id of the device that did it.
    pub device: String,
    /// How its person was called at that point.
    pub person_name: String,
    /// What was done: "Alice added Bob as a member".
    pub sentence: String,
    /// Why it has no effect, as a sentence.
    pub set_aside: Option<String>,
    /// The hash of this record and the one before it, in hexadecimal digits.
    pub hash: String,
}

/// Changes of a document that are not shown, because of who wrote them.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct SetAsideDocument {
    /// The id of the document.
    pub document: String,
    /// Of which kind.
    pub kind: DocumentKind,
    /// The title, of a note.
    pub title: String,
    /// Who wrote them.
    pub authors: Vec<String>,
    /// How many.
    pub changes: u32,
    /// Why they are set aside, each reason as a sentence.
    pub reasons: Vec<String>,
}

/// A device that did what no device in order does.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Evidence {
    /// The id of the device.
    pub device: String,
    /// How it is called, or was.
    pub device_name: String,
    /// How its person is called, or was.
    pub person_name: String,
    /// Whether it is still in.
    pub is_in: bool,
}

#[uniffi::export]
impl Circle {
    /// Everything that ever changed who is in and who may what. The same on every device that has seen the same.
    ///
    /// # Errors
    /// [`ClaveError::Paused`], [`ClaveError::Stopped`].
    pub async fn audit(&self) -> Result<Vec<AuditRecord>, ClaveError> {
        let records = self.run(|circle| async move { circle.audit().await }).await?;
        Ok(records.into_iter().map(AuditRecord::from).collect())
    }

    /// Devices that did what no device in order does: their key is in two hands, they run from an old copy of their data, or
    /// they lie. Evidence, no verdict.
    ///
    /// # Errors
    /// [`ClaveError::Paused`], [`ClaveError::Stopped`].
    pub async fn evidence(&self) -> Result<Vec<Evidence>, ClaveError> {
        let evidence = self.run(|circle| async move { circle.evidence().await }).await?;
        Ok(evidence.into_iter().map(Evidence::from).collect())
    }

    /// What is not shown of each document: changes whose author was removed at the same time, or was never rightly in.
    ///
    /// # Errors
    /// [`ClaveError::Paused`], [`ClaveError::Stopped`].
    pub async fn set_aside(&self) -> Result<Vec<SetAsideDocument>, ClaveError> {
        let documents = self.run(|circle| async move { circle.set_aside_changes().await }).await?;
        Ok(documents.into_iter().map(SetAsideDocument::from).collect())
    }

    /// Takes over what is set aside in a document, so that everybody is shown it again, and says how many changes that were.
    /// It stands on this person's word from then on.
    ///
    /// # Errors
    /// If this person may not write here.
    pub async fn keep(&self, document: String, kind: DocumentKind) -> Result<u32, ClaveError> {
        let (document, kind) = (parse(&document, "document")?, kind.known()?);
        Ok(count(self.run(|circle| async move { circle.keep(document, kind).await }).await?))
    }
}

impl From<clave::AuditRecord> for AuditRecord {
    fn from(record: clave::AuditRecord) -> Self {
        Self {
            sequence: record.sequence,
            time_ms: record.time_ms,
            device: record.device.to_string(),
            person_name: record.person_name,
            sentence: record.sentence,
            set_aside: record.set_aside.map(|(_, why)| why),
            hash: hex(&record.hash),
        }
    }
}

impl From<clave::Evidence> for Evidence {
    fn from(evidence: clave::Evidence) -> Self {
        Self {
            device: evidence.device.to_string(),
            device_name: evidence.device_name,
            person_name: evidence.person_name,
            is_in: evidence.is_in,
        }
    }
}

impl From<clave::SetAsideDocument> for SetAsideDocument {
    fn from(document: clave::SetAsideDocument) -> Self {
        Self {
            document: document.id.to_string(),
            kind: document.kind.into(),
            title: document.title,
            authors: document.authors,
            changes: count(document.changes),
            reasons: document.reasons,
        }
    }
}
