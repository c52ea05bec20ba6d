//! Whether one operation may have its effect, given the verdicts on all that happened before it.

use clave_crypto::{DeviceId, PersonId};

use super::action::{Action, DeviceEntry, PersonEntry};
use super::evaluate::{Cut, Evaluation, Precedence, Standing, Verdict, narrows};
use super::graph::Graph;
use super::past::Past;
use super::reason::Reason;
use super::rights::{Right, Role};
use super::state::{Here, View};
use crate::OperationId;
use crate::mutation::{self, Rule, off};

/// Something that somebody does at a point in the graph: an operation in the log, or one that is about to be.
pub(crate) struct Act<'a> {
    graph: &'a Graph,
    past: &'a Past,
    /// Its place, if it is in the log.
    index: Option<usize>,
    person: PersonId,
    /// The author's role in the act's past.
    role: Role,
    /// The same, after what was taken away at the same time.
    capped: Role,
    capped_by: Option<usize>,
    precedence: Precedence,
}

impl Evaluation {
    /// Judges an operation of the log.
    pub(crate) fn judge(&self, graph: &Graph, index: usize) -> Result<Standing, Reason> {
        let node = graph.node(index);
        if let (Action::Genesis { founder, .. }, 0) = (node.operation.action(), node.depth) {
            let (place, id) = (graph.place(index), node.operation.author());
            let precedence = Precedence { rank: 0, role: place, device: place, id };
            return Ok(Standing { person: founder.person, role: Role::Owner, precedence, cut: None });
        }
        if let Action::RecoverDevice { device, .. } = node.operation.action() {
            let keys = graph.recoveries.get(&index).map_or(&[][..], Vec::as_slice);
            return self.judge_recovery(graph, &node.past, Some(index), device, keys);
        }
        let act = self.act(graph, node.operation.author(), &node.past, Some(index))?;
        let keys = graph.recoveries.get(&index).map_or(&[][..], Vec::as_slice);
        self.judge_act(&act, node.operation.action(), keys)
    }

    /// Judges a recovery, by a device that need not be in. `keys` vouch for it.
    pub(crate) fn judge_recovery(
        &self,
        graph: &Graph,
        past: &Past,
        index: Option<usize>,
        entry: &DeviceEntry,
        keys: &[[u8; 32]],
    ) -> Result<Standing, Reason> {
        let (view, device, person) = (View::of(past), entry.device(), entry.certificate.person);
        let Some(here) = self.person(graph, person, &view) else {
            let introductions = graph.people.get(&person).map_or(&[][..], |about| &about.introductions);
            let introductions = introductions.iter().map(|index| (*index, person)).collect();
            return Err(self.why_out(graph, introductions, &[], &view));
        };
        let of_device = self.meanwhile(graph, self.cuts.devices.get(&device), past, index);
        let of_person = self.meanwhile(graph, self.cuts.people.get(&person), past, index);
        let lowers =
            |by: &usize| matches!(self.verdicts[*by], Verdict::Stands(Standing { cut: Some(Cut::Lower(..)), .. }));
        if let Some(by) = of_device.chain(of_person).find(|by| !lowers(by) && !off(Rule::RecoveryRemovedMeanwhile)) {
            return Err(Reason::RemovedMeanwhile { by: graph.id(by) });
        }
        // The same signature must not bring back a device that was revoked since: so it is good for the first time only.
        let introductions = graph.devices.get(&device).map_or(&[][..], |about| &about.introductions);
        if introductions.iter().any(|(before, _)| past.contains(*before)) && !off(Rule::RecoveryNew) {
            return Err(Reason::NotNew);
        }
        if !off(Rule::RecoveryKeyNamed) && !self.names_recovery_key(graph, person, keys, &view) {
            return Err(Reason::NoRecovery);
        }
        let changed = self.meanwhile(graph, self.cuts.recoveries.get(&person), past, index).next();
        if let Some(by) = changed.filter(|_| !off(Rule::RecoveryChangedMeanwhile)) {
            return Err(Reason::RecoveryChangedMeanwhile { by: graph.id(by) });
        }
        let place = index.map_or((u64::MAX, OperationId::from_bytes([u8::MAX; 32])), |index| graph.place(index));
        let precedence =
            Precedence { rank: here.role.rank(), role: graph.place(here.given), device: place, id: device };
        Ok(Standing { person, role: here.role, precedence, cut: None })
    }

