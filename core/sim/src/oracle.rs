//! The rules of the membership log, said again as plainly and slowly as possible: sets of ids, everything computed anew
//! at every step. Shares no code with the evaluator. The tests of the engine (`core/engine/tests/membership`) use it too.

use std::collections::{BTreeMap, BTreeSet};

use clave_engine::OperationId;
use clave_engine::crypto::{DeviceId, Domain, PersonId, Signature};
use clave_engine::membership::{Action, DeviceEntry, Operation, PersonEntry, Role, Stay};

type Ids = BTreeSet<OperationId>;
type Place = (u64, OperationId);
type Precedence = (Role, Place, Place, DeviceId);

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) people: BTreeMap<PersonId, Role>,
    pub(crate) devices: BTreeMap<DeviceId, PersonId>,
    pub(crate) device_names: BTreeMap<DeviceId, String>,
    pub(crate) void: Ids,
    pub(crate) stays: BTreeMap<DeviceId, BTreeMap<OperationId, Stay>>,
    pub(crate) kept_changes: BTreeSet<[u8; 32]>,
}

#[derive(Clone, Copy)]
struct Info {
    person: PersonId,
    role: Role,
    precedence: Precedence,
    cut: Option<Cut>,
}

#[derive(Clone, Copy)]
enum Cut {
    Person(PersonId),
    Lower(PersonId, Role),
    Device(DeviceId, PersonId),
    Recovery(PersonId),
    Invitations,
}

struct State {
    people: BTreeMap<PersonId, (Role, OperationId, bool)>,
    devices: BTreeMap<DeviceId, (PersonId, OperationId)>,
    invitations: bool,
}

struct Oracle<'a> {
    operations: BTreeMap<OperationId, &'a Operation>,
    past: BTreeMap<OperationId, Ids>,
    depth: BTreeMap<OperationId, u64>,
    /// Carried out, with what was known of them when they were.
    carried: BTreeMap<OperationId, Info>,
    rejected: Ids,
    /// Void, since they would leave no owner in the end.
    undone: Ids,
}

/// Evaluates operations that are given parents first.
pub(crate) fn evaluate(operations: &[Operation]) -> Outcome {
    let mut oracle = Oracle {
        operations: BTreeMap::new(),
        past: BTreeMap::new(),
        depth: BTreeMap::new(),
        carried: BTreeMap::new(),
        rejected: Ids::new(),
        undone: Ids::new(),
    };
    for operation in operations {
        let mut past = Ids::new();
        for parent in operation.parents() {
            past.insert(*parent);
            past.extend(&oracle.past[parent]);
        }
        let depth = operation.parents().iter().map(|parent| oracle.depth[parent] + 1).max().unwrap_or(0);
        oracle.depth.insert(operation.id(), depth);
        oracle.past.insert(operation.id(), past);
        oracle.operations.insert(operation.id(), operation);
    }
    oracle.run()
}

fn gives(author: Role, role: Role) -> bool {
    match author {
        Role::Owner => true,
        Role::Admin => role != Role::Owner && role != Role::Admin,
        Role::Member => role == Role::Member || role == Role::Guest,
        _ => false,
    }
}

fn manages(author: Role, role: Role) -> bool {
    author == Role::Owner || (author == Role::Admin && role != Role::Owner && role != Role::Admin)
}

fn introduces(action: &Action) -> (Option<(PersonId, Role)>, Vec<&DeviceEntry>) {
    let of = |entry: &PersonEntry, role| Some((entry.person, role));
    match action {
        Action::Genesis { founder, .. } => (of(founder, Role::Owner), founder.devices.iter().collect()),
        Action::AddPerson { newcomer, role } => (of(newcomer, *role), newcomer.devices.iter().collect()),
        Action::Grant { guest, .. } => (of(guest, Role::Guest), guest.devices.iter().collect()),
        Action::AddDevice { device } | Action::RecoverDevice { device, .. } => (None, vec![device]),
        _ => (None, Vec::new()),
    }
}

