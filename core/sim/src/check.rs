//! What must hold once a healed world has come to rest. Each check has a name, and a test that shows that it can fail.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use clave_engine::crdt::{CrdtError, Document, DocumentKind};
use clave_engine::crypto::DeviceId;
use clave_engine::fuzzing::{inside, rogue};
use clave_engine::membership::{History, Log};
use clave_engine::{CircleId, DocumentId, EntryId, Keyspace, Refusal};

use crate::{Content, Who, World};

mod authors;
mod circles;
mod held;
mod history;
mod kept;
mod relays;
mod rights;
mod sound;
mod verdicts;
mod views;
mod watch;

#[cfg(test)]
mod tests;

pub(crate) use watch::Watch;

/// What is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// Nobody writes any more when nobody does anything.
    Rest,
    /// A member's membership is what the rules of the log, said again in plain sets, make of the same operations.
    Verdicts,
    /// What a member's documents show is what that says of who wrote it.
    Shown,
    /// All members' logs come to the same membership, bit for bit.
    OneRoster,
    /// All members seal under the same epoch.
    OneHead,
    /// All members have the same content key for it.
    OneSecret,
    /// Whoever is in the log is in the circle.
    EverybodyIn,
    /// The devices of the head are those of the log.
    Leaves,
    /// All members have the same entries.
    SameEntries,
    /// All members' documents are the same, and read the same.
    SameDocuments,
    /// What is shown without loading a document is what follows from it.
    Views,
    /// The doctor finds nothing in what a member stored.
    Sound,
    /// What a member cannot read, no member can.
    Readable,
    /// What was acknowledged to somebody who is in and always was is there.
    NothingLost,
    /// Who was removed has no key of an epoch whose commit cites the removal.
    LaterKeys,
    /// Nobody seals what they write, or keys, for a device that is out in their own log, before they know who is in, or under
    /// a key that they were told.
    SendGate,
    /// Whoever can judge a commit that lies refuses it, and follows no Welcome of somebody who is out.
    Lies,
    /// Unless all may read everything, nobody has a key from before they came, nor is given one of which its giver was told.
    History,
    /// No device that keeps to no rule got more than its person was given.
    NoRightGained,
    /// Who was never brought into a circle has no trace of it.
    Private,
    /// Whoever removes somebody sees all that they saw before.
    Kept,
    /// What is filed in the name of an honest device was written by it.
    Authors,
    /// What members made is at a relay, if relays are there and do what they should.
    Stored,
    /// Honest devices refuse nothing of each other, but for what membership that is not known everywhere explains.
    NoRefusal,
}

impl Check {
    /// All of them.
    pub const ALL: [Self; 24] = [
        Self::Rest,
        Self::Verdicts,
        Self::Shown,
        Self::OneRoster,
        Self::OneHead,
        Self::OneSecret,
        Self::EverybodyIn,
        Self::Leaves,
        Self::SameEntries,
        Self::SameDocuments,
        Self::Views,
        Self::Sound,
        Self::Readable,
        Self::NothingLost,
        Self::LaterKeys,
        Self::SendGate,
        Self::Lies,
        Self::History,
        Self::NoRightGained,
        Self::Private,
        Self::Kept,
        Self::Authors,
        Self::Stored,
        Self::NoRefusal,
    ];

    pub(crate) fn fault(self, what: &dyn fmt::Display) -> String {
        format!("{self}: {what}")
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rest => "comes to rest",
            Self::Verdicts => "membership by the rules",
            Self::Shown => "documents by the rules",
            Self::OneRoster => "one roster",
            Self::OneHead => "one head",
            Self::OneSecret => "one secret",
            Self::EverybodyIn => "everybody is in",
            Self::Leaves => "leaves follow the roster",
            Self::SameEntries => "same entries",
            Self::SameDocuments => "same documents",
            Self::Views => "views follow",
            Self::Sound => "sound stores",
            Self::Readable => "readable by all who may",
            Self::NothingLost => "nothing is lost",
            Self::LaterKeys => "no later key for who was removed",
            Self::SendGate => "nothing sealed for who was removed",
            Self::Lies => "lies are refused",
            Self::History => "no key from before",
            Self::NoRightGained => "no right gained",
            Self::Private => "no trace outside",
            Self::Kept => "a removal keeps what was read",
            Self::Authors => "nobody speaks for another",
            Self::Stored => "stored at relays",
            Self::NoRefusal => "no refusal",
        })
    }
}

