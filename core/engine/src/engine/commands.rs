//! What an application asks of the engine, apart from invitations (`join.rs`) and files (`fetch.rs`).

use clave_crdt::{CrdtError, Document, DocumentKind};
use clave_crypto::{KeyId, Suite};

use super::*;
use crate::SetAsideChange;
use crate::identity::check_name;
use crate::key_packages;
use crate::membership::{Action, Membership, Operation, Scope};

/// A circle in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CircleStatus {
    /// The epoch under which entries are sealed now.
    pub epoch: EpochId,
    /// By what that epoch's keys were agreed on, as all of the circle's are.
    pub suite: Suite,
    /// Names the key that they are sealed with.
    pub key: KeyId,
    /// How many commits led to it.
    pub depth: u64,
    /// Whether this device was restored and has not been let in yet: it reads, and writes nothing.
    pub rejoining: bool,
    /// Devices that hold its keys.
    pub leaves: usize,
    /// Entries that are here.
    pub entries: usize,
    /// Of these, entries that wait for a key, an operation or an epoch.
    pub held: usize,
    /// Changes of documents that are not shown because of who wrote them, as far as documents were looked at: see
    /// [`Engine::all_set_aside`].
    pub set_aside: usize,
    /// Changes of documents that wait: for another that they build on and that is not here (it may be lost), or because
    /// their author wrote two in one place. As far as documents were looked at.
    pub waiting: usize,
}

impl Engine {
    /// Command: founds a space with this person as its owner.
    ///
    /// # Errors
    /// If the name cannot be used.
    pub fn create_space(&mut self, name: &str, now_ms: u64) -> Result<CircleId, EngineError> {
        self.create_space_of(name, Suite::default(), now_ms)
    }

    /// Command: founds a space that agrees on its keys by that suite, as do all of its circles unless it is the default one.
    ///
    /// # Errors
    /// If the name cannot be used.
    pub fn create_space_of(&mut self, name: &str, suite: Suite, now_ms: u64) -> Result<CircleId, EngineError> {
        self.begin(now_ms)?;
        if self.identity.person().is_none() {
            return Err(EngineError::NotLinked);
        }
        let packages = key_packages::make(suite, &mut self.desk);
        let founder = self.identity.entry(packages).ok_or(EngineError::NotLinked)?;
        let genesis = Action::Genesis {
            name: check_name(name)?.to_owned(),
            nonce: self.desk.entropy.bytes(),
            founder,
            parent: None,
            scope: Scope::Nested,
            suite,
        };
        let genesis = Operation::sign(&self.desk.device, Vec::new(), now_ms, genesis);
        let circle = Circle::create(genesis, &mut self.desk)?;
        let id = circle.id;
        self.circles.insert(id, circle);
        self.finish();
        Ok(id)
    }

    /// The circles this device is in, in order of id.
    pub fn circles(&self) -> impl Iterator<Item = CircleId> {
        self.circles.keys().copied()
    }

    /// Who is in a circle, with which roles, and what was set aside.
    ///
    /// # Errors
    /// If this device is not in the circle.
    pub fn membership(&self, circle: CircleId) -> Result<&Membership, EngineError> {
        Ok(self.circle(circle)?.log.membership())
    }

    /// Whether this very device founded a circle.
    ///
    /// # Errors
    /// If this device is not in the circle.
    pub fn is_founder(&self, circle: CircleId) -> Result<bool, EngineError> {
        let genesis = crate::OperationId::from_bytes(*circle.as_bytes());
        let genesis = self.circle(circle)?.log.operation(&genesis);
        Ok(genesis.is_some_and(|genesis| genesis.author() == self.desk.me()))
    }

    /// A circle in numbers.
    ///
    /// # Errors
    /// If this device is not in the circle.
    pub fn status(&self, circle: CircleId) -> Result<CircleStatus, EngineError> {
        Ok(self.circle(circle)?.status())
    }

    /// For each device of a circle that is in and was heard of: the furthest epoch that it is known to follow, and how many
    /// commits led there. A device has confirmed a rotation of the keys once that is the epoch it led to, or a later one.
    ///
    /// # Errors
    /// If this device is not in the circle.
    pub fn confirmed(&self, circle: CircleId) -> Result<BTreeMap<DeviceId, (EpochId, u64)>, EngineError> {
        Ok(self.circle(circle)?.confirmed())
    }

    /// Command: writes an operation into a circle's membership log. The key agreement follows by itself.
    ///
    /// # Errors
    /// If this device is not in the circle or has no right to it.
    pub fn act(&mut self, circle: CircleId, action: Action, now_ms: u64) -> Result<(), EngineError> {
        self.begin(now_ms)?;
        let (circle, desk) = self.circle_mut(circle)?;
        let done = circle.act(action, desk);
        self.finish();
        done
    }

    /// What documents a circle has, in order of id.
    ///
    /// # Errors
    /// If this device is not in the circle.
    pub fn documents(&self, circle: CircleId) -> Result<Vec<DocumentInfo>, EngineError> {
        Ok(self.circle(circle)?.documents())
    }

