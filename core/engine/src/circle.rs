//! One circle: its membership log, its epochs and keys, its entries and its documents.
//!
//! Owns what an entry means and in which order things must be known for it to mean something. Does not know who is
//! connected, nor how anything travels.

use std::collections::{BTreeMap, BTreeSet};

use clave_crdt::{Document, DocumentKind};
use clave_crypto::{Checkpoint, ContentKey, DeviceId, EpochId, Export, KeyId, RosterChange};
use prost::Message as _;

use crate::desk::{Desk, Published};
use crate::entry::{Body, Envelope, direct_tag, is_guide};
use crate::group::{Entered, Group, Keyring, epoch_id};
use crate::index::{EntryIndex, Failure};
use crate::membership::{Action, DeviceStanding, Insertion, Log, Operation};
use crate::mutation::{Rule, off};
use crate::proto::{entry as proto, local};
use crate::{CircleId, CircleStatus, DocumentId, EngineError, EntryId, Event, Key, Keyspace, OperationId, Refusal};

mod access;
mod bundles;
pub(crate) mod documents;
mod evidence;
mod expiry;
mod grants;
mod held;
mod history;
mod judge;
mod key_changes;
pub(crate) mod mailboxes;
mod open;
mod outer;
mod plea;
mod recover;
mod resident;
mod retention;
mod roster;
mod searching;
mod segments;
mod standing;
mod trees;
mod views;

use held::{Awaits, Held};

pub use bundles::{Bundling, FalseBundle};
pub(crate) use bundles::{Claimed, Name};
pub use documents::{DocumentInfo, SetAsideChange};
pub use evidence::{Evidence, RivalActs};
pub use grants::REMIND_BEFORE_MS;
pub use held::{HELD_BYTES_MAX, HELD_ENTRIES_MAX};
pub(crate) use judge::carried_id;
pub(crate) use open::causes_first;
pub use plea::{PLEA_ANSWERS_MAX, PLEA_KEYS_MAX};
pub(crate) use recover::Return;
pub use resident::MEMORY_BUDGET_BYTES;
pub use retention::{CHECKPOINT_MS_MAX, CHECKPOINTS_DEEP, SILENT_EPOCHS_MAX};
pub use roster::WELCOME_LEAD_MAX;
pub use views::{PREVIEW_CHARS_MAX, Preview, PreviewMessage, Segment};
pub(crate) use views::{id_of, read_key};

/// The most refused entries of one circle that are remembered.
const REFUSED_ENTRIES_MAX: usize = 16_384;
/// The most content keys of one circle that are taken from others.
pub const LEARNED_KEYS_MAX: usize = 16_384;
/// The most epochs of one circle from which commits start that are remembered because this device might yet enter them.
const UNFOLLOWED_EPOCHS_MAX: usize = 16_384;
/// The most commits that are remembered of one such epoch.
const UNFOLLOWED_RIVALS_MAX: usize = 64;

/// How many operations of the circle's log and of the space's a roster comes from, and how often guests' dates were looked at.
pub(crate) type RosterVersion = (usize, usize, u64);

