//! Telling a device that it is out.
//!
//! Nothing is sent any more to a device that was removed, so it would never hear of that from those who carried it out.
//! Whoever is in a circle and meets such a device hands it, over the join channel, the operations that put it out and what
//! they follow: signed by their authors, and all of them from before its end there, when it could read them anyway. It
//! takes them in like any others, and its own log tells it.
//!
//! It can be told wrongly, by somebody who does not know yet that the removal is void, and who would listen to nothing else
//! that it says. So a device that is in all the same answers in kind, with what it knows.

use super::*;
use crate::membership::{DeviceStanding, Operation};
use crate::proto::invitation as proto;
use crate::proto::invitation::join_frame::Body as FrameBody;
use crate::{OperationId, Refusal};

/// The most operations in one farewell: the last ones.
pub(crate) const FAREWELL_OPERATIONS_MAX: usize = 1_024;
/// Bytes of operations in one farewell, as far as whole operations allow.
const FAREWELL_BYTES: usize = 1024 * 1024;

impl Engine {
    /// Tells connected devices that are out of circles so, once a connection.
    pub(super) fn say_farewells(&mut self) {
        let me = self.desk.me();
        let mut farewells = Vec::new();
        for (device, peer) in &mut self.peers {
            if std::mem::replace(&mut peer.looked_for_farewells, true) {
                continue;
            }
            for circle in self.circles.values().filter(|circle| circle.is_member(&me)) {
                if circle.is_member(device) {
                    peer.bidden.remove(&circle.id);
                } else if !peer.bidden.contains(&circle.id)
                    && let Some(operations) = circle.farewell(device)
                {
                    peer.bidden.insert(circle.id);
                    farewells.push((*device, circle.id, operations));
                }
            }
        }
        for (device, circle, operations) in farewells {
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
        if circle.log.membership().device_standing(peer) == DeviceStanding::Unknown {
            return Err(Refusal::NotAMember);
        }
        let operations =
            farewell.operations.iter().map(|bytes| Operation::decode(bytes).map_err(|_| Refusal::Malformed));
        let operations: Vec<Operation> = operations.collect::<Result<_, _>>()?;
        circle.take_farewell(operations, &mut self.desk)?;
        // Who is in after all says why, to whoever is in too: once a connection, lest two tell each other for ever.
        let both_in = circle.is_member(&self.desk.me()) && circle.is_member(&peer);
        let first = |link: &mut peers::Peer| !link.bidden.contains(&id) && link.contradicted.insert(id);
        if both_in && self.peers.get_mut(&peer).is_some_and(first) {
            let operations = self.circles[&id].last_operations(|_| true);
            self.send_farewell(peer, id, operations);
        }
        Ok(())
    }
}

impl Circle {
    /// What tells a device that it is out, if it is and was in.
    fn farewell(&self, device: &DeviceId) -> Option<Vec<Vec<u8>>> {
        let membership = self.log.membership();
        let mut heads = Vec::new();
        match membership.device_standing(*device) {
            DeviceStanding::Current | DeviceStanding::Unknown => return None,
            DeviceStanding::Removed { by } => heads.push(by),
            DeviceStanding::SetAside { admission } => {
                // The admission fell with its author, who may have fallen with theirs.
                let mut next = Some(admission);
                while let Some(operation) = next.take() {
                    let known = membership.set_aside.iter().find(|set_aside| set_aside.operation == operation);
                    next = known.and_then(|set_aside| set_aside.reason.by()).filter(|by| !heads.contains(by));
                    heads.extend(next);
                }
            }
        }
        let past = self.log.ancestors(&heads)?;
        Some(self.last_operations(|operation| past.contains(&operation.id())))
    }

    /// An operation and what it follows, for whoever it put out.
    pub(super) fn operations_up_to(&self, head: OperationId) -> Vec<Vec<u8>> {
        let past = self.log.ancestors(&[head]).unwrap_or_default();
        self.last_operations(|operation| past.contains(&operation.id()))
    }

    /// As many of the last operations of these as fit a farewell, parents first.
    pub(super) fn last_operations(&self, of: impl Fn(&Operation) -> bool) -> Vec<Vec<u8>> {
        let mut operations: Vec<Vec<u8>> =
            self.log.operations().filter(|operation| of(operation)).map(Operation::encode).collect();
        let mut bytes = 0;
        let fits = |operation: &&Vec<u8>| {
            bytes += operation.len();
            bytes <= FAREWELL_BYTES
        };
        let count = operations.iter().rev().take(FAREWELL_OPERATIONS_MAX).take_while(fits).count();
        operations.split_off(operations.len() - count)
    }
}
