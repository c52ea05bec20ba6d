//! What must hold once a healed world has come to rest.

use std::collections::BTreeSet;

use clave_engine::crdt::{CrdtError, Document, DocumentKind};
use clave_engine::{CircleId, DocumentInfo, Key, Keyspace, Refusal, StoreRead};

use crate::{Content, Who, World};

/// What a look at a circle brought to light.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// What does not hold; nothing, if all is well.
    pub faults: Vec<String>,
    /// Entries that nobody who is in can ever read: all that had their keys were removed before they handed them over.
    pub unreadable: usize,
}

impl World {
    /// The devices that are in a circle, by the logs of those who believe to be in it themselves.
    pub fn members(&mut self, circle: CircleId) -> Vec<Who> {
        let mut members = Vec::new();
        for who in self.everyone() {
            let id = self.device(who).id;
            if self.is_up(who) && self.engine(who).membership(circle).is_ok_and(|log| log.devices.contains_key(&id)) {
                members.push(who);
            }
        }
        members
    }

    /// What does not hold in a circle: nothing, if all is well.
    pub fn faults(&mut self, circle: CircleId) -> Vec<String> {
        self.examine(circle).faults
    }

    /// Looks at a circle in a world that has come to rest.
    pub fn examine(&mut self, circle: CircleId) -> Findings {
        let mut faults = Vec::new();
        // Somebody who was removed may not know it. The roster that counts is that of a device nobody removed.
        let believers = self.members(circle);
        let roster = |world: &mut Self, who: Who| {
            let log = world.engine(who).membership(circle).expect("a believer is in");
            log.devices.keys().copied().collect::<BTreeSet<_>>()
        };
        let standing = believers.iter().copied().find(|who| {
            let ids = roster(self, *who);
            believers.iter().all(|other| {
                roster(self, *other).contains(&self.device(*who).id) || !ids.contains(&self.device(*other).id)
            })
        });
        let Some(first) = standing else {
            faults.push("no member stands undisputed".to_owned());
            return Findings { faults, unreadable: 0 };
        };
        let roster = roster(self, first);
        let members: Vec<Who> = believers.into_iter().filter(|who| roster.contains(&self.device(*who).id)).collect();
        for id in &roster {
            if !members.iter().any(|who| self.device(*who).id == *id) {
                let name = self.who(id).map_or_else(String::new, |who| self.device(who).name.clone());
                faults.push(format!("{name} is in the roster, but not in the circle"));
            }
        }
        for who in &members {
            self.compare(circle, first, *who, &mut faults);
        }
        self.check_writes(circle, &members, first, &mut faults);
        self.check_outsiders(circle, &members, first, &mut faults);
        let unreadable = self.check_held(circle, &members, &mut faults);
        self.check_refusals(&mut faults);
        Findings { faults, unreadable }
    }

    fn compare(&mut self, circle: CircleId, first: Who, who: Who, faults: &mut Vec<String>) {
        let name = self.device(who).name.clone();
        let mut differs = |what: &str, details: String| faults.push(format!("{name}: {what} {details}"));
        let (one, other) = (self.engine(first).status(circle), self.engine(who).status(circle));
        let (one, other) = (one.expect("a member"), other.expect("a member"));
        if (one.epoch, one.key) != (other.epoch, other.key) {
            differs(
                "another head",
                format!("{:?} depth {} instead of {:?} depth {}", other.epoch, other.depth, one.epoch, one.depth),
            );
        }
        let logs = |world: &mut Self, who: Who| world.engine(who).membership(circle).expect("a member").clone();
        let (log, first_log) = (logs(self, who), logs(self, first));
        if log != first_log {
            differs("another membership", String::new());
        }
        let held = |world: &Self, who: Who| world.device(who).disk.suffixes(Keyspace::Held, circle.as_bytes());
        if held(self, who) != held(self, first) {
            differs("holds other entries", format!("{} instead of {}", other.held, one.held));
        }
        if other.leaves != log.devices.len() {
            differs("leaves differ from the roster", format!("{} of {}", other.leaves, log.devices.len()));
        }
        let entries = |world: &Self, who: Who| {
            world.device(who).disk.suffixes(Keyspace::Entries, circle.as_bytes()).into_iter().collect::<BTreeSet<_>>()
        };
        let (theirs, ours) = (entries(self, who), entries(self, first));
        if theirs != ours {
            let (lacks, extra) = (ours.difference(&theirs).count(), theirs.difference(&ours).count());
            differs("other entries", format!("lacks {lacks}, has {extra} more"));
        }
        let documents = |world: &mut Self, who: Who| world.engine(who).documents(circle).expect("a member");
        let (mine, others) = (documents(self, first), documents(self, who));
        if mine != others {
            differs("other documents", format!("{} instead of {}", others.len(), mine.len()));
            return;
        }
        for document in mine {
            let content = |world: &mut Self, who: Who| {
                let document = world.engine(who).document(circle, document.id, document.kind).expect("it is there");
                let set_aside: Vec<_> = document.set_aside().into_iter().map(|change| change.hash).collect();
                (document.heads(), document.held(), rendered(document).expect("it is of its kind"), set_aside)
            };
            let (theirs, ours) = (content(self, who), content(self, first));
            if theirs.0 != ours.0 {
                differs("another document", format!("{:?}", document.kind));
            }
            if theirs.3 != ours.3 {
                let (theirs, ours) = (theirs.3.len(), ours.3.len());
                differs("sets aside something else", format!("{:?}: {theirs} instead of {ours}", document.kind));
            }
            if theirs.1 > 0 && !self.is_lost(circle, who, document) {
                differs("changes wait in a document", format!("{:?} {}", document.kind, theirs.1));
            }
            if theirs.2 != ours.2 {
                differs("reads something else", format!("{:?}: {:?} instead of {:?}", document.kind, theirs.2, ours.2));
            }
        }
    }

