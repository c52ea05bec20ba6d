//! Recovery: bringing a device in by the person's phrase, when every other is lost.
//!
//! A restored device knows its circles and their members, and none of them knows it. When it meets one it asks, over the
//! join channel, to be let in: by an ordinary entry that holds its recovery, sealed under the newest key that it has. The
//! member takes that in as it takes in any entry, and with it the device is one of the circle's. All else (reconciling, a leaf,
//! a Welcome) follows as it does for everybody who is in the log and not in the group.

use clave_crypto::{Domain, RecoveryPhrase};

use super::*;
use crate::Refusal;
use crate::circle::Return;
use crate::key_packages;
use crate::membership::{Action, Operation, RecoveryCertificate, recovery_message};
use crate::proto::invitation as proto;
use crate::proto::invitation::join_frame::Body as FrameBody;

/// The greatest envelope by which a device asks to be let in.
pub(crate) const RECOVERY_BYTES_MAX: usize = 64 * 1024;
/// The most operations that come with it.
pub(crate) const RECOVERY_OPERATIONS_MAX: usize = 1_024;
/// How often a device may ask to be let into a circle on one connection.
pub(crate) const RECOVERIES_MAX: u32 = 4;
/// How long it waits for what follows before it asks again, in milliseconds; four times as long each time.
const ASK_AGAIN_MS: u64 = 15_000;

impl Engine {
    /// Command: after a restore, writes this device into each circle that has its person. It is let in by the first member
    /// of each that it meets. Circles in which that was done before are left as they are.
    ///
    /// # Errors
    /// If this is not the phrase of this device's person.
    pub fn recover(&mut self, phrase: &RecoveryPhrase, now_ms: u64) -> Result<(), EngineError> {
        self.begin(now_ms)?;
        self.identity.check_phrase(phrase)?;
        let person = self.identity.person().ok_or(EngineError::NotLinked)?;
        let (me, key) = (self.desk.me(), phrase.recovery_key());
        for (id, circle) in &mut self.circles {
            circle.judge_waiting(&mut self.desk)?;
            let is_in = circle.log.membership().people.get(&person).is_some_and(|known| known.recovery.is_some());
            if !circle.lacks_recovery() || !is_in {
                continue;
            }
            let packages = key_packages::make(circle.suite(), &mut self.desk);
            let device = self.identity.device_entry(packages).ok_or(EngineError::NotLinked)?;
            let recovery_signature = key.sign(Domain::Recovery, &recovery_message(*id, me, person));
            let action = Action::RecoverDevice { device, recovery_signature };
            match circle.recover(action, &mut self.desk) {
                // What the circle has stays readable.
                Err(EngineError::NotAllowed(reason)) => {
                    tracing::warn!(circle = %id.short(), %reason, "the phrase brings nobody into this circle");
                }
                done => done?,
            }
        }
        self.finish();
        Ok(())
    }

    /// Command: makes a circle that this device stands apart from its own again, when nobody is left who could let it in: the
    /// person is alone there, and their other devices are lost. Those are revoked.
    ///
    /// # Errors
    /// [`EngineError::NotAlone`] if there are other people, who can let it in; or as [`act`](Self::act).
    pub fn begin_anew(&mut self, circle: CircleId, now_ms: u64) -> Result<(), EngineError> {
        self.begin(now_ms)?;
        let (circle, desk) = self.circle_mut(circle)?;
        let done = circle.begin_anew(desk);
        self.finish();
        done
    }

    /// Command: takes another recovery phrase in place of the one there is, in every circle. With the former nobody brings a
    /// device in any more; exports that were made under it are still opened by it and by no other.
    ///
    /// # Errors
    /// [`EngineError::OtherPhrase`] if `former` is not the phrase of this device's person.
    pub fn change_phrase(
        &mut self,
        former: &RecoveryPhrase,
        next: &RecoveryPhrase,
        now_ms: u64,
    ) -> Result<(), EngineError> {
        self.begin(now_ms)?;
        let done = self.identity.change_recovery(former, next, now_ms);
        if done.is_ok() {
            self.store_identity();
        }
        self.finish();
        done
    }

    fn store_identity(&mut self) {
        for (key, value) in self.identity.to_batch().writes {
            self.desk.put(key, value.unwrap_or_default());
        }
    }

    /// Follows a change of the recovery key that another device of this person made, and says it where it was not said yet.
    pub(super) fn care_for_recovery(&mut self) {
        let (me, Some(person)) = (self.desk.me(), self.identity.person()) else { return };
        let Some(mut own) = self.identity.recovery().copied() else { return };
        let differs = |circle: &&Circle, own: &RecoveryCertificate| {
            let known = circle.log.membership().people.get(&person).and_then(|known| known.recovery);
            circle.is_member(&me) && !circle.is_apart() && known.is_some_and(|known| known.key != own.key)
        };
        let since = self.identity.recovery_change().map_or(0, |(_, at_ms)| at_ms);
        let changes = self.circles.values().filter(|circle| differs(circle, &own));
        let changes = changes.filter_map(|circle| circle.log.recovery_change(person));
        if let Some(newest) = changes.max_by_key(|change| (change.time_ms(), change.id()))
            && newest.time_ms() > since
            && let Action::SetRecovery { recovery, former_signature, .. } = newest.action()
        {
            let (recovery, former_signature, at_ms) = (*recovery, *former_signature, newest.time_ms());
            self.identity.take_recovery(recovery, former_signature, at_ms);
            self.store_identity();
            own = recovery;
        }
        let Some((former_signature, _)) = self.identity.recovery_change() else { return };
        let action = Action::SetRecovery { person, recovery: own, former_signature };
        let lacking: Vec<CircleId> =
            self.circles.values().filter(|circle| differs(circle, &own)).map(|circle| circle.id).collect();
        for id in lacking {
            let circle = self.circles.get_mut(&id).expect("it was there above");
            // Where another key than the former is in force, this says nothing.
            if circle.log.may_do(me, &action).is_ok()
                && let Err(error) = circle.act(action.clone(), &mut self.desk)
            {
                tracing::warn!(circle = %id.short(), %error, "the recovery phrase could not be changed in a circle");
            }
        }
    }

