//! Members whose devices keep to no rule.
//!
//! Such a device runs a real engine, so it is in the circle, holds its keys and follows its commits; now and then it throws
//! something at its peers that no engine would make, sealed and signed with its real keys. What others refuse goes no
//! further; what they hold or take in they pass on.

use std::collections::{BTreeMap, BTreeSet};

use clave_engine::crdt::{Document, DocumentKind, Draft};
use clave_engine::crypto::{ContentKey, DeviceId, Entropy, EpochId, RosterChange};
use clave_engine::fuzzing::rogue::{self, Committed, Rogue, Said, Sealed};
use clave_engine::{Channel, CircleId, EntryId, OperationId};

use super::World;
use super::people::chat;
use crate::{Random, Who};

mod commits;
mod noise;
mod operations;
mod outcast;
mod welcomes;

/// How many people who do not exist one run may have brought in: each is legitimate, and all devices carry them along.
const GHOSTS_MAX: usize = 3;

/// The devices that keep to no rule, and what they made.
#[derive(Default)]
pub(crate) struct Rogues {
    devices: BTreeSet<Who>,
    forged: BTreeSet<EntryId>,
    /// Commits that whoever is in the epoch from which they start must refuse.
    lies: BTreeMap<EntryId, EpochId>,
    /// Groups of rogues' own: who welcomes into them, and what the Welcome cites.
    lures: BTreeMap<EpochId, (DeviceId, Vec<OperationId>)>,
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

    /// Notes that a commit is one that nobody who is in `parent` may follow.
    pub(crate) fn add_lie(&mut self, commit: EntryId, parent: EpochId) {
        self.lies.insert(commit, parent);
    }

    /// Notes an epoch into which `author` welcomes others, citing those operations.
    pub(crate) fn add_lure(&mut self, epoch: EpochId, author: DeviceId, cites: Vec<OperationId>) {
        self.lures.insert(epoch, (author, cites));
    }

    /// The epoch from which a commit starts that nobody there may follow.
    pub(crate) fn lie(&self, entry: &EntryId) -> Option<&EpochId> {
        self.lies.get(entry)
    }

    /// Who welcomes into an epoch of a rogue's own group, and what the Welcome cites.
    pub(crate) fn lure(&self, epoch: &EpochId) -> Option<&(DeviceId, Vec<OperationId>)> {
        self.lures.get(epoch)
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
    /// A commit that leads elsewhere than it says.
    FalseEpoch,
    /// A commit that gives somebody a new leaf, or removes them, and does not say so, or says so and does not.
    FalseRoster,
    /// Key packages that are used up, somebody else's, or none at all.
    StaleKeyPackages,
    /// A person who does not exist, brought in with key packages of no use.
    Ghost,
    /// A Welcome into a group of its own that has the circle's name, deeper than the real one.
    Lure,
    /// The same, by a Welcome that cites an operation which is kept back.
    EarlyLure,
    /// A commit, a Welcome and a plea of a rogue that left, passed on by another.
    Outcast,
    /// Keys under the names of epochs that they do not belong to.
    PoisonedKeys,
    /// Entries under keys that nobody has.
    HeldFlood,
    /// Frames and operations beyond every bound.
    Oversize,
    /// Bytes.
    Garbage,
    /// Bundles that hold more than they prove, or less than there is.
    FalseBundle,
}

impl Attack {
    /// All of them.
    pub const ALL: [Self; 24] = [
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
        Self::FalseEpoch,
        Self::FalseRoster,
        Self::StaleKeyPackages,
        Self::Ghost,
        Self::Lure,
        Self::EarlyLure,
        Self::Outcast,
        Self::PoisonedKeys,
        Self::HeldFlood,
        Self::Oversize,
        Self::Garbage,
        Self::FalseBundle,
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

    /// Has a device give an entry to one that it is connected to, and to nobody else. What a rogue gives counts as made against
    /// the rules.
    pub fn give(&mut self, from: Who, to: Who, circle: CircleId, entry: Sealed) {
        if self.rogues.is_one(from) {
            self.rogues.forged.insert(entry.id);
        }
        let peer = self.device(to).id;
        self.send(from, peer, Channel::Sync, rogue::entries_frame(circle, vec![entry.bytes]));
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
            Attack::FalseEpoch => self.false_epoch(),
            Attack::FalseRoster => self.false_roster(),
            Attack::StaleKeyPackages => self.stale_key_packages(),
            Attack::Ghost => self.ghost(),
            Attack::Lure => self.lure(),
            Attack::EarlyLure => self.early_lure(),
            Attack::Outcast => self.outcast(),
            Attack::PoisonedKeys => self.poisoned_keys(),
            Attack::HeldFlood => self.held_flood(),
            Attack::Oversize => self.oversize(),
            Attack::Garbage => self.garbage(),
            Attack::FalseBundle => self.false_bundle(),
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

    fn seal_direct(&mut self, device: DeviceId, said: Said) -> Option<Sealed> {
        let (who, circle) = (self.who, self.circle);
        let noise = self.world.engine(who).membership(circle).ok()?.devices.get(&device)?.noise;
        self.rogue.seal_direct((device, &noise), said, self.now_ms, &mut self.entropy)
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

    /// A key package of a device.
    fn package_of(&mut self, device: DeviceId) -> Option<Vec<u8>> {
        let (who, circle) = (self.who, self.circle);
        let packages = &self.world.engine(who).membership(circle).ok()?.devices.get(&device)?.key_packages;
        packages.last_resort.as_ref().or_else(|| packages.single_use.first()).cloned()
    }

    fn commit(&mut self, change: &RosterChange, tries: usize) -> Option<Committed> {
        rogue::commit(self.world.engine(self.who), self.circle, None, change, tries, &mut self.entropy)
    }

    fn said(&mut self, parent: EpochId, committed: &Committed) -> Said {
        let (epoch, message, operations) = (committed.checkpoint.epoch, committed.message.clone(), self.heads());
        let (adds, removes) = (committed.adds.clone(), committed.removes.clone());
        Said::Commit { parent, epoch, message, operations, renews: Vec::new(), adds, removes }
    }

    fn note_lie(&mut self, commit: Option<&Sealed>, parent: EpochId) {
        if let Some(commit) = commit {
            self.world.rogues.add_lie(commit.id, parent);
        }
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
}
