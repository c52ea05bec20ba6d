//! How far the person of this device has read: kept alike on all their devices, and nobody else's business.
//!
//! As marks do (`marks.rs`), it travels in entries that are sealed to one device alone, and is heard only from a device of
//! the same person. Every member carries such entries, so they are few: one tells of all circles, soon after a quiet time and
//! rarely while somebody reads on. Of two marks the greater counts.

use clave_crypto::{HashContext, hash};
use prost::Message as _;

use super::*;
use crate::Key;
use crate::circle::{id_of, read_key};
use crate::entry::Body;
use crate::proto::entry as proto;
use crate::proto::local;

/// How long after reading the others are told, in milliseconds.
const TELL_QUIET_MS: u64 = 5_000;
/// How long they are not told again, in milliseconds.
const TELL_EVERY_MS: u64 = 600_000;
/// The most circles that one entry speaks of.
const READS_MAX: usize = 1_024;
/// The most circles of which a link tells.
const LINKED_READS_MAX: usize = 16_384;

/// When this person's other devices are told.
#[derive(Default)]
pub(super) struct Reads {
    due_at_ms: Option<u64>,
    told_at_ms: Option<u64>,
}

impl Reads {
    /// Something was read, or there may be somebody new to tell.
    pub(super) fn stir(&mut self, now_ms: u64) {
        let next_ms = self.told_at_ms.map_or(0, |told_ms| told_ms.saturating_add(TELL_EVERY_MS));
        self.due_at_ms.get_or_insert(next_ms.max(now_ms.saturating_add(TELL_QUIET_MS)));
    }

    pub(super) fn due_at_ms(&self) -> Option<u64> {
        self.due_at_ms
    }
}

impl Engine {
    /// Looks whether there is somebody to tell: now that this device was opened, or when a device may have come.
    pub(super) fn care_for_reads(&mut self) {
        let may_be_news = |event: &Event| matches!(event, Event::MembershipChanged { .. } | Event::CircleLinked { .. });
        if self.desk.events.iter().any(may_be_news) {
            self.reads.stir(self.desk.now_ms);
        }
    }

    /// The marks that not all of these devices were told.
    fn untold(&self, devices: &[u8]) -> Result<Vec<(CircleId, local::ReadMark)>, EngineError> {
        let mut untold = Vec::new();
        for (suffix, record) in self.desk.store.all(Keyspace::Reads, &[])? {
            let circle = CircleId::try_from(suffix.as_slice()).map_err(|_| EngineError::Damaged)?;
            let mark = local::ReadMark::decode(record.as_slice())?;
            if mark.told != devices {
                untold.push((circle, mark));
            }
        }
        Ok(untold)
    }

    /// Tells this person's other devices, if it is time.
    pub(super) fn tell_reads(&mut self) {
        if self.reads.due_at_ms.is_none_or(|due_at_ms| self.desk.now_ms < due_at_ms) {
            return;
        }
        self.reads.due_at_ms = None;
        let others = self.other_own_devices();
        if others.is_empty() {
            return;
        }
        let told = name_of(&others);
        let Ok(mut untold) = self.untold(&told) else { return };
        if untold.is_empty() {
            return;
        }
        self.reads.told_at_ms = Some(self.desk.now_ms);
        if untold.len() > READS_MAX {
            untold.truncate(READS_MAX);
            self.reads.stir(self.desk.now_ms);
        }
        let reads = untold.iter().map(|(circle, mark)| read_to(*circle, mark.message.clone()));
        let reads = proto::Reads { reads: reads.collect() };
        let all_told = others.iter().filter(|own| self.tell_one(own, &reads)).count() == others.len();
        for (circle, mark) in untold.into_iter().filter(|_| all_told) {
            self.desk.put(read_key(circle), local::ReadMark { told: told.clone(), ..mark }.encode_to_vec());
        }
    }

    fn other_own_devices(&self) -> Vec<OwnDevice> {
        let me = self.desk.me();
        self.own_devices().into_iter().filter(|own| own.device != me).collect()
    }

    /// Whether it could be told.
    fn tell_one(&mut self, own: &OwnDevice, reads: &proto::Reads) -> bool {
        // Where the fewest have to carry it.
        let may_speak = own.circles.iter().filter_map(|id| self.circles.get(id)).filter(|circle| !circle.is_apart());
        let Some(circle) = may_speak.min_by_key(|circle| (circle.members().count(), circle.id)) else { return false };
        let id = circle.id;
        let Ok((circle, desk)) = self.circle_mut(id) else { return false };
        let told = circle.publish_direct(own.device, Body::Reads(reads.clone()), desk);
        if let Err(error) = &told {
            tracing::warn!(circle = %id.short(), %error, "another device could not be told what was read");
        }
        told.is_ok()
    }

    /// Takes in what other devices of this person told; each circle has seen to it that it was one.
    pub(super) fn take_reads(&mut self) {
        if self.desk.reads.is_empty() {
            return;
        }
        // Whoever told this device told the others.
        let told = name_of(&self.other_own_devices());
        for reads in std::mem::take(&mut self.desk.reads) {
            for proto::ReadTo { circle, message } in reads.reads.into_iter().take(READS_MAX) {
                let Ok(id) = CircleId::try_from(circle.as_slice()) else { continue };
                let (Some(circle), Some(message)) = (self.circles.get_mut(&id), id_of(&message)) else { continue };
                if circle.read_to(message, told.clone(), &mut self.desk) {
                    self.desk.events.push(Event::ReadChanged { circle: id });
                }
            }
        }
    }

    /// How far this person has read, as a device of theirs is told that is being linked.
    pub(super) fn reads_to_tell(&self) -> Vec<u8> {
        let reads = self.circles.values().filter_map(|circle| Some((circle.id, circle.read()?))).take(LINKED_READS_MAX);
        let reads = reads.map(|(circle, read)| read_to(circle, read.as_bytes().to_vec()));
        proto::Reads { reads: reads.collect() }.encode_to_vec()
    }

    /// Takes in what came with this device's link, for circles that follow.
    pub(super) fn take_linked_reads(&mut self, reads: &[u8]) {
        let Ok(reads) = proto::Reads::decode(reads) else { return };
        for proto::ReadTo { circle, message } in reads.reads.into_iter().take(LINKED_READS_MAX) {
            let circle = CircleId::try_from(circle.as_slice()).ok().filter(|circle| !self.circles.contains_key(circle));
            if let (Some(circle), Some(_)) = (circle, id_of(&message)) {
                let key: Key = read_key(circle);
                self.desk.put(key, local::ReadMark { message, told: Vec::new() }.encode_to_vec());
            }
        }
    }
}

/// Names some devices.
fn name_of(devices: &[OwnDevice]) -> Vec<u8> {
    let ids: Vec<u8> = devices.iter().flat_map(|own| *own.device.as_bytes()).collect();
    hash(HashContext::OwnDevices, &ids).to_vec()
}

fn read_to(circle: CircleId, message: Vec<u8>) -> proto::ReadTo {
    proto::ReadTo { circle: circle.as_bytes().to_vec(), message }
}
