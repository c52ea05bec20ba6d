//! Commits: making the leaves of the group follow the membership log, and its keys lead everywhere.

use clave_crypto::{HashContext, Suite, hash};

use super::judge::Verdict;
use super::*;
use crate::desk::Introducing;
use crate::group::absent;
use crate::membership::Device;

/// How long the first device in line waits before it mends anything, so that what is on its way arrives, in
/// milliseconds.
const REPAIR_QUIET_MS: u64 = 1_000;
/// How long each further device in line waits for the one before it, in milliseconds.
const REPAIR_STEP_MS: u64 = 2_000;
/// The most that a device waits for who may be connected with a relay and is not seen here, in steps.
const RELAYED_RANK_MAX: usize = 15;
/// How far ahead of everything that this device knows the epoch of a Welcome may be, in commits. Depth decides the choice of
/// the head, and whoever makes up a group makes up its depth.
pub const WELCOME_LEAD_MAX: u64 = 65_536;
/// Keys per bundle, so that it fits an entry.
const BUNDLE_KEYS: usize = 8_192;

/// What is known of the head, since anything happened that could change it: finding out checks signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mending {
    Unknown,
    /// It does not follow the log, or does not lead to every key: this device waits for its turn.
    Waits,
    /// It follows the log and leads to every key.
    Done,
}

impl Circle {
    /// Adds and removes leaves in one commit on the head, and publishes it, with the keys that lead back from it for those who
    /// are added.
    /// Returns the Welcome for those who were added; `newcomer` is handed it directly.
    pub(crate) fn commit(
        &mut self,
        change: RosterChange,
        newcomer: Option<DeviceId>,
        desk: &mut Desk,
    ) -> Result<Option<Vec<u8>>, EngineError> {
        self.refuse_apart()?;
        let mut change = change;
        if !self.is_shared() && !change.add.is_empty() {
            // Who is removed first has no part in what is handed over before others come, and those have none in it either.
            let renewed = |device: &DeviceId| {
                let of = |package: &Vec<u8>| desk.agreement.inspect_key_package(package).map(|info| info.device);
                change.add.iter().any(|package| of(package).is_ok_and(|of| of == *device))
            };
            let (stay, remove): (Vec<_>, Vec<_>) = change.remove.iter().copied().partition(renewed);
            if !remove.is_empty() {
                self.commit(RosterChange { add: Vec::new(), remove }, None, desk)?;
                change.remove = stay;
            }
        }
        if change.remove.is_empty() {
            // What the commit cites may be sealed with these, so they must not be behind it.
            self.hand_over(if off(Rule::KeysBefore) { Vec::new() } else { self.out_of_reach() }, desk)?;
        }
        let parent = self.group.head().epoch;
        let added = change
            .add
            .iter()
            .map(|package| Ok(desk.agreement.inspect_key_package(package)?.device))
            .collect::<Result<Vec<_>, EngineError>>()?;
        let output = desk.agreement.commit(&desk.device, self.group.head(), &change, &mut desk.entropy)?;
        let (cites, operations) = (self.log.heads(), self.cites());
        let told = |devices: &[DeviceId], those: &dyn Fn(&DeviceId) -> bool| -> Vec<Vec<u8>> {
            devices.iter().filter(|id| those(id)).map(|id| id.as_bytes().to_vec()).collect()
        };
        let body = proto::Commit {
            parent: parent.as_bytes().to_vec(),
            epoch: output.checkpoint.epoch.as_bytes().to_vec(),
            message: output.message,
            operations: operations.clone(),
            renews: told(&added, &|id| change.remove.contains(id)),
            adds: told(&added, &|id| !change.remove.contains(id)),
            removes: told(&change.remove, &|id| !added.contains(id)),
            time_ms: desk.now_ms,
            space: self.space_to_cite(&change.remove),
        };
        let entry = self.publish_under(parent, Body::Commit(body), desk)?;
        self.note_key_change(entry, true, desk);
        if let Some(message) = &output.welcome {
            for device in added.into_iter().filter(|device| Some(*device) != newcomer) {
                if self.is_introduced(&device) {
                    let welcome = message.clone();
                    desk.introducing.push(Introducing { circle: self.id, device, welcome });
                    continue;
                }
                let welcome = proto::Welcome { message: message.clone(), operations: operations.clone() };
                match self.publish_direct(device, Body::Welcome(welcome), desk) {
                    // It published a key that nothing can be sealed to. That must not keep everybody else waiting.
                    Err(EngineError::NoSuchDevice) => {}
                    published => drop(published?),
                }
            }
        }
        let checkpoint = output.checkpoint;
        let (parent, adds) = (Some(parent), !change.add.is_empty());
        self.enter_epoch(Entered { parent, checkpoint, after: Vec::new(), cites, adds }, desk)?;
        // Whoever was in has the keys before. With any other policy those who were not must not have them. Keys of other
        // branches that the commit leaves behind are handed over by whoever mends.
        let shared = self.is_shared() && !off(Rule::KeyOfParent);
        let before = if adds && shared { self.unlinked() } else { Vec::new() };
        self.hand_over(before, desk)?;
        let hands_over = self.hands_over_lasting() && !off(Rule::KeyOfParent);
        let before = parent.and_then(|parent| self.lasting.of_epoch(&parent)).map(ContentKey::key_id);
        let before = before.filter(|id| hands_over && self.index.uses_lasting(id));
        self.hand_over_lasting(before.into_iter().collect(), desk)?;
        Ok(output.welcome)
    }

