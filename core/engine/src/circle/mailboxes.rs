//! Which mailboxes at relays belong to this circle, and which of them are looked into (ADR 15).

use std::cmp::Reverse;
use std::sync::Arc;

use clave_crypto::{MailboxId, MailboxKey};

use super::*;
use crate::InvitationId;

/// The most mailboxes of one circle that are followed: those of the newest epochs and of those in which somebody was last
/// seen, and this device's own.
pub(crate) const MAILBOXES_FOLLOWED_MAX: usize = 64;
/// How long the mailbox of an epoch is followed that was left, unless somebody was last seen there, in milliseconds.
pub(crate) const MAILBOX_MS_MAX: u64 = 30 * 86_400_000;

/// What is known of one mailbox of a circle.
#[derive(Clone)]
pub(crate) struct Mailbox {
    pub(crate) key: Arc<MailboxKey>,
    pub(crate) id: MailboxId,
    pub(crate) circle: CircleId,
    /// Whose it is; none for that of a device.
    pub(crate) epoch: Option<EpochId>,
    /// The invitation that it is of, if it is of one. Then no entries are in it.
    pub(crate) invitation: Option<InvitationId>,
}

/// The keys of mailboxes that were computed, as each takes as long as a signature.
#[derive(Default)]
pub(super) struct Keys {
    epochs: BTreeMap<KeyId, (Arc<MailboxKey>, MailboxId)>,
    devices: BTreeMap<DeviceId, (Arc<MailboxKey>, MailboxId)>,
}

/// Changes with whatever [`Circle::followed`] depends on, but for the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FollowedVersion(bool, EpochId, usize, usize);

impl Circle {
    /// Changes with the mailboxes to follow.
    pub(crate) fn followed_version(&self, me: &DeviceId) -> FollowedVersion {
        FollowedVersion(self.is_member(me), self.group.head().epoch, self.keys.len(), self.lasting.len())
    }

    /// The mailboxes to follow, those that matter most first; none if this device is not in.
    pub(crate) fn followed(&mut self, desk: &Desk) -> Vec<Mailbox> {
        let me = desk.me();
        if !self.is_member(&me) {
            return Vec::new();
        }
        let epochs = self.epochs_followed(desk.now_ms);
        let mut mailboxes = vec![self.mailbox_of_device(me)];
        mailboxes.extend(epochs.into_iter().filter_map(|id| self.mailbox_of(&id)));
        mailboxes.truncate(MAILBOXES_FOLLOWED_MAX);
        mailboxes
    }

    /// The lasting keys of the epochs whose mailboxes are followed: that of the head, those in which members were last seen, as
    /// they may write there still, and those that were left lately, the newest first.
    fn epochs_followed(&self, now_ms: u64) -> Vec<KeyId> {
        let head = self.group.head().epoch;
        let seen: BTreeSet<EpochId> = self.confirmed().into_values().map(|(epoch, _)| epoch).collect();
        let mut found = Vec::new();
        for (id, held) in self.lasting.all() {
            let epoch = held.epoch;
            let left_ms = self.group.superseded_ms(&epoch).unwrap_or(held.filed_ms);
            let class = match () {
                () if epoch == head => 0,
                () if seen.contains(&epoch) => 1,
                () if now_ms.saturating_sub(left_ms) < MAILBOX_MS_MAX => 2,
                () => continue,
            };
            let depth = self.group.depth_of(&epoch);
            found.push(((class, Reverse(depth), Reverse(held.filed_ms), *id), *id));
        }
        found.sort_unstable();
        found.into_iter().map(|(_, id)| id).take(MAILBOXES_FOLLOWED_MAX).collect()
    }