/// What a look at a circle brought to light.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// What does not hold; nothing, if all is well. Each begins with the name of its [`Check`].
    pub faults: Vec<String>,
    /// Entries that nobody who is in can ever read: no device that is still here was ever in their epoch, or those that
    /// were are removed.
    pub unreadable: usize,
    /// Pairs of an entry and a member who reads it.
    pub readable: usize,
    /// Entries that a rogue sealed under a commit that it kept back.
    pub withheld: usize,
}

impl World {
    /// The devices that are in a circle, by the logs of those who believe to be in it themselves.
    pub fn members(&mut self, circle: CircleId) -> Vec<Who> {
        let mut members = Vec::new();
        for who in self.everyone() {
            if self.is_up(who) && self.roster(who, circle).contains(&self.device(who).id) {
                members.push(who);
            }
        }
        members
    }

    /// What does not hold in a circle: nothing, if all is well.
    pub fn faults(&mut self, circle: CircleId) -> Vec<String> {
        self.examine(circle).faults
    }

    /// An honest member whom nobody removed, going by all operations that any honest device has: somebody who was removed
    /// may not know it, and two who removed each other may both believe to have stayed.
    pub fn undisputed_member(&mut self, circle: CircleId) -> Option<Who> {
        let mut believers = self.members(circle);
        believers.retain(|who| !self.rogues.is_one(*who) && !self.is_apart(*who, circle));
        let roster = self.united_roster(circle, &believers);
        believers.into_iter().find(|who| roster.contains(&self.device(*who).id))
    }

    /// Looks at a circle in a world that has come to rest.
    pub fn examine(&mut self, circle: CircleId) -> Findings {
        let mut findings = Findings { faults: self.watch.slips.clone(), ..Findings::default() };
        let faults = &mut findings.faults;
        if self.members(circle).iter().all(|who| self.rogues.is_one(*who) || self.is_apart(*who, circle)) {
            // Nobody is left who would have to agree with anybody, or could let anybody in.
            return findings;
        }
        let Some(first) = self.undisputed_member(circle) else {
            if self.is_anybody_in(circle) {
                faults.push(Check::OneRoster.fault(&"no member stands undisputed"));
            }
            return findings;
        };
        let roster = self.roster(first, circle);
        let mut members = self.members(circle);
        members.retain(|who| roster.contains(&self.device(*who).id) && !self.rogues.is_one(*who));
        for who in roster.iter().filter_map(|id| self.who(id)).collect::<Vec<_>>() {
            if !members.contains(&who) && self.is_expected(who) && self.is_reached(who, circle) {
                let name = &self.device(who).name;
                faults.push(Check::EverybodyIn.fault(&format!("{name} is in the roster, but not in the circle")));
            }
        }
        let kept_back = self.kept_back(circle, &members);
        let reference = Reference::of(self, first, circle);
        let mut differences = BTreeMap::<_, Vec<String>>::new();
        for who in &members {
            for difference in self.compare(circle, &reference, *who, &kept_back) {
                differences.entry(difference).or_default().push(self.device(*who).name.clone());
            }
        }
        for ((check, what), names) in differences {
            let others = if names.len() > 3 { format!(" and {} others", names.len() - 3) } else { String::new() };
            faults.push(check.fault(&format!("{}{others}: {what}", names[..names.len().min(3)].join(", "))));
        }
        self.check_verdicts(circle, &members, faults);
        self.check_views(circle, &members, faults);
        self.check_stores(circle, &members, faults);
        self.check_writes(circle, &members, first, faults);
        self.check_outsiders(circle, &members, first, faults);
        self.check_later_keys(circle, first, faults);
        self.check_history(circle, &members, faults);
        self.check_rogues(circle, first, faults);
        self.check_privacy(circle, faults);
        self.check_relays(circle, &members, faults);
        self.check_refusals(faults);
        self.check_held(circle, &members, &mut findings);
        self.explain_logs(circle, &members);
        findings
    }