/// A circle as one of its members sees it.
pub(crate) struct Circle {
    pub(crate) id: CircleId,
    pub(crate) log: Log,
    pub(crate) group: Group,
    keys: Keyring,
    /// The keys of what lasts: one from each content key, and those that were handed over without theirs.
    lasting: Keyring,
    /// The devices that the log knows, by the tag of entries that are sealed to them alone.
    direct: BTreeMap<KeyId, DeviceId>,
    pub(crate) index: EntryIndex,
    /// Entries that could not be judged yet, and what each waits for.
    held: Held,
    /// Content keys that came: entries under them may be carried.
    came: Vec<KeyId>,
    /// Commits that start from epochs this device is not in, by that epoch: they are followed should it enter one.
    unfollowed: BTreeMap<EpochId, BTreeSet<EntryId>>,
    /// Of these, those that can be followed now.
    released: Vec<EntryId>,
    /// Entries that were refused since the circle was opened, so that they are not asked for again and again.
    refused: BTreeMap<EntryId, Refusal>,
    /// A document is named by its id *and* its kind: whoever writes to an id first must not settle for all what it is.
    documents: BTreeMap<(DocumentId, DocumentKind), local::DocumentRecord>,
    loaded: BTreeMap<(DocumentId, DocumentKind), documents::Loaded>,
    /// Changes of loaded documents that are stored and not applied yet: all at once, when somebody looks.
    arrived: BTreeMap<(DocumentId, DocumentKind), documents::Arrived>,
    views: views::Views,
    /// Whose writing counts, as the application was last told.
    standings: standing::Standings,
    /// When this device may mend the roster, if its head differs from the log.
    repair_at_ms: Option<u64>,
    trees: trees::Trees,
    surroundings: outer::Surroundings,
    grants: grants::Grants,
    /// The head that is about.
    repair_of: Option<EpochId>,
    pleas: plea::Pleas,
    seen: retention::Seen,
    ratchet: expiry::Ratchet,
    mending: roster::Mending,
    bundles: bundles::Bundles,
    /// Of a device that stands apart: the entry by which it asks to be let in.
    recovery: Option<EntryId>,
    mailboxes: mailboxes::Keys,
    /// Whether this device is connected with a relay that keeps what is written here.
    pub(crate) has_relay: bool,
}

impl Circle {
    /// Founds a circle. The founder's operation is its genesis.
    pub(crate) fn create(genesis: Operation, desk: &mut Desk) -> Result<Self, EngineError> {
        let id = CircleId::from_bytes(*genesis.id().as_bytes());
        let Action::Genesis { suite, .. } = genesis.action() else { return Err(EngineError::Malformed) };
        let checkpoint = desk.agreement.create(&desk.device, id.as_bytes(), *suite, &mut desk.entropy);
        let mut circle = Self::empty(id, checkpoint, vec![genesis.id()], desk)?;
        circle.publish_operation(genesis, desk)?;
        Ok(circle)
    }

    /// Takes up membership: what an inviter handed over.
    pub(crate) fn join(
        log: Log,
        checkpoint: Checkpoint,
        keys: Vec<(EpochId, ContentKey)>,
        desk: &mut Desk,
    ) -> Result<Self, EngineError> {
        let mut circle = Self::empty(log.circle(), checkpoint, log.heads(), desk)?;
        for operation in log.operations() {
            let key = Key::new(Keyspace::Operations, circle.id.as_bytes(), operation.id().as_bytes());
            desk.put(key, operation.encode());
        }
        circle.log = log;
        circle.learn_direct_tags(None);
        circle.begin_standings();
        circle.begin_reading(desk)?;
        let (welcomed, head) = (circle.group.head().epoch, circle.head_key());
        let (under, lasting) = (head.key_id(), head.lasting().key_id());
        for (epoch, key) in keys.into_iter().filter(|(epoch, _)| *epoch != welcomed) {
            let under = if key.is_lasting() { lasting } else { under };
            circle.learn_key(epoch, key, Source::Under(under), Vec::new(), desk);
        }
        Ok(circle)
    }

    fn empty(
        id: CircleId,
        checkpoint: Checkpoint,
        cites: Vec<OperationId>,
        desk: &mut Desk,
    ) -> Result<Self, EngineError> {
        let key = desk.agreement.export(&checkpoint, Export::ContentKey, id.as_bytes())?;
        let epoch = checkpoint.epoch;
        desk.put(Key::new(Keyspace::Circles, [], id.as_bytes()), Vec::new());
        let mut circle = Self {
            id,
            log: Log::new(id),
            group: Group::new(checkpoint, cites, desk.now_ms),
            keys: Keyring::default(),
            lasting: Keyring::default(),
            direct: BTreeMap::from([(direct_tag(id, &desk.me()), desk.me())]),
            index: EntryIndex::open(id, desk)?,
            held: Held::default(),
            unfollowed: BTreeMap::new(),
            came: Vec::new(),
            released: Vec::new(),
            refused: BTreeMap::new(),
            documents: BTreeMap::new(),
            loaded: BTreeMap::new(),
            arrived: BTreeMap::new(),
            views: views::Views::default(),
            standings: standing::Standings::default(),
            repair_at_ms: None,
            trees: trees::Trees::default(),
            surroundings: outer::Surroundings::default(),
            grants: grants::Grants::default(),
            repair_of: None,
            pleas: plea::Pleas::default(),
            seen: retention::Seen::default(),
            ratchet: expiry::Ratchet::default(),
            mending: roster::Mending::Unknown,
            bundles: bundles::Bundles::default(),
            recovery: None,
            mailboxes: mailboxes::Keys::default(),
            has_relay: false,
        };
        circle.file_key(epoch, ContentKey::from_bytes(key), Source::Derived, Vec::new(), desk);
        circle.file_epoch(&epoch, desk)?;
        Ok(circle)
    }

