//! What an application is shown without a document being loaded: previews, unread counts, titles, the agenda. And the memory
//! that documents take.

use clave_crdt::{Agenda, CLOCK_SKEW_MS_MAX, CrdtError, DocumentKind, MessageId, Node, NodeId};

use super::*;
use crate::circle::{Preview, Segment};

/// Segments of one circle that are derived before its preview is given, at most; the newest first.
const FOLLOWED_AT_ONCE_MAX: usize = 4;

impl Engine {
    /// Every circle this device is in, with what was said last and what is unread: those in which something was said last
    /// come first, those without a message at the end, in order of id.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn previews(&mut self) -> Result<Vec<Preview>, EngineError> {
        let me = self.identity.person();
        let mut previews = Vec::with_capacity(self.circles.len());
        for circle in self.circles.values_mut() {
            let current = circle.follow_up(is_chat, FOLLOWED_AT_ONCE_MAX, &mut self.desk)?;
            previews.push(circle.preview(me, current));
        }
        self.finish();
        previews.sort_by_key(|preview| std::cmp::Reverse(preview.newest.as_ref().map(|newest| newest.id)));
        Ok(previews)
    }

    /// What was said last in one circle, and what is unread.
    ///
    /// # Errors
    /// If this device is not in the circle, or the store cannot be read.
    pub fn preview(&mut self, circle: CircleId) -> Result<Preview, EngineError> {
        let me = self.identity.person();
        let (circle, desk) = self.circle_mut(circle)?;
        let current = circle.follow_up(is_chat, FOLLOWED_AT_ONCE_MAX, desk)?;
        let preview = circle.preview(me, current);
        self.finish();
        Ok(preview)
    }

    /// How many messages the chat of a circle has, withdrawn ones among them. Loads only segments that changed since
    /// anybody looked.
    ///
    /// # Errors
    /// If this device is not in the circle, or the store cannot be read.
    pub fn message_count(&mut self, circle: CircleId) -> Result<usize, EngineError> {
        let me = self.identity.person();
        let (circle, desk) = self.circle_mut(circle)?;
        circle.follow_up(is_chat, usize::MAX, desk)?;
        let count = circle.preview(me, true).messages;
        self.finish();
        Ok(count)
    }

    /// The segments of a circle's chat, with bounds that are known without loading them.
    ///
    /// # Errors
    /// If this device is not in the circle.
    pub fn segments(&self, circle: CircleId) -> Result<Vec<Segment>, EngineError> {
        Ok(self.circles.get(&circle).ok_or(EngineError::NoSuchCircle)?.segments())
    }

    /// The notes of a circle with their titles, in order of id. Loads only those that changed since anybody looked.
    ///
    /// # Errors
    /// If this device is not in the circle, or the store cannot be read.
    pub fn titles(&mut self, circle: CircleId) -> Result<Vec<(DocumentId, String)>, EngineError> {
        let (circle, desk) = self.circle_mut(circle)?;
        circle.follow_up(|kind| kind == DocumentKind::Note, usize::MAX, desk)?;
        let titles = circle.titles();
        self.finish();
        Ok(titles)
    }

    /// What happens in a calendar between two instants (Unix milliseconds; the second is not part of it), for somebody in a
    /// zone (IANA name). Loads the calendar only if it changed since anybody looked, or the span is longer than
    /// [`PAGED_DAYS_MAX`](crate::crdt::PAGED_DAYS_MAX) days.
    ///
    /// # Errors
    /// If this device is not in the circle, the zone is not known, or the store cannot be read.
    pub fn agenda(
        &mut self,
        circle: CircleId,
        calendar: DocumentId,
        span_ms: (i64, i64),
        zone: &str,
    ) -> Result<Agenda, EngineError> {
        let (circle, desk) = self.circle_mut(circle)?;
        circle.follow_up(|kind| kind == DocumentKind::Calendar, usize::MAX, desk)?;
        let agenda = match circle.paged_agenda(calendar, span_ms, zone, desk)? {
            Some(agenda) => agenda,
            None => {
                let document = circle.document(calendar, DocumentKind::Calendar, desk)?;
                document.calendar()?.agenda(span_ms.0, span_ms.1, zone)?
            }
        };
        self.finish();
        Ok(agenda)
    }

    /// What lies in a folder of a drive (the root and the trash are folders), in order of their names. Loads the drive only if
    /// it changed since anybody looked.
    ///
    /// # Errors
    /// If this device is not in the circle, there is no such folder, or the store cannot be read.
    pub fn folder(&mut self, circle: CircleId, drive: DocumentId, folder: NodeId) -> Result<Vec<Node>, EngineError> {
        let (circle, desk) = self.circle_mut(circle)?;
        circle.follow_up(|kind| kind == DocumentKind::Drive, usize::MAX, desk)?;
        let nodes = circle.paged_folder(drive, folder, desk)?;
        self.finish();
        let nodes = nodes.or_else(|| [NodeId::ROOT, NodeId::TRASH].contains(&folder).then(Vec::new));
        Ok(nodes.ok_or(CrdtError::NotFound("folder"))?)
    }

    /// Command: notes that this person has read everything up to a message, or everything there is. Their other devices
    /// are told, and never go back. A message that is dated ahead of this clock counts as read only up to the present.
    ///
    /// # Errors
    /// If this device is not in the circle, or the store cannot be read.
    pub fn mark_read(&mut self, circle: CircleId, message: Option<MessageId>, now_ms: u64) -> Result<(), EngineError> {
        self.begin(now_ms)?;
        let (known, desk) = self.circle_mut(circle)?;
        if message.is_none() {
            known.follow_up(is_chat, FOLLOWED_AT_ONCE_MAX, desk)?;
        }
        if let Some(message) = message.or_else(|| known.last_message()) {
            // Otherwise one message from the year 9000 would have all others pass as read.
            let message = message.min(last_of(now_ms.saturating_add(CLOCK_SKEW_MS_MAX)));
            if known.read_to(message, Vec::new(), desk) {
                desk.events.push(Event::ReadChanged { circle });
                self.reads.stir(now_ms);
            }
        }
        self.finish();
        Ok(())
    }

    /// Sets how many bytes of loaded documents are kept in memory. The one in use is kept however large it is.
    pub fn set_memory_budget(&mut self, bytes: usize) {
        self.desk.memory_budget_bytes = bytes;
        self.make_room(None);
    }

    /// Leaves to another opening of the same store what can wait: views and search indexes are derived when they are asked for and
    /// not before, and nothing is bundled. For a process that has little memory and is gone in seconds.
    pub fn set_sparing(&mut self, sparing: bool) {
        self.desk.is_sparing = sparing;
    }

    /// Whether it does.
    #[must_use]
    pub fn is_sparing(&self) -> bool {
        self.desk.is_sparing
    }

    /// How many bytes of loaded documents are kept in memory.
    #[must_use]
    pub fn memory_budget(&self) -> usize {
        self.desk.memory_budget_bytes
    }

    /// About how much memory the loaded documents take, in bytes.
    #[must_use]
    pub fn resident_bytes(&self) -> usize {
        self.circles.values().map(Circle::resident_bytes).sum()
    }

    /// Lets go of documents, those first that were not used for longest, until the others fit the budget.
    pub(super) fn make_room(&mut self, keep: Option<(CircleId, DocumentId, DocumentKind)>) {
        while self.resident_bytes() > self.desk.memory_budget_bytes {
            // Whoever works in the only one works in it again.
            if self.circles.values().map(Circle::loaded_documents).sum::<usize>() <= 1 {
                return;
            }
            let least_used = self.circles.values().filter_map(|circle| {
                let kept = keep.filter(|(of, ..)| *of == circle.id).map(|(_, id, kind)| (id, kind));
                circle.least_used(kept.as_ref()).map(|(used, name)| (used, circle.id, name))
            });
            let Some((_, circle, name)) = least_used.min() else { return };
            if let Some(circle) = self.circles.get_mut(&circle) {
                circle.let_document_go(&name);
            }
        }
    }

    /// Derives from a stale document, if it is time: one of each circle.
    pub(super) fn follow_when_due(&mut self) {
        if self.desk.is_sparing {
            return;
        }
        for circle in self.circles.values_mut() {
            circle.follow_when_due(&mut self.desk);
        }
    }
}

fn is_chat(kind: DocumentKind) -> bool {
    kind == DocumentKind::Timeline
}

/// The greatest id of a time.
fn last_of(sent_ms: u64) -> MessageId {
    let mut bytes = [u8::MAX; MessageId::BYTES];
    bytes[..6].copy_from_slice(&sent_ms.min((1 << 48) - 1).to_be_bytes()[2..]);
    MessageId::from_bytes(bytes)
}
