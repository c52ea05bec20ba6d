//! Marks: whose key the person of this device has compared. They are the person's, so all their devices keep the same.
//!
//! A device that is linked is handed all of them; from then on each tells the others by entries that are sealed to one device
//! alone. Only a device of the same person is heard, by the log of the circle in which it speaks: nobody else can set a mark,
//! nor can a device that was revoked. Of two marks about one person the later counts, and that it was taken back is a mark too.

use clave_crypto::PersonId;
use prost::Message as _;

use super::verify::VerifiedBy;
use super::*;
use crate::Key;
use crate::identity::check_name;
use crate::proto::entry as proto;
use crate::proto::entry::entry::Body;
use crate::proto::local;

/// The most marks that one entry brings.
const MARKS_MAX: usize = 1_024;
/// What stands in place of how a key was compared, if that was taken back.
const TAKEN_BACK: u32 = 0;

impl Engine {
    /// The mark of a person, unless it was taken back.
    pub(super) fn mark(&self, person: PersonId) -> Result<Option<local::Mark>, EngineError> {
        Ok(self.noted_mark(person)?.filter(|mark| mark.by != TAKEN_BACK))
    }

    /// All marks, and those that were taken back.
    pub(super) fn noted_marks(&self) -> Result<Vec<(PersonId, local::Mark)>, EngineError> {
        let mut marks = Vec::new();
        for (suffix, record) in self.desk.store.all(Keyspace::Marks, &[])? {
            let person = PersonId::try_from(suffix.as_slice()).map_err(|_| EngineError::Damaged)?;
            marks.push((person, local::Mark::decode(record.as_slice())?));
        }
        Ok(marks)
    }

    /// The marks as another device of this person is told.
    pub(super) fn marks_to_tell(&self) -> Vec<u8> {
        let marks = self.noted_marks().unwrap_or_default().into_iter().map(|(person, mark)| marked(person, mark));
        proto::Marks { marks: marks.collect() }.encode_to_vec()
    }

    /// Marks a person, or takes the mark back, and tells this person's other devices.
    pub(super) fn put_mark(
        &mut self,
        person: PersonId,
        name: String,
        by: Option<VerifiedBy>,
    ) -> Result<(), EngineError> {
        // What is done here now counts, whatever the clock of another device said.
        let before_ms = self.noted_mark(person)?.map_or(0, |mark| mark.at_ms.saturating_add(1));
        let by = by.map_or(TAKEN_BACK, |by| by as u32);
        let mark = local::Mark { at_ms: self.desk.now_ms.max(before_ms), by, name };
        self.desk.put(key(person), mark.encode_to_vec());
        let me = self.desk.me();
        let told = proto::Marks { marks: vec![marked(person, mark)] };
        for own in self.own_devices().into_iter().filter(|own| own.device != me) {
            let may_speak = |circle: &&CircleId| self.circles.get(circle).is_some_and(|circle| !circle.is_apart());
            let Some(circle) = own.circles.iter().find(may_speak).copied() else { continue };
            let (circle, desk) = self.circle_mut(circle)?;
            if let Err(error) = circle.publish_direct(own.device, Body::Marks(told.clone()), desk) {
                tracing::warn!(circle = %circle.id.short(), %error, "another device could not be told of a mark");
            }
        }
        Ok(())
    }

    /// Takes in what other devices of this person told; each circle has seen to it that it was one.
    pub(super) fn take_marks(&mut self) {
        for (circle, marks) in std::mem::take(&mut self.desk.marks) {
            if self.learn_marks(marks) {
                self.desk.events.push(Event::MembershipChanged { circle });
            }
        }
    }

    /// Takes in the marks that came with this device's link.
    pub(super) fn take_linked_marks(&mut self, marks: &[u8]) {
        let Ok(marks) = proto::Marks::decode(marks) else { return };
        for part in marks.marks.chunks(MARKS_MAX) {
            self.learn_marks(proto::Marks { marks: part.to_vec() });
        }
    }

    /// Whether anything in it was news.
    fn learn_marks(&mut self, marks: proto::Marks) -> bool {
        let mut news = false;
        for proto::Marked { person, at_ms, by, name } in marks.marks.into_iter().take(MARKS_MAX) {
            let Ok(person) = PersonId::try_from(person.as_slice()) else { continue };
            let is_name = check_name(&name).is_ok_and(|known| known == name);
            let is_known_way = by <= VerifiedBy::SafetyNumber as u32;
            let Ok(known) = self.noted_mark(person) else { continue };
            // Of two at the same time the one that says less counts.
            let is_newer =
                known.is_none_or(|known| (at_ms, std::cmp::Reverse(by)) > (known.at_ms, std::cmp::Reverse(known.by)));
            if is_name && is_known_way && is_newer {
                self.desk.put(key(person), local::Mark { at_ms, by, name }.encode_to_vec());
                news = true;
            }
        }
        news
    }

    fn noted_mark(&self, person: PersonId) -> Result<Option<local::Mark>, EngineError> {
        let record = self.desk.store.read(&key(person))?;
        Ok(record.map(|record| local::Mark::decode(record.as_slice())).transpose()?)
    }
}

fn marked(person: PersonId, mark: local::Mark) -> proto::Marked {
    proto::Marked { person: person.as_bytes().to_vec(), at_ms: mark.at_ms, by: mark.by, name: mark.name }
}

fn key(person: PersonId) -> Key {
    Key::new(Keyspace::Marks, [], person.as_bytes())
}
