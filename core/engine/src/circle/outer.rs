//! A circle inside a space: whom the space lets be in it, and how it follows when the space removes somebody.
//!
//! The roster of a nested circle is that of its own log, less every device that the space does not have: a function of the
//! two logs, so removal from the space takes effect in each circle at once, whoever is there to enact it. An isolated
//! circle and a root follow their own log alone.

use std::collections::BTreeSet;
use std::sync::Arc;

use clave_crypto::{HashContext, PersonId, Suite, hash};

use super::*;
use crate::key_packages;
use crate::membership::{DeviceEntry, Membership, PersonEntry, Reason, Right, Scope};

/// Who is in a space, for the circles in it.
#[derive(Debug)]
pub(crate) struct Outer {
    /// How many operations of the space's log it comes from.
    version: usize,
    /// The heads of that log.
    heads: Vec<OperationId>,
    current: BTreeSet<DeviceId>,
    /// Devices that the log knows and does not have in.
    gone: BTreeSet<DeviceId>,
}

impl Outer {
    fn new(version: usize, heads: Vec<OperationId>, membership: &Membership) -> Self {
        let current: BTreeSet<DeviceId> = membership.devices.keys().copied().collect();
        let gone = membership.stays.keys().filter(|device| !current.contains(device)).copied().collect();
        Self { version, heads, current, gone }
    }
}

/// Where a circle stands in its space.
#[derive(Default)]
pub(super) struct Surroundings {
    outer: Option<Arc<Outer>>,
    /// Commits that cite the space at another point than it is at now.
    wanted: BTreeMap<EntryId, Vec<OperationId>>,
    /// The space at these points, while the commits are judged.
    points: Vec<Outer>,
    /// When this device may remove whom the space has removed.
    enact_at_ms: Option<u64>,
}

impl Surroundings {
    pub(super) fn let_in(&self, membership: &Membership, device: &DeviceId) -> bool {
        match &self.outer {
            Some(outer) if membership.scope == Scope::Nested => outer.current.contains(device),
            _ => true,
        }
    }
}

impl Circle {
    /// What circles in this space have to know of it.
    pub(crate) fn as_outer(&self) -> Outer {
        Outer::new(self.log.len(), self.log.heads(), self.log.membership())
    }

    /// The same at an earlier point; none if something is missing that leads there.
    pub(crate) fn as_outer_at(&self, heads: &[OperationId]) -> Option<Outer> {
        Some(Outer::new(0, heads.to_vec(), &*self.log.membership_at(heads)?))
    }

    /// How somebody of this space is introduced to a circle of it that is of that suite: with all their devices.
    ///
    /// # Errors
    /// If they are not in the space, with a device, or one of their devices has published nothing that it could be added by.
    pub(crate) fn entry_for(&self, person: PersonId, suite: Suite) -> Result<PersonEntry, EngineError> {
        let entry = self.log.membership().person_entry(person).ok_or(EngineError::NotAllowed(Reason::NotThere))?;
        let devices: Vec<DeviceEntry> = self.device_entries(person, suite).collect();
        let lacking = devices.iter().find(|device| suite != self.suite() && device.key_packages.last_resort.is_none());
        match lacking {
            Some(device) => Err(EngineError::NoKeyPackage(device.device())),
            None if devices.is_empty() => Err(EngineError::NotAllowed(Reason::NotThere)),
            None => Ok(PersonEntry { devices, ..entry }),
        }
    }

    /// Somebody's devices, as they are introduced to a circle of this space that is of that suite.
    pub(crate) fn device_entries(&self, person: PersonId, suite: Suite) -> impl Iterator<Item = DeviceEntry> {
        let space = self.suite();
        let devices = self.log.membership().person_entry(person).into_iter().flat_map(|entry| entry.devices);
        devices.map(move |mut entry| {
            entry.key_packages = entry.key_packages.for_circle(space, suite);
            entry
        })
    }

    /// In a space that wants post-quantum circles and is not one itself: publishes how this device can be added to them.
    pub(crate) fn publish_x_wing(&mut self, desk: &mut Desk) -> Result<(), EngineError> {
        let (me, membership) = (desk.me(), self.log.membership());
        let is_wanted = membership.parent.is_none()
            && membership.suite != Suite::XWing
            && membership.post_quantum_circles()
            && membership.may(me, Right::OwnEntry)
            && !self.group.is_apart();
        let Some(own) = membership.devices.get(&me).filter(|own| is_wanted && own.key_packages.x_wing.is_none()) else {
            return Ok(());
        };
        let mut key_packages = own.key_packages.clone();
        key_packages.x_wing = Some(key_packages::make_last_resort(Suite::XWing, desk));
        self.act(Action::PublishKeyPackages { key_packages }, desk)
    }

