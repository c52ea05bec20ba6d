//! A removal takes nothing out that its author had read (rule D4).

use std::collections::BTreeSet;

use clave_engine::CircleId;
use clave_engine::crdt::ChangeHash;
use clave_engine::crypto::DeviceId;
use clave_engine::membership::Action;

use super::Check;
use crate::{Who, World};

impl World {
    /// What is set aside, as somebody sees it who is about to remove others; none if they are not, or keep to no rule.
    pub(crate) fn before_removal(
        &mut self,
        who: Who,
        circle: CircleId,
        action: &Action,
    ) -> Option<BTreeSet<ChangeHash>> {
        let own = self.device(who);
        let of_others = match action {
            Action::RevokePerson { person, .. } | Action::EndGrant { person, .. } => *person != own.person,
            Action::RevokeDevice { device, .. } => *device != own.id,
            _ => false,
        };
        if of_others && !self.rogues.is_one(who) { self.all_set_aside(who, circle) } else { None }
    }

    /// Whether somebody who removed others sees less than before. All that they know came before, so nothing else can be why.
    pub(crate) fn look_at_removal(&mut self, who: Who, circle: CircleId, before: &BTreeSet<ChangeHash>) {
        let Some(now) = self.all_set_aside(who, circle) else { return };
        let gone = now.difference(before).count();
        if gone > 0 {
            let what = format!("{} removed somebody, and {gone} changes with them that it had", self.device(who).name);
            self.slip(Check::Kept, &what);
        }
    }

    fn all_set_aside(&mut self, who: Who, circle: CircleId) -> Option<BTreeSet<ChangeHash>> {
        let all = self.engine(who).all_set_aside(circle).ok()?;
        // Of two changes that a rogue made in one place the removal names the one that came first, and another may be shown.
        let is_honest = |device: &DeviceId| !self.who(device).is_some_and(|who| self.rogues.is_one(who));
        let honest = all.into_values().flatten().filter(|change| change.device.as_ref().is_none_or(is_honest));
        Some(honest.map(|change| change.hash).collect())
    }
}
