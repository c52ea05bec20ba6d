//! Commits: making the leaves of the group follow the membership log.

use clave_crypto::{HashContext, hash};

use super::*;

/// How long each device in line waits for the one before it, in milliseconds.
const REPAIR_STEP_MS: u64 = 2_000;

/// Keys per bundle, so that it fits an entry.
const BUNDLE_KEYS: usize = 8_192;

impl Circle {
    /// Adds and removes leaves in one commit on the head, and publishes it with the keys that lead back from it.
    /// Returns the Welcome for those who were added.
    pub(crate) fn commit(&mut self, change: RosterChange, desk: &mut Desk) -> Result<Option<Vec<u8>>, EngineError> {
        let parent = self.group.head().epoch;
        let added = change
            .add
            .iter()
            .map(|package| Ok(desk.agreement.inspect_key_package(package)?.device))
            .collect::<Result<Vec<_>, EngineError>>()?;
        let output = desk.agreement.commit(&desk.device, self.group.head(), &change, &mut desk.entropy)?;
        let operations = self.log.heads().iter().map(|id| id.as_bytes().to_vec()).collect();
        let body = proto::Commit {
            parent: parent.as_bytes().to_vec(),
            depth: output.checkpoint.depth,
            message: output.message,
            operations,
        };
        self.publish_under(parent, Body::Commit(body), desk)?;
        let stranded = self.welcomes_for_stranded(&added, output.welcome.as_deref());
        for (epoch, welcome) in stranded {
            self.publish_under(epoch, Body::Welcome(welcome), desk)?;
        }
        self.enter_epoch(Some(parent), output.checkpoint, desk)?;
        self.publish_keys(desk)?;
        Ok(output.welcome)
    }

    /// Devices that were added on a branch that lost cannot read the winning one; their Welcome goes under an epoch
    /// that they hold.
    fn welcomes_for_stranded(&self, added: &[DeviceId], welcome: Option<&[u8]>) -> Vec<(EpochId, proto::Welcome)> {
        let Some(message) = welcome else { return Vec::new() };
        let mut welcomes = Vec::new();
        for device in added {
            for tip in self.group.tips().filter(|tip| tip.leaves.contains(device)) {
                let welcome = proto::Welcome { device: device.as_bytes().to_vec(), message: message.to_vec() };
                welcomes.push((tip.epoch, welcome));
            }
        }
        welcomes
    }

    /// Publishes, under the head, the keys of all epochs that its own line does not lead back to, and of its parent.
    pub(crate) fn publish_keys(&mut self, desk: &mut Desk) -> Result<(), EngineError> {
        let mut line = self.group.line_of(self.group.head().epoch);
        let (_head, _parent) = (line.next(), line.next());
        let ancestors: std::collections::BTreeSet<EpochId> = line.collect();
        let head = self.group.head().epoch;
        let keys: Vec<proto::ContentKey> = self
            .keys
            .own()
            .filter(|(epoch, _)| *epoch != head && !ancestors.contains(epoch))
            .map(|(epoch, key)| proto::ContentKey { epoch: epoch.as_bytes().to_vec(), key: key.as_bytes().to_vec() })
            .collect();
        for keys in keys.chunks(BUNDLE_KEYS) {
            self.publish(Body::Keys(proto::KeyBundle { keys: keys.to_vec() }), desk)?;
        }
        Ok(())
    }

    /// Applies the one rule of which branch to follow; whoever wrote on the branch that lost hands its keys over.
    pub(crate) fn choose_head(&mut self, desk: &mut Desk) -> Result<(), EngineError> {
        let membership = self.log.membership();
        let former = self.group.choose_head(|leaf| membership.devices.contains_key(leaf));
        if let Some(former) = former {
            let head = self.group.head().epoch;
            desk.events.push(Event::EpochChanged { circle: self.id, epoch: head });
            if !self.group.line_of(head).any(|epoch| epoch == former) {
                self.publish_keys(desk)?;
            }
        }
        Ok(())
    }

    pub(super) fn judge_welcome(
        &mut self,
        author: DeviceId,
        welcome: &proto::Welcome,
        desk: &mut Desk,
    ) -> Result<super::judge::Verdict, Refusal> {
        use super::judge::Verdict;
        if welcome.device != desk.me().as_bytes() {
            return Ok(Verdict::Done { unlocks: false });
        }
        let Ok(secrets) = crate::key_packages::secrets(desk) else { return Ok(Verdict::Wait) };
        let secrets: Vec<&[u8]> = secrets.iter().map(|secret| secret.as_slice()).collect();
        let Ok(joined) = desk.agreement.join(&desk.device, &welcome.message, &secrets) else {
            return Err(Refusal::Unexpected);
        };
        let checkpoint = joined.checkpoint;
        if checkpoint.group != self.id.as_bytes() {
            return Err(Refusal::WrongCircle);
        }
        if joined.committer != author {
            return Err(Refusal::UnjustifiedCommit);
        }
        if self.group.get(&checkpoint.epoch).is_some() {
            return Ok(Verdict::Done { unlocks: false });
        }
        let membership = self.log.membership();
        let known = |leaf: &DeviceId| membership.device_standing(*leaf) != DeviceStanding::Unknown;
        if !membership.devices.contains_key(&author) || !checkpoint.leaves.iter().all(known) {
            // The operations that it follows may be on their way.
            return Ok(Verdict::Wait);
        }
        self.enter_epoch(None, checkpoint, desk).map_err(|_| Refusal::UnjustifiedCommit)?;
        Ok(Verdict::Done { unlocks: true })
    }

    /// What the head lacks or has too much of, against the log.
    fn difference(&self, desk: &Desk) -> RosterChange {
        let membership = self.log.membership();
        let leaves = &self.group.head().leaves;
        let remove = leaves
            .iter()
            .filter(|leaf| !membership.devices.contains_key(leaf) && **leaf != desk.me())
            .copied()
            .collect();
        let add = membership
            .devices
            .iter()
            .filter(|(device, _)| !leaves.contains(device))
            .filter_map(|(id, device)| {
                let packages = &device.key_packages;
                // Anybody writes what they like into their own key packages: they must not stop the mending of the rest.
                let own = |package: &&Vec<u8>| {
                    desk.agreement.inspect_key_package(package).is_ok_and(|info| info.device == *id)
                };
                packages.last_resort.iter().chain(&packages.single_use).find(own).cloned()
            })
            .collect();
        RosterChange { add, remove }
    }

    /// Mends the roster when it is this device's turn: the one with the least hash of epoch and device first, each
    /// further one a step later. Returns when to look again.
    pub(crate) fn repair(&mut self, online: &[DeviceId], desk: &mut Desk) -> Result<(), EngineError> {
        let change = self.difference(desk);
        let head = self.group.head();
        if (change.add.is_empty() && change.remove.is_empty()) || !head.leaves.contains(&desk.me()) {
            self.repair_at_ms = None;
            return Ok(());
        }
        let place = |device: &DeviceId| {
            hash(HashContext::RepairOrder, &[head.epoch.as_bytes().as_slice(), device.as_bytes()].concat())
        };
        let mine = place(&desk.me());
        let rank = online.iter().filter(|device| head.leaves.contains(device) && place(device) < mine).count();
        let due = *self.repair_at_ms.get_or_insert(desk.now_ms + rank as u64 * REPAIR_STEP_MS);
        if desk.now_ms < due {
            return Ok(());
        }
        self.repair_at_ms = None;
        self.commit(change, desk)?;
        Ok(())
    }
}