    /// Whether one of these recovery keys is in force for a person.
    fn names_recovery_key(&self, graph: &Graph, person: PersonId, keys: &[[u8; 32]], view: &View<'_>) -> bool {
        let named = |index: usize| graph.recovery_key(index).is_some_and(|key| keys.contains(&key));
        match self.recovery_change(graph, person, view).filter(|_| !off(Rule::RecoveryChanged)) {
            Some(change) => named(change),
            None => self.admissions(graph, person, view).any(named),
        }
    }

    /// The last change of a person's recovery key since they came in. Before it stands no other key is in force.
    pub(crate) fn recovery_change(&self, graph: &Graph, person: PersonId, view: &View<'_>) -> Option<usize> {
        let about = graph.people.get(&person)?;
        let live = |index: &usize| {
            self.standing(*index, view).is_some() && self.ended_by(graph, *index, &about.removals, view).is_none()
        };
        let changes = about.recoveries.iter().copied().filter(|index| view.past.contains(*index)).filter(live);
        changes.max_by_key(|index| graph.place(*index))
    }

    /// Who acts: refused if they were not in, or were removed at the same time.
    pub(crate) fn act<'a>(
        &self,
        graph: &'a Graph,
        author: DeviceId,
        past: &'a Past,
        index: Option<usize>,
    ) -> Result<Act<'a>, Reason> {
        let view = View::of(past);
        let Some((person, here, device)) =
            self.device(graph, author, &view).or_else(|| self.former(graph, author, &view))
        else {
            return Err(self.why_absent(graph, author, &view));
        };
        let Here { role, given, .. } = here;
        let mut of_device = self.meanwhile(graph, self.cuts.devices.get(&author), past, index);
        if let Some(by) = of_device.next().filter(|_| !off(Rule::DeviceRevokedMeanwhile)) {
            return Err(Reason::RemovedMeanwhile { by: graph.id(by) });
        }
        let (mut capped, mut capped_by) = (role, None);
        for by in self.meanwhile(graph, self.cuts.people.get(&person), past, index) {
            match self.verdicts[by] {
                Verdict::Stands(Standing { cut: Some(Cut::Lower(_, lower)), .. }) => {
                    if lower > capped && !off(Rule::LoweredMeanwhile) {
                        (capped, capped_by) = (lower, Some(by));
                    }
                }
                _ if off(Rule::RemovedMeanwhile) => {}
                _ => return Err(Reason::RemovedMeanwhile { by: graph.id(by) }),
            }
        }
        let (role_place, device_place) = (graph.place(given), graph.place(device));
        let precedence = Precedence { rank: capped.rank(), role: role_place, device: device_place, id: author };
        let precedence = mutation::precedence(precedence);
        Ok(Act { graph, past, index, person, role, capped, capped_by, precedence })
    }

    fn why_absent(&self, graph: &Graph, author: DeviceId, view: &View<'_>) -> Reason {
        let Some(about) = graph.devices.get(&author) else { return Reason::AuthorUnknown };
        self.why_out(graph, about.introductions.clone(), &about.removals, view)
    }

    fn why_out(
        &self,
        graph: &Graph,
        mut introductions: Vec<(usize, PersonId)>,
        removals: &[usize],
        view: &View<'_>,
    ) -> Reason {
        let mut reason = Reason::AuthorUnknown;
        introductions.sort_unstable_by_key(|(index, _)| graph.place(*index));
        for (index, person) in introductions {
            if !view.past.contains(index) {
                continue;
            }
            if self.standing(index, view).is_none() {
                reason = Reason::AuthorSetAside { admission: graph.id(index) };
                continue;
            }
            let of_device = removals.iter().copied();
            let of_person = graph.people[&person].removals.iter().copied();
            let ends = |removal: &usize| self.standing(*removal, view).is_some() && !graph.precedes(*removal, index);
            let by = of_device.chain(of_person).filter(ends).max_by_key(|removal| graph.place(*removal));
            if let Some(by) = by {
                return Reason::AuthorRemoved { by: graph.id(by) };
            }
        }
        reason
    }

    /// Judges what an author would do. `keys` vouch for it, if it is a change of the recovery key.
    pub(crate) fn judge_act(&self, act: &Act<'_>, action: &Action, keys: &[[u8; 32]]) -> Result<Standing, Reason> {
        let (graph, view) = (act.graph, View::of(act.past));
        let mut cut = None;
        match action {
            // A genesis and a recovery that may stand are judged apart.
            Action::Genesis { .. } | Action::RecoverDevice { .. } => return Err(Reason::AlreadyThere),
            Action::Unknown { .. } => return Err(Reason::Unreadable),
            Action::AddPerson { newcomer, role } => self.may_admit(act, newcomer, *role)?,
            Action::Grant { guest, .. } => match self.person(graph, guest.person, &view) {
                None if guest.devices.is_empty() => return Err(Reason::NotThere),
                Some(Here { role: Role::Guest, .. }) if guest.devices.is_empty() => {
                    self.may_invite(act, Role::Guest)?;
                }
                _ => self.may_admit(act, guest, Role::Guest)?,
            },
            Action::AddDevice { device } => {
                act.require(Right::OwnEntry)?;
                if !off(Rule::OwnDevices) {
                    act.own(device.certificate.person)?;
                }
                self.is_free(act, std::slice::from_ref(device))?;
            }
            Action::RevokePerson { person, .. } => {
                let here = self.person(graph, *person, &view).ok_or(Reason::NotThere)?;
                act.reach(*person, here.role)?;
                self.leaves_owner(act, Some(*person), None, here.role)?;
                cut = Some(Cut::Person(*person));
            }
            Action::RevokeDevice { device, .. } => {
                let (person, here, _) = self.device(graph, *device, &view).ok_or(Reason::NotThere)?;
                act.reach(person, here.role)?;
                self.leaves_owner(act, None, Some(*device), here.role)?;
                cut = Some(Cut::Device(*device, person));
            }
            Action::SetRole { person, role, .. } => {
                let here = self.person(graph, *person, &view).ok_or(Reason::NotThere)?;
                act.reach(*person, here.role)?;
                if here.role == *role {
                    return Err(Reason::NoChange);
                }
                let lowers = *role > here.role;
                if !(lowers && *person == act.person) {
                    act.give(*role)?;
                }
                if lowers {
                    self.leaves_owner(act, Some(*person), None, here.role)?;
                    cut = Some(Cut::Lower(*person, *role));
                }
            }
            Action::EndGrant { person, .. } => {
                if *person != act.person {
                    act.require(Right::EndGrant)?;
                }
                let here = self.person(graph, *person, &view).ok_or(Reason::NotThere)?;
                if here.expires_ms.is_none() {
                    return Err(Reason::NoGrant);
                }
                cut = Some(Cut::Person(*person));
            }
            Action::SetProfile { person, .. } => {
                act.require(Right::OwnEntry)?;
                if !off(Rule::OwnName) {
                    act.own(*person)?;
                }
            }
            Action::SetRecovery { person, .. } => {
                act.require(Right::OwnEntry)?;
                act.own(*person)?;
                if !off(Rule::RecoveryKeyNamed) && !self.names_recovery_key(graph, *person, keys, &view) {
                    return Err(Reason::NoRecovery);
                }
                cut = Some(Cut::Recovery(*person));
            }
            Action::RenameDevice { device, .. } => {
                act.require(Right::OwnEntry)?;
                let (person, ..) = self.device(graph, *device, &view).ok_or(Reason::NotThere)?;
                if !off(Rule::OwnDeviceName) {
                    act.own(person)?;
                }
            }
            Action::PublishKeyPackages { .. } => act.require(Right::OwnEntry)?,
            Action::Rename { .. } => act.require(Right::Rename)?,
            Action::SetPolicy { .. } => {
                act.require(Right::SetPolicy)?;
                cut = narrows(action).then_some(Cut::Invitations);
            }
        }
        Ok(Standing { person: act.person, role: act.capped, precedence: act.precedence, cut })
    }

    fn may_invite(&self, act: &Act<'_>, role: Role) -> Result<(), Reason> {
        self.may(act, Right::Invite)?;
        act.give(role)
    }

    /// Whether an author has a right, policies included.
    pub(crate) fn may(&self, act: &Act<'_>, right: Right) -> Result<(), Reason> {
        act.require(right)?;
        if right == Right::Invite && act.capped == Role::Member {
            if !self.members_may_invite(act.graph, &View::of(act.past)) {
                return Err(Reason::NotAllowed { right });
            }
            let mut withdrawn = self.meanwhile(act.graph, Some(&self.cuts.invitations), act.past, act.index);
            if let Some(by) = withdrawn.next().filter(|_| !off(Rule::PolicyMeanwhile)) {
                return Err(Reason::PolicyMeanwhile { by: act.graph.id(by) });
            }
        }
        Ok(())
    }

    fn may_admit(&self, act: &Act<'_>, newcomer: &PersonEntry, role: Role) -> Result<(), Reason> {
        self.may_invite(act, role)?;
        if self.person(act.graph, newcomer.person, &View::of(act.past)).is_some() && !off(Rule::OnePerson) {
            return Err(Reason::AlreadyThere);
        }
        self.is_free(act, &newcomer.devices)
    }

    fn is_free(&self, act: &Act<'_>, devices: &[DeviceEntry]) -> Result<(), Reason> {
        for device in devices {
            if let Some((whose, _, _)) =
                self.device(act.graph, device.device(), &View::of(act.past)).filter(|_| !off(Rule::OnePerson))
            {
                let own = whose == device.certificate.person;
                return Err(if own { Reason::AlreadyThere } else { Reason::DeviceTaken });
            }
        }
        Ok(())
    }

    fn leaves_owner(
        &self,
        act: &Act<'_>,
        person: Option<PersonId>,
        device: Option<DeviceId>,
        role: Role,
    ) -> Result<(), Reason> {
        if role == Role::Owner
            && !off(Rule::LastOwner)
            && !self.has_owner(act.graph, &View::of(act.past), person, device)
        {
            return Err(Reason::LastOwner);
        }
        Ok(())
    }
}

