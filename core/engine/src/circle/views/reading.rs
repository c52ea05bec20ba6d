//! Reading the views, and how far this person has read.

use clave_crdt::{Agenda, CLOCK_SKEW_MS_MAX, Node, NodeId, agenda_of_pages, folder_of_pages};

use super::*;
use crate::entry::HOUR_MS;

/// A circle, as a list shows it: what was said last, and what is unread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// Which circle.
    pub circle: CircleId,
    /// The last message that is not withdrawn.
    pub newest: Option<PreviewMessage>,
    /// Messages of others behind what this person has read, withdrawn ones left out.
    pub unread: usize,
    /// Of these, those that name this person.
    pub mentions: usize,
    /// Messages in all, withdrawn ones among them.
    pub messages: usize,
    /// How far this person has read: everything up to this id.
    pub read: Option<MessageId>,
    /// Whether all that is here is counted. If not, the rest follows within seconds.
    pub current: bool,
}

/// A segment of a circle's chat, with bounds that are known without loading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Which.
    pub id: DocumentId,
    /// No message in it was sent at or after this time, in Unix milliseconds.
    pub until_ms: u64,
    /// The first and the last message, and how many there are, if that is known.
    pub messages: Option<(MessageId, MessageId, usize)>,
}

impl Circle {
    /// What is known of the segments of the chat, in no order that means anything.
    pub(crate) fn segments(&self) -> Vec<Segment> {
        let chats = self.documents.iter().filter(|((_, kind), _)| *kind == DocumentKind::Timeline);
        let segment = |(name, record): (&Name, &local::DocumentRecord)| {
            // A message may be dated a little ahead of its author's clock.
            let until_ms = (u64::from(record.newest_hour) + 1) * HOUR_MS + CLOCK_SKEW_MS_MAX;
            let known = self.views.of.get(name).filter(|_| !self.views.stale.contains_key(name));
            let chat = known.and_then(|view| view.chat.as_ref());
            let messages =
                chat.and_then(|chat| Some((id_of(&chat.first)?, id_of(&chat.last)?, chat.messages as usize)));
            Segment { id: name.0, until_ms, messages }
        };
        chats.map(segment).collect()
    }

    /// What there is to say of the chat, as far as it was derived.
    pub(crate) fn preview(&self, me: Option<PersonId>, current: bool) -> Preview {
        let chats = || self.views.of.values().filter_map(|view| view.chat.as_ref());
        let sum = |of: fn(&local::ChatView) -> u32| chats().map(|chat| of(chat) as usize).sum();
        let newest = chats().filter(|chat| !chat.newest.is_empty()).max_by_key(|chat| &chat.newest);
        let shown = |chat: &local::ChatView| {
            let id = id_of(&chat.newest)?;
            let author = People { log: &self.log, me }.person(&id.author());
            let name = author.and_then(|author| self.name_of_person(&author)).unwrap_or("?").to_owned();
            Some(PreviewMessage { id, author, name, text: chat.text.clone() })
        };
        Preview {
            circle: self.id,
            newest: newest.and_then(shown),
            unread: sum(|chat| chat.unread),
            mentions: sum(|chat| chat.mentions),
            messages: sum(|chat| chat.messages),
            read: self.views.read,
            current,
        }
    }

    fn name_of_person(&self, person: &PersonId) -> Option<&str> {
        let membership = self.log.membership();
        let former = || membership.former_people.get(person).map(|former| former.name.as_str());
        membership.people.get(person).map(|known| known.name.as_str()).or_else(former)
    }

    /// The notes with their titles, as far as they were derived.
    pub(crate) fn titles(&self) -> Vec<(DocumentId, String)> {
        let notes = self.documents.keys().filter(|(_, kind)| *kind == DocumentKind::Note);
        let title = |name| self.views.of.get(name).map(|view| view.title.clone()).unwrap_or_default();
        notes.map(|name| (name.0, title(name))).collect()
    }