    /// Does what is due: mends the roster, asks for what is missing. `online` are the devices that are connected, this one
    /// among them.
    pub(crate) fn tend(&mut self, online: &[DeviceId], desk: &mut Desk) -> Result<(), EngineError> {
        let tended = self.tend_keys(online, desk);
        if desk.is_sparing { tended } else { tended.and(self.tend_bundles(online, desk)) }
    }

    fn tend_keys(&mut self, online: &[DeviceId], desk: &mut Desk) -> Result<(), EngineError> {
        self.repair(online, desk)?;
        self.publish_x_wing(desk)?;
        self.answer_pleas(desk)?;
        self.plead(online, desk)?;
        self.acknowledge(desk)?;
        self.retain(desk)?;
        self.rotate(online, desk)?;
        self.expire(desk)
    }

    /// When [`tend`](Self::tend) may have something to bundle.
    pub(crate) fn bundle_at_ms(&self) -> Option<u64> {
        self.bundles.due_at_ms()
    }

    /// When it is due for anything else, by what is known now.
    pub(crate) fn wake_sparing_at_ms(&self) -> Option<u64> {
        let times =
            [self.repair_at_ms, self.pleas.due_at_ms(), self.seen.due_at_ms(), self.enact_at_ms(), self.grants_at_ms()];
        times.into_iter().chain(self.ratchet.due_at_ms()).flatten().min()
    }

    /// Whether `device` may be spoken with about this circle.
    pub(crate) fn is_member(&self, device: &DeviceId) -> bool {
        self.is_listed(device) && !self.has_expired(device)
    }

    /// Whether the log, and the space around, have a device in here: whether it is to be a leaf.
    pub(crate) fn is_listed(&self, device: &DeviceId) -> bool {
        self.log.membership().devices.contains_key(device) && self.is_let_in(device)
    }

    /// Changes with whatever [`members`](Self::members) depends on.
    pub(crate) fn roster_version(&self) -> RosterVersion {
        (self.log.len(), self.outer_version(), self.expired_version())
    }

    /// The devices that may be spoken with about this circle.
    pub(crate) fn members(&self) -> impl Iterator<Item = DeviceId> {
        self.log.membership().devices.keys().filter(|device| self.is_member(device)).copied()
    }

    /// Seals `body` under the head epoch, keeps it and has it sent.
    pub(crate) fn publish(&mut self, body: Body, desk: &mut Desk) -> Result<EntryId, EngineError> {
        self.before_publishing(desk)?;
        self.publish_under(self.group.head().epoch, body, desk)
    }

    /// The same for what outlives the keys of the chat, under the lasting key of the head epoch.
    pub(crate) fn publish_lasting(&mut self, body: Body, desk: &mut Desk) -> Result<EntryId, EngineError> {
        self.before_publishing(desk)?;
        self.publish_lasting_under(self.group.head().epoch, body, desk)
    }

    fn before_publishing(&mut self, desk: &mut Desk) -> Result<(), EngineError> {
        self.refuse_apart()?;
        if !off(Rule::GrantsEnd) {
            self.end_expired_grants(desk);
        }
        self.shut_out(desk)
    }