    /// The circles that this device was restored to and is not in yet.
    pub fn rejoining(&self) -> impl Iterator<Item = CircleId> {
        self.circles.values().filter(|circle| circle.is_apart()).map(|circle| circle.id)
    }

    /// Asks connected members to be let in, where this device stands apart.
    pub(super) fn ask_to_return(&mut self) {
        let now_ms = self.desk.now_ms;
        let mut asking = Vec::new();
        for circle in self.circles.values().filter(|circle| circle.is_apart()) {
            for (device, peer) in &mut self.peers {
                // Who named the circle has let this device in.
                if !circle.is_member(device) || peer.circles.contains(&circle.id) {
                    continue;
                }
                let (next_ms, times) = peer.asked_to_return.entry(circle.id).or_insert((now_ms, 0));
                if now_ms >= *next_ms && *times < RECOVERIES_MAX {
                    asking.push((circle.log.membership().parent.is_some(), *device, circle.id, *times));
                    (*next_ms, *times) = (now_ms + (ASK_AGAIN_MS << (2 * *times)), *times + 1);
                }
            }
        }
        // A space before what is nested in it.
        asking.sort_unstable();
        for (_, device, id, times) in asking {
            let circle = &self.circles[&id];
            match circle.recovery_envelope(times, &mut self.desk) {
                Ok(Some(envelope)) => {
                    let operations = circle.unheard_operations(self.desk.me());
                    let recovery = proto::Recovery { circle: id.as_bytes().to_vec(), envelope, operations };
                    // It answers no invitation.
                    self.send_join(device, InvitationId::from_bytes([0; 16]), 0, FrameBody::Recovery(recovery));
                }
                Ok(None) => {}
                Err(error) => tracing::error!(circle = %id.short(), %error, "cannot ask to be let in"),
            }
        }
    }

    /// When a connected member is to be asked again.
    pub(super) fn next_asking_ms(&self) -> Option<u64> {
        let waiting = |(id, peer): (&DeviceId, &peers::Peer)| {
            let due = peer.asked_to_return.iter().filter(|(circle, (_, times))| {
                let apart = |circle: &Circle| circle.is_apart() && circle.is_member(id);
                *times < RECOVERIES_MAX
                    && !peer.circles.contains(*circle)
                    && self.circles.get(*circle).is_some_and(apart)
            });
            due.map(|(_, (next_ms, _))| *next_ms).min()
        };
        self.peers.iter().filter_map(waiting).min()
    }

    /// A stranger asks to be let in by a recovery phrase.
    pub(super) fn take_recovery(&mut self, peer: DeviceId, recovery: proto::Recovery) -> Result<(), Refusal> {
        if recovery.envelope.len() > RECOVERY_BYTES_MAX || recovery.operations.len() > RECOVERY_OPERATIONS_MAX {
            return Err(Refusal::Oversized);
        }
        let id = CircleId::try_from(recovery.circle.as_slice()).map_err(|_| Refusal::Malformed)?;
        let me = self.desk.me();
        let in_it = |circle: &&mut Circle| circle.is_member(&me) && !circle.is_apart();
        let circle = self.circles.get_mut(&id).filter(in_it).ok_or(Refusal::NotAMember)?;
        let asks = self.peers.get_mut(&peer).ok_or(Refusal::Unexpected)?.asks_to_return.entry(id).or_default();
        if *asks >= RECOVERIES_MAX {
            return Err(Refusal::TooManyHeld);
        }
        *asks += 1;
        let before = recovery.operations.iter().map(|bytes| Operation::decode(bytes).map_err(|_| Refusal::Malformed));
        let before = before.collect::<Result<Vec<_>, _>>()?;
        match circle.let_back_in(peer, recovery.envelope, before, &mut self.desk)? {
            Return::LetIn => {}
            // Somebody who was in when that was written: they are told so, as everybody who is out.
            Return::Removed(by) => {
                let operations = circle.operations_up_to(by);
                self.send_farewell(peer, id, operations);
                return Err(Refusal::NotAllowed);
            }
        }
        Ok(())
    }
}

impl Circle {
    /// Operations of this device's person that perhaps reached nobody, because the device that wrote them is lost.
    fn unheard_operations(&self, me: DeviceId) -> Vec<Vec<u8>> {
        let person = self.log.person_of(me);
        let is_theirs = |operation: &&Operation| {
            operation.author() != me && person.is_some() && self.log.person_of(operation.author()) == person
        };
        self.last_of(&self.log.operations().filter(is_theirs).map(Operation::id).collect())
    }
}