    /// The `number`th segment of a circle's chat that is to be written to now. Which segments there are is told by
    /// [`documents`](Self::documents): under a history policy other than *full*, those that this device can read.
    ///
    /// # Errors
    /// If this device is not in the circle.
    pub fn segment(&self, circle: CircleId, number: u32, now_ms: u64) -> Result<DocumentId, EngineError> {
        Ok(self.circle(circle)?.segment(number, now_ms))
    }

    /// A document to read from; empty if nobody wrote to it so far. To change it, use [`edit`](Self::edit).
    ///
    /// # Errors
    /// If this device is not in the circle or the store cannot be read.
    pub fn document(
        &mut self,
        circle: CircleId,
        document: DocumentId,
        kind: DocumentKind,
    ) -> Result<&mut Document, EngineError> {
        self.make_room(Some((circle, document, kind)));
        let (circle, desk) = self.circle_mut(circle)?;
        circle.document(document, kind, desk)
    }

    /// Whether anybody wrote to a document.
    ///
    /// # Errors
    /// If this device is not in the circle.
    pub fn has_document(
        &self,
        circle: CircleId,
        document: DocumentId,
        kind: DocumentKind,
    ) -> Result<bool, EngineError> {
        Ok(self.circle(circle)?.has_document(document, kind))
    }

    /// Command: lets `edit` change a document. What it changed becomes one entry; if it fails, nothing changed. A large
    /// edit commits pieces of itself and puts them into the list it is given; those stand even if it fails later.
    ///
    /// # Errors
    /// Those of [`document`](Self::document) and of `edit`; and if the change is too large for one entry.
    pub fn edit<T>(
        &mut self,
        circle: CircleId,
        document: DocumentId,
        kind: DocumentKind,
        now_ms: u64,
        edit: impl FnOnce(&mut Document, &mut Vec<Vec<u8>>) -> Result<T, CrdtError>,
    ) -> Result<T, EngineError> {
        self.begin(now_ms)?;
        let (circle, desk) = self.circle_mut(circle)?;
        let result = circle.edit(document, kind, desk, edit);
        self.finish();
        result
    }

    /// Command: makes the index of a circle's entries anew from the entries, reading each once. Gives how many there are, and
    /// whether the index was in order. Nothing else changes; an engine does the same by itself when it comes upon damage.
    ///
    /// # Errors
    /// If this device is not in the circle, or the store cannot be read or holds a damaged entry.
    pub fn rebuild_indexes(&mut self, circle: CircleId, now_ms: u64) -> Result<(usize, bool), EngineError> {
        self.begin(now_ms)?;
        let (circle, desk) = self.circle_mut(circle)?;
        let rebuilt = circle.rebuild_index(desk);
        self.finish();
        rebuilt
    }

    /// What is not shown of a document: changes whose author was removed meanwhile, or was never in, which the removal
    /// did not keep and on which nobody in standing built.
    ///
    /// # Errors
    /// Those of [`document`](Self::document).
    pub fn set_aside(
        &mut self,
        circle: CircleId,
        document: DocumentId,
        kind: DocumentKind,
    ) -> Result<Vec<SetAsideChange>, EngineError> {
        let (circle, desk) = self.circle_mut(circle)?;
        circle.set_aside(document, kind, desk)
    }

    /// What is not shown in each document of a circle; loads those in which somebody wrote who is not in standing.
    ///
    /// # Errors
    /// Those of [`document`](Self::document).
    pub fn all_set_aside(
        &mut self,
        circle: CircleId,
    ) -> Result<BTreeMap<(DocumentId, DocumentKind), Vec<SetAsideChange>>, EngineError> {
        let (circle, desk) = self.circle_mut(circle)?;
        circle.all_set_aside(desk)
    }

    /// Command: takes over what is set aside in a document, so that it is shown everywhere. How many changes that were.
    ///
    /// # Errors
    /// Those of [`edit`](Self::edit).
    pub fn vouch(
        &mut self,
        circle: CircleId,
        document: DocumentId,
        kind: DocumentKind,
        now_ms: u64,
    ) -> Result<usize, EngineError> {
        self.begin(now_ms)?;
        let (circle, desk) = self.circle_mut(circle)?;
        let result = circle.vouch(document, kind, desk);
        self.finish();
        result
    }

    /// Randomness for what an application makes: message ids, new documents.
    #[must_use]
    pub fn random<const N: usize>(&mut self) -> [u8; N] {
        self.desk.entropy.bytes()
    }

    /// Where devices can be reached, as far as it is known.
    #[must_use]
    pub fn known_addresses(&self) -> &BTreeMap<DeviceId, Vec<String>> {
        &self.addresses
    }

    fn circle(&self, id: CircleId) -> Result<&Circle, EngineError> {
        self.circles.get(&id).ok_or(EngineError::NoSuchCircle)
    }
}
