//! A circle: an audience inside a space, and what it works on.

use std::time::Duration;

use clave_engine::crdt::{ChangeHash, DocumentKind};
use clave_engine::crypto::{DeviceId, PersonId};
use clave_engine::membership::Role;
use clave_engine::{CircleId, CircleStatus, DocumentId, InvitationId, InvitationInfo, InviteLink, Verification};

use crate::node::now_ms;
use crate::{Calendar, Drive, Error, Node, Note, Timeline};

mod departure;
mod people;
mod set_aside;

pub use departure::Departure;
pub use set_aside::SetAsideDocument;

/// A circle this device is in: everybody of a space, a private channel, a department, a chat of two. Cheap to clone.
#[derive(Clone)]
pub struct Circle {
    pub(crate) node: Node,
    pub(crate) id: CircleId,
}

/// Somebody in a circle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub person: PersonId,
    /// How they are called.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// When a guest's stay ends, in Unix milliseconds.
    pub expires_ms: Option<u64>,
    /// Their devices.
    pub devices: Vec<MemberDevice>,
    /// Whether it is the person this device belongs to.
    pub is_me: bool,
    /// Whether their key was compared on this device.
    pub verification: Verification,
}

/// A device of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberDevice {
    /// Which.
    pub device: DeviceId,
    /// What its person calls it.
    pub name: String,
    /// Whether it is connected now (or is this one).
    pub online: bool,
}

/// A note, as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteInfo {
    /// Which.
    pub id: DocumentId,
    /// Its title; empty when nobody gave one.
    pub title: String,
}

/// A document and the hashes of its newest changes: two devices that have equal heads have equal documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentHeads {
    /// Which.
    pub id: DocumentId,
    /// Of which kind.
    pub kind: DocumentKind,
    /// Sorted.
    pub heads: Vec<[u8; 32]>,
}

impl Node {
    /// A circle by its id, of whatever space: what a notification names.
    ///
    /// # Errors
    /// [`Error::NotFound`] if this device is not in it, or not yet.
    pub async fn circle(&self, id: CircleId) -> Result<Circle, Error> {
        let known = self.read(move |engine| Ok(engine.circles().any(|circle| circle == id))).await?;
        if known { Ok(Circle::new(self.clone(), id)) } else { Err(Error::NotFound("circle")) }
    }
}

impl Circle {
    pub(crate) fn new(node: Node, id: CircleId) -> Self {
        Self { node, id }
    }

    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    /// What a founder writes first.
    pub(crate) async fn set_up(&self) -> Result<(), Error> {
        let id = self.id;
        let drive = DocumentId::well_known(id, DocumentKind::Drive, 0);
        self.node
            .command(move |engine, now| {
                let secret = engine.random();
                engine.edit(id, drive, DocumentKind::Drive, now, |document, _| document.drive()?.init_drive(secret))
            })
            .await
    }

    /// Its id, the same on every device.
    #[must_use]
    pub fn id(&self) -> CircleId {
        self.id
    }