    /// Where an entry of that tag lies; none if its key is not here.
    pub(crate) fn mailbox_of(&mut self, tag: &KeyId) -> Option<Mailbox> {
        if let Some(device) = self.direct.get(tag) {
            return Some(self.mailbox_of_device(*device));
        }
        let held = self.ring(tag).held(tag)?;
        let (epoch, circle) = (held.epoch, self.id);
        let lasting = if tag.is_lasting() { *tag } else { held.key.lasting().key_id() };
        let derive = || {
            let key = Arc::new(MailboxKey::of_epoch(&held.key));
            let id = key.id();
            (key, id)
        };
        let (key, id) = match self.mailboxes.epochs.get(&lasting) {
            Some(known) => known.clone(),
            None => derive(),
        };
        self.mailboxes.epochs.entry(lasting).or_insert_with(|| (key.clone(), id));
        Some(Mailbox { key, id, circle, epoch: Some(epoch), invitation: None })
    }

    fn mailbox_of_device(&mut self, device: DeviceId) -> Mailbox {
        let circle = self.id;
        let derive = || {
            let key = Arc::new(MailboxKey::of_device(circle.as_bytes(), &device));
            let id = key.id();
            (key, id)
        };
        let (key, id) = self.mailboxes.devices.entry(device).or_insert_with(derive).clone();
        Mailbox { key, id, circle, epoch: None, invitation: None }
    }

    /// That of the head: files go there.
    pub(crate) fn mailbox_of_head(&mut self) -> Option<Mailbox> {
        let head = self.head_key().key_id();
        self.mailbox_of(&head)
    }

    /// Whether an entry of that tag belongs into a mailbox. Of an epoch of which only the lasting key is here, the tag of the
    /// other key is not known: whatever is not known to belong elsewhere may belong there.
    pub(crate) fn belongs_into(&mut self, mailbox: &MailboxId, epoch: Option<EpochId>, tag: &KeyId) -> bool {
        match self.mailbox_of(tag) {
            Some(known) => known.id == *mailbox,
            None => !tag.is_lasting() && epoch.is_some_and(|epoch| self.keys.id_of_epoch(&epoch).is_none()),
        }
    }

    /// The entries since an hour by the mailbox that they belong into, at most so many: the newest.
    pub(crate) fn by_mailbox(
        &mut self,
        since_hour: u32,
        most: usize,
        desk: &mut Desk,
    ) -> Result<BTreeMap<MailboxId, (Mailbox, BTreeSet<EntryId>)>, EngineError> {
        let ids = self.index.since(since_hour, most, desk)?;
        let mut found: BTreeMap<MailboxId, (Mailbox, BTreeSet<EntryId>)> = BTreeMap::new();
        for id in ids {
            let Some(bytes) = self.envelope(&id, desk)? else { continue };
            let Ok(envelope) = Envelope::decode(bytes) else { continue };
            if let Some(mailbox) = self.mailbox_of(&envelope.tag) {
                found.entry(mailbox.id).or_insert_with(|| (mailbox, BTreeSet::new())).1.insert(id);
            }
        }
        Ok(found)
    }

    /// Takes in what a relay had in one of this circle's mailboxes. Whether some of it found no room, and has to be asked for again.
    pub(crate) fn accept_from_mailbox(
        &mut self,
        relay: DeviceId,
        (mailbox, epoch): (MailboxId, Option<EpochId>),
        envelopes: impl IntoIterator<Item = Vec<u8>>,
        desk: &mut Desk,
    ) -> Result<bool, EngineError> {
        let mut sound = Vec::new();
        for bytes in envelopes {
            match Envelope::decode(bytes) {
                Ok(envelope) if self.belongs_into(&mailbox, epoch, &envelope.tag) || off(Rule::RelayMailbox) => {
                    sound.push(envelope.bytes);
                }
                Ok(_) => desk.refuse(Refusal::WrongMailbox),
                Err(refusal) => desk.refuse(refusal),
            }
        }
        let no_room = |desk: &Desk| desk.refusals.get(&Refusal::TooManyHeld).copied().unwrap_or(0);
        let before = no_room(desk);
        self.accept(relay, sound, desk)?;
        Ok(no_room(desk) > before)
    }
}