    /// The heads of the log, as entries cite them.
    pub(super) fn cites(&self) -> Vec<Vec<u8>> {
        self.log.heads().iter().map(|id| id.as_bytes().to_vec()).collect()
    }

    /// The keys that those who were in all along cannot find.
    fn out_of_reach(&self) -> Vec<KeyId> {
        let ids = self.keys.out_of_reach(self.group.line_of(self.group.head().epoch));
        ids.into_iter().filter(|id| self.is_to_hand_over(id)).collect()
    }

    /// The keys before the head that whoever came with it cannot find.
    fn unlinked(&self) -> Vec<KeyId> {
        let ids = self.keys.unlinked(self.group.line_of(self.group.head().epoch));
        ids.into_iter().filter(|id| self.is_to_hand_over(id)).collect()
    }

    fn is_to_hand_over(&self, id: &KeyId) -> bool {
        self.keys.held(id).is_some_and(|held| self.may_hand_over(held))
    }

    /// What somebody who is in lacks. Those who were in all along have the keys since somebody last came; whoever did then has
    /// those before only if they were handed over.
    fn keys_owed(&self) -> Vec<KeyId> {
        let mut owed = self.out_of_reach();
        // With any other policy nobody reads what was before they came.
        let unlinked = if self.is_shared() { self.unlinked() } else { Vec::new() };
        if !unlinked.is_empty() {
            let since: BTreeSet<&KeyId> =
                self.group.stretch().filter_map(|epoch| self.keys.id_of_epoch(&epoch)).collect();
            if unlinked.iter().any(|id| !since.contains(id)) {
                owed.extend(unlinked);
            }
        }
        owed
    }

    /// The lasting keys that whoever has the head's cannot find, as far as they are handed over by themselves.
    fn lasting_out_of_reach(&self) -> Vec<KeyId> {
        if !self.hands_over_lasting() || off(Rule::LastingKeys) {
            return Vec::new();
        }
        let line = || self.group.line_of(self.group.head().epoch);
        let mut ids = self.lasting.out_of_reach(line());
        ids.extend(self.lasting.unlinked(line()));
        let may_hand_over = |id: &KeyId| self.lasting.held(id).is_some_and(|held| self.may_hand_over(held));
        ids.retain(|id| self.index.uses_lasting(id) && may_hand_over(id));
        ids
    }

    /// Publishes lasting keys under that of the head, for whoever is in and comes.
    pub(super) fn hand_over_lasting(&mut self, mut ids: Vec<KeyId>, desk: &mut Desk) -> Result<(), EngineError> {
        ids.sort_unstable();
        ids.dedup();
        let head = self.group.head().epoch;
        let under = self.head_key().lasting().key_id();
        let keys: Vec<_> = ids.iter().filter_map(|id| self.lasting.held(id)).map(super::history::wire_key).collect();
        for id in &ids {
            self.note_handed_over(id, under, desk);
        }
        for keys in keys.chunks(BUNDLE_KEYS) {
            let bundle = self.bundle(keys.to_vec());
            self.publish_lasting_under(head, Body::Keys(bundle), desk)?;
        }
        Ok(())
    }

