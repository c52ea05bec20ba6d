//! Telling a device that it is out, and being told wrongly.
//!
//! Nothing is sent any more to a device that was removed, so it would never hear of that from those who carried it out.
//! Whoever is in a circle and meets such a device hands it, over the join channel, the operations that put it out and what
//! they follow: signed by their authors, and all of them from before its end there, when it could read them anyway. It
//! takes them in like any others, and its own log tells it. Whoever is out and meets a device that does not know hands it
//! the same, also if that device is out as well.
//!
//! It can be told wrongly, by somebody who does not know yet that the removal is void, as when two remove each other and
//! each side hears of one removal first. Neither side would take anything from the other on any other channel. So whoever
//! is told something and is in all the same answers with what the other side lacks: all of the log, to a device that is in;
//! to one that is out what put it out and what makes void what it said. Then both logs decide alike. The same answer is due
//! later if whoever was told believed it, and is then brought back by somebody of whom the other side has not heard.
//!
//! In the same way a device shows that it is in to one that has not heard of it, because whoever brought it in is gone. If the
//! two share another circle, it names this one there, and is asked for what shows it by a farewell without operations. If
//! they do not, all that it sends is refused, and it presents itself unasked. Nothing but signed operations is believed.

use super::*;
use crate::membership::{DeviceStanding, Operation};
use crate::mutation::{Rule, off};
use crate::proto::invitation as proto;
use crate::proto::invitation::join_frame::Body as FrameBody;
use crate::{OperationId, Refusal};

/// The most operations in one farewell: the last ones.
pub(crate) const FAREWELL_OPERATIONS_MAX: usize = 1_024;
/// How often all else that a device sends is refused before it presents itself.
const REFUSED_BEFORE_PRESENTING: u32 = 2;
/// Bytes of operations in one farewell, as far as whole operations allow.
const FAREWELL_BYTES: usize = 1024 * 1024;

impl Engine {
    /// Tells connected devices that are out of circles so, or that this one is, each once a connection.
    pub(super) fn say_farewells(&mut self) {
        let me = self.desk.me();
        let (mut farewells, mut answers) = (Vec::new(), Vec::new());
        for (device, peer) in &mut self.peers {
            if std::mem::replace(&mut peer.looked_for_farewells, true) {
                continue;
            }
            for circle in self.circles.values() {
                if circle.is_member(&me)
                    && circle.is_member(device)
                    && let Some(said) = peer.believed.remove(&circle.id)
                {
                    answers.push((*device, circle.id, said));
                    continue;
                }
                let standing = circle.log.membership().device_standing(*device);
                let out = if circle.is_member(&me) {
                    if off(Rule::Farewells) { Vec::new() } else { circle.ends_of(device) }
                } else if !peer.circles.contains(&circle.id) || standing == DeviceStanding::Unknown {
                    continue;
                } else if circle.is_member(device) {
                    circle.ends_of(&me)
                } else if off(Rule::FarewellAmongOut) {
                    continue;
                } else {
                    // Both are out, and those who are in may be gone: a person left by one of their devices.
                    circle.ends_of(device)
                };
                if standing == DeviceStanding::Unknown && peer.circles.contains(&circle.id) {
                    // It says that it is in: let it show that.
                    if peer.presented.insert(circle.id) {
                        farewells.push((*device, circle.id, Vec::new()));
                    }
                } else if !out.is_empty()
                    && peer.bidden.get(&circle.id) != Some(&out)
                    && let Some(past) = circle.log.ancestors(&out)
                {
                    peer.bidden.insert(circle.id, out);
                    farewells.push((*device, circle.id, circle.last_of(&past)));
                }
            }
        }
        for (device, circle, operations) in farewells {
            self.send_farewell(device, circle, operations);
        }
        for (device, circle, said) in answers {
            self.answer_farewell(device, circle, &said);
        }
    }

    /// Tells a device that said wrongly that somebody is out what it lacks, once for each state of the log: what it answers
    /// in turn must be news to be answered again.
    fn answer_farewell(&mut self, peer: DeviceId, id: CircleId, said: &[OperationId]) {
        let (Some(circle), Some(link)) = (self.circles.get(&id), self.peers.get_mut(&peer)) else { return };
        let (lacks, state) = (circle.lacked_by(&peer, said, &self.desk), circle.log.len());
        if !lacks.is_empty() && !off(Rule::FarewellAnswered) && link.corrected.insert(id, state) != Some(state) {
            self.send_farewell(peer, id, lacks);
        }
    }

    /// Shows devices that take nothing from this one how it came into the circles in which they are, each once a connection.
    pub(super) fn present(&mut self) {
        let me = self.desk.me();
        let mut presented = Vec::new();
        for (device, peer) in &mut self.peers {
            if peer.ready || peer.retries < REFUSED_BEFORE_PRESENTING {
                continue;
            }
            for circle in self.circles.values().filter(|circle| circle.is_member(device) && !circle.is_apart()) {
                if let Some(known) = circle.log.membership().devices.get(&me)
                    && peer.presented.insert(circle.id)
                {
                    presented.push((*device, circle.id, circle.operations_up_to(known.since)));
                }
            }
        }
        for (device, circle, operations) in presented {
            self.send_farewell(device, circle, operations);
        }
    }

