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

    /// Nobody has a key of an epoch that they were neither in nor in one before: unless the policy is *full*. An epoch
    /// whose devices nobody remembers proves nothing.
    pub(super) fn check_history(&mut self, circle: CircleId, members: &[Who], faults: &mut Vec<String>) {
        if members.first().is_none_or(|who| self.is_shared(*who, circle)) {
            return;
        }
        let known = self.epochs(circle);
        for who in members {
            let id = self.device(*who).id;
            let keys = inside::content_keys(&*self.device(*who).disk, circle);
            for (key, ..) in keys.into_iter().filter(|(.., derived)| !derived) {
                let Some(epoch) = known.of_keys.get(&key).copied() else { continue };
                let line = std::iter::successors(Some(epoch), |epoch| known.parents.get(epoch).copied());
                let was_in = |epoch| known.rosters.get(&epoch).is_none_or(|roster| roster.contains(&id));
                if !line.into_iter().any(was_in) {
                    let what = format!("{} has the key of {epoch:?}", self.device(*who).name);
                    faults.push(Check::History.fault(&what));
                }
            }
        }
    }
}