    /// Has the trace say which operations each member lacks that another has, and whether they wait for what they follow.
    fn explain_logs(&mut self, circle: CircleId, members: &[Who]) {
        if !self.trace().keeps_lines() {
            return;
        }
        let mut known = BTreeMap::new();
        for who in members {
            let ids = inside::log(self.engine(*who), circle).into_iter().flat_map(Log::operations);
            let ids: BTreeSet<_> = ids.map(clave_engine::membership::Operation::id).collect();
            known.insert(*who, ids);
        }
        let all: BTreeSet<_> = known.values().flatten().copied().collect();
        for (who, ids) in known {
            let waiting = self.device(who).disk.suffixes(Keyspace::Operations, circle.as_bytes());
            for id in all.difference(&ids) {
                let state = if waiting.contains(&id.as_bytes().to_vec()) { "lets wait" } else { "lacks" };
                self.explain(format_args!("{} {state} {id:?}", who.0));
            }
            for id in waiting.iter().filter(|id| !ids.iter().any(|known| known.as_bytes() == id.as_slice())) {
                let name = clave_engine::OperationId::try_from(id.as_slice()).expect("filed by id");
                self.explain(format_args!("{} has waiting {name:?}", who.0));
            }
        }
    }

    /// Whether a device that is in the log has to be in the circle.
    pub(super) fn is_expected(&self, who: Who) -> bool {
        !self.is_lost(who) && !self.rogues.is_one(who) && !self.unanswered.contains(&who)
    }

    /// In what a member differs from another.
    fn compare(
        &mut self,
        circle: CircleId,
        first: &Reference,
        who: Who,
        kept_back: &BTreeSet<Vec<u8>>,
    ) -> BTreeSet<(Check, String)> {
        let mut differences = BTreeSet::new();
        let mut differs = |check: Check, details: String| _ = differences.insert((check, details));
        let own = Reference::of(self, who, circle);
        let (one, other) = (&first.status, &own.status);
        if one.epoch != other.epoch {
            let (theirs, ours) = (other.epoch, one.epoch);
            let what = format!("{theirs:?} depth {} instead of {ours:?} depth {}", other.depth, one.depth);
            differs(Check::OneHead, what);
        } else if one.key != other.key {
            differs(Check::OneSecret, format!("{:?} instead of {:?}", other.key, one.key));
        }
        if own.log != first.log {
            let (theirs, ours) = (own.log.devices.len(), first.log.devices.len());
            differs(Check::OneRoster, format!("another membership: {theirs} devices, instead of {ours}"));
        }
        let roster = self.roster(who, circle);
        if let Some(gone) = own.leaves.iter().find(|leaf| !roster.contains(leaf)) {
            let gone = self.who(gone).map_or_else(|| gone.short(), |who| self.device(who).name.clone());
            differs(Check::Leaves, format!("{gone} is a leaf, but not in the roster"));
        }
        for id in roster.iter().filter(|id| !own.leaves.contains(id)) {
            // Who is lost, or never was a device, is brought in if that can be: nobody waits for it.
            if let Some(missing) = self.who(id).filter(|who| self.is_expected(*who)) {
                differs(Check::Leaves, format!("{} is in the roster, but no leaf", self.device(missing).name));
            }
        }
        if own.entries != first.entries {
            let (lacks, extra) = (first.entries.difference(&own.entries), own.entries.difference(&first.entries));
            let (count, more) = (lacks.clone().count(), extra.clone().count());
            let some = lacks.chain(extra).take(4).filter_map(|id| EntryId::try_from(id.as_slice()).ok());
            let some: Vec<EntryId> = some.collect();
            differs(Check::SameEntries, format!("lacks {count}, has {more} more: {some:?}"));
        }
        let shared = own.log.history() == History::Full;
        // Otherwise each reads what was written since they came. Of what is kept back whoever has the key reads operations, keys
        // and commits.
        let waiting = |of: &Reference| of.held.difference(kept_back).cloned().collect::<BTreeSet<_>>();
        if shared && waiting(&own) != waiting(first) {
            differs(Check::SameEntries, format!("{} wait instead of {}", own.held.len(), first.held.len()));
        }
        if !shared {
            return differences;
        }
        if own.documents.keys().ne(first.documents.keys()) {
            let (theirs, ours) = (own.documents.len(), first.documents.len());
            differs(Check::SameDocuments, format!("{theirs} documents instead of {ours}"));
            return differences;
        }
        let may_wait = self.was_anybody_removed() || !self.rogues.is_empty();
        for (name @ (_, kind), theirs) in &own.documents {
            let ours = &first.documents[name];
            // Only who was removed, or lies, leaves changes whose causes nobody has. They are counted, and the same for all.
            if theirs.waiting != ours.waiting {
                let (theirs, ours) = (theirs.waiting, ours.waiting);
                differs(Check::SameDocuments, format!("{theirs} changes wait in the {kind:?} instead of {ours}"));
            } else if theirs.waiting > 0 && (!may_wait || own.status.waiting == 0) {
                differs(Check::SameDocuments, format!("{} changes wait in the {kind:?}", theirs.waiting));
            }
            if theirs.set_aside != ours.set_aside {
                let (theirs, ours) = (theirs.set_aside.len(), ours.set_aside.len());
                differs(
                    Check::SameDocuments,
                    format!("{theirs} changes of the {kind:?} are set aside instead of {ours}"),
                );
            }
            if theirs.heads != ours.heads {
                differs(Check::SameDocuments, format!("another {kind:?}"));
            } else if theirs.reads != ours.reads {
                differs(Check::SameDocuments, format!("{kind:?}: {:?} instead of {:?}", theirs.reads, ours.reads));
            }
        }
        differences
    }