impl Oracle<'_> {
    fn run(&mut self) -> Outcome {
        loop {
            let last = self.decide_all();
            let Some(last) = last.filter(|_| !self.has_owner(&self.standing())) else { break };
            self.undone.insert(last);
            self.carried.clear();
            self.rejected.clear();
        }
        let standing = self.standing();
        let state = self.state(&standing, &standing.keys().copied().collect());
        Outcome {
            people: state.people.iter().map(|(person, (role, ..))| (*person, *role)).collect(),
            devices: state.devices.iter().map(|(device, (person, _))| (*device, *person)).collect(),
            device_names: state.devices.keys().map(|device| (*device, self.device_name(*device, &standing))).collect(),
            stays: self.stays(&standing),
            kept_changes: self.kept_changes(&standing),
            void: self.operations.keys().filter(|id| !standing.contains_key(*id)).copied().collect(),
        }
    }

    /// Decides all revocations; gives the one that was carried out last.
    fn decide_all(&mut self) -> Option<OperationId> {
        let mut last = None;
        loop {
            let standing = self.standing();
            let next = standing
                .iter()
                .filter(|(id, info)| {
                    info.cut.is_some() && !self.carried.contains_key(*id) && !self.rejected.contains(*id)
                })
                .min_by_key(|(id, info)| (info.precedence, **id));
            let Some((id, info)) = next else { return last };
            let (id, info) = (*id, *info);
            if self.undone.contains(&id) || self.is_overruled(id, &info, &standing) {
                self.rejected.insert(id);
                continue;
            }
            let had_owner = self.has_owner(&standing);
            self.carried.insert(id, info);
            if had_owner && !self.has_owner(&self.standing()) {
                self.carried.remove(&id);
                self.rejected.insert(id);
            } else {
                last = Some(id);
            }
        }
    }

    fn stays(&self, standing: &BTreeMap<OperationId, Info>) -> BTreeMap<DeviceId, BTreeMap<OperationId, Stay>> {
        let mut stays: BTreeMap<DeviceId, BTreeMap<OperationId, Stay>> = BTreeMap::new();
        for (id, operation) in &self.operations {
            for entry in introduces(operation.action()).1 {
                let ends = |removal: &OperationId| {
                    let removes = match self.operations[removal].action() {
                        Action::RevokePerson { person, .. } | Action::EndGrant { person, .. } => {
                            *person == entry.certificate.person
                        }
                        Action::RevokeDevice { device, .. } => *device == entry.device(),
                        _ => false,
                    };
                    removes && !self.past[id].contains(removal)
                };
                let stay = match standing.contains_key(id) {
                    false => Stay::SetAside,
                    true if standing.keys().any(ends) => Stay::Ended,
                    true => Stay::InStanding,
                };
                stays.entry(entry.device()).or_default().insert(*id, stay);
            }
        }
        stays
    }

    /// The last name that anything which stands gives a device, in the order of places.
    fn device_name(&self, device: DeviceId, standing: &BTreeMap<OperationId, Info>) -> String {
        let named = |id: &OperationId| {
            let name = match self.operations[id].action() {
                Action::RenameDevice { device: named, name } => (*named == device).then(|| name.clone()),
                action => {
                    let entry = introduces(action).1.into_iter().find(|entry| entry.device() == device);
                    entry.map(|entry| entry.name.clone())
                }
            };
            Some((self.place(*id), name?))
        };
        standing.keys().filter_map(named).max().map(|(_, name)| name).unwrap_or_default()
    }

    fn kept_changes(&self, standing: &BTreeMap<OperationId, Info>) -> BTreeSet<[u8; 32]> {
        let mut kept = BTreeSet::new();
        for id in standing.keys() {
            match self.operations[id].action() {
                Action::RevokePerson { keep_changes, .. }
                | Action::RevokeDevice { keep_changes, .. }
                | Action::EndGrant { keep_changes, .. } => kept.extend(keep_changes.iter().copied()),
                _ => {}
            }
        }
        kept
    }

    fn place(&self, id: OperationId) -> Place {
        (self.depth[&id], id)
    }

    fn concurrent(&self, a: OperationId, b: OperationId) -> bool {
        a != b && !self.past[&a].contains(&b) && !self.past[&b].contains(&a)
    }

    fn standing(&self) -> BTreeMap<OperationId, Info> {
        let mut order: Vec<Place> = self.operations.keys().map(|id| self.place(*id)).collect();
        order.sort();
        let mut standing = BTreeMap::new();
        for (_, id) in order {
            if let Some(info) = self.carried.get(&id) {
                standing.insert(id, *info);
            } else if !self.rejected.contains(&id)
                && let Some(info) = self.judge(id, &standing)
            {
                standing.insert(id, info);
            }
        }
        standing
    }

    fn has_owner(&self, standing: &BTreeMap<OperationId, Info>) -> bool {
        let undecided = |info: &Info, id| info.cut.is_some() && !self.carried.contains_key(id);
        let seen = standing.iter().filter(|(id, info)| !undecided(info, *id)).map(|(id, _)| *id).collect();
        owner_left(&self.state(standing, &seen), None, None)
    }

    fn is_overruled(&self, id: OperationId, info: &Info, standing: &BTreeMap<OperationId, Info>) -> bool {
        let target = match info.cut {
            Some(Cut::Person(person) | Cut::Lower(person, _) | Cut::Device(_, person)) if person != info.person => {
                person
            }
            _ => return false,
        };
        let ends_grant = matches!(self.operations[&id].action(), Action::EndGrant { .. });
        standing.keys().any(|other| {
            let given = match self.operations[other].action() {
                Action::SetRole { person, role, .. } => Some((*person, *role)),
                action => introduces(action).0,
            };
            given.is_some_and(|(person, role)| {
                let reached = if ends_grant { role == Role::Guest } else { manages(info.role, role) };
                person == target && !reached && self.concurrent(id, *other)
            })
        })
    }

    /// What the operations in `seen` come to, all of which stand.
    fn state(&self, standing: &BTreeMap<OperationId, Info>, seen: &Ids) -> State {
        let action = |id: &OperationId| self.operations[id].action();
        let person_live = |id: &OperationId, person: PersonId| {
            seen.iter().all(|removal| match action(removal) {
                Action::RevokePerson { person: gone, .. } | Action::EndGrant { person: gone, .. }
                    if *gone == person =>
                {
                    self.past[id].contains(removal)
                }
                _ => true,
            })
        };
        let device_live = |id: &OperationId, device: DeviceId| {
            seen.iter().all(|removal| match action(removal) {
                Action::RevokeDevice { device: gone, .. } if *gone == device => self.past[id].contains(removal),
                _ => true,
            })
        };
        let settle = |settings: Vec<OperationId>| {
            let newest =
                settings.iter().filter(|id| !settings.iter().any(|newer| self.past[newer].contains(*id))).copied();
            newest.min_by_key(|id| (standing[id].precedence, *id))
        };

        let mut people = BTreeMap::new();
        for id in seen {
            let (Some((person, _)), _) = introduces(action(id)) else { continue };
            let live: Vec<_> = seen
                .iter()
                .filter_map(|id| introduces(action(id)).0.filter(|(who, _)| *who == person).map(|(_, role)| (id, role)))
                .filter(|(id, _)| person_live(id, person))
                .collect();
            let Some((admission, highest)) = live.iter().min_by_key(|(id, role)| (*role, self.place(**id))) else {
                continue;
            };
            let roles = seen.iter().filter(|id| {
                matches!(action(id), Action::SetRole { person: who, .. } if *who == person) && person_live(id, person)
            });
            let (role, given) = match settle(roles.copied().collect()) {
                Some(id) => match action(&id) {
                    Action::SetRole { role, .. } => (*role, id),
                    _ => unreachable!(),
                },
                None => (*highest, **admission),
            };
            let dated = live.iter().any(|(id, _)| matches!(action(id), Action::Grant { .. }));
            people.insert(person, (role, given, dated && role == Role::Guest));
        }
        let mut devices: BTreeMap<DeviceId, (PersonId, OperationId)> = BTreeMap::new();
        for id in seen {
            for entry in introduces(action(id)).1 {
                let (person, device) = (entry.certificate.person, entry.device());
                if people.contains_key(&person) && person_live(id, person) && device_live(id, device) {
                    let earliest = devices.entry(device).or_insert((person, *id));
                    if self.place(*id) < self.place(earliest.1) {
                        *earliest = (person, *id);
                    }
                }
            }
        }
        let policies =
            seen.iter().filter(|id| matches!(action(id), Action::SetPolicy { key, .. } if key == "members_may_invite"));
        let invitations = settle(policies.copied().collect())
            .is_none_or(|id| !matches!(action(&id), Action::SetPolicy { value, .. } if value == "false"));
        State { people, devices, invitations }
    }

    fn judge(&self, id: OperationId, standing: &BTreeMap<OperationId, Info>) -> Option<Info> {
        let operation = self.operations[&id];
        let author = operation.author();
        if let Action::Genesis { founder, .. } = operation.action() {
            let precedence = (Role::Owner, self.place(id), self.place(id), author);
            return Some(Info { person: founder.person, role: Role::Owner, precedence, cut: None });
        }
        let seen = self.past[&id].iter().filter(|id| standing.contains_key(*id)).copied().collect();
        let state = self.state(standing, &seen);
        let recovered = match operation.action() {
            Action::RecoverDevice { device, recovery_signature } => {
                self.recovers(id, device, recovery_signature, &seen).then_some((device.certificate.person, id))
            }
            _ => None,
        };
        let (person, device_since) = recovered.or_else(|| state.devices.get(&author).copied())?;
        let (mut role, given, _) = *state.people.get(&person)?;
        let mut invitations = state.invitations;
        for (revocation, info) in &self.carried {
            let kept = |head: &OperationId| *head == id || self.past.get(head).is_some_and(|past| past.contains(&id));
            let keep_heads = match self.operations[revocation].action() {
                Action::RevokePerson { keep_heads, .. }
                | Action::RevokeDevice { keep_heads, .. }
                | Action::EndGrant { keep_heads, .. }
                | Action::SetRole { keep_heads, .. }
                | Action::SetPolicy { keep_heads, .. } => keep_heads.as_slice(),
                _ => &[],
            };
            if !self.concurrent(id, *revocation) || keep_heads.iter().any(kept) {
                continue;
            }
            match info.cut {
                Some(Cut::Person(gone)) if gone == person => return None,
                Some(Cut::Device(gone, _)) if gone == author => return None,
                Some(Cut::Lower(lowered, to)) if lowered == person => role = role.max(to),
                Some(Cut::Recovery(whose)) if whose == person && recovered.is_some() => return None,
                Some(Cut::Invitations) => invitations = false,
                _ => {}
            }
        }
        let cut = match operation.action() {
            Action::RecoverDevice { .. } => recovered.map(|_| None)?,
            Action::SetRecovery { person: of, recovery, former_signature } => {
                let message = [of.as_bytes().as_slice(), &recovery.key].concat();
                let accepts = |key: DeviceId| key.verify(Domain::RecoveryChange, &message, former_signature).is_ok();
                (*of == person && self.in_force(person, &seen, &accepts)).then_some(Some(Cut::Recovery(person)))?
            }
            action => self.allowed(action, &state, person, role, invitations)?,
        };
        let precedence = (role, self.place(given), self.place(device_since), author);
        Some(Info { person, role, precedence, cut })
    }

    /// Whether a recovery brings in a new device, by a key that is in force for its person.
    fn recovers(&self, id: OperationId, entry: &DeviceEntry, signature: &Signature, seen: &Ids) -> bool {
        let (person, device) = (entry.certificate.person, entry.device());
        let circle = self.operations.keys().find(|id| self.past[*id].is_empty()).expect("there is a genesis");
        let message = [circle.as_bytes().as_slice(), device.as_bytes(), person.as_bytes()].concat();
        let named_before = |before: &OperationId| {
            introduces(self.operations[before].action()).1.iter().any(|entry| entry.device() == device)
        };
        !self.past[&id].iter().any(named_before)
            && self.in_force(person, seen, &|key| key.verify(Domain::Recovery, &message, signature).is_ok())
    }

    /// Whether a recovery key of a person is one that the test accepts: the key that was set last since they came in, or any
    /// that an admission names by which they are in.
    fn in_force(&self, person: PersonId, seen: &Ids, accepts: &dyn Fn(DeviceId) -> bool) -> bool {
        let live = |earlier: &OperationId| {
            !seen.iter().any(|removal| match self.operations[removal].action() {
                Action::RevokePerson { person: gone, .. } | Action::EndGrant { person: gone, .. } => {
                    *gone == person && !self.past[earlier].contains(removal)
                }
                _ => false,
            })
        };
        let changes = seen.iter().filter_map(|id| match self.operations[id].action() {
            Action::SetRecovery { person: of, recovery, .. } if *of == person && live(id) => Some((*id, recovery.key)),
            _ => None,
        });
        if let Some((_, key)) = changes.max_by_key(|(id, _)| self.place(*id)) {
            return accepts(DeviceId::from_bytes(key));
        }
        seen.iter().any(|admission| match self.operations[admission].action() {
            Action::Genesis { founder: entry, .. }
            | Action::AddPerson { newcomer: entry, .. }
            | Action::Grant { guest: entry, .. } => {
                entry.person == person
                    && live(admission)
                    && entry.recovery.is_some_and(|recovery| accepts(DeviceId::from_bytes(recovery.key)))
            }
            _ => false,
        })
    }

    /// `None` if it is not allowed; else what it cuts, if anything.
    fn allowed(
        &self,
        action: &Action,
        state: &State,
        own: PersonId,
        role: Role,
        invitations: bool,
    ) -> Option<Option<Cut>> {
        let inviting = matches!(role, Role::Owner | Role::Admin) || (role == Role::Member && invitations);
        let running = matches!(role, Role::Owner | Role::Admin);
        let free = |devices: &[DeviceEntry]| devices.iter().all(|entry| !state.devices.contains_key(&entry.device()));
        let reaches = |person: PersonId, its: Role| person == own || manages(role, its);
        let admits = |entry: &PersonEntry, given| {
            inviting && gives(role, given) && !state.people.contains_key(&entry.person) && free(&entry.devices)
        };
        let (ok, cut) = match action {
            Action::AddPerson { newcomer, role } => (admits(newcomer, *role), None),
            Action::Grant { guest, .. } if guest.devices.is_empty() => {
                let is_guest = state.people.get(&guest.person).is_some_and(|(role, ..)| *role == Role::Guest);
                (inviting && is_guest, None)
            }
            Action::Grant { guest, .. } => (admits(guest, Role::Guest), None),
            Action::AddDevice { device } => {
                (device.certificate.person == own && free(std::slice::from_ref(device)), None)
            }
            Action::RevokePerson { person, .. } => {
                let its = state.people.get(person)?.0;
                let left = its != Role::Owner || owner_left(state, Some(*person), None);
                (reaches(*person, its) && left, Some(Cut::Person(*person)))
            }
            Action::RevokeDevice { device, .. } => {
                let person = state.devices.get(device)?.0;
                let its = state.people.get(&person)?.0;
                let left = its != Role::Owner || owner_left(state, None, Some(*device));
                (reaches(person, its) && left, Some(Cut::Device(*device, person)))
            }
            Action::SetRole { person, role: to, .. } => {
                let its = state.people.get(person)?.0;
                let lowers = *to > its;
                let left = !lowers || its != Role::Owner || owner_left(state, Some(*person), None);
                let given = gives(role, *to) || (lowers && *person == own);
                let cut = lowers.then_some(Cut::Lower(*person, *to));
                (*to != its && left && given && reaches(*person, its), cut)
            }
            Action::EndGrant { person, .. } => {
                let dated = state.people.get(person)?.2;
                let may = *person == own || matches!(role, Role::Owner | Role::Admin | Role::Member);
                (dated && may, Some(Cut::Person(*person)))
            }
            Action::SetProfile { person, .. } => (*person == own, None),
            Action::RenameDevice { device, .. } => {
                (state.devices.get(device).is_some_and(|(person, _)| *person == own), None)
            }
            Action::PublishKeyPackages { .. } => (true, None),
            Action::Rename { .. } => (running, None),
            Action::SetPolicy { key, value, .. } => {
                let narrows = key == "members_may_invite" && value == "false";
                (running, narrows.then_some(Cut::Invitations))
            }
            _ => (false, None),
        };
        ok.then_some(cut)
    }
}

fn owner_left(state: &State, without: Option<PersonId>, without_device: Option<DeviceId>) -> bool {
    state.devices.iter().any(|(device, (person, _))| {
        Some(*device) != without_device
            && Some(*person) != without
            && state.people.get(person).is_some_and(|(role, ..)| *role == Role::Owner)
    })
}
