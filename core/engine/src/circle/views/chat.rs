//! What follows from a segment of the chat: how many messages, which is the last, what is unread.

use std::ops::Bound;

use clave_crdt::Message;

use super::*;

/// The most characters of a message that a preview shows.
pub const PREVIEW_CHARS_MAX: usize = 160;

/// A message, as a list of circles shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviewMessage {
    /// Which.
    pub id: MessageId,
    /// Whose, as far as that is known.
    pub author: Option<PersonId>,
    /// How they are called, or were.
    pub name: String,
    /// The beginning of what it says, in one line.
    pub text: String,
}

/// The messages of a loaded segment, so that a view is brought up to date by what changed.
#[derive(Default)]
pub(in crate::circle) struct Tally {
    messages: Option<BTreeMap<MessageId, Counted>>,
}

/// A message, as far as it is counted.
#[derive(Clone, Copy)]
struct Counted {
    withdrawn: bool,
    /// It is somebody else's.
    others: bool,
    /// It names this person.
    names_me: bool,
}

impl Counted {
    fn of(message: &Message, people: &People<'_>) -> Self {
        let others = people.me.is_none_or(|me| people.person(&message.author) != Some(me));
        let names_me = people.me.is_some_and(|me| message.mentions.contains(me.as_bytes()));
        Self { withdrawn: message.withdrawn, others, names_me }
    }
}

impl Tally {
    /// Estimated, in bytes.
    pub(in crate::circle) fn resident_bytes(&self) -> usize {
        self.messages.as_ref().map_or(0, |messages| messages.len() * 64)
    }

    /// Takes in what was touched.
    pub(super) fn follow(&mut self, followed: &mut Followed<'_>) -> Result<(), EngineError> {
        let people = followed.people;
        let same_person = |a: &Actor, b: &Actor| people.same_person(a, b);
        let timeline = followed.document.timeline()?.with_persons(&same_person);
        match (&mut self.messages, &followed.touched) {
            (Some(messages), Touched::Messages(touched)) => {
                for id in touched {
                    match timeline.message(id) {
                        Some(message) => messages.insert(*id, Counted::of(&message, &people)),
                        None => messages.remove(id),
                    };
                }
            }
            (messages, _) => {
                let all = timeline.messages(..);
                *messages = Some(all.iter().map(|message| (message.id, Counted::of(message, &people))).collect());
            }
        }
        Ok(())
    }

    pub(super) fn view(
        &self,
        document: &mut Document,
        people: &People<'_>,
        read: Option<MessageId>,
    ) -> Result<local::ChatView, EngineError> {
        let nothing = BTreeMap::new();
        let messages = self.messages.as_ref().unwrap_or(&nothing);
        let id_of = |id: Option<&MessageId>| id.map(|id| id.as_bytes().to_vec()).unwrap_or_default();
        let behind = read.map_or(Bound::Unbounded, Bound::Excluded);
        let unread = || {
            let behind = messages.range((behind, Bound::Unbounded));
            behind.filter(|(_, message)| message.others && !message.withdrawn)
        };
        let newest = messages.iter().rev().find(|(_, message)| !message.withdrawn).map(|(id, _)| id);
        let same_person = |a: &Actor, b: &Actor| people.same_person(a, b);
        let timeline = document.timeline()?.with_persons(&same_person);
        let text = newest.and_then(|id| timeline.message(id)).map(|message| beginning(&message));
        Ok(local::ChatView {
            messages: count(messages.len()),
            first: id_of(messages.keys().next()),
            last: id_of(messages.keys().next_back()),
            unread: count(unread().count()),
            mentions: count(unread().filter(|(_, message)| message.names_me).count()),
            newest: id_of(newest),
            text: text.unwrap_or_default(),
        })
    }
}

/// The beginning of what a message says, in one line; of one without words, the name of its first file.
fn beginning(message: &Message) -> String {
    let mut text = String::new();
    let said = message.body.split_whitespace().next().is_some();
    let words = if said { message.body.as_str() } else { message.attachments.first().map_or("", |file| &file.name) };
    let mut chars = 0;
    for word in words.split_whitespace() {
        if !text.is_empty() {
            text.push(' ');
            chars += 1;
        }
        for char in word.chars().filter(|char| !char.is_control()) {
            if chars >= PREVIEW_CHARS_MAX {
                return text;
            }
            text.push(char);
            chars += 1;
        }
    }
    text
}

pub(super) fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