    /// Its name.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn name(&self) -> Result<String, Error> {
        let id = self.id;
        self.node.read(move |engine| Ok(engine.membership(id)?.name.clone())).await
    }

    /// Who is in it, owners first, then by name.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn members(&self) -> Result<Vec<Member>, Error> {
        let id = self.id;
        let (membership, mut online, verifications) = self
            .node
            .read(move |engine| {
                let membership = engine.membership(id)?.clone();
                let verifications = membership.people.keys().map(|person| engine.verification(id, *person));
                let verifications = verifications.collect::<Result<Vec<_>, _>>()?;
                Ok((membership, engine.online(), verifications))
            })
            .await?;
        let me = self.node.profile();
        online.push(me.device);
        let mut members: Vec<Member> = membership
            .people
            .into_iter()
            .zip(verifications)
            .map(|((person, known), verification)| Member {
                person,
                name: known.name,
                role: known.role,
                expires_ms: known.expires_ms,
                devices: known
                    .devices
                    .iter()
                    .map(|device| MemberDevice {
                        device: *device,
                        name: membership.devices.get(device).map(|known| known.name.clone()).unwrap_or_default(),
                        online: online.contains(device),
                    })
                    .collect(),
                is_me: person == me.person,
                verification,
            })
            .collect();
        members.sort_by(|a, b| (a.role, &a.name, a.person).cmp(&(b.role, &b.name, b.person)));
        Ok(members)
    }

    /// Makes an invitation that works once, within `valid`. Whoever takes it up has to reach this device.
    ///
    /// # Errors
    /// If this person may not invite.
    pub async fn invite(&self, valid: Duration) -> Result<InviteLink, Error> {
        let id = self.id;
        let valid_ms = u64::try_from(valid.as_millis()).unwrap_or(u64::MAX);
        self.node.command(move |engine, now| engine.invite(id, valid_ms, now)).await
    }

    /// The invitations that this device made.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn invitations(&self) -> Result<Vec<InvitationInfo>, Error> {
        let id = self.id;
        self.node.read(move |engine| engine.invitations(id, now_ms())).await
    }

    /// Takes an invitation back.
    ///
    /// # Errors
    /// If this device made no such invitation.
    pub async fn revoke_invitation(&self, invitation: InvitationId) -> Result<(), Error> {
        self.node.command(move |engine, now| engine.revoke_invitation(invitation, now)).await
    }

    /// The chat.
    #[must_use]
    pub fn timeline(&self) -> Timeline {
        Timeline::new(self.clone())
    }

    /// The files.
    #[must_use]
    pub fn drive(&self) -> Drive {
        Drive::new(self.clone())
    }

    /// The calendar.
    #[must_use]
    pub fn calendar(&self) -> Calendar {
        Calendar::new(self.clone())
    }

    /// The notes, by title. Loads only those that changed since they were last asked for.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn notes(&self) -> Result<Vec<NoteInfo>, Error> {
        let id = self.id;
        let titles = self.node.read(move |engine| engine.titles(id)).await?;
        let mut notes: Vec<NoteInfo> = titles.into_iter().map(|(id, title)| NoteInfo { id, title }).collect();
        notes.sort_by(|a, b| (&a.title, a.id).cmp(&(&b.title, b.id)));
        Ok(notes)
    }

    /// A new note.
    ///
    /// # Errors
    /// If the title is too long, or the disk refuses.
    pub async fn create_note(&self, title: &str) -> Result<Note, Error> {
        let (id, title) = (self.id, title.to_owned());
        let note = self
            .node
            .command(move |engine, now| {
                let note = DocumentId::from_bytes(engine.random());
                engine.edit(id, note, DocumentKind::Note, now, |document, _| document.note()?.set_title(&title))?;
                Ok(note)
            })
            .await?;
        Ok(Note::new(self.clone(), note))
    }

    /// A note by its id.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it is not here, or not here yet.
    pub async fn note(&self, note: DocumentId) -> Result<Note, Error> {
        let id = self.id;
        let known = self.node.read(move |engine| engine.has_document(id, note, DocumentKind::Note)).await?;
        if known { Ok(Note::new(self.clone(), note)) } else { Err(Error::NotFound("note")) }
    }

    /// Every document with its heads, in order of id.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn documents(&self) -> Result<Vec<DocumentHeads>, Error> {
        let id = self.id;
        self.node
            .read(move |engine| {
                let mut documents = Vec::new();
                for known in engine.documents(id)? {
                    let heads = engine.document(id, known.id, known.kind)?.heads();
                    documents.push(DocumentHeads { id: known.id, kind: known.kind, heads });
                }
                Ok(documents)
            })
            .await
    }

    /// Whether all of these changes are here. Of a document that is not here, none are.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn contains(&self, changes: Vec<(DocumentId, Vec<ChangeHash>)>) -> Result<bool, Error> {
        let id = self.id;
        self.node
            .read(move |engine| {
                let known = engine.documents(id)?;
                for (document, hashes) in &changes {
                    let Some(info) = known.iter().find(|info| info.id == *document) else { return Ok(false) };
                    let document = engine.document(id, info.id, info.kind)?;
                    if !hashes.iter().all(|hash| document.contains(hash)) {
                        return Ok(false);
                    }
                }
                Ok(true)
            })
            .await
    }

    /// Keys and entries, in numbers.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn status(&self) -> Result<CircleStatus, Error> {
        let id = self.id;
        self.node.read(move |engine| engine.status(id)).await
    }
}
