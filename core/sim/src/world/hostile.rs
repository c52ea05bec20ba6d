//! Members whose devices keep to no rule.
//!
//! Such a device runs a real engine, so it is in the circle, holds its keys and follows its commits; now and then it throws
//! something at its peers that no engine would make, sealed and signed with its real keys. What others refuse goes no
//! further; what they hold or take in they pass on.

use std::collections::BTreeSet;

use clave_engine::crdt::{Document, DocumentKind, Draft};
use clave_engine::crypto::{ContentKey, DeviceId, DeviceKey, Entropy, EpochId, PersonKey, RosterChange};
use clave_engine::fuzzing::rogue::{self, Committed, Rogue, Said, Sealed};
use clave_engine::membership::{Action, DeviceEntry, KeyPackages, MEMBERS_MAY_INVITE, Operation, PersonEntry, Role};
use clave_engine::{Channel, CircleId, EntryId, FRAME_BYTES_MAX, OperationId};

use super::World;
use super::people::chat;
use crate::{Random, Who};

/// How many people who do not exist one run may have brought in: each is legitimate, and all devices carry them along.
const GHOSTS_MAX: usize = 3;

/// The devices that keep to no rule, and what they made.
#[derive(Default)]
pub(crate) struct Rogues {
    devices: BTreeSet<Who>,
    forged: BTreeSet<EntryId>,
    ghosts: usize,
    pub(crate) attacks: u64,
}

impl Rogues {
    pub(crate) fn is_one(&self, who: Who) -> bool {
        self.devices.contains(&who)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.devices.is_empty()
    }

    /// Whether an entry was made by a rogue against the rules.
    pub(crate) fn forged(&self, entry: &EntryId) -> bool {
        self.forged.contains(entry)
    }
}

/// What a rogue throws at its peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Attack {
    /// Entries and operations in somebody else's name.
    ForgedAuthor,
    /// A change to a document in somebody else's name.
    ForeignActor,
    /// An operation that pretends not to know what came since, its own removal among it.
    BackdatedOperation,
    /// Two operations that do not follow each other, one for each half of the others.
    TwoOperations,
    /// Two commits on one parent, one for each half of the others.
    TwoCommits,
    /// Two changes under one number, one for each half of the others.
    TwoChanges,
    /// A chain of commits that do nothing, to be the longest.
    CommitSpam,
    /// Of many commits, the one whose epoch has the least id.
    GroundCommit,
    /// Of many operations, the one with the least id.
    GroundOperation,
    /// Entries under an epoch whose commit is kept back.
    WithheldCommit,
    /// A commit that adds a stranger whom no operation brought in, and their Welcome.
    UnjustifiedAdd,
    /// A commit that removes somebody whom no operation removed.
    UnjustifiedRemoval,
    /// Key packages that are used up, somebody else's, or none at all.
    StaleKeyPackages,
    /// A person who does not exist, brought in with key packages of no use.
    Ghost,
    /// A Welcome into a group of its own that has the circle's name, deeper than the real one.
    Lure,
    /// Keys under the names of epochs that they do not belong to.
    PoisonedKeys,
    /// Entries under keys that nobody has.
    HeldFlood,
    /// Frames and operations beyond every bound.
    Oversize,
    /// Bytes.
    Garbage,
}

impl Attack {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::ForgedAuthor,
        Self::ForeignActor,
        Self::BackdatedOperation,
        Self::TwoOperations,
        Self::TwoCommits,
        Self::TwoChanges,
        Self::CommitSpam,
        Self::GroundCommit,
        Self::GroundOperation,
        Self::WithheldCommit,
        Self::UnjustifiedAdd,
        Self::UnjustifiedRemoval,
        Self::StaleKeyPackages,
        Self::Ghost,
        Self::Lure,
        Self::PoisonedKeys,
        Self::HeldFlood,
        Self::Oversize,
        Self::Garbage,
    ];
}

impl Attack {
    /// The word for it on the command line: `two-commits`.
    #[must_use]
    pub fn word(self) -> String {
        let mut word = String::new();
        for letter in format!("{self:?}").chars() {
            if letter.is_ascii_uppercase() && !word.is_empty() {
                word.push('-');
            }
            word.push(letter.to_ascii_lowercase());
        }
        word
    }

