//! What people do with their devices.

use clave_engine::crdt::{DocumentKind, Draft, FileVersion, MessageId, NodeId};
use clave_engine::crypto::{DeviceId, PersonId};
use clave_engine::fuzzing::inside;
use clave_engine::membership::{Action, PersonEntry, Role};
use clave_engine::{
    CircleId, DocumentId, EngineError, FetchId, FileContent, InvitationId, InviteLink, Manifest, seal_content,
};

use super::World;
use crate::plan::name;
use crate::{Content, Livelock, Who, Written};

/// How long invitations are valid, in milliseconds.
const INVITATION_MS: u64 = 7 * 24 * 3_600_000;

/// The one chat of a circle.
pub(crate) fn chat(circle: CircleId) -> DocumentId {
    DocumentId::well_known(circle, DocumentKind::Timeline, 0)
}

/// The one drive of a circle.
pub(crate) fn drive(circle: CircleId) -> DocumentId {
    DocumentId::well_known(circle, DocumentKind::Drive, 0)
}

impl World {
    /// The first of Alice, Bob, Carol, Dave, Erin, Frank and so on, in a space that Alice founded and invited each into.
    ///
    /// # Errors
    /// If they do not come to rest.
    pub fn team<const SIZE: usize>(&mut self) -> Result<([Who; SIZE], CircleId), Livelock> {
        let people = std::array::from_fn(|number| self.named(&name(number)));
        let team = self.create_space(people[0], "Team");
        for guest in &people[1..] {
            self.invite(people[0], team, *guest);
            self.settle()?;
        }
        Ok((people, team))
    }

    /// Founds a space.
    pub fn create_space(&mut self, who: Who, name: &str) -> CircleId {
        let suite = self.suite;
        self.input(who, |engine, now| engine.create_space_of(name, suite, now))
            .expect("a plain name, and the disk works")
    }

    /// Makes an invitation and has somebody take it up.
    pub fn invite(&mut self, who: Who, circle: CircleId, guest: Who) {
        let link = self.invitation(who, circle).expect("members may invite");
        self.join(guest, &link).expect("not a member yet");
    }

    /// Makes an invitation.
    ///
    /// # Errors
    /// Those of [`Engine::invite`](clave_engine::Engine::invite).
    pub fn invitation(&mut self, who: Who, circle: CircleId) -> Result<InviteLink, EngineError> {
        self.invitation_for(who, circle, INVITATION_MS)
    }

    /// Makes an invitation that ends after so many milliseconds.
    ///
    /// # Errors
    /// Those of [`Engine::invite`](clave_engine::Engine::invite).
    pub fn invitation_for(&mut self, who: Who, circle: CircleId, valid_ms: u64) -> Result<InviteLink, EngineError> {
        self.input(who, |engine, now| engine.invite(circle, valid_ms, now))
    }

    /// Takes an invitation back.
    ///
    /// # Panics
    /// If the device did not make it.
    pub fn revoke(&mut self, who: Who, invitation: InvitationId) {
        self.input(who, |engine, now| engine.revoke_invitation(invitation, now)).expect("it was made here");
    }

    /// Takes up an invitation.
    ///
    /// # Errors
    /// Those of [`Engine::join`](clave_engine::Engine::join).
    pub fn join(&mut self, who: Who, link: &InviteLink) -> Result<(), EngineError> {
        self.input(who, |engine, now| engine.join(link.clone(), now))
    }

    /// Posts to the chat. The text must be one that nobody posted before.
    ///
    /// # Panics
    /// If the device is not in the circle.
    pub fn post(&mut self, who: Who, circle: CircleId, text: &str) {
        self.try_post(who, circle, text).expect("members may write");
    }

    /// As [`post`](Self::post).
    ///
    /// # Errors
    /// Those of [`Engine::post`](clave_engine::Engine::post).
    pub fn try_post(&mut self, who: Who, circle: CircleId, text: &str) -> Result<MessageId, EngineError> {
        let kind = DocumentKind::Timeline;
        let document = self.input(who, |engine, now| engine.segment(circle, 0, now))?;
        let written = Written { circle, document, kind, content: Content::Text(text.to_owned()) };
        self.command(who, |engine, now| {
            let random = engine.random();
            let posted = engine.post(circle, document, now, |document| {
                Ok(vec![document.timeline()?.post(now, random, &Draft::text(text))?])
            });
            posted.map(|posted| (posted[0], Some(written)))
        })
    }

