//! What was done in a circle, by whom, and what does not count.

use crate::convert::{count, hex, parse};
use crate::{Circle, ClaveError, DocumentKind, Role};

/// Something that changed who is in and who may what. Each record is chained to the one before by its hash.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct AuditRecord {
    /// Its place in the list, from 0.
    pub sequence: u64,
    /// When its author says that it was done, in Unix milliseconds. Clocks lie.
    pub time_ms: u64,
    /// The id of the act.
    pub operation: String,
    /// The ids of those that its author had seen last.
    pub parents: Vec<String>,
    /// The id of the device that did it.
    pub device: String,
    /// How it was called at that point.
    pub device_name: String,
    /// The id of its person, if that is known.
    pub person: Option<String>,
    /// How its person was called at that point.
    pub person_name: String,
    /// What they were at that point, if they were in.
    pub role: Option<Role>,
    /// What was done: "Alice added Bob as a member".
    pub sentence: String,
    /// By what right, if its author was in.
    pub warrant: Option<Warrant>,
    /// Why it has no effect, as a sentence.
    pub set_aside: Option<String>,
    /// The hash of the record before it, in hexadecimal digits; of the first, the id of the circle.
    pub previous: String,
    /// The hash of this record and the one before it, in hexadecimal digits.
    pub hash: String,
}

/// By what right somebody did something.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Warrant {
    /// The id of the act that brought their device in.
    pub admission: String,
    /// The id of the act that gave them their role.
    pub role_given: String,
    /// The id of who did that, if that is known.
    pub given_by: Option<String>,
    /// How those were called.
    pub given_by_name: String,
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
    /// When the first of them was made, by the clock of its author, in Unix milliseconds.
    pub first_ms: u64,
    /// When the last was.
    pub last_ms: u64,
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
    /// The id of its person, if that is known.
    pub person: Option<String>,
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
            operation: record.operation.to_string(),
            parents: record.parents.iter().map(ToString::to_string).collect(),
            device: record.device.to_string(),
            device_name: record.device_name,
            person: record.person.map(|person| person.to_string()),
            person_name: record.person_name,
            role: record.role.map(Role::from),
            sentence: record.sentence,
            warrant: record.warrant.map(Warrant::from),
            set_aside: record.set_aside.map(|(_, why)| why),
            previous: hex(&record.previous),
            hash: hex(&record.hash),
        }
    }
}

impl From<clave::Warrant> for Warrant {
    fn from(warrant: clave::Warrant) -> Self {
        Self {
            admission: warrant.admission.to_string(),
            role_given: warrant.role_given.to_string(),
            given_by: warrant.given_by.map(|person| person.to_string()),
            given_by_name: warrant.given_by_name,
        }
    }
}

impl From<clave::Evidence> for Evidence {
    fn from(evidence: clave::Evidence) -> Self {
        Self {
            device: evidence.device.to_string(),
            device_name: evidence.device_name,
            person: evidence.person.map(|person| person.to_string()),
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
            first_ms: document.first_ms,
            last_ms: document.last_ms,
            reasons: document.reasons,
        }
    }
}
