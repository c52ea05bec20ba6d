//! How long the secrets of an epoch are kept, and how devices know who follows which epoch.
//!
//! A checkpoint lets this device follow whatever starts from its epoch, and lets whoever takes the device read what was
//! agreed there. So it goes once nobody can be expected to start from it any more: everybody in the log was seen further
//! on, and the head is well past it. What is left of it is its place in the tree. Content keys are another matter: they
//! stay as long as the history policy says.

use clave_crypto::{HashContext, hash};

use super::*;

/// How far behind the head a checkpoint has to be, in epochs, before it goes.
pub const CHECKPOINTS_DEEP: u64 = 16;
/// How long a checkpoint that is not the head is kept at most, in milliseconds.
pub const CHECKPOINT_MS_MAX: u64 = 14 * 86_400_000;
/// How many epochs a device follows in silence before it says so.
pub const SILENT_EPOCHS_MAX: u64 = 8;
/// How long it does, in milliseconds.
const SILENT_MS_MAX: u64 = 86_400_000;
/// The longest it waits on top of that, so that not all say so at once, in milliseconds.
const ACKNOWLEDGE_SPREAD_MS: u64 = 60_000;

/// The least time after a removal's commit before a device says that it follows, in milliseconds: rivals may be on their way.
const PROMPT_MS_MIN: u64 = 300;
/// The time over which the devices of a circle say so, in milliseconds for each of them: twenty a second, however many
/// there are.
const PROMPT_SPREAD_MS: u64 = 50;

/// The most epochs of removals that are remembered until this device has said which it follows.
const REMOVALS_MAX: usize = 64;

/// Who was seen in which epoch, and what is to be done about it.
#[derive(Default)]
pub(super) struct Seen {
    devices: BTreeMap<DeviceId, EpochId>,
    /// Whether nothing changed since checkpoints were last looked through.
    settled: bool,
    /// When the next checkpoint is too old.
    due_at_ms: Option<u64>,
    /// When this device is to say which epoch it follows, and of which head that was worked out.
    acknowledge: Option<(EpochId, u64)>,
    /// Epochs to which commits led that removed somebody: whoever removed them waits to hear who follows.
    of_removals: BTreeSet<EpochId>,
}

impl Seen {
    pub(super) fn due_at_ms(&self) -> Option<u64> {
        self.due_at_ms.into_iter().chain(self.acknowledge.map(|(_, at_ms)| at_ms)).min()
    }

    /// The head is another.
    pub(super) fn moved(&mut self) {
        self.settled = false;
    }

    /// A commit that leads to that epoch removes somebody.
    pub(super) fn removed(&mut self, epoch: EpochId) {
        if self.of_removals.len() < REMOVALS_MAX {
            self.of_removals.insert(epoch);
        }
    }

    /// Takes up what is stored.
    pub(super) fn restore(&mut self, device: DeviceId, epoch: EpochId) {
        self.devices.insert(device, epoch);
    }
}

impl Circle {
    /// For each device that is in and was heard of: the furthest epoch that it is known to follow, and how many commits
    /// led there. Who was seen in an epoch or one that follows it has confirmed it.
    pub(crate) fn confirmed(&self) -> BTreeMap<DeviceId, (EpochId, u64)> {
        let depth = |epoch: &EpochId| self.group.depth_of(epoch);
        let seen = self.seen.devices.iter().filter(|(device, _)| self.is_member(device));
        seen.filter_map(|(device, epoch)| Some((*device, (*epoch, depth(epoch)?)))).collect()
    }

    /// Notes that a device wrote under a key that this device derived: it follows that key's epoch.
    pub(super) fn note_seen(&mut self, device: DeviceId, tag: &KeyId, desk: &mut Desk) {
        let Some(epoch) = self.ring(tag).held(tag).filter(|held| held.derived).map(|held| held.epoch) else { return };
        let known = self.seen.devices.get(&device);
        let depth = |epoch: &EpochId| self.group.depth_of(epoch);
        if known == Some(&epoch) || known.is_some_and(|known| depth(known) > depth(&epoch)) {
            return;
        }
        self.seen.devices.insert(device, epoch);
        self.seen.settled = false;
        if epoch == self.group.head().epoch && device != desk.me() {
            desk.events.push(Event::KeysConfirmed { circle: self.id, device });
        }
        desk.put(Key::new(Keyspace::Seen, self.id.as_bytes(), device.as_bytes()), epoch.as_bytes().to_vec());
    }