    /// What was acknowledged to somebody who is in, and whom no removal that stands ever hit, must be there.
    fn check_writes(&mut self, circle: CircleId, members: &[Who], first: Who, faults: &mut Vec<String>) {
        if !self.is_shared(first, circle) {
            // Who comes sees nothing of what was before.
            return;
        }
        let said: BTreeSet<String> = self.messages(first, circle).into_iter().collect();
        let files: BTreeSet<String> = self.files(first, circle).into_iter().collect();
        let hit = self.ever_removed(circle, first);
        let mut missing = BTreeMap::<_, Vec<String>>::new();
        for who in members.iter().filter(|who| !hit.contains(who)) {
            let device = self.device(*who);
            let acknowledged: Vec<_> =
                device.acknowledged.iter().filter(|written| written.circle == circle).cloned().collect();
            let name = device.name.clone();
            for written in acknowledged {
                let there = match &written.content {
                    Content::Text(text) if written.kind == DocumentKind::Timeline => said.contains(text),
                    Content::Text(text) => files.contains(text),
                    Content::Change(change) => {
                        let document = self.engine(first).document(circle, written.document, written.kind);
                        document.expect("a member").contains(change)
                    }
                };
                if !there {
                    let what = Check::NothingLost.fault(&format!("{name}: {:?}", written.content));
                    missing.entry((written.document, written.kind)).or_default().push(what);
                }
            }
        }
        for ((document, kind), what) in missing {
            if !self.waits_behind_a_rogue(first, circle, document, kind, what.len()) {
                faults.extend(what);
            }
        }
    }

    /// Whether so many writes wait in a document because a rogue told others different things in one place: Automerge holds
    /// one history of an author, so what was built on the other waits (rule D5). It is not lost, and all know of it.
    fn waits_behind_a_rogue(
        &mut self,
        first: Who,
        circle: CircleId,
        document: DocumentId,
        kind: DocumentKind,
        writes: usize,
    ) -> bool {
        let rogues: Vec<DeviceId> =
            self.everyone().filter(|who| self.rogues.is_one(*who)).map(|who| self.device(who).id).collect();
        let document = self.engine(first).document(circle, document, kind).expect("a member");
        let by_rogue =
            |actor: &clave_engine::crdt::Actor| rogues.iter().any(|rogue| actor.belongs_to(rogue.as_bytes()));
        let equivocations = document.equivocations();
        // Each of the rivals waits itself, beside what was built on it.
        let rivals: usize = equivocations.iter().map(|rival| rival.waiting.len()).sum();
        rivals > 0 && equivocations.iter().all(|rival| by_rogue(&rival.actor)) && writes + rivals <= document.held()
    }