    fn publish_under(&mut self, epoch: EpochId, body: Body, desk: &mut Desk) -> Result<EntryId, EngineError> {
        let key = self.keys.of_epoch(&epoch).expect("every epoch this device was in has its key in the ring");
        let guides = is_guide(&body);
        let envelope = Envelope::seal(self.id, &desk.device, key, body, desk.now_ms, &mut desk.entropy);
        self.publish_sealed(envelope, guides, desk)
    }

    fn publish_lasting_under(&mut self, epoch: EpochId, body: Body, desk: &mut Desk) -> Result<EntryId, EngineError> {
        let key = self.lasting.of_epoch(&epoch).expect("every epoch this device was in has its key in the ring");
        let guides = is_guide(&body);
        let envelope = Envelope::seal(self.id, &desk.device, key, body, desk.now_ms, &mut desk.entropy);
        self.publish_sealed(envelope, guides, desk)
    }

    fn publish_sealed(
        &mut self,
        envelope: Result<Envelope, Refusal>,
        guides: bool,
        desk: &mut Desk,
    ) -> Result<EntryId, EngineError> {
        let envelope = envelope.map_err(|_| EngineError::TooLarge)?;
        self.keep(&envelope, desk)?;
        if guides {
            self.note_guide(&envelope, desk);
        }
        self.note_seen(desk.me(), &envelope.tag, desk);
        desk.published.push(Published { circle: self.id, id: envelope.id, guides, messages: None });
        Ok(envelope.id)
    }

    /// Seals `body` to one device that is in, keeps it and has it sent. Only that device can ever open it, whatever keys
    /// it has, and nobody else learns who wrote it.
    pub(crate) fn publish_direct(
        &mut self,
        recipient: DeviceId,
        body: Body,
        desk: &mut Desk,
    ) -> Result<EntryId, EngineError> {
        let noise = self.log.membership().devices.get(&recipient).map(|device| device.noise);
        let noise = noise.or_else(|| self.former_noise(&recipient)).ok_or(EngineError::NoSuchDevice)?;
        let to = (recipient, &noise);
        let envelope = Envelope::seal_direct(self.id, &desk.device, to, body, desk.now_ms, &mut desk.entropy);
        let envelope = envelope.map_err(|refusal| match refusal {
            Refusal::Oversized => EngineError::TooLarge,
            // It published a key to which nothing can be sealed.
            _ => EngineError::NoSuchDevice,
        })?;
        self.keep(&envelope, desk)?;
        // Keys and Welcomes: whoever they are for may understand nothing else before.
        desk.published.push(Published { circle: self.id, id: envelope.id, guides: true, messages: None });
        Ok(envelope.id)
    }

    /// The key of a device that was in, as though it were: only while [`Rule::PleaOfMember`] is off.
    fn former_noise(&self, device: &DeviceId) -> Option<clave_crypto::NoisePublicKey> {
        let mut entries = self.log.operations().flat_map(|operation| operation.action().introduces().1);
        if off(Rule::PleaOfMember) {
            entries.find(|entry| entry.device() == *device).map(|entry| entry.noise)
        } else {
            None
        }
    }

    /// Notes the tags of the devices that an operation introduces; of all in the log, if none is named.
    fn learn_direct_tags(&mut self, operation: Option<&OperationId>) {
        let (log, circle) = (&self.log, self.id);
        let one = operation.and_then(|id| log.operation(id));
        let all = operation.is_none().then(|| log.operations()).into_iter().flatten();
        let devices = one.into_iter().chain(all).flat_map(|operation| operation.action().introduces().1);
        self.direct.extend(devices.map(|entry| (direct_tag(circle, &entry.device()), entry.device())));
    }

    /// Notes how this device is called from now on, if that operation says so and stands.
    fn learn_own_name(&self, id: &OperationId, desk: &mut Desk) {
        if let Some(Action::RenameDevice { device, name }) = self.log.operation(id).map(Operation::action)
            && *device == desk.me()
            && self.log.membership().devices.get(device).is_some_and(|known| known.name == *name)
        {
            desk.renamed = Some(name.clone());
        }
    }