    /// Says which epoch this device follows, if it has followed for long and said nothing.
    pub(super) fn acknowledge(&mut self, desk: &mut Desk) -> Result<(), EngineError> {
        let head = self.group.head();
        let (epoch, depth) = (head.epoch, head.depth);
        let said = self.seen.devices.get(&desk.me());
        // Alone, there is nobody to tell.
        if said == Some(&epoch)
            || self.group.is_apart()
            || !self.is_member(&desk.me())
            || self.log.membership().devices.len() < 2
        {
            self.seen.acknowledge = None;
            return Ok(());
        }
        let entered_ms = self.group.entered_ms(&epoch).unwrap_or(desk.now_ms);
        let at_ms = match self.seen.acknowledge {
            Some((of, at_ms)) if of == epoch => at_ms,
            other => {
                let of_circle = [epoch.as_bytes().as_slice(), desk.me().as_bytes()].concat();
                let random = hash(HashContext::RepairOrder, &of_circle);
                let spread_ms = u64::from(u16::from_be_bytes([random[0], random[1]])) % ACKNOWLEDGE_SPREAD_MS;
                let long = said.and_then(|said| self.group.depth_of(said)).unwrap_or(0) + SILENT_EPOCHS_MAX <= depth;
                let of_removal = self.seen.of_removals.contains(&epoch);
                let at_ms = match (of_removal, long) {
                    (true, _) => desk.now_ms + self.prompt_ms(u16::from_be_bytes([random[2], random[3]])),
                    (false, true) => desk.now_ms + spread_ms,
                    (false, false) => entered_ms + SILENT_MS_MAX + spread_ms,
                };
                // A head that moves on must not put it off for ever.
                let at_ms = other.map_or(at_ms, |(_, before_ms)| before_ms.min(at_ms));
                self.seen.acknowledge = Some((epoch, at_ms));
                at_ms
            }
        };
        if desk.now_ms < at_ms {
            return Ok(());
        }
        if self.mending != roster::Mending::Done {
            // The epoch is about to be left.
            let soon_ms = if self.seen.of_removals.contains(&epoch) { PROMPT_MS_MIN } else { ACKNOWLEDGE_SPREAD_MS };
            self.seen.acknowledge = Some((epoch, desk.now_ms + soon_ms));
            return Ok(());
        }
        self.seen.acknowledge = None;
        self.seen.of_removals.clear();
        self.publish(Body::Acknowledge(proto::Acknowledge { epoch: epoch.as_bytes().to_vec() }), desk).map(drop)
    }

    /// After how long this device says that it follows a removal.
    fn prompt_ms(&self, random: u16) -> u64 {
        let spread_ms = self.log.membership().devices.len() as u64 * PROMPT_SPREAD_MS;
        PROMPT_MS_MIN + u64::from(random) * spread_ms / u64::from(u16::MAX)
    }

    /// Erases the secrets of epochs that nobody starts from any more.
    pub(super) fn retain(&mut self, desk: &mut Desk) -> Result<(), EngineError> {
        if self.group.is_apart() {
            return Ok(());
        }
        if self.seen.settled && self.seen.due_at_ms.is_none_or(|at_ms| desk.now_ms < at_ms) {
            return Ok(());
        }
        let head = self.group.head();
        let line: BTreeSet<EpochId> = self.group.line_of(head.epoch).collect();
        let follows = |device: &DeviceId| {
            let epoch = if *device == desk.me() { Some(&head.epoch) } else { self.seen.devices.get(device) };
            epoch.filter(|epoch| line.contains(*epoch)).and_then(|epoch| self.group.depth_of(epoch)).unwrap_or(0)
        };
        let everybody_at = self.log.membership().devices.keys().map(follows).min().unwrap_or(0);
        let mut due_at_ms = None;
        let mut gone = Vec::new();
        for (checkpoint, entered_ms) in self.group.kept().filter(|(checkpoint, _)| checkpoint.epoch != head.epoch) {
            let passed = off(Rule::Retention)
                || checkpoint.depth + CHECKPOINTS_DEEP <= head.depth && checkpoint.depth < everybody_at;
            let too_old_ms = entered_ms.saturating_add(CHECKPOINT_MS_MAX);
            if passed || too_old_ms <= desk.now_ms {
                gone.push(checkpoint.epoch);
            } else {
                due_at_ms = Some(due_at_ms.map_or(too_old_ms, |due_ms: u64| due_ms.min(too_old_ms)));
            }
        }
        (self.seen.settled, self.seen.due_at_ms) = (true, due_at_ms);
        for epoch in gone {
            self.group.erase(&epoch);
            self.file_epoch(&epoch, desk)?;
        }
        Ok(())
    }
}