    /// A text that nobody posted before.
    pub(crate) fn fresh_text(&mut self, who: Who) -> String {
        self.posts += 1;
        format!("{} says {}", self.device(who).name, self.posts)
    }

    /// What the chat says, in order.
    pub fn messages(&mut self, who: Who, circle: CircleId) -> Vec<String> {
        let engine = self.engine(who);
        let mut messages = Vec::new();
        for info in engine.documents(circle).expect("it is in there") {
            if info.kind == DocumentKind::Timeline {
                let document = engine.document(circle, info.id, info.kind).expect("it is in there");
                messages.extend(document.timeline().expect("it is a timeline").messages(..));
            }
        }
        messages.sort_by_key(|message| message.id);
        messages.into_iter().map(|message| message.body).collect()
    }

    /// Writes something into the membership log.
    ///
    /// # Errors
    /// Those of [`Engine::act`](clave_engine::Engine::act).
    pub fn act(&mut self, who: Who, circle: CircleId, action: Action) -> Result<(), EngineError> {
        let what = match &action {
            Action::RevokePerson { person, .. } => format!("remove {}", self.name_of(*person)),
            Action::SetRole { person, role, .. } => format!("make {} {role}", self.name_of(*person)),
            Action::AddPerson { newcomer, .. } => format!("add {}", newcomer.name),
            Action::Grant { guest, .. } => format!("grant {}", self.name_of(guest.person)),
            Action::EndGrant { person, .. } => format!("end the grant of {}", self.name_of(*person)),
            Action::RevokeDevice { device, .. } => {
                format!("revoke the device of {}", self.who(device).map_or("nobody", |who| &self.device(who).name))
            }
            action => format!("{action:?}"),
        };
        let before = self.before_removal(who, circle, &action);
        let done = self.input(who, |engine, now| engine.act(circle, action, now));
        if let Some(before) = before.filter(|_| done.is_ok()) {
            self.look_at_removal(who, circle, &before);
        }
        let name = self.device(who).name.clone();
        match &done {
            Ok(()) => self.note(format_args!("act {name}: {what} in {circle:?}"), &[]),
            Err(error) => self.note(format_args!("act {name} may not {what}: {error}"), &[]),
        }
        done
    }

    fn name_of(&self, person: PersonId) -> String {
        let device = self.everyone().map(|who| self.device(who)).find(|device| device.person == person);
        device.map_or_else(|| person.short(), |device| device.name.clone())
    }

    /// Brings somebody back in who was removed, as a member, with the devices that they came with at first.
    ///
    /// # Errors
    /// Those of [`Engine::act`](clave_engine::Engine::act).
    ///
    /// # Panics
    /// If they never were in.
    pub fn bring_back(&mut self, who: Who, circle: CircleId, whom: Who) -> Result<(), EngineError> {
        let newcomer = self.admission_of(who, circle, self.device(whom).id).expect("they were in");
        self.act(who, circle, Action::AddPerson { newcomer, role: Role::Member })
    }

    /// How a device's person was brought in first, by somebody's log.
    pub(crate) fn admission_of(&mut self, who: Who, circle: CircleId, device: DeviceId) -> Option<PersonEntry> {
        let log = inside::log(self.engine(who), circle)?;
        log.operations().find_map(|operation| match operation.action() {
            Action::AddPerson { newcomer: entry, .. } | Action::Grant { guest: entry, .. } => {
                entry.devices.iter().any(|one| one.device() == device).then(|| entry.clone())
            }
            _ => None,
        })
    }

    /// Removes a person.
    ///
    /// # Errors
    /// Those of [`Engine::act`](clave_engine::Engine::act).
    pub fn remove(&mut self, who: Who, circle: CircleId, whom: Who) -> Result<(), EngineError> {
        let person = self.device(whom).person;
        self.was_anybody_removed = true;
        self.act(who, circle, Action::RevokePerson { person, keep_heads: Vec::new(), keep_changes: Vec::new() })
    }

    /// Removes a device.
    ///
    /// # Errors
    /// Those of [`Engine::act`](clave_engine::Engine::act).
    pub fn remove_device(&mut self, who: Who, circle: CircleId, whom: Who) -> Result<(), EngineError> {
        let device = self.device(whom).id;
        self.was_anybody_removed = true;
        self.act(who, circle, Action::revoke_device(device))
    }