    /// Follows what became of the space. Nothing happens to a root or an isolated circle.
    pub(crate) fn follow_space(&mut self, outer: Option<Arc<Outer>>, desk: &mut Desk) {
        let was_in = self.is_member(&desk.me());
        self.surroundings.outer = outer;
        if was_in && !self.is_member(&desk.me()) {
            desk.events.push(Event::Removed { circle: self.id });
        }
        desk.events.push(Event::MembershipChanged { circle: self.id });
        self.choose_head(desk);
        self.judge_waiting_logged(desk);
    }

    /// The state of the space's log that this circle follows.
    pub(crate) fn outer_version(&self) -> usize {
        self.surroundings.outer.as_ref().map_or(0, |outer| outer.version)
    }

    /// Whether the space lets a device be in here.
    pub(super) fn is_let_in(&self, device: &DeviceId) -> bool {
        self.surroundings.let_in(self.log.membership(), device)
    }

    /// Whether the space has removed a device: reason enough to remove it here. One that the space's log does not know may be
    /// on its way.
    pub(super) fn has_left_space(&self, device: &DeviceId) -> bool {
        self.is_nested() && self.surroundings.outer.as_ref().is_some_and(|outer| outer.gone.contains(device))
    }

    /// The point of the space's log that a commit cites which removes those: if the circle's own log has any of them in.
    pub(super) fn space_to_cite(&self, removed: &[DeviceId]) -> Vec<Vec<u8>> {
        let by_space = removed.iter().any(|device| self.is_in_own_log(device) && self.has_left_space(device));
        let heads = self.surroundings.outer.iter().filter(|_| by_space).flat_map(|outer| &outer.heads);
        heads.map(|id| id.as_bytes().to_vec()).collect()
    }

    fn is_in_own_log(&self, device: &DeviceId) -> bool {
        self.log.membership().devices.contains_key(device)
    }

    /// Whether those whom a commit removes, though the circle's log has them in, were out of the space at the point of its log
    /// that the commit cites; none if that point is not known here yet. Everybody judges alike, whatever came later.
    pub(super) fn had_left_space(
        &mut self,
        commit: EntryId,
        heads: Vec<OperationId>,
        gone: &[DeviceId],
    ) -> Option<bool> {
        if gone.is_empty() {
            return Some(true);
        }
        if !self.is_nested() || heads.is_empty() {
            return Some(false);
        }
        let points = self.surroundings.outer.as_deref().into_iter().chain(&self.surroundings.points);
        let Some(point) = points.into_iter().find(|point| point.heads == heads) else {
            self.surroundings.wanted.insert(commit, heads);
            return None;
        };
        let had_left = gone.iter().all(|device| point.gone.contains(device));
        self.surroundings.wanted.remove(&commit);
        Some(had_left)
    }

    /// Whether that commit can be judged now.
    pub(super) fn is_space_known(&self, commit: &EntryId) -> bool {
        let wanted = self.surroundings.wanted.get(commit);
        wanted.is_none_or(|heads| self.surroundings.points.iter().any(|point| point.heads == *heads))
    }

    /// The points of the space's log that commits wait for.
    pub(crate) fn wanted_points(&self) -> BTreeSet<Vec<OperationId>> {
        self.surroundings.wanted.values().cloned().collect()
    }

    /// Judges the commits that cite those points.
    pub(crate) fn look_back(&mut self, points: Vec<Outer>, desk: &mut Desk) {
        self.surroundings.points = points;
        self.judge_waiting_logged(desk);
        self.surroundings.points.clear();
    }

    fn judge_waiting_logged(&mut self, desk: &mut Desk) {
        if let Err(error) = self.judge_waiting(desk) {
            tracing::error!(circle = %self.id.short(), %error, "entries that waited for the space could not be judged");
        }
    }

    /// Whether a device hears of this circle through the space, when it is added.
    pub(crate) fn is_introduced(&self, device: &DeviceId) -> bool {
        self.surroundings.outer.as_ref().is_some_and(|outer| outer.current.contains(device))
    }

    /// Whether commits may rest on what the space says.
    fn is_nested(&self) -> bool {
        let membership = self.log.membership();
        membership.parent.is_some() && membership.scope == Scope::Nested
    }

    /// Commits at once what the log asks for, for whoever was just written into it.
    pub(crate) fn catch_up_roster(&mut self, desk: &mut Desk) -> Result<(), EngineError> {
        let change = self.difference(desk);
        if change == RosterChange::default() { Ok(()) } else { self.commit(change, None, desk).map(drop) }
    }