    /// The attack of that word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|attack| attack.word() == word)
    }
}

/// An attack in the making.
struct Act<'a> {
    world: &'a mut World,
    who: Who,
    circle: CircleId,
    rogue: Rogue,
    entropy: Entropy,
    now_ms: u64,
    peers: Vec<Who>,
}

impl World {
    /// From now on, a device keeps to no rule.
    pub fn turn_rogue(&mut self, who: Who) {
        self.rogues.devices.insert(who);
    }

    /// Whether a device keeps to no rule.
    #[must_use]
    pub fn is_rogue(&self, who: Who) -> bool {
        self.rogues.is_one(who)
    }

    /// Has a rogue throw something at the devices that it is connected to.
    pub fn attack(&mut self, who: Who, circle: CircleId, attack: Attack) {
        if !self.is_up(who) {
            return;
        }
        let peers = self.peers_seen_by(who);
        let Some(rogue) = Rogue::of(self.engine(who), circle).filter(|_| !peers.is_empty()) else { return };
        let entropy = Entropy::from_seed(self.random.seed());
        let now_ms = self.device(who).clock(self.now_ms);
        self.rogues.attacks += 1;
        self.note(format_args!("attack {} {attack:?}", who.0), &[]);
        Act { world: self, who, circle, rogue, entropy, now_ms, peers }.perform(attack);
    }
}