    /// Whether this device has seen all that whoever handed it the key had seen: if not, it may not know of a removal, and
    /// of whom the key must be kept.
    pub(super) fn may_hand_over(&self, held: &crate::group::Held) -> bool {
        off(Rule::KeysAfterOperations) || held.after.iter().all(|id| self.log.operation(id).is_some())
    }

    /// Whether a key is here and may be handed on.
    pub(super) fn is_free(&self, id: &KeyId) -> bool {
        self.ring(id).held(id).is_some_and(|held| self.may_hand_over(held))
    }

    /// What whoever handed this device a key knew and this device does not; none if the key is not here.
    pub(crate) fn unknown_of_giver(&self, id: &KeyId) -> Option<Vec<OperationId>> {
        self.ring(id).held(id).map(|held| self.not_here(held.after.clone()))
    }

    /// Publishes keys under the head, so that those who were not where they come from can read what is sealed with them.
    pub(super) fn hand_over(&mut self, mut ids: Vec<KeyId>, desk: &mut Desk) -> Result<(), EngineError> {
        ids.sort_unstable();
        ids.dedup();
        let (head, under) = (self.group.head().epoch, self.head_key().key_id());
        let held = ids.iter().filter_map(|id| self.keys.held(id));
        let keys: Vec<_> = held.map(super::history::wire_key).collect();
        if keys.is_empty() {
            return Ok(());
        }
        for id in &ids {
            self.note_handed_over(id, under, desk);
        }
        if !self.is_shared() {
            return self.hand_over_directly(&ids, desk);
        }
        for keys in keys.chunks(BUNDLE_KEYS) {
            let bundle = self.bundle(keys.to_vec());
            self.publish_under(head, Body::Keys(bundle), desk)?;
        }
        Ok(())
    }

    /// The devices that the log has and the space lets in, in order.
    fn listed(&self) -> Vec<DeviceId> {
        let membership = self.log.membership();
        let is_let_in = |device: &&DeviceId| self.surroundings.let_in(membership, device);
        membership.devices.keys().filter(is_let_in).copied().collect()
    }

    /// Applies the one rule of which branch to follow.
    pub(crate) fn choose_head(&mut self, desk: &mut Desk) {
        let listed = self.listed();
        let log = &self.log;
        let is_here = |id: &OperationId| log.operation(id).is_some() || off(Rule::ForkCited);
        let was_apart = self.group.is_apart();
        if let Some(former) = self.group.choose_head(&listed, is_here, desk.now_ms) {
            if let Err(error) = self.file_epoch(&former, desk) {
                tracing::error!(circle = %self.id.short(), %error, "when an epoch was left could not be noted");
            }
            self.ratchet.stir();
            if was_apart {
                self.note_returned(former, desk);
            }
            self.pleas.moved();
            self.seen.moved();
            desk.events.push(Event::EpochChanged { circle: self.id, epoch: self.group.head().epoch });
        }
        self.mending = Mending::Unknown;
    }