impl Act<'_> {
    /// Fails unless the author's role allows; says whether it did before it was lowered.
    fn check(&self, allowed: impl Fn(Role) -> bool, otherwise: Reason) -> Result<(), Reason> {
        match self.capped_by {
            _ if allowed(self.capped) => Ok(()),
            Some(by) if allowed(self.role) => Err(Reason::LoweredMeanwhile { by: self.graph.id(by) }),
            _ => Err(otherwise),
        }
    }

    fn require(&self, right: Right) -> Result<(), Reason> {
        self.check(|role| role.has(right) || off(Rule::RightOfRole), Reason::NotAllowed { right })
    }

    fn give(&self, role: Role) -> Result<(), Reason> {
        self.check(|own| own.gives(role) || off(Rule::RolesGiven), Reason::RoleTooHigh { role })
    }

    fn own(&self, person: PersonId) -> Result<(), Reason> {
        if person == self.person { Ok(()) } else { Err(Reason::NotTheirOwn) }
    }

    /// Whether the author may remove a person with `role`, or lower them, or revoke a device of theirs.
    fn reach(&self, person: PersonId, role: Role) -> Result<(), Reason> {
        if person == self.person {
            return self.require(Right::OwnEntry);
        }
        self.require(Right::ManagePeople)?;
        self.check(|own| own.manages(role) || off(Rule::Reach), Reason::Outranked)
    }
}
