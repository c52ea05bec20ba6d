//! Whether what a member believes is what the rules say: the membership, by the oracle; the documents, by the membership.
//!
//! All devices run one evaluator, so a wrong one has them agree. These checks ask somebody else.

use std::collections::{BTreeMap, BTreeSet};

use clave_engine::crdt::{ChangeHash, inspect_change};
use clave_engine::fuzzing::inside;
use clave_engine::membership::{Membership, Operation, Stay};
use clave_engine::{CircleId, Keyspace, OperationId, StoreRead};

use super::Check;
use crate::oracle::{self, Outcome};
use crate::{Who, World};

/// The longest log that the oracle is asked about: it computes everything anew at every step.
const OPERATIONS_MAX: usize = 250;

impl World {
    /// Asks the oracle about each different log that members have, and compares what they make of it.
    pub(super) fn check_verdicts(&mut self, circle: CircleId, members: &[Who], faults: &mut Vec<String>) {
        let mut asked: BTreeMap<Vec<OperationId>, Outcome> = BTreeMap::new();
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for who in members {
            let Some(log) = inside::log(self.engine(*who), circle) else { continue };
            let operations: Vec<Operation> = log.operations().cloned().collect();
            if operations.len() > OPERATIONS_MAX {
                continue;
            }
            let ids = operations.iter().map(Operation::id).collect();
            let verdicts = asked.entry(ids).or_insert_with(|| oracle::evaluate(&operations));
            let mut differences = Vec::new();
            if let Some(difference) = differs(verdicts, log.membership()) {
                let what = difference.map_or_else(String::new, |id| log.describe(&id).unwrap_or_else(|| id.short()));
                differences.push(Check::Verdicts.fault(&what));
            }
            differences.extend(self.misshown(circle, *who, verdicts));
            for difference in differences {
                found.entry(difference).or_default().push(self.device(*who).name.clone());
            }
        }
        faults.extend(found.into_iter().map(|(what, names)| format!("{what} ({} devices)", names.len())));
    }

    /// What is shown or set aside in a member's documents, though the rules say otherwise.
    pub(super) fn misshown(&mut self, circle: CircleId, who: Who, verdicts: &Outcome) -> Vec<String> {
        let disk = self.device(who).disk.clone();
        let mut faults = Vec::new();
        for info in self.engine(who).documents(circle).expect("a member") {
            let scope = [circle.as_bytes().as_slice(), info.id.as_bytes(), &[info.kind.number()]].concat();
            if !disk.suffixes(Keyspace::Snapshots, &scope).is_empty() {
                // Its changes are no longer filed one by one.
                continue;
            }
            let mut changes = BTreeMap::new();
            let read = &mut |_: &[u8], change: Vec<u8>| {
                changes.extend(inspect_change(&change).ok().map(|info| (info.hash, info)));
                true
            };
            disk.scan(Keyspace::Changes, &scope, &[], read).expect("memory can be read");
            for change in inside::bundled(self.engine(who), circle, info.id, info.kind) {
                changes.extend(inspect_change(&change).ok().map(|info| (info.hash, info)));
            }
            let counts = |hash: &ChangeHash| {
                let actor = changes[hash].actor;
                stands(verdicts, &actor.device_prefix(), &actor.stay()) || verdicts.kept_changes.contains(hash)
            };
            let mut next: Vec<ChangeHash> = changes.keys().copied().filter(counts).collect();
            let mut accepted = BTreeSet::new();
            while let Some(hash) = next.pop() {
                if let Some(change) = changes.get(&hash).filter(|_| accepted.insert(hash)) {
                    next.extend_from_slice(&change.deps);
                }
            }
            let document = self.engine(who).document(circle, info.id, info.kind).expect("it is there");
            let waiting = document.held();
            let shown: BTreeSet<ChangeHash> = changes.keys().copied().filter(|hash| document.contains(hash)).collect();
            let (extra, missing) = (shown.difference(&accepted).count(), accepted.difference(&shown));
            // What waits does so for something else: that is another check's.
            let missing = missing.filter(|hash| changes.contains_key(*hash)).count().saturating_sub(waiting);
            if extra + missing > 0 {
                let what = format!("{:?}: {extra} changes too many, {missing} too few", info.kind);
                faults.push(Check::Shown.fault(&what));
            }
        }
        faults
    }
}

/// Whether the stay that an actor names stands.
fn stands(verdicts: &Outcome, device: &[u8; 16], admission: &[u8; 4]) -> bool {
    let of_device = verdicts.stays.iter().filter(|(id, _)| id.as_bytes().starts_with(device));
    let stays = of_device.flat_map(|(_, stays)| stays).filter(|(id, _)| id.as_bytes().starts_with(admission));
    stays.into_iter().any(|(_, stay)| *stay == Stay::InStanding)
}

/// Whether a membership is not what the oracle says; if so, an operation that they judge otherwise, if it is that.
pub(super) fn differs(verdicts: &Outcome, membership: &Membership) -> Option<Option<OperationId>> {
    let believed = Outcome {
        people: membership.people.iter().map(|(id, person)| (*id, person.role)).collect(),
        devices: membership.devices.iter().map(|(id, device)| (*id, device.person)).collect(),
        device_names: membership.devices.iter().map(|(id, device)| (*id, device.name.clone())).collect(),
        void: membership.set_aside.iter().map(|aside| aside.operation).collect(),
        stays: membership.stays.clone(),
        kept_changes: membership.kept_changes().clone(),
    };
    (believed != *verdicts).then(|| believed.void.symmetric_difference(&verdicts.void).next().copied())
}