    pub(super) fn judge_welcome(
        &mut self,
        author: DeviceId,
        welcome: &proto::Welcome,
        desk: &mut Desk,
    ) -> Result<Verdict, Refusal> {
        let Ok(secrets) = crate::key_packages::secrets(desk) else { return Ok(Verdict::Wait(Awaits::Opening)) };
        let secrets: Vec<&[u8]> = secrets.iter().map(|secret| secret.as_slice()).collect();
        let joined = match desk.agreement.join(&desk.device, &welcome.message, &secrets) {
            Ok(joined) => joined,
            // Two answered one plea, and the key package went with the first. Only this device can tell, so all others carry
            // it on, and would offer for ever what is not kept here.
            Err(clave_crypto::CryptoError::NotForUs) => return Ok(Verdict::Done),
            Err(_) => return Err(Refusal::Unexpected),
        };
        let checkpoint = joined.checkpoint;
        if checkpoint.group != self.id.as_bytes() {
            return Err(Refusal::WrongCircle);
        }
        if joined.suite != self.suite() {
            return Err(Refusal::Unexpected);
        }
        if !self.group.is_within_lead(checkpoint.depth, WELCOME_LEAD_MAX) {
            return Err(Refusal::Oversized);
        }
        if joined.committer != author || !checkpoint.contains(&author) {
            return Err(Refusal::UnjustifiedCommit);
        }
        let cites = super::judge::cited(&welcome.operations)?;
        let after = self.not_here(cites.clone());
        let is_out =
            !matches!(self.log.membership().device_standing(author), DeviceStanding::Current | DeviceStanding::Unknown);
        if is_out && after.is_empty() && !off(Rule::WelcomeByMember) {
            // Whoever is out leads nobody anywhere. They may not have known it, so it is kept like any other entry.
            // But who was out themselves may have missed how its author came back, and can read that only with its keys:
            // until all that it cites is here, the choice of the head passes it over.
            return Ok(Verdict::Done);
        }
        // Its leaves, the author's too, may be of people whose operations can be read only with its keys. Until those have
        // arrived, the choice of the head counts them as removed.
        if self.group.knows(&checkpoint.epoch) {
            return Ok(Verdict::Done);
        }
        let entered = Entered { parent: None, checkpoint, after, cites, adds: true };
        self.enter_epoch(entered, desk).map_err(|_| Refusal::UnjustifiedCommit)?;
        // Should that fail, the next plea offers the same once more, which does no harm.
        let _ = self.note_used(&joined.reference, desk);
        self.pleas.helped(desk.now_ms);
        Ok(Verdict::Done)
    }

    /// By what the circle agrees on its keys.
    pub(crate) fn suite(&self) -> Suite {
        self.log.membership().suite
    }

    /// Whether a key package adds that device to this circle's group.
    pub(super) fn is_of_use(&self, package: &[u8], device: DeviceId, desk: &Desk) -> bool {
        let info = desk.agreement.inspect_key_package(package);
        info.is_ok_and(|info| info.device == device && info.suite == self.suite()) || off(Rule::PackageOfUse)
    }

    /// What the head lacks or has too much of, against the log.
    pub(crate) fn difference(&self, desk: &Desk) -> RosterChange {
        let devices = &self.log.membership().devices;
        let (listed, leaves) = (self.listed(), &self.group.head().leaves);
        let package = |id: &DeviceId, device: &Device| {
            let packages = &device.key_packages;
            // One bad key package must not keep everybody else from following the log.
            let own = |package: &&Vec<u8>| self.is_of_use(package, *id, desk);
            packages.last_resort.iter().chain(&packages.single_use).find(own).cloned()
        };
        let add = absent(&listed, leaves)
            .filter(|_| !off(Rule::AddsMissing))
            .filter_map(|id| package(id, &devices[id]))
            .collect();
        RosterChange { add, remove: self.gone(&listed, desk) }
    }

    /// The leaves of the head that are not listed any more. One whom the space's log does not know is on their way: whoever
    /// brought them in knew more of it.
    fn gone(&self, listed: &[DeviceId], desk: &Desk) -> Vec<DeviceId> {
        let devices = &self.log.membership().devices;
        let is_out = |leaf: &&DeviceId| !devices.contains_key(*leaf) || self.has_left_space(leaf);
        let gone = absent(&self.group.head().leaves, listed).filter(|leaf| **leaf != desk.me()).filter(is_out);
        gone.copied().collect()
    }

    /// The same, with a leaf for a device from a key package that it has just offered: a new one, if it has one already.
    pub(crate) fn difference_with(&self, device: DeviceId, package: &[u8], desk: &Desk) -> RosterChange {
        let mut change = self.difference(desk);
        let of_it =
            |package: &Vec<u8>| desk.agreement.inspect_key_package(package).is_ok_and(|info| info.device == device);
        change.add.retain(|package| !of_it(package));
        change.add.push(package.to_vec());
        if self.group.head().contains(&device) {
            change.remove.push(device);
        }
        change
    }

