//! Who else is in a note just now, and where; who is writing in a chat. Told to those who are connected, and kept by nobody.

use clave_engine::crdt::DocumentKind;
use clave_engine::crypto::{DeviceId, PersonId};
use clave_engine::{DocumentId, Engine, EngineError, Event, Selection};

use crate::node::now_ms;
use crate::{Circle, Error, Happenings, Note, Timeline};

/// How many colours people are told apart by: [`Present::colour`] is less.
pub const COLOURS: u8 = 12;

/// Where somebody is in a note, in code points of its text as it is here now. Both are the same if nothing is selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selected {
    /// Where the selection was begun.
    pub anchor: usize,
    /// Where the cursor is.
    pub focus: usize,
}

/// A device of somebody who is in a note, or writes in a chat, just now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    /// Who.
    pub person: PersonId,
    /// What to show.
    pub name: String,
    /// By which device.
    pub device: DeviceId,
    /// Whether it is the person this device belongs to, by another one.
    pub is_me: bool,
    /// A number below [`COLOURS`], the same for a person wherever and whenever they are shown.
    pub colour: u8,
    /// Where in the note; nothing if they only look at it, or are where something was written that has not arrived here.
    pub selection: Option<Selected>,
}

/// Who is there, as it changes; see [`Note::presence`] and [`Timeline::observe_typing`].
pub struct PresenceUpdates {
    circle: Circle,
    document: DocumentId,
    kind: DocumentKind,
    happenings: Happenings,
    shown: Option<Vec<Present>>,
}

impl Note {
    /// Shows others who are connected that this person is in the note: with what they selected, as positions in code points of
    /// the text as it is here now, or only looking at it. Call it as often as something changes: others are told at most four
    /// times a second. It holds until [`leave`](Self::leave), or until the node pauses; nothing of it is stored, and no relay
    /// sees it.
    ///
    /// # Errors
    /// If a position is beyond the end; [`Error::Paused`], [`Error::Stopped`].
    pub async fn set_selection(&self, selection: Option<Selected>) -> Result<(), Error> {
        let (circle, id) = (self.circle.id, self.id);
        let select = move |engine: &mut Engine| {
            let selection = match selection {
                None => None,
                Some(Selected { anchor, focus }) => {
                    let note = engine.document(circle, id, DocumentKind::Note)?.note()?;
                    Some(Selection { anchor: note.cursor(anchor)?, focus: note.cursor(focus)? })
                }
            };
            engine.appear((circle, id, DocumentKind::Note), selection, now_ms())
        };
        self.circle.node.read(select).await
    }

    /// Shows others that this person is no longer in the note. Harmless if they were not.
    ///
    /// # Errors
    /// [`Error::Paused`], [`Error::Stopped`].
    pub async fn leave(&self) -> Result<(), Error> {
        disappear(&self.circle, self.id, DocumentKind::Note).await
    }

    /// Who else is in the note just now, by name: devices of members who are connected.
    ///
    /// # Errors
    /// [`Error::Paused`], [`Error::Stopped`].
    pub async fn present(&self) -> Result<Vec<Present>, Error> {
        present(&self.circle, self.id, DocumentKind::Note).await
    }

    /// Who else is in the note, and again each time somebody comes, goes or moves, or what is written moves them.
    #[must_use]
    pub fn presence(&self) -> PresenceUpdates {
        PresenceUpdates::new(&self.circle, self.id, DocumentKind::Note)
    }
}

impl Timeline {
    /// Shows others who are connected that this person is writing, or stopped. Call it at each key: it ends by itself six
    /// seconds after the last call, and when a message is posted. Nothing of it is stored, and no relay sees it.
    ///
    /// # Errors
    /// [`Error::Paused`], [`Error::Stopped`].
    pub async fn set_typing(&self, typing: bool) -> Result<(), Error> {
        let (circle, chat) = (self.circle.id, chat(self));
        if !typing {
            return disappear(&self.circle, chat, DocumentKind::Timeline).await;
        }
        let appear = move |engine: &mut Engine| engine.appear((circle, chat, DocumentKind::Timeline), None, now_ms());
        self.circle.node.read(appear).await
    }