    /// Writes an operation of one's own into the log and has it sent.
    pub(crate) fn act(&mut self, mut action: Action, desk: &mut Desk) -> Result<(), EngineError> {
        self.refuse_apart()?;
        let is_over = matches!(action, Action::Grant { expires_ms, .. } if expires_ms <= desk.now_ms);
        if is_over && !off(Rule::GrantAhead) {
            // The stay would end with this very command; in between, keys would be sealed for whose it is.
            return Err(EngineError::DateHasPassed);
        }
        self.keep_what_is_here(&mut action, desk)?;
        let operation = self.log.new_operation(&desk.device, action, desk.now_ms).map_err(EngineError::NotAllowed)?;
        self.publish_operation(operation, desk)?;
        self.shut_out(desk)
    }

    fn publish_operation(&mut self, operation: Operation, desk: &mut Desk) -> Result<EntryId, EngineError> {
        // Before it takes effect: who it removes must be able to read it, and who follows must read it first.
        let epoch = self.group.head().epoch;
        let bytes = operation.encode();
        self.take_operation(operation, desk).map_err(|_| EngineError::Malformed)?;
        self.publish_under(epoch, Body::Operation(bytes), desk)
    }

    /// The key that entries are sealed under now.
    pub(crate) fn head_key(&self) -> &ContentKey {
        self.keys.of_epoch(&self.group.head().epoch).expect("every epoch this device was in has its key in the ring")
    }

    /// The key of the head for what is said in passing; none while this device stands apart or is out, or the head has
    /// somebody who is.
    pub(crate) fn passing_key(&self, me: &DeviceId) -> Option<&ContentKey> {
        let may_say = !self.group.is_apart() && self.is_member(me);
        let is_closed = |circle: &Self| circle.group.head().leaves.iter().all(|leaf| circle.is_member(leaf));
        (may_say && is_closed(self)).then(|| self.head_key())
    }

    /// The key of that name, if it is here.
    pub(crate) fn content_key(&self, id: &KeyId) -> Option<&ContentKey> {
        self.ring(id).get(id)
    }

    /// The keys among which one of that name would be.
    fn ring(&self, id: &KeyId) -> &Keyring {
        if id.is_lasting() { &self.lasting } else { &self.keys }
    }

    /// The epoch that the key of that name belongs to, if it is here.
    pub(crate) fn epoch_of(&self, id: &KeyId) -> Option<EpochId> {
        self.ring(id).held(id).map(|held| held.epoch)
    }

    /// Whether the key of that name was derived here, and not handed over, if it is here.
    pub(crate) fn is_derived(&self, id: &KeyId) -> Option<bool> {
        self.ring(id).held(id).map(|held| held.derived)
    }

    pub(crate) fn keep(&mut self, envelope: &Envelope, desk: &mut Desk) -> Result<(), EngineError> {
        self.note_expiry(envelope);
        desk.put(Key::new(Keyspace::Entries, self.id.as_bytes(), envelope.id.as_bytes()), envelope.bytes.clone());
        if envelope.tag.is_lasting() && !self.index.uses_lasting(&envelope.tag) {
            self.mending = roster::Mending::Unknown;
        }
        self.index.insert(envelope, desk).inspect_err(|error| self.note_damage(error, desk))
    }

    fn note_guide(&mut self, envelope: &Envelope, desk: &mut Desk) {
        if let Err(error) = self.index.note_guide(envelope, desk) {
            self.note_damage(&error, desk);
        }
    }

    /// The index could not be read, or did not follow: has it made anew as this input ends.
    pub(crate) fn note_damage(&self, error: &EngineError, desk: &mut Desk) {
        tracing::error!(circle = %self.id.short(), %error, "the index of entries is not in order");
        desk.damaged.insert(self.id);
    }

    /// What a step of reconciliation came to; none if the index could not be read.
    pub(crate) fn unless_damaged<T>(&self, step: Result<T, Failure>, desk: &mut Desk) -> Result<Option<T>, Refusal> {
        match step {
            Ok(done) => Ok(Some(done)),
            Err(Failure::Peer(refusal)) => Err(refusal),
            Err(Failure::Own(error)) => {
                self.note_damage(&error, desk);
                Ok(None)
            }
        }
    }

