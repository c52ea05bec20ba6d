//! What must hold once a healed world has come to rest.

use std::collections::BTreeSet;

use clave_engine::{CircleId, Keyspace, Refusal};

use crate::{Who, World};

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
            return faults;
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
        self.check_refusals(&mut faults);
        faults
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
        // What somebody who was removed sealed under an epoch that no member was ever in, or wrote shortly before and
        // which arrived in part, waits for ever; the same with everybody.
        let may_wait = !log.former_devices.is_empty();
        if other.held != one.held || (other.held > 0 && !may_wait) {
            differs("holds entries", format!("{} instead of {}", other.held, one.held));
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
            let heads = |world: &mut Self, who: Who| {
                let document = world.engine(who).document(circle, document.id, document.kind).expect("it is there");
                (document.heads(), document.held())
            };
            let (theirs, ours) = (heads(self, who), heads(self, first));
            if theirs.0 != ours.0 || (theirs.1 > 0 && !may_wait) {
                differs("another document", format!("{:?} {} held", document.kind, theirs.1));
            }
        }
    }

    /// What was acknowledged to somebody who is still in must be there.
    fn check_writes(&mut self, circle: CircleId, members: &[Who], first: Who, faults: &mut Vec<String>) {
        let said: BTreeSet<String> = self.messages(first, circle).into_iter().collect();
        let files: BTreeSet<String> = self.files(first, circle).into_iter().collect();
        for who in members {
            let device = self.device(*who);
            for written in device.acknowledged.iter().filter(|written| written.circle == circle) {
                let there = match written.document == crate::world::chat(circle) {
                    true => said.contains(&written.text),
                    false => files.contains(&written.text),
                };
                if !there {
                    faults.push(format!("{}: lost {:?}", device.name, written.text));
                }
            }
        }
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
    fn check_refusals(&mut self, faults: &mut Vec<String>) {
        for who in self.everyone() {
            let device = self.device(who);
            for (reason, count) in device.refusals() {
                let expected = match reason {
                    Refusal::NotAMember => true,
                    // Frames that come twice, or after the connection that they answered.
                    Refusal::Unexpected | Refusal::BadSeal => self.was_hostile() || reason == Refusal::Unexpected,
                    _ => false,
                };
                if !expected {
                    faults.push(format!("{}: refused {count} times: {reason}", device.name));
                }
            }
        }
    }
}
