//! Who may read what from before they came.

use std::collections::{BTreeMap, BTreeSet};

use clave_engine::CircleId;
use clave_engine::crypto::{DeviceId, EpochId, KeyId};
use clave_engine::fuzzing::inside;
use clave_engine::membership::History;

use super::Check;
use crate::{Who, World};

/// What all devices together know of the epochs of a circle.
#[derive(Default)]
struct Epochs {
    parents: BTreeMap<EpochId, EpochId>,
    rosters: BTreeMap<EpochId, BTreeSet<DeviceId>>,
    /// The epochs that keys belong to, by those who derived them.
    of_keys: BTreeMap<KeyId, EpochId>,
}

impl World {
    /// Whether everybody may read everything.
    pub(super) fn is_shared(&mut self, who: Who, circle: CircleId) -> bool {
        self.engine(who).membership(circle).is_ok_and(|membership| membership.history() == History::Full)
    }

    fn epochs(&mut self, circle: CircleId) -> Epochs {
        let mut known = Epochs::default();
        for who in self.everyone() {
            let disk = self.device(who).disk.clone();
            let parents = inside::epochs(&*disk, circle).into_iter();
            known.parents.extend(parents.filter_map(|(epoch, parent, _)| Some((epoch, parent?))));
            let keys = inside::content_keys(&*disk, circle).into_iter();
            known.of_keys.extend(keys.filter(|(.., derived)| *derived).map(|(key, epoch, _)| (key, epoch)));
            if self.is_up(who) {
                let rosters = inside::rosters(self.engine(who), circle).into_iter();
                known.rosters.extend(rosters.map(|(epoch, leaves)| (epoch, leaves.into_iter().collect())));
            }
        }
        known
    }

    /// Unless the policy is *full*, nobody has a content key of an epoch that no device of theirs was in, nor in one before;
    /// lasting keys are for all. An epoch whose devices nobody remembers proves nothing.
    pub(super) fn check_history(&mut self, circle: CircleId, members: &[Who], faults: &mut Vec<String>) {
        if members.first().is_none_or(|who| self.is_shared(*who, circle)) {
            return;
        }
        let known = self.epochs(circle);
        for who in members {
            // What a person may read, all of their devices may.
            let person = self.device(*who).person;
            let own: BTreeSet<DeviceId> =
                self.everyone().map(|who| self.device(who)).filter(|of| of.person == person).map(|of| of.id).collect();
            let keys = inside::content_keys(&*self.device(*who).disk, circle);
            for (key, ..) in keys.into_iter().filter(|(key, _, derived)| !derived && !key.is_lasting()) {
                let Some(epoch) = known.of_keys.get(&key).copied() else { continue };
                let line = std::iter::successors(Some(epoch), |epoch| known.parents.get(epoch).copied());
                let was_in = |epoch| known.rosters.get(&epoch).is_none_or(|roster| !roster.is_disjoint(&own));
                if !line.into_iter().any(was_in) {
                    let what = format!("{} has the key of {epoch:?}", self.device(*who).name);
                    faults.push(Check::History.fault(&what));
                }
            }
        }
    }
}