    /// Makes the index anew from the entries; gives how many there are, and whether it was in order.
    pub(crate) fn rebuild_index(&mut self, desk: &mut Desk) -> Result<(usize, bool), EngineError> {
        let index = EntryIndex::rebuild(self.id, desk)?;
        let agreed = index.agrees_with(&self.index);
        self.index = index;
        Ok((self.index.len(), agreed))
    }

    /// The sealed bytes of an entry.
    pub(crate) fn envelope(&self, id: &EntryId, desk: &Desk) -> Result<Option<Vec<u8>>, EngineError> {
        Ok(desk.store.read(&Key::new(Keyspace::Entries, self.id.as_bytes(), id.as_bytes()))?)
    }

    /// Files a checkpoint and its content key; the head may move.
    fn enter_epoch(&mut self, entered: Entered, desk: &mut Desk) -> Result<(), EngineError> {
        let epoch = entered.checkpoint.epoch;
        let key = desk.agreement.export(&entered.checkpoint, Export::ContentKey, self.id.as_bytes())?;
        self.file_key(epoch, ContentKey::from_bytes(key), Source::Derived, entered.after.clone(), desk);
        self.group.insert(entered, desk.now_ms);
        self.file_epoch(&epoch, desk)?;
        for id in self.unfollowed.remove(&epoch).unwrap_or_default() {
            desk.remove(Key::new(Keyspace::Commits, self.id.as_bytes(), id.as_bytes()));
            self.released.push(id);
        }
        self.choose_head(desk);
        Ok(())
    }

    /// Remembers a commit from before this device joined, or on a branch it is not in.
    fn note_unfollowed(&mut self, parent: EpochId, id: EntryId, desk: &mut Desk) {
        let is_full = self.unfollowed.len() >= UNFOLLOWED_EPOCHS_MAX && !self.unfollowed.contains_key(&parent);
        if is_full || off(Rule::UnfollowedKept) {
            return;
        }
        let rivals = self.unfollowed.entry(parent).or_default();
        if rivals.len() < UNFOLLOWED_RIVALS_MAX && rivals.insert(id) {
            desk.put(Key::new(Keyspace::Commits, self.id.as_bytes(), id.as_bytes()), parent.as_bytes().to_vec());
        }
    }

    /// Takes in a key that was handed over.
    fn learn_key(&mut self, epoch: EpochId, key: ContentKey, source: Source, after: Vec<OperationId>, desk: &mut Desk) {
        let id = key.key_id();
        if !id.is_lasting() && self.is_over(&epoch, desk.now_ms) && !self.held.waits_for_key(id) {
            // It was erased here, or would be at once.
            return;
        }
        // What an entry waits for is always taken: nobody makes the true key of an entry be passed over by false ones.
        let is_waited_for = self.held.waits_for_key(id);
        let ring = self.ring(&id);
        if !is_waited_for && ring.held(&id).is_none() && ring.learned() >= LEARNED_KEYS_MAX {
            return;
        }
        if self.file_key(epoch, key, source, after, desk) {
            self.mending = roster::Mending::Unknown;
            self.ratchet.stir();
            if is_waited_for {
                self.pleas.helped(desk.now_ms);
            }
        }
    }

    fn note_handed_over(&mut self, id: &KeyId, under: KeyId, desk: &mut Desk) {
        if let Some(held) = self.ring(id).held(id).filter(|_| id.is_lasting() == under.is_lasting()) {
            let (epoch, key) = (held.epoch, ContentKey::of_class(held.key.as_bytes().to_owned(), id.is_lasting()));
            self.learn_key(epoch, key, Source::Under(under), held.after.clone(), desk);
        }
    }

    /// Whether an entry that somebody has should be asked for.
    pub(crate) fn wants(&self, id: &EntryId) -> bool {
        !self.refused.contains_key(id) && !self.is_covered(id)
    }

