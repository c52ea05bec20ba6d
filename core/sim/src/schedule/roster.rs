//! People come and go, rise and fall, and quarrel.

use clave_engine::crypto::DeviceId;
use clave_engine::fuzzing::inside;
use clave_engine::membership::{Action, MEMBERS_MAY_INVITE, PersonEntry, Right, Role};

use super::Run;
use crate::Who;
use crate::plan::Mix;

/// The fewest that a removal leaves, as its author sees it.
const LEFT_MIN: usize = 3;

impl Run {
    pub(super) fn invite(&mut self) {
        if self.is_private() {
            return self.bring_in();
        }
        let waiting: Vec<Who> = self.people.iter().copied().filter(|who| !self.invited.contains(who)).collect();
        match waiting.first() {
            Some(guest) => self.invite_whom(*guest),
            None => self.invite_back(),
        }
    }

    pub(super) fn invite_whom(&mut self, guest: Who) {
        // Who is invited by somebody that keeps to no rule is in their hands.
        let Some(host) = self.somebody_honest() else { return };
        if !self.world.is_up(guest) || self.invited.contains(&guest) {
            return;
        }
        if let Ok(link) = self.world.invitation(host, self.circle)
            && self.world.join(guest, &link).is_ok()
        {
            self.invited.push(guest);
            self.hosts.insert(guest, host);
            self.links.push((guest, link));
        }
    }

    /// Brings somebody back in who was removed, with the device that they had.
    fn invite_back(&mut self) {
        if self.is_private() {
            return self.bring_in();
        }
        let Some(by) = self.somebody_honest().filter(|_| self.plan.returns) else { return };
        let circle = self.circle;
        let Some(log) = inside::log(self.world.engine(by), circle) else { return };
        let former: Vec<DeviceId> = log.membership().former_devices.keys().copied().collect();
        let Some(device) = self.world.random.pick(&former) else { return };
        let Some(newcomer) = self.world.admission_of(by, circle, device) else { return };
        let guest = self.world.random.permille(200);
        let expires_ms = self.world.wall_clock_ms() + self.world.random.between(1_000..300_000);
        let action = if guest {
            Action::Grant { guest: newcomer, expires_ms }
        } else {
            Action::AddPerson { newcomer, role: Role::Member }
        };
        let _ = self.world.act(by, circle, action);
    }

    /// Somebody above whom the log puts few gives somebody a higher role.
    pub(super) fn promote(&mut self) {
        let honest: Vec<Who> = self.invited.iter().copied().filter(|who| !self.world.is_rogue(*who)).collect();
        let (by, Some(whom)) = (self.people[0], self.world.random.pick(&honest)) else { return };
        let role = if self.world.random.permille(350) { Role::Owner } else { Role::Admin };
        if self.world.is_up(by) && by != whom {
            let _ = self.world.set_role(by, self.circle, whom, role);
        }
    }

    pub(super) fn change_roster(&mut self) {
        match self.world.random.between(0..100) {
            0..22 => self.remove(),
            22..30 => self.remove_device(),
            30..36 => self.leave(),
            36..58 => self.set_role(),
            58..64 => self.set_policy(),
            64..74 => self.grant(),
            74..82 => self.end_grant(),
            82..90 => self.quarrel(),
            _ => self.invite_back(),
        }
    }

    /// Somebody who may manage people: in the calm mix the founder alone.
    pub(super) fn manager(&mut self) -> Option<Who> {
        let circle = self.circle;
        if self.plan.mix == Mix::Calm {
            return Some(self.people[0]).filter(|who| self.world.members(circle).contains(who));
        }
        let mut managers = Vec::new();
        for who in self.world.members(circle) {
            let id = self.world.device(who).id;
            let membership = self.world.engine(who).membership(circle).expect("a member");
            if membership.may(id, Right::ManagePeople) && !self.world.is_rogue(who) {
                managers.push(who);
            }
        }
        self.world.random.pick(&managers)
    }

    /// Somebody else in the circle, as `by` sees it; none if there are too few to lose one.
    fn other(&mut self, by: Who) -> Option<Who> {
        let membership = self.world.engine(by).membership(self.circle).ok()?;
        let devices: Vec<DeviceId> = membership.devices.keys().copied().collect();
        let others: Vec<Who> = devices.iter().filter_map(|id| self.world.who(id)).filter(|who| *who != by).collect();
        let whom = self.world.random.pick(&others)?;
        (others.len() >= self.left_min() && (self.plan.mix != Mix::Calm || whom != self.people[0])).then_some(whom)
    }

    /// A private circle may end with one.
    fn left_min(&self) -> usize {
        if self.is_private() { 1 } else { LEFT_MIN }
    }

    fn remove(&mut self) {
        let Some(by) = self.manager().filter(|_| self.plan.removals) else { return };
        let Some(whom) = self.other(by) else { return };
        let _ = self.world.remove(by, self.circle, whom);
    }