    /// Whether what a document waits for is with no member, though each holds whatever reached any: somebody who was removed
    /// sent a change and not the one before it. It is counted, in the status of the circle.
    fn is_lost(&mut self, circle: CircleId, who: Who, document: DocumentInfo) -> bool {
        let paper = self.engine(who).document(circle, document.id, document.kind).expect("it is there");
        let missing = paper.missing();
        let is_counted = self.engine(who).status(circle).is_ok_and(|status| status.waiting > 0);
        let members = self.members(circle);
        let has = |world: &mut Self, member: &Who| {
            let paper = world.engine(*member).document(circle, document.id, document.kind).expect("it is there");
            missing.iter().any(|hash| paper.contains(hash))
        };
        !missing.is_empty() && is_counted && !members.iter().any(|member| has(self, member))
    }

    /// What was acknowledged to somebody who is still in must be there.
    fn check_writes(&mut self, circle: CircleId, members: &[Who], first: Who, faults: &mut Vec<String>) {
        let said: BTreeSet<String> = self.messages(first, circle).into_iter().collect();
        let files: BTreeSet<String> = self.files(first, circle).into_iter().collect();
        for who in members {
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
                    faults.push(format!("{name}: lost {:?}", written.content));
                }
            }
        }
    }

    /// What waits for ever is what nobody who is in can read: no device that is in was ever in the epoch, or it would
    /// have its key, as content keys are kept; and nobody handed it over. All who have it are out.
    fn check_held(&mut self, circle: CircleId, members: &[Who], faults: &mut Vec<String>) -> usize {
        let has_key = |world: &Self, who: Who, tag: &[u8]| {
            let key = Key::new(Keyspace::ContentKeys, circle.as_bytes(), tag);
            world.device(who).disk.read(&key).expect("memory can be read").is_some()
        };
        let mut unreadable = BTreeSet::new();
        for who in members {
            let mut held = Vec::new();
            let note = &mut |id: &[u8], tag: Vec<u8>| {
                held.push((id.to_vec(), tag));
                true
            };
            self.device(*who).disk.scan(Keyspace::Held, circle.as_bytes(), &[], note).expect("memory can be read");
            for (id, tag) in held {
                if let Some(reader) = members.iter().find(|reader| has_key(self, **reader, &tag)) {
                    let (name, reader) = (&self.device(*who).name, &self.device(*reader).name);
                    faults.push(format!("{name}: holds an entry whose key {reader} has"));
                } else if self.everyone().any(|anybody| has_key(self, anybody, &tag)) {
                    unreadable.insert(id);
                } else {
                    faults.push(format!("{}: holds an entry whose key nobody ever had", self.device(*who).name));
                }
            }
        }
        unreadable.len()
    }

    /// Nobody outside holds the key of the head.
    fn check_outsiders(&mut self, circle: CircleId, members: &[Who], first: Who, faults: &mut Vec<String>) {
        let key = self.engine(first).status(circle).expect("a member").key.as_bytes().to_vec();
        for who in self.everyone().filter(|who| !members.contains(who)) {
            if self.device(who).disk.suffixes(Keyspace::ContentKeys, circle.as_bytes()).contains(&key) {
                faults.push(format!("{}: is out, but holds the key of the head", self.device(who).name));
            }
        }
    }

    /// Honest devices refuse nothing of each other, but for what membership that is not known everywhere explains.
    fn check_refusals(&self, faults: &mut Vec<String>) {
        for who in self.everyone() {
            let device = self.device(who);
            for (reason, count) in device.refusals() {
                let expected = match reason {
                    // Who was removed may not know it yet, and go on sending.
                    Refusal::NotAMember => self.was_anybody_removed(),
                    // Answers to what was asked before a connection broke or a device lost its memory; frames that come
                    // twice. Without any of that there is no reason to refuse anything.
                    Refusal::Unexpected => self.was_disturbed() || self.was_hostile(),
                    Refusal::BadSeal => self.was_hostile(),
                    _ => false,
                };
                if !expected {
                    faults.push(format!("{}: refused {count} times: {reason}", device.name));
                }
            }
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