    pub(crate) fn status(&self) -> CircleStatus {
        let head = self.group.head();
        CircleStatus {
            epoch: head.epoch,
            suite: self.suite(),
            key: self.head_key().key_id(),
            depth: head.depth,
            rejoining: self.group.is_apart(),
            leaves: head.leaves.len(),
            entries: self.index.len(),
            held: self.held.len(),
            set_aside: self.documents.values().map(|record| record.set_aside as usize).sum(),
            waiting: self.documents.values().map(|record| record.waiting as usize).sum(),
        }
    }

    /// Has the log take the operation in, now or for when its parents arrive.
    fn take_operation(&mut self, operation: Operation, desk: &mut Desk) -> Result<(), Refusal> {
        let (id, bytes) = (operation.id(), operation.encode());
        let was_in = self.is_member(&desk.me());
        match self.log.insert(operation) {
            Insertion::Refused(reason) => {
                tracing::warn!(operation = %id.short(), ?reason, "membership operation refused");
                Err(reason.into())
            }
            Insertion::Duplicate => Ok(()),
            insertion @ (Insertion::Inserted(_) | Insertion::MissingParents(_)) => {
                if let Insertion::Inserted(operations) = insertion {
                    for id in &operations {
                        self.learn_direct_tags(Some(id));
                        self.learn_own_name(id, desk);
                    }
                    if let Err(error) = self.follow_owners(&operations, desk) {
                        tracing::error!(circle = %self.id.short(), %error, "who wrote where could not be read");
                        self.make_all_stale(desk);
                    }
                }
                desk.put(Key::new(Keyspace::Operations, self.id.as_bytes(), id.as_bytes()), bytes);
                desk.events.push(Event::MembershipChanged { circle: self.id });
                if was_in && !self.is_member(&desk.me()) {
                    desk.events.push(Event::Removed { circle: self.id });
                }
                if let Err(error) = self.follow_standings(desk) {
                    // The documents follow all the same when they are next looked at; the application is not told.
                    self.make_all_stale(desk);
                    tracing::error!(circle = %self.id.short(), %error, "who wrote where could not be read");
                }
                self.choose_head(desk);
                Ok(())
            }
        }
    }
}

/// Where a content key comes from.
#[derive(Clone, Copy)]
enum Source {
    /// This device is in the epoch.
    Derived,
    /// It was handed over to all who have this key.
    Under(KeyId),
    /// It was handed over to this device alone.
    Direct,
}

impl Circle {
    /// Takes in a key, and with a content key the lasting one that derives from it. Whether anything about it was news.
    fn file_key(
        &mut self,
        epoch: EpochId,
        key: ContentKey,
        source: Source,
        after: Vec<OperationId>,
        desk: &mut Desk,
    ) -> bool {
        let mut news = false;
        if !key.is_lasting() {
            let of_its_own = if matches!(source, Source::Derived) { Source::Derived } else { Source::Direct };
            news = self.file_one(epoch, key.lasting(), of_its_own, after.clone(), desk);
        }
        self.file_one(epoch, key, source, after, desk) || news
    }

    fn file_one(
        &mut self,
        epoch: EpochId,
        key: ContentKey,
        source: Source,
        after: Vec<OperationId>,
        desk: &mut Desk,
    ) -> bool {
        let (id, lasting) = (key.key_id(), key.is_lasting());
        let under = if let Source::Under(under) = source { Some(under) } else { None };
        let keys = if lasting { &mut self.lasting } else { &mut self.keys };
        if !keys.insert(epoch, key, matches!(source, Source::Derived), under, after) {
            return false;
        }
        keys.stamp(&id, desk.now_ms);
        if !lasting {
            self.came.push(id);
        }
        let held = keys.held(&id).expect("it was inserted above");
        let record = local::ContentKey {
            epoch: held.epoch.as_bytes().to_vec(),
            key: held.key.as_bytes().to_vec(),
            derived: held.derived,
            under: held.under.iter().map(|under| under.as_bytes().to_vec()).collect(),
            operations: held.after.iter().map(|id| id.as_bytes().to_vec()).collect(),
            filed_ms: held.filed_ms,
            lasting,
        };
        desk.put(Key::new(Keyspace::ContentKeys, self.id.as_bytes(), id.as_bytes()), record.encode_to_vec());
        true
    }
}