    fn remove_device(&mut self) {
        let Some(by) = self.manager().filter(|_| self.plan.removals) else { return };
        // One that is lost, if there is any: that is what people do.
        let lost: Vec<Who> = self.people.iter().copied().filter(|who| self.world.is_lost(*who)).collect();
        let Some(whom) = self.world.random.pick(&lost).or_else(|| self.other(by)) else { return };
        let _ = self.world.remove_device(by, self.circle, whom);
    }

    fn leave(&mut self) {
        let Some(who) = self.somebody_honest().filter(|_| self.plan.removals) else { return };
        if self.other(who).is_some() && (self.plan.mix != Mix::Calm || who != self.people[0]) {
            let _ = self.world.remove(who, self.circle, who);
        }
    }

    fn set_role(&mut self) {
        let Some(by) = self.manager() else { return };
        let Some(whom) = self.other(by) else { return };
        let high = self.plan.mix != Mix::Calm && !self.world.is_rogue(whom);
        let role = match self.world.random.between(0..10) {
            0..2 if high => Role::Owner,
            2..6 if high => Role::Admin,
            6 => Role::Bot,
            7 => Role::Guest,
            _ => Role::Member,
        };
        let _ = self.world.set_role(by, self.circle, whom, role);
    }

    fn set_policy(&mut self) {
        let Some(by) = self.manager() else { return };
        let value = if self.world.random.permille(300) { "false" } else { "true" };
        let (key, value) = (MEMBERS_MAY_INVITE.to_owned(), value.to_owned());
        let _ = self.world.act(by, self.circle, Action::SetPolicy { key, value, keep_heads: Vec::new() });
    }

    /// Gives a guest a date, or another one.
    fn grant(&mut self) {
        let Some(by) = self.somebody_honest() else { return };
        let Some(whom) = self.other(by) else { return };
        let person = self.world.device(whom).person;
        let expires_ms = self.world.wall_clock_ms() + self.world.random.between(1_000..300_000);
        let guest = PersonEntry { person, name: String::new(), devices: Vec::new(), invitation: None, recovery: None };
        let _ = self.world.act(by, self.circle, Action::Grant { guest, expires_ms });
    }

    /// Somebody gives a guest a date that is about to pass, and writes as it does. By theirs, the fastest clock, it does so
    /// first: nobody else can have ended the stay.
    pub(super) fn somebody_has_a_guest(&mut self) {
        let (mut able, now_ms) = (self.world.members(self.circle), self.world.wall_clock_ms());
        able.retain(|who| !self.world.is_rogue(*who));
        let Some(by) = able.into_iter().max_by_key(|who| self.world.device(*who).clock(now_ms)) else { return };
        let Some(whom) = self.other(by) else { return };
        let person = self.world.device(whom).person;
        let membership = self.world.engine(by).membership(self.circle).expect("a member");
        if membership.people.get(&person).is_some_and(|person| person.role != Role::Guest) {
            let Some(manager) = self.manager().filter(|manager| *manager != whom) else { return };
            let _ = self.world.set_role(manager, self.circle, whom, Role::Guest);
            return;
        }
        let expires_ms = self.world.device(by).clock(now_ms) + 2_000;
        let guest = PersonEntry { person, name: String::new(), devices: Vec::new(), invitation: None, recovery: None };
        let given = self.world.act(by, self.circle, Action::Grant { guest, expires_ms });
        let wait_ms = self.world.random.between(2_000..4_000);
        self.world.pass(wait_ms);
        if given.is_ok() && self.world.is_up(by) && self.world.circles(by).contains(&self.circle) {
            let text = self.world.fresh_text(by);
            let _ = self.world.try_post(by, self.circle, &text);
        }
    }

    /// Ends a grant whose date has passed by somebody's clock.
    fn end_grant(&mut self) {
        let Some(by) = self.somebody_honest().filter(|_| self.plan.removals) else { return };
        let now_ms = self.world.device(by).clock(self.world.wall_clock_ms());
        let membership = self.world.engine(by).membership(self.circle).expect("a member");
        let over = membership.people.iter().find(|(_, person)| person.expires_ms.is_some_and(|at| at < now_ms));
        if let Some(person) = over.map(|(person, _)| *person) {
            let _ = self.world.end_grant(by, self.circle, person);
        }
    }

    /// Two remove each other, or each whom the other brought in, neither knowing of it.
    fn quarrel(&mut self) {
        let (Some(one), Some(other)) = (self.manager(), self.manager()) else { return };
        if one == other || !self.plan.removals || self.world.members(self.circle).len() < self.left_min() + 2 {
            return;
        }
        if self.world.random.permille(500) {
            // Each writes before anything of the other's arrives.
            let _ = self.world.remove(one, self.circle, other);
            let _ = self.world.remove(other, self.circle, one);
            return;
        }
        for (by, host) in [(one, other), (other, one)] {
            let guests: Vec<Who> = self.hosts.iter().filter(|(_, of)| **of == host).map(|(guest, _)| *guest).collect();
            if let Some(guest) = self.world.random.pick(&guests) {
                let _ = self.world.remove(by, self.circle, guest);
            }
        }
    }
}