    /// What happens between two instants, from the pages of a calendar; `None` if that is too long a time for it.
    pub(crate) fn paged_agenda(
        &self,
        calendar: DocumentId,
        (from_ms, to_ms): (i64, i64),
        zone: &str,
        desk: &Desk,
    ) -> Result<Option<Agenda>, EngineError> {
        let name = (calendar, DocumentKind::Calendar);
        let scope = scope(self.id, name.0, name.1);
        agenda_of_pages(from_ms, to_ms, zone, |page| {
            Ok(desk.store.read(&Key::new(Keyspace::Pages, &scope, day_page(self.id, name, page)))?)
        })
    }

    /// What lies in a folder of a drive, from its pages; `None` if there is no such folder.
    pub(crate) fn paged_folder(
        &self,
        drive: DocumentId,
        folder: NodeId,
        desk: &Desk,
    ) -> Result<Option<Vec<Node>>, EngineError> {
        let name = (drive, DocumentKind::Drive);
        folder_of_pages(folder, |page| Ok(desk.store.read(&self.folder_page_key(name, page))?))
    }

    /// Whether the pages of a drive were ever made.
    pub(super) fn has_root_page(&self, name: Name, desk: &Desk) -> Result<bool, EngineError> {
        let page = FolderPage { folder: NodeId::ROOT, number: 0 };
        Ok(desk.store.contains(&self.folder_page_key(name, page))?)
    }

    fn folder_page_key(&self, name: Name, page: FolderPage) -> Key {
        Key::new(Keyspace::Pages, scope(self.id, name.0, name.1), folder_page(self.id, name, page))
    }

    /// How far this person has read.
    pub(crate) fn read(&self) -> Option<MessageId> {
        self.views.read
    }

    /// The last message there is, as far as that was derived.
    pub(crate) fn last_message(&self) -> Option<MessageId> {
        self.views.of.values().filter_map(|view| id_of(&view.chat.as_ref()?.last)).max()
    }

    /// Notes that this person has read everything up to a message, which those devices were told. Whether that was news.
    pub(crate) fn read_to(&mut self, message: MessageId, told: Vec<u8>, desk: &mut Desk) -> bool {
        if self.views.read.is_some_and(|read| read >= message) {
            return false;
        }
        self.views.read = Some(message);
        let record = local::ReadMark { message: message.as_bytes().to_vec(), told };
        desk.put(read_key(self.id), record.encode_to_vec());
        let mut partly = Vec::new();
        for (name, view) in &mut self.views.of {
            let Some(chat) = view.chat.as_mut().filter(|chat| chat.unread > 0) else { continue };
            if id_of(&chat.last).is_some_and(|last| last <= message) {
                (chat.unread, chat.mentions) = (0, 0);
                desk.put(view_key(self.id, *name), view.encode_to_vec());
            } else if id_of(&chat.first).is_some_and(|first| first <= message) {
                partly.push(*name);
            }
        }
        for name in partly {
            self.make_stale(name, false, desk);
        }
        true
    }

    /// What was said before this person came counts as read. If they were here before, their other devices know better.
    pub(in crate::circle) fn begin_reading(&mut self, desk: &mut Desk) -> Result<(), EngineError> {
        self.views.read = self.stored_read(desk)?;
        let membership = self.log.membership();
        let devices = desk.person.and_then(|person| membership.people.get(&person)).map(|known| &known.devices);
        let is_first = devices.is_none_or(|devices| devices.iter().all(|device| *device == desk.me()));
        if self.views.read.is_none() && is_first {
            self.read_to(MessageId::new(desk.now_ms, [0; 6], Actor::GENESIS), Vec::new(), desk);
        }
        Ok(())
    }

    pub(super) fn stored_read(&self, desk: &Desk) -> Result<Option<MessageId>, EngineError> {
        let record = desk.store.read(&read_key(self.id))?;
        let record = record.map(|record| local::ReadMark::decode(record.as_slice())).transpose()?;
        Ok(record.and_then(|record| id_of(&record.message)))
    }
}

pub(crate) fn read_key(circle: CircleId) -> Key {
    Key::new(Keyspace::Reads, [], circle.as_bytes())
}

pub(crate) fn id_of(bytes: &[u8]) -> Option<MessageId> {
    Some(MessageId::from_bytes(bytes.try_into().ok()?))
}