    /// Has a device revoke another of its person, everywhere.
    ///
    /// # Errors
    /// Those of [`Engine::revoke_own_device`](clave_engine::Engine::revoke_own_device).
    pub fn revoke_own_device(&mut self, who: Who, whom: Who) -> Result<(), EngineError> {
        let device = self.device(whom).id;
        self.was_anybody_removed = true;
        let done = self.input(who, |engine, now| engine.revoke_own_device(device, now));
        self.note(format_args!("act {} revokes {}: {done:?}", who.0, whom.0), &[]);
        done
    }

    /// The device with which a person began: the one whose phrase is theirs.
    #[must_use]
    pub fn first_of(&self, person: PersonId) -> Option<Who> {
        self.everyone().find(|who| self.device(*who).person == person)
    }

    /// Ends a guest's stay.
    ///
    /// # Errors
    /// Those of [`Engine::act`](clave_engine::Engine::act).
    pub fn end_grant(&mut self, who: Who, circle: CircleId, person: PersonId) -> Result<(), EngineError> {
        self.was_anybody_removed = true;
        self.act(who, circle, Action::end_grant(person))
    }

    /// Gives a person another role.
    ///
    /// # Errors
    /// Those of [`Engine::act`](clave_engine::Engine::act).
    pub fn set_role(&mut self, who: Who, circle: CircleId, whom: Who, role: Role) -> Result<(), EngineError> {
        let person = self.device(whom).person;
        self.act(who, circle, Action::SetRole { person, role, keep_heads: Vec::new() })
    }

    /// The people of a circle, as a device sees it.
    pub fn people(&mut self, who: Who, circle: CircleId) -> Vec<PersonId> {
        self.engine(who).membership(circle).map_or_else(|_| Vec::new(), |log| log.people.keys().copied().collect())
    }

    /// Adds a file to the drive, its content with it.
    ///
    /// # Errors
    /// Those of [`Engine::edit`](clave_engine::Engine::edit) and [`Engine::put_chunks`](clave_engine::Engine::put_chunks).
    pub fn add_file(
        &mut self,
        who: Who,
        circle: CircleId,
        name: &str,
        content: &[u8],
    ) -> Result<FileContent, EngineError> {
        let mut chunks = Vec::new();
        let file = seal_content(circle.as_bytes(), content, |chunk, _| {
            chunks.push(chunk);
            true
        });
        let file = file.expect("memory does not fail").expect("nobody cancelled");
        for chunk in chunks {
            self.input(who, |engine, now| engine.put_chunks(circle, [chunk], now))?;
        }
        let version = FileVersion {
            manifest: *file.manifest.as_bytes(),
            manifest_key: file.manifest_key,
            bytes: file.bytes,
            blake3: file.content_hash,
            modified_ms: 0,
            media_type: String::new(),
        };
        let (document, kind) = (drive(circle), DocumentKind::Drive);
        let written = Written { circle, document, kind, content: Content::Text(name.to_owned()) };
        self.command(who, |engine, now| {
            let random = engine.random();
            let edit = engine.edit(circle, document, kind, now, |document, _| {
                document.drive()?.add_file(NodeId::ROOT, name, random, &version)
            });
            edit.map(|_| ((), Some(written)))
        })?;
        Ok(file)
    }

    /// The names of the files in the drive.
    pub fn files(&mut self, who: Who, circle: CircleId) -> Vec<String> {
        let document = self.engine(who).document(circle, drive(circle), DocumentKind::Drive).expect("it is in there");
        document.drive().expect("it is a drive").files().into_iter().map(|node| node.name).collect()
    }

    /// Begins to get the content of a file.
    ///
    /// # Errors
    /// Those of [`Engine::fetch`](clave_engine::Engine::fetch).
    pub fn fetch(&mut self, who: Who, circle: CircleId, file: &FileContent) -> Result<FetchId, EngineError> {
        self.input(who, |engine, now| engine.fetch(circle, [file.clone()], now))
    }

    /// The content of a file, as far as it is here.
    pub fn content(&mut self, who: Who, circle: CircleId, file: &FileContent) -> Option<Vec<u8>> {
        let engine = self.engine(who);
        let manifest = engine.chunk(circle, file.manifest).expect("the disk can be read")?;
        let mut content = Vec::new();
        let chunks = match file.open_manifest(&manifest).expect("it is what was asked for") {
            Manifest::Content(content) => return Some(content),
            Manifest::Chunks(chunks) => chunks,
        };
        for chunk in chunks {
            let sealed = engine.chunk(circle, chunk.id).expect("the disk can be read")?;
            content.extend(chunk.open(sealed).expect("it is what was asked for"));
        }
        Some(content)
    }
}