    /// Whether somebody may have the head's key who is out and no leaf here: it was handed over on another branch, before
    /// this one won, or somebody was brought in beside it who is out by now, and whoever brought them in handed them all
    /// keys. Nothing is sealed with it then, a commit comes first.
    fn is_worn(&self) -> bool {
        let head = self.group.head().epoch;
        let key = self.keys.of_epoch(&head).map(|key| [key.key_id(), key.lasting().key_id()]);
        let handed_over = |id: KeyId| self.ring(&id).held(&id).is_some_and(|held| !held.under.is_empty());
        key.into_iter().flatten().any(handed_over) && !off(Rule::Worn)
            || self
                .group
                .node(&head)
                .filter(|_| !off(Rule::BroughtInBeside))
                .is_some_and(|head| self.log.brought_in_beside(&head.cites).any(|device| !self.is_listed(&device)))
    }

    /// Commits what the log has removed, so that nothing is ever sealed for somebody who was.
    pub(crate) fn shut_out(&mut self, desk: &mut Desk) -> Result<(), EngineError> {
        if !self.is_listed(&desk.me()) || self.group.is_apart() || off(Rule::ShutOut) {
            return Ok(());
        }
        // Who is to be added waits: a newcomer whose operation was just written is handed a Welcome of their own.
        let remove = self.gone(&self.listed(), desk);
        if !remove.is_empty() || self.is_worn() {
            self.commit(RosterChange { add: Vec::new(), remove }, None, desk)?;
        }
        Ok(())
    }

    /// How many leaves of the head come before this device in an order: of those that are connected. With a relay, others may be
    /// there that are not connected with this device; then it is of all, and no more than so many.
    pub(super) fn rank<T: Ord>(&self, online: &[DeviceId], me: &DeviceId, place: impl Fn(&DeviceId) -> T) -> usize {
        let (head, mine) = (self.group.head(), place(me));
        let there = online.iter().filter(|device| head.contains(device) && place(device) < mine).count();
        if !self.has_relay {
            return there;
        }
        let all = head.leaves.iter().filter(|device| place(device) < mine).take(RELAYED_RANK_MAX).count();
        there.max(all)
    }

    /// Mends what the head lacks when it is this device's turn: after a quiet while the one with the least hash of epoch
    /// and device, each further one a step later.
    pub(crate) fn repair(&mut self, online: &[DeviceId], desk: &mut Desk) -> Result<(), EngineError> {
        let is_early = self.mending == Mending::Waits && self.repair_at_ms.is_some_and(|at_ms| desk.now_ms < at_ms);
        if self.mending == Mending::Done || is_early || self.group.is_apart() {
            return Ok(());
        }
        let change = self.difference(desk);
        let keys = if off(Rule::KeysMended) { Vec::new() } else { self.keys_owed() };
        let lasting = if off(Rule::KeysMended) { Vec::new() } else { self.lasting_out_of_reach() };
        let must_commit = change != RosterChange::default() || self.is_worn();
        if (!must_commit && keys.is_empty() && lasting.is_empty()) || !self.is_member(&desk.me()) {
            (self.mending, self.repair_at_ms) = (Mending::Done, None);
            return Ok(());
        }
        let head = self.group.head();
        if self.repair_of != Some(head.epoch) {
            (self.repair_of, self.repair_at_ms) = (Some(head.epoch), None);
        }
        let place = |device: &DeviceId| {
            hash(HashContext::RepairOrder, &[head.epoch.as_bytes().as_slice(), device.as_bytes()].concat())
        };
        let rank = self.rank(online, &desk.me(), place);
        let wait_ms = REPAIR_QUIET_MS + rank as u64 * REPAIR_STEP_MS;
        let due = *self.repair_at_ms.get_or_insert(desk.now_ms + wait_ms);
        if desk.now_ms < due {
            self.mending = Mending::Waits;
            return Ok(());
        }
        self.repair_at_ms = None;
        if must_commit {
            return self.commit(change, None, desk).map(drop);
        }
        self.hand_over(keys, desk)?;
        self.hand_over_lasting(lasting, desk)
    }
}