    /// Who else is writing just now, by name.
    ///
    /// # Errors
    /// [`Error::Paused`], [`Error::Stopped`].
    pub async fn typing(&self) -> Result<Vec<Present>, Error> {
        present(&self.circle, chat(self), DocumentKind::Timeline).await
    }

    /// Who else is writing, and again each time somebody begins or stops.
    #[must_use]
    pub fn observe_typing(&self) -> PresenceUpdates {
        PresenceUpdates::new(&self.circle, chat(self), DocumentKind::Timeline)
    }
}

impl PresenceUpdates {
    fn new(circle: &Circle, document: DocumentId, kind: DocumentKind) -> Self {
        let happenings = circle.node.happenings();
        Self { circle: circle.clone(), document, kind, happenings, shown: None }
    }

    /// Who is there; at the beginning, then each time that changed. Who is slow misses states, never the last. Nobody is
    /// while the node is paused, and it waits then. Cancel safe.
    ///
    /// # Errors
    /// [`Error::Stopped`] once the node was shut down, or what the disk has to say.
    pub async fn next(&mut self) -> Result<Vec<Present>, Error> {
        let (circle, this) = (self.circle.id, self.document);
        let concerns = |event: &Event| match event {
            Event::PresenceChanged { circle: of, document, .. }
            | Event::DocumentChanged { circle: of, document, .. } => (*of, *document) == (circle, this),
            Event::MembershipChanged { circle: of } => *of == circle,
            _ => false,
        };
        loop {
            if self.shown.is_some() {
                self.happenings.any(concerns).await?;
            }
            let (circle, kind) = (&self.circle, self.kind);
            let now = self.happenings.read(|| present(circle, this, kind)).await?;
            if self.shown.as_ref() != Some(&now) {
                self.shown = Some(now.clone());
                return Ok(now);
            }
        }
    }
}

/// What names the chat of a circle, whatever segments it has.
fn chat(timeline: &Timeline) -> DocumentId {
    DocumentId::well_known(timeline.circle.id, DocumentKind::Timeline, 0)
}

/// Whoever posts a message is done writing it.
pub(crate) fn stop_typing(engine: &mut Engine, circle: clave_engine::CircleId, now_ms: u64) {
    let chat = DocumentId::well_known(circle, DocumentKind::Timeline, 0);
    engine.disappear(circle, chat, DocumentKind::Timeline, now_ms);
}

async fn disappear(circle: &Circle, document: DocumentId, kind: DocumentKind) -> Result<(), Error> {
    let id = circle.id;
    let disappear = move |engine: &mut Engine| {
        engine.disappear(id, document, kind, now_ms());
        Ok(())
    };
    circle.node.read(disappear).await
}

async fn present(circle: &Circle, document: DocumentId, kind: DocumentKind) -> Result<Vec<Present>, Error> {
    let id = circle.id;
    circle.node.read(move |engine| shown(engine, id, document, kind)).await
}

fn shown(
    engine: &mut Engine,
    circle: clave_engine::CircleId,
    document: DocumentId,
    kind: DocumentKind,
) -> Result<Vec<Present>, EngineError> {
    let (me, present) = (engine.identity().person(), engine.who_is_in(circle, document, kind)?);
    let mut shown = Vec::with_capacity(present.len());
    for there in present {
        let selection = match &there.selection {
            None => None,
            Some(Selection { anchor, focus }) => {
                let note = engine.document(circle, document, kind)?.note()?;
                let places = (note.position(anchor).ok(), note.position(focus).ok());
                places.0.zip(places.1).map(|(anchor, focus)| Selected { anchor, focus })
            }
        };
        shown.push(Present {
            person: there.person,
            name: there.name,
            device: there.device,
            is_me: me == Some(there.person),
            colour: there.person.as_bytes()[0] % COLOURS,
            selection,
        });
    }
    Ok(shown)
}