    pub(super) fn send_farewell(&mut self, device: DeviceId, circle: CircleId, operations: Vec<Vec<u8>>) {
        let farewell = proto::Farewell { circle: circle.as_bytes().to_vec(), operations };
        // It answers no invitation.
        self.send_join(device, InvitationId::from_bytes([0; 16]), 0, FrameBody::Farewell(farewell));
    }

    pub(super) fn take_farewell(&mut self, peer: DeviceId, farewell: &proto::Farewell) -> Result<(), Refusal> {
        let id = CircleId::try_from(farewell.circle.as_slice()).map_err(|_| Refusal::Malformed)?;
        if farewell.operations.len() > FAREWELL_OPERATIONS_MAX {
            return Err(Refusal::Oversized);
        }
        let circle = self.circles.get_mut(&id).ok_or(Refusal::NotAMember)?;
        let operations =
            farewell.operations.iter().map(|bytes| Operation::decode(bytes).map_err(|_| Refusal::Malformed));
        let operations: Vec<Operation> = operations.collect::<Result<_, _>>()?;
        let brings_in =
            |operation: &Operation| operation.action().introduces().1.iter().any(|entry| entry.device() == peer);
        let is_unknown = circle.log.membership().device_standing(peer) == DeviceStanding::Unknown;
        if is_unknown && !operations.iter().any(brings_in) {
            return Err(Refusal::NotAMember);
        }
        let said: Vec<OperationId> = operations.iter().map(Operation::id).collect();
        let followed: BTreeSet<OperationId> = operations.iter().flat_map(Operation::parents).copied().collect();
        let last = said.iter().filter(|id| !followed.contains(id)).copied().collect();
        circle.take_farewell(operations, &mut self.desk)?;
        if circle.is_member(&self.desk.me()) {
            self.answer_farewell(peer, id, &said);
        } else {
            let link = self.peers.get_mut(&peer).ok_or(Refusal::Unexpected)?;
            link.believed.insert(id, last);
        }
        Ok(())
    }
}

impl Circle {
    /// The operations that put a device out, if it is out and was in.
    fn ends_of(&self, device: &DeviceId) -> Vec<OperationId> {
        match self.log.membership().device_standing(*device) {
            DeviceStanding::Current | DeviceStanding::Unknown => Vec::new(),
            DeviceStanding::Removed { by } => vec![by],
            DeviceStanding::SetAside { admission } => self.voided_by(admission),
        }
    }

    /// The operations because of which one is set aside: it may have fallen with its author, who may have fallen with theirs.
    fn voided_by(&self, operation: OperationId) -> Vec<OperationId> {
        let membership = self.log.membership();
        let (mut causes, mut next) = (Vec::new(), Some(operation));
        while let Some(operation) = next.take() {
            let known = membership.set_aside.iter().find(|set_aside| set_aside.operation == operation);
            next = known.and_then(|set_aside| set_aside.reason.by()).filter(|by| !causes.contains(by));
            causes.extend(next);
        }
        causes
    }

    /// What a device has to hear that said that this one is out, or itself, and this one is in all the same. `said` is what
    /// it holds to be so.
    fn lacked_by(&self, device: &DeviceId, said: &[OperationId], desk: &Desk) -> Vec<Vec<u8>> {
        if !self.is_member(&desk.me()) {
            return Vec::new();
        }
        let said: Vec<OperationId> = said.iter().filter(|id| self.log.operation(id).is_some()).copied().collect();
        let heads = if self.is_member(device) {
            self.log.heads()
        } else {
            let mut heads = self.ends_of(device);
            let aside = self.log.membership().set_aside.iter().map(|set_aside| set_aside.operation);
            let aside: BTreeSet<OperationId> = aside.collect();
            heads.extend(said.iter().filter(|id| aside.contains(id)).flat_map(|id| self.voided_by(*id)));
            heads
        };
        let (Some(mut lacks), Some(known)) = (self.log.ancestors(&heads), self.log.ancestors(&said)) else {
            return Vec::new();
        };
        lacks.retain(|id| !known.contains(id));
        self.last_of(&lacks)
    }

    /// An operation and what it follows, for whoever it put out.
    pub(super) fn operations_up_to(&self, head: OperationId) -> Vec<Vec<u8>> {
        self.last_of(&self.log.ancestors(&[head]).unwrap_or_default())
    }

    /// Of some operations the last ones, causes first, as many as a farewell may hold.
    pub(super) fn last_of(&self, these: &BTreeSet<OperationId>) -> Vec<Vec<u8>> {
        let operations = self.log.operations().filter(|operation| these.contains(&operation.id()));
        let mut operations: Vec<Vec<u8>> = operations.map(Operation::encode).collect();
        let mut bytes = 0;
        let fits = |operation: &&Vec<u8>| {
            bytes += operation.len();
            bytes <= FAREWELL_BYTES
        };
        let count = operations.iter().rev().take(FAREWELL_OPERATIONS_MAX).take_while(fits).count();
        operations.split_off(operations.len() - count)
    }
}