    /// Writes into the log that those are removed whom the space has removed, when it is this device's turn among those
    /// that may. Their keys are changed in any case: this is so that their rights in the log end as well.
    pub(crate) fn enact_removals(&mut self, online: &[DeviceId], quiet_ms: u64, step_ms: u64, desk: &mut Desk) {
        let me = desk.me();
        let membership = self.log.membership();
        let outside = |device: &DeviceId| self.has_left_space(device);
        if self.group.is_apart() || !self.is_member(&me) || !membership.devices.keys().any(outside) {
            self.surroundings.enact_at_ms = None;
            return;
        }
        let place = |device: &DeviceId| {
            hash(HashContext::RepairOrder, &[self.id.as_bytes().as_slice(), device.as_bytes()].concat())
        };
        let may = |device: &DeviceId| self.is_member(device) && membership.may(*device, Right::ManagePeople);
        if !may(&me) {
            self.surroundings.enact_at_ms = None;
            return;
        }
        let mine = place(&me);
        let rank = online.iter().filter(|device| may(device) && place(device) < mine).count() as u64;
        let due = *self.surroundings.enact_at_ms.get_or_insert(desk.now_ms + quiet_ms + rank * step_ms);
        if desk.now_ms < due {
            return;
        }
        self.surroundings.enact_at_ms = None;
        let actions = self.removals_to_enact(desk.me());
        for action in actions {
            // One that is beyond this device's reach is left to others.
            if let Err(error) = self.act(action, desk) {
                tracing::debug!(circle = %self.id.short(), %error, "a removal is left to others");
            }
        }
    }

    /// People none of whose devices the space has, as a whole; of others single devices.
    fn removals_to_enact(&self, me: DeviceId) -> Vec<Action> {
        let membership = self.log.membership();
        let mut actions = Vec::new();
        for (person, known) in &membership.people {
            let (inside, outside): (Vec<DeviceId>, Vec<DeviceId>) =
                known.devices.iter().copied().partition(|device| !self.has_left_space(device));
            if outside.is_empty() {
                continue;
            }
            if inside.is_empty() {
                actions.push(Action::revoke_person(*person));
            } else {
                actions.extend(outside.into_iter().map(Action::revoke_device));
            }
        }
        let may = |action: &Action| self.log.may_do(me, action).is_ok();
        actions.retain(may);
        actions
    }

    /// When [`enact_removals`](Self::enact_removals) is due.
    pub(crate) fn enact_at_ms(&self) -> Option<u64> {
        self.surroundings.enact_at_ms
    }

    /// Takes in what tells this device that it, or another, is out. Each operation counts by itself, as it does in an entry.
    pub(crate) fn take_farewell(&mut self, operations: Vec<Operation>, desk: &mut Desk) -> Result<(), Refusal> {
        let unheard = |operation: &&Operation| self.log.operation(&operation.id()).is_none();
        let news: Vec<Operation> = operations.iter().filter(unheard).cloned().collect();
        let taken =
            operations.into_iter().map(|operation| self.take_operation(operation, desk)).fold(Ok(()), Result::and);
        let passed_on = self.pass_on(news, desk);
        let settled = self.unlocked(desk).and_then(|queue| self.settle(desk.me(), queue, desk)).and(passed_on);
        if let Err(error) = settled {
            tracing::error!(circle = %self.id.short(), %error, "entries that waited for operations could not be judged");
        }
        taken
    }

    /// Publishes operations that came by a farewell: what this device does from now on cites them, and nobody could follow
    /// who does not have them. If it is out it keeps them for when it comes back: whoever told it may be gone by then.
    fn pass_on(&mut self, operations: Vec<Operation>, desk: &mut Desk) -> Result<(), EngineError> {
        let head = self.group.head().epoch;
        for operation in operations {
            if self.log.operation(&operation.id()).is_none() {
                continue;
            }
            let body = Body::Operation(operation.encode());
            if self.is_member(&desk.me()) {
                self.publish_under(head, body, desk)?;
            } else if let Some(key) = self.keys.of_epoch(&head).filter(|_| !off(Rule::FarewellKept)) {
                let envelope = Envelope::seal(self.id, &desk.device, key, body, desk.now_ms, &mut desk.entropy);
                let envelope = envelope.map_err(|_| EngineError::TooLarge)?;
                self.keep(&envelope, desk)?;
                self.note_guide(&envelope, desk);
            }
        }
        Ok(())
    }

    /// Takes in an introduction to a circle that this device is or was in: it sits on a branch without it, or returns.
    pub(crate) fn welcome_back(
        &mut self,
        author: DeviceId,
        operations: Vec<Operation>,
        welcome: &[u8],
        keys: Vec<(EpochId, ContentKey)>,
        desk: &mut Desk,
    ) -> Option<()> {
        for operation in operations {
            // One that is refused means nothing to anybody.
            let _ = self.take_operation(operation, desk);
        }
        let welcome = proto::Welcome { message: welcome.to_vec(), operations: self.cites() };
        self.judge_welcome(author, &welcome, desk).ok()?;
        for (epoch, key) in keys {
            self.learn_key(epoch, key, Source::Direct, Vec::new(), desk);
        }
        let queue = self.unlocked(desk).ok()?;
        self.settle(desk.me(), queue, desk).ok()
    }
}