    /// Nobody outside holds the key of the head.
    fn check_outsiders(&mut self, circle: CircleId, members: &[Who], first: Who, faults: &mut Vec<String>) {
        let key = self.engine(first).status(circle).expect("a member").key.as_bytes().to_vec();
        let roster = self.roster(first, circle);
        for who in self.everyone().filter(|who| !members.contains(who)) {
            let may = roster.contains(&self.device(who).id) || self.is_stranded(who, circle, first);
            let device = self.device(who);
            if !may && device.disk.suffixes(Keyspace::ContentKeys, circle.as_bytes()).contains(&key) {
                faults.push(Check::LaterKeys.fault(&format!("{} is out, but has the key of the head", device.name)));
            }
        }
    }

    fn check_refusals(&self, faults: &mut Vec<String>) {
        // Whoever passes on what a rogue said may be refused for it, and what a bad relay gives is.
        if !self.rogues.is_empty() || self.strays.are_there() || self.has_bad_relays() {
            return;
        }
        for who in self.everyone() {
            let device = self.device(who);
            for (reason, count) in device.refusals() {
                let expected = match reason {
                    // Who was removed may not know it yet, and go on sending. A device that went back to an older state
                    // of its disk may not know of somebody, or of its own joining, for a while.
                    Refusal::NotAMember => self.was_anybody_removed() || self.was_disturbed(),
                    // Answers to what was asked before a connection broke or a device lost its memory; frames that come
                    // twice; what a relay delivers from a mailbox that was closed meanwhile. Without any of that there is no
                    // reason to refuse anything.
                    Refusal::Unexpected => self.was_disturbed() || self.was_hostile() || self.has_relays(),
                    // Who comes back may have a key that nobody else has, and asks again under another.
                    Refusal::BadSeal => self.was_hostile() || self.was_anybody_restored(),
                    // Somebody who was removed comes back by a phrase, and is told so.
                    Refusal::NotAllowed => self.was_anybody_removed() && self.was_anybody_restored(),
                    _ => false,
                };
                if !expected {
                    faults.push(Check::NoRefusal.fault(&format!("{} refused {count} times: {reason}", device.name)));
                }
            }
        }
    }
}

/// What a member believes, to compare with what others do.
struct Reference {
    status: clave_engine::CircleStatus,
    leaves: BTreeSet<DeviceId>,
    log: clave_engine::membership::Membership,
    entries: BTreeSet<Vec<u8>>,
    held: BTreeSet<Vec<u8>>,
    documents: BTreeMap<(clave_engine::DocumentId, DocumentKind), Paper>,
}

struct Paper {
    heads: Vec<clave_engine::crdt::ChangeHash>,
    waiting: usize,
    set_aside: Vec<clave_engine::crdt::ChangeHash>,
    reads: String,
}

impl Reference {
    fn of(world: &mut World, who: Who, circle: CircleId) -> Self {
        let disk = world.device(who).disk.clone();
        // What a rogue made may be refused by one and wait at another who lacks what to refuse it by.
        let honest = |id: &Vec<u8>| !EntryId::try_from(id.as_slice()).is_ok_and(|id| world.rogues.forged(&id));
        let ids = |keyspace| disk.suffixes(keyspace, circle.as_bytes()).into_iter().filter(honest).collect();
        let (entries, held) = (ids(Keyspace::Entries), ids(Keyspace::Held));
        let engine = world.engine(who);
        let mut documents = BTreeMap::new();
        for info in engine.documents(circle).expect("a member") {
            let document = engine.document(circle, info.id, info.kind).expect("it is there");
            let (heads, waiting) = (document.heads(), document.held());
            let set_aside = document.set_aside().iter().map(|change| change.hash).collect();
            let reads = rendered(document).expect("it is of its kind");
            documents.insert((info.id, info.kind), Paper { heads, waiting, set_aside, reads });
        }
        Self {
            status: engine.status(circle).expect("a member"),
            leaves: rogue::leaves(engine, circle).into_iter().collect(),
            log: engine.membership(circle).expect("a member").clone(),
            entries,
            held,
            documents,
        }
    }
}

/// What a person sees of a document.
fn rendered(document: &mut Document) -> Result<String, CrdtError> {
    Ok(match document.kind() {
        DocumentKind::Timeline => format!("{:?}", document.timeline()?.messages(..)),
        DocumentKind::Note => document.note()?.markdown()?,
        DocumentKind::Calendar => document.calendar()?.export_ics(),
        DocumentKind::Drive => format!("{:?}", document.drive()?.tree()),
        kind => format!("{kind:?}"),
    })
}