impl Act<'_> {
    fn perform(&mut self, attack: Attack) {
        match attack {
            Attack::ForgedAuthor => self.forged_author(),
            Attack::ForeignActor => self.foreign_actor(),
            Attack::BackdatedOperation => self.backdated_operation(),
            Attack::TwoOperations => self.two_operations(),
            Attack::TwoCommits => self.two_commits(),
            Attack::TwoChanges => self.two_changes(),
            Attack::CommitSpam => self.commit_spam(),
            Attack::GroundCommit => self.ground_commit(),
            Attack::GroundOperation => self.ground_operation(),
            Attack::WithheldCommit => self.withheld_commit(),
            Attack::UnjustifiedAdd => self.unjustified_add(),
            Attack::UnjustifiedRemoval => self.unjustified_removal(),
            Attack::StaleKeyPackages => self.stale_key_packages(),
            Attack::Ghost => self.ghost(),
            Attack::Lure => self.lure(),
            Attack::PoisonedKeys => self.poisoned_keys(),
            Attack::HeldFlood => self.held_flood(),
            Attack::Oversize => self.oversize(),
            Attack::Garbage => self.garbage(),
        }
    }

    fn random(&mut self) -> &mut Random {
        &mut self.world.random
    }

    /// Sends entries to some peers, as though they were ordinary.
    fn give(&mut self, to: &[Who], entries: Vec<Sealed>) {
        self.world.rogues.forged.extend(entries.iter().map(|entry| entry.id));
        let frame = rogue::entries_frame(self.circle, entries.into_iter().map(|entry| entry.bytes).collect());
        for peer in to {
            self.frame(*peer, Channel::Sync, frame.clone());
        }
    }

    fn give_all(&mut self, entries: impl IntoIterator<Item = Option<Sealed>>) {
        let peers = self.peers.clone();
        self.give(&peers, entries.into_iter().flatten().collect());
    }

    fn frame(&mut self, to: Who, channel: Channel, frame: Vec<u8>) {
        let peer = self.world.device(to).id;
        self.world.send(self.who, peer, channel, frame);
    }

    fn halves(&mut self) -> [Vec<Who>; 2] {
        let middle = self.peers.len().div_ceil(2);
        [self.peers[..middle].to_vec(), self.peers[middle..].to_vec()]
    }

    fn seal(&mut self, epoch: EpochId, said: Said) -> Option<Sealed> {
        let key = self.rogue.key(&epoch)?;
        self.seal_with(&key, said)
    }

    fn seal_with(&mut self, key: &ContentKey, said: Said) -> Option<Sealed> {
        self.rogue.seal(key, self.rogue.id(), said, self.now_ms, &mut self.entropy)
    }

    /// Under any key that it holds: others have most of them too.
    fn seal_somehow(&mut self, said: Said) -> Option<Sealed> {
        let epochs = self.rogue.epochs();
        let epoch = if self.random().permille(700) { self.rogue.head } else { self.random().pick(&epochs)? };
        self.seal(epoch, said)
    }

    fn heads(&mut self) -> Vec<OperationId> {
        let (who, circle) = (self.who, self.circle);
        let log = clave_engine::fuzzing::inside::log(self.world.engine(who), circle);
        log.map(|log| log.heads()).unwrap_or_default()
    }

    fn somebody_else(&mut self) -> Option<Who> {
        let (who, circle) = (self.who, self.circle);
        let devices: Vec<DeviceId> = self.world.engine(who).membership(circle).ok()?.devices.keys().copied().collect();
        let others: Vec<Who> = devices.iter().filter_map(|id| self.world.who(id)).filter(|one| *one != who).collect();
        self.random().pick(&others)
    }

    fn commit(&mut self, change: &RosterChange, tries: usize) -> Option<Committed> {
        rogue::commit(self.world.engine(self.who), self.circle, None, change, tries, &mut self.entropy)
    }

    fn said(&mut self, parent: EpochId, committed: &Committed) -> Said {
        let (epoch, message, operations) = (committed.checkpoint.epoch, committed.message.clone(), self.heads());
        Said::Commit { parent, epoch, message, operations }
    }

    /// A change to the chat by an actor that is not this device's next.
    fn change_of(&mut self, whose: Who, text: &str) -> Option<Said> {
        let (circle, now_ms) = (self.circle, self.now_ms);
        if !self.world.is_up(whose) {
            return None;
        }
        let actor = self.world.engine(whose).document(circle, chat(circle), DocumentKind::Timeline).ok()?.actor();
        let mut document = Document::new(DocumentKind::Timeline, actor);
        document.timeline().ok()?.post(now_ms, self.entropy.bytes(), &Draft::text(text)).ok()?;
        let changes = vec![document.commit(now_ms)?];
        Some(Said::Changes { document: chat(circle), kind: DocumentKind::Timeline.number().into(), changes })
    }

    fn forged_author(&mut self) {
        let Some(victim) = self.somebody_else().map(|who| self.world.device(who).id) else { return };
        let head = self.rogue.head;
        let Some(key) = self.rogue.key(&head) else { return };
        let action = Action::Rename { name: "Mine".to_owned() };
        let heads = self.heads();
        let operation = Operation::sign(self.rogue.device(), heads, self.now_ms, action);
        let bytes = operation.encode();
        // An operation that names the victim, in an entry of its own; then an entry that does.
        let mut forged = bytes.clone();
        let own = *self.rogue.id().as_bytes();
        if let Some(at) = forged.windows(32).position(|part| part == own) {
            forged[at..at + 32].copy_from_slice(victim.as_bytes());
        }
        let entry = self.seal_with(&key, Said::Operation(forged));
        let whole = self.rogue.seal(&key, victim, Said::Operation(bytes), self.now_ms, &mut self.entropy);
        self.give_all([entry, whole]);
    }

    fn foreign_actor(&mut self) {
        let Some(victim) = self.somebody_else() else { return };
        let Some(change) = self.change_of(victim, "in another's name") else { return };
        let entry = self.seal_somehow(change);
        self.give_all([entry]);
    }

    fn backdated_operation(&mut self) {
        let (who, circle, me) = (self.who, self.circle, self.rogue.id());
        let Some(log) = clave_engine::fuzzing::inside::log(self.world.engine(who), circle) else { return };
        let knows_me = |operation: &&Operation| {
            log.membership_at(&[operation.id()]).is_some_and(|then| then.devices.contains_key(&me))
        };
        let parents: Vec<OperationId> = log.operations().filter(knows_me).map(Operation::id).collect();
        let (Some(parent), Some(victim)) = (self.random().pick(&parents), self.somebody_else()) else { return };
        let (person, device) = (self.world.device(victim).person, self.world.device(victim).id);
        let own = self.world.device(who).person;
        let action = match self.random().between(0..8) {
            0 => Action::revoke_person(person),
            1 => Action::revoke_device(device),
            2 => Action::SetRole { person: own, role: Role::Owner, keep_heads: Vec::new() },
            3 => Action::SetRole { person, role: Role::Guest, keep_heads: Vec::new() },
            4 => Action::end_grant(person),
            5 => Action::SetPolicy {
                key: MEMBERS_MAY_INVITE.to_owned(),
                value: "false".to_owned(),
                keep_heads: Vec::new(),
            },
            6 => Action::SetProfile { person, name: "Nobody".to_owned() },
            _ => Action::AddPerson { newcomer: self.stranger(true).0, role: Role::Owner },
        };
        self.operation(vec![parent], action);
    }

    fn operation(&mut self, parents: Vec<OperationId>, action: Action) {
        let operation = Operation::sign(self.rogue.device(), parents, self.now_ms, action);
        let entry = self.seal_somehow(Said::Operation(operation.encode()));
        self.give_all([entry]);
    }

    fn two_operations(&mut self) {
        let (person, heads) = (self.world.device(self.who).person, self.heads());
        for (half, name) in self.halves().into_iter().zip(["One", "Other"]) {
            let action = Action::SetProfile { person, name: name.to_owned() };
            let operation = Operation::sign(self.rogue.device(), heads.clone(), self.now_ms, action);
            let entry = self.seal_somehow(Said::Operation(operation.encode()));
            self.give(&half, entry.into_iter().collect());
        }
    }

    fn two_commits(&mut self) {
        let parent = self.rogue.head;
        for (half, text) in self.halves().into_iter().zip(["on one branch", "on the other"]) {
            let Some(committed) = self.commit(&RosterChange::default(), 1) else { return };
            let said = self.said(parent, &committed);
            let commit = self.seal(parent, said);
            // Its own number must not be in the way here.
            let keys = Said::Keys(vec![(parent, **self.rogue.key(&parent).expect("the head has a key").as_bytes())]);
            let after = self.seal_with(&committed.key, keys);
            let garbage = self.seal_with(&committed.key, Said::Garbage(text.as_bytes().to_vec()));
            self.give(&half, [commit, after, garbage].into_iter().flatten().collect());
        }
    }

    fn two_changes(&mut self) {
        for (half, text) in self.halves().into_iter().zip(["one thing", "another"]) {
            let Some(change) = self.change_of(self.who, text) else { return };
            let entry = self.seal_somehow(change);
            self.give(&half, entry.into_iter().collect());
        }
    }

    fn commit_spam(&mut self) {
        let mut parent = (self.rogue.head, self.rogue.key(&self.rogue.head));
        let mut last: Option<Committed> = None;
        let mut entries = Vec::new();
        for _ in 0..3 + self.random().between(0..6) {
            let engine = self.world.engine(self.who);
            let checkpoint = last.as_ref().map(|last| &last.checkpoint);
            let change = RosterChange::default();
            let Some(next) = rogue::commit(engine, self.circle, checkpoint, &change, 1, &mut self.entropy) else {
                return;
            };
            let said = self.said(parent.0, &next);
            let Some(key) = &parent.1 else { return };
            entries.push(self.seal_with(key, said));
            parent = (next.checkpoint.epoch, Some(ContentKey::from_bytes(next.key.as_bytes().clone())));
            last = Some(next);
        }
        self.give_all(entries);
    }

    fn ground_commit(&mut self) {
        let parent = self.rogue.head;
        let Some(committed) = self.commit(&RosterChange::default(), 16) else { return };
        let said = self.said(parent, &committed);
        let entry = self.seal(parent, said);
        self.give_all([entry]);
    }

    fn ground_operation(&mut self) {
        let (person, heads) = (self.world.device(self.who).person, self.heads());
        let Some(victim) = self.somebody_else().map(|who| self.world.device(who).person) else { return };
        let sign = |number: u64| {
            let action = if number.is_multiple_of(2) {
                Action::SetRole { person, role: Role::Owner, keep_heads: heads.clone() }
            } else {
                Action::RevokePerson {
                    person: victim,
                    keep_heads: vec![OperationId::from_bytes([number as u8; 32])],
                    keep_changes: Vec::new(),
                }
            };
            Operation::sign(self.rogue.device(), heads.clone(), self.now_ms, action)
        };
        let least = (0..32).map(sign).min_by_key(Operation::id).expect("there are 32");
        let entry = self.seal_somehow(Said::Operation(least.encode()));
        self.give_all([entry]);
    }

    fn withheld_commit(&mut self) {
        let Some(committed) = self.commit(&RosterChange::default(), 1) else { return };
        let entries: Vec<_> =
            (0..3_u8).map(|number| self.seal_with(&committed.key, Said::Garbage(vec![number; 64]))).collect();
        self.give_all(entries);
    }

    /// Somebody who does not exist, perhaps with a key package that works.
    fn stranger(&mut self, sound: bool) -> (PersonEntry, DeviceKey) {
        let (person, device) = (PersonKey::generate(&mut self.entropy), DeviceKey::generate(&mut self.entropy));
        let package = if sound {
            self.world.agreement.build().key_package(&device, self.world.suite, true, &mut self.entropy).public
        } else {
            self.entropy.bytes::<64>().to_vec()
        };
        let key_packages = KeyPackages { single_use: vec![package.clone()], last_resort: Some(package), x_wing: None };
        let entry = DeviceEntry::new(&person, &device, "ghost", key_packages);
        (
            PersonEntry {
                person: person.id(),
                name: "Ghost".to_owned(),
                devices: vec![entry],
                invitation: None,
                recovery: None,
            },
            device,
        )
    }

    fn unjustified_add(&mut self) {
        let (entry, device) = self.stranger(true);
        let package = entry.devices[0].key_packages.last_resort.clone().expect("it was made above");
        let parent = self.rogue.head;
        let change = RosterChange { add: vec![package], remove: Vec::new() };
        let Some(committed) = self.commit(&change, 1) else { return };
        let said = self.said(parent, &committed);
        let commit = self.seal(parent, said);
        let message = committed.welcome.clone().unwrap_or_default();
        let (noise, operations) = (device.noise_public(), self.heads());
        let welcome = self.seal(parent, Said::Welcome { device: device.id(), noise, message, operations });
        self.give_all([commit, welcome]);
    }

    fn unjustified_removal(&mut self) {
        let Some(victim) = self.somebody_else().map(|who| self.world.device(who).id) else { return };
        let parent = self.rogue.head;
        let change = RosterChange { add: Vec::new(), remove: vec![victim] };
        let Some(committed) = self.commit(&change, 1) else { return };
        let said = self.said(parent, &committed);
        let commit = self.seal(parent, said);
        let after = self.seal_with(&committed.key, Said::Garbage(vec![1; 64]));
        self.give_all([commit, after]);
    }

    fn stale_key_packages(&mut self) {
        let (who, circle) = (self.who, self.circle);
        let Some(victim) = self.somebody_else().map(|who| self.world.device(who).id) else { return };
        let Ok(membership) = self.world.engine(who).membership(circle) else { return };
        let anothers = membership.devices.get(&victim).map(|device| device.key_packages.clone()).unwrap_or_default();
        let key_packages = match self.random().between(0..3) {
            0 => anothers,
            1 => KeyPackages::default(),
            _ => KeyPackages { single_use: vec![vec![7; 100]], last_resort: Some(vec![9; 100]), x_wing: None },
        };
        let heads = self.heads();
        self.operation(heads, Action::PublishKeyPackages { key_packages });
    }

    fn ghost(&mut self) {
        if self.world.rogues.ghosts >= GHOSTS_MAX {
            return;
        }
        self.world.rogues.ghosts += 1;
        let sound = self.random().permille(500);
        let (newcomer, heads) = (self.stranger(sound).0, self.heads());
        self.operation(heads, Action::AddPerson { newcomer, role: Role::Member });
    }

    fn lure(&mut self) {
        let (who, circle) = (self.who, self.circle);
        let Some(victim) = self.somebody_else().map(|who| self.world.device(who).id) else { return };
        let Ok(membership) = self.world.engine(who).membership(circle) else { return };
        let Some(known) = membership.devices.get(&victim) else { return };
        let (noise, packages) = (known.noise, known.key_packages.clone());
        let Some(package) = packages.last_resort.or_else(|| packages.single_use.first().cloned()) else { return };
        let agreement = self.world.agreement.build();
        let mut checkpoint =
            agreement.create(self.rogue.device(), circle.as_bytes(), self.world.suite, &mut self.entropy);
        let depth = self.world.engine(who).status(circle).map_or(0, |status| status.depth);
        for _ in 0..depth + 5 {
            let change = RosterChange::default();
            match agreement.commit(self.rogue.device(), &checkpoint, &change, &mut self.entropy) {
                Ok(output) => checkpoint = output.checkpoint,
                Err(_) => return,
            }
        }
        let change = RosterChange { add: vec![package], remove: Vec::new() };
        let Ok(output) = agreement.commit(self.rogue.device(), &checkpoint, &change, &mut self.entropy) else { return };
        let message = output.welcome.unwrap_or_default();
        let operations = self.heads();
        let entry = self.seal_somehow(Said::Welcome { device: victim, noise, message, operations });
        self.give_all([entry]);
    }

    fn poisoned_keys(&mut self) {
        let mut keys: Vec<(EpochId, [u8; 32])> =
            self.rogue.epochs().into_iter().take(8).map(|epoch| (epoch, self.entropy.bytes())).collect();
        keys.push((EpochId::from_bytes(self.entropy.bytes()), self.entropy.bytes()));
        let entry = self.seal_somehow(Said::Keys(keys));
        self.give_all([entry]);
    }

    fn held_flood(&mut self) {
        let entries: Vec<_> = (0..20_u8)
            .map(|number| {
                let key = ContentKey::from_bytes(self.entropy.bytes().into());
                self.seal_with(&key, Said::Garbage(vec![number; 16]))
            })
            .collect();
        self.give_all(entries);
    }

    fn oversize(&mut self) {
        let heads = self.heads();
        let long = Operation::sign(
            self.rogue.device(),
            heads.clone(),
            self.now_ms,
            Action::Rename { name: "x".repeat(300 * 1024) },
        );
        let parents = (0..200_u8).map(|number| OperationId::from_bytes([number; 32])).collect();
        let many = Operation::sign(self.rogue.device(), parents, self.now_ms, Action::Rename { name: "x".to_owned() });
        let cited = vec![OperationId::from_bytes([1; 32]); 5_000];
        let epoch = EpochId::from_bytes(self.entropy.bytes());
        let commit = Said::Commit { parent: self.rogue.head, epoch, message: vec![0; 100_000], operations: cited };
        let mut entries = Vec::new();
        for said in [Said::Operation(long.encode()), Said::Operation(many.encode()), commit] {
            let entry = self.seal_somehow(said);
            entries.push(entry);
        }
        self.give_all(entries);
        let peers = self.peers.clone();
        if let Some(peer) = self.random().pick(&peers) {
            self.frame(peer, Channel::Sync, vec![0; FRAME_BYTES_MAX + 1]);
        }
    }

    fn garbage(&mut self) {
        let noise = self.entropy.bytes::<200>().to_vec();
        let entry = self.seal_somehow(Said::Garbage(vec![255; 40]));
        let peers = self.peers.clone();
        for channel in [Channel::Sync, Channel::Join, Channel::Bulk] {
            if let Some(peer) = self.random().pick(&peers) {
                self.frame(peer, channel, noise.clone());
            }
        }
        // A real entry, broken somewhere.
        if let Some(mut entry) = entry {
            let at = self.random().between(0..entry.bytes.len() as u64) as usize;
            entry.bytes[at] ^= 1 << self.random().between(0..8);
            entry.id = clave_engine::fuzzing::envelope(&entry.bytes).unwrap_or(entry.id);
            self.give_all([Some(entry)]);
        }
    }
}
