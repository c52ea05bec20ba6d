//! People of the log alone: no device of theirs runs, and others pass on what they write.
//!
//! What people do with their devices reaches few of the corners of the membership log: an engine writes what it may, from
//! where it is. These write anything, from any point of the log, with any `keep_heads`, in any role, with several devices
//! and recovery keys. Nobody has to forgive them: all devices have to come to the same, and to what the rules say.

use clave_engine::crypto::{DeviceId, DeviceKey, Domain, Entropy, PersonId, PersonKey};
use clave_engine::fuzzing::inside;
use clave_engine::fuzzing::rogue::{self, Rogue, Said};
use clave_engine::membership::{
    Action, DeviceEntry, Insertion, KeyPackages, Log, MEMBERS_MAY_INVITE, Operation, PersonEntry, RecoveryCertificate,
    Role, recovery_message,
};
use clave_engine::{Channel, CircleId, OperationId};

use super::World;
use crate::Who;

/// How many there are.
const STRAYS: usize = 6;
/// How many devices each has.
const DEVICES: usize = 3;

/// People of the log alone.
#[derive(Default)]
pub(crate) struct Strays(Vec<Stray>);

struct Stray {
    person: PersonKey,
    devices: [DeviceKey; DEVICES],
    recovery: DeviceKey,
}

impl Strays {
    pub(crate) fn are_there(&self) -> bool {
        !self.0.is_empty()
    }
}

impl Stray {
    fn new(entropy: &mut Entropy) -> Self {
        Self {
            person: PersonKey::generate(entropy),
            devices: [(); DEVICES].map(|()| DeviceKey::generate(entropy)),
            recovery: DeviceKey::generate(entropy),
        }
    }

    fn device(&self, number: usize) -> DeviceEntry {
        DeviceEntry::new(&self.person, &self.devices[number], format!("device {number}"), KeyPackages::default())
    }

    /// With their first devices, and with or without the recovery key.
    fn entry(&self, devices: usize, recovers: bool) -> PersonEntry {
        PersonEntry {
            person: self.person.id(),
            name: "Stray".to_owned(),
            devices: (0..devices).map(|number| self.device(number)).collect(),
            invitation: None,
            recovery: recovers.then(|| RecoveryCertificate::new(&self.person, *self.recovery.id().as_bytes())),
        }
    }
}

impl World {
    /// Has somebody who may bring people in who have no device that runs, in all roles.
    pub(crate) fn bring_strays(&mut self, by: Who, circle: CircleId) {
        let mut entropy = Entropy::from_seed(self.random.seed());
        self.was_anybody_removed = true;
        for number in 0..STRAYS {
            let stray = Stray::new(&mut entropy);
            let role = [Role::Owner, Role::Admin, Role::Admin, Role::Member, Role::Member, Role::Owner][number];
            let newcomer = stray.entry(1 + number % 2, !number.is_multiple_of(3));
            self.strays.0.push(stray);
            let _ = self.act(by, circle, Action::AddPerson { newcomer, role });
        }
    }

    /// Has somebody bring one of them in again, as far as they may: else none is left soon who can do anything.
    fn bring_one_back(&mut self, by: Who, circle: CircleId) {
        let number = self.random.between(0..STRAYS as u64) as usize;
        let role = if self.random.permille(600) { Role::Owner } else { Role::Admin };
        let newcomer = self.strays.0[number].entry(1 + number % 2, true);
        for role in [role, Role::Member] {
            if self.act(by, circle, Action::AddPerson { newcomer: newcomer.clone(), role }).is_ok() {
                return;
            }
        }
    }

    /// Has somebody pass on something that one of them wrote.
    pub(crate) fn stray(&mut self, by: Who, circle: CircleId) {
        if !self.is_up(by) || !self.strays.are_there() {
            return;
        }
        let peers = self.peers_seen_by(by);
        let Some(sealer) = Rogue::of(self.engine(by), circle).filter(|_| !peers.is_empty()) else { return };
        if self.random.permille(60) {
            self.bring_one_back(by, circle);
        }
        let operations = self.stray_operations(by, circle).unwrap_or_default();
        let (now_ms, mut entropy) = (self.device(by).clock(self.now_ms), Entropy::from_seed(self.random.seed()));
        let Some(key) = sealer.key(&sealer.head).filter(|_| !operations.is_empty()) else { return };
        let mut sealed = Vec::new();
        for operation in operations {
            self.note(format_args!("stray {}: {:?}", operation.id().short(), operation.action()), &[]);
            let said = Said::Operation(operation.encode());
            sealed.extend(sealer.seal(&key, sealer.id(), said, now_ms, &mut entropy));
        }
        let frame = rogue::entries_frame(circle, sealed.into_iter().map(|sealed| sealed.bytes).collect());
        for peer in peers {
            let peer = self.device(peer).id;
            self.send(by, peer, Channel::Sync, frame.clone());
        }
    }

    /// Something by any of them, at the heads or anywhere before, and now and then something by another device of theirs at
    /// the same time; nothing if nothing there introduces its author.
    fn stray_operations(&mut self, by: Who, circle: CircleId) -> Option<Vec<Operation>> {
        let log = inside::log(self.engine(by), circle)?;
        let (heads, ids): (_, Vec<OperationId>) = (log.heads(), log.operations().map(Operation::id).collect());
        let authored: Vec<(DeviceId, OperationId)> = log.operations().map(|one| (one.author(), one.id())).collect();
        let parents = if self.random.permille(450) { vec![self.random.pick(&ids)?] } else { heads };
        let (keeps_something, twice, self_inflicted) =
            (self.random.permille(400), self.random.permille(250), self.random.permille(200));
        let mut below = |bound: usize| self.random.between(0..bound as u64) as usize;
        let (author, device, target, number, what) =
            (below(STRAYS), below(DEVICES), below(STRAYS), below(DEVICES), below(25));
        let target = if self_inflicted { author } else { target };
        let role = [Role::Owner, Role::Admin, Role::Member, Role::Bot, Role::Guest][below(5)];
        let (recovers, keeps) = (below(2) == 0, below(4) == 0);
        let nth = below(1_000);
        let somebody = (below(10) == 0 && !self_inflicted).then(|| self.somebody_of_the_log(by, circle)).flatten();
        let duel = self.random.permille(150).then(|| self.owners_of_the_log(by, circle)).flatten();
        let (author, somebody) = duel.map_or((author, somebody), |(author, somebody)| (author, Some(somebody)));
        let what = if duel.is_some() { what % 7 } else { what };
        let (author, target) = (&self.strays.0[author], &self.strays.0[target]);
        let person = somebody.map_or(target.person.id(), |(_, person)| person);
        let own = author.person.id();
        let by_target = |device: &DeviceId| target.devices.iter().any(|own| own.id() == *device);
        let of_target: Vec<OperationId> = authored.iter().filter(|(by, _)| by_target(by)).map(|(_, id)| *id).collect();
        let kept = of_target.get(nth % of_target.len().max(1)).filter(|_| keeps_something);
        let keep_heads: Vec<OperationId> = kept.copied().into_iter().collect();
        let keep_changes = if keeps { vec![[7; 32]] } else { Vec::new() };
        let action = match what {
            0..=2 => Action::RevokePerson { person, keep_heads, keep_changes },
            3..=6 => Action::SetRole { person, role, keep_heads },
            7..=9 => Action::AddPerson { newcomer: target.entry(1 + number % 2, recovers), role },
            10 | 11 => {
                let device = somebody.map_or(target.devices[number].id(), |(device, _)| device);
                Action::RevokeDevice { device, keep_heads, keep_changes }
            }
            12 | 22..=24 => {
                Action::AddDevice { device: if keeps { target.device(number) } else { author.device(number) } }
            }
            13 => Action::Grant { guest: target.entry(number, recovers), expires_ms: 1 },
            14 => Action::EndGrant { person, keep_heads, keep_changes },
            15 | 16 => {
                let value = if recovers { "true" } else { "false" };
                Action::SetPolicy { key: MEMBERS_MAY_INVITE.to_owned(), value: value.to_owned(), keep_heads }
            }
            21 => {
                let device = somebody.map_or(target.devices[number].id(), |(device, _)| device);
                Action::RenameDevice { device, name: format!("stray {number}") }
            }
            17 => Action::SetProfile { person, name: "Somebody".to_owned() },
            18 | 19 => {
                let message = recovery_message(circle, author.devices[device].id(), own);
                let recovery_signature = author.recovery.sign(Domain::Recovery, &message);
                Action::RecoverDevice { device: author.device(device), recovery_signature }
            }
            _ => Action::SetProfile { person: own, name: "Stray".to_owned() },
        };
        let other = matches!(action, Action::SetRole { .. }).then(|| Action::SetRole {
            person,
            role: if role == Role::Member { Role::Admin } else { Role::Member },
            keep_heads: Vec::new(),
        });
        let sign =
            |device: usize, action| Operation::sign(&author.devices[device], parents.clone(), self.now_ms, action);
        let second = other.filter(|_| twice).map(|action| sign((device + 1) % DEVICES, action));
        let operations = [sign(device, action)].into_iter().chain(second);
        let operations: Vec<Operation> = operations.collect();
        // Strangers are refused, by all alike: that is tried elsewhere.
        let mut copy = Log::new(circle);
        for known in inside::log(self.engine(by), circle)?.operations() {
            // It was verified where it comes from.
            let _ = copy.insert_verified(known.clone());
        }
        let taken = |operation: &Operation| matches!(copy.insert(operation.clone()), Insertion::Inserted(_));
        Some(operations.into_iter().filter(taken).collect())
    }

    /// One of them who is an owner, and an owner: owners going for owners is what leaves a circle with none.
    fn owners_of_the_log(&mut self, by: Who, circle: CircleId) -> Option<(usize, (DeviceId, PersonId))> {
        let membership = self.engine(by).membership(circle).ok()?;
        let owns = |person: &PersonId| membership.people.get(person).is_some_and(|person| person.role == Role::Owner);
        let owners = membership.devices.iter().filter(|(_, device)| owns(&device.person));
        let owners: Vec<_> = owners.map(|(id, device)| (*id, device.person)).collect();
        let person = |number: &usize| self.strays.0[*number].person.id();
        let own: Vec<usize> =
            (0..STRAYS).filter(|number| owners.iter().any(|(_, owner)| *owner == person(number))).collect();
        Some((self.random.pick(&own)?, self.random.pick(&owners)?))
    }

    fn somebody_of_the_log(&mut self, by: Who, circle: CircleId) -> Option<(DeviceId, PersonId)> {
        let membership = self.engine(by).membership(circle).ok()?;
        let devices: Vec<_> = membership.devices.iter().map(|(id, device)| (*id, device.person)).collect();
        self.random.pick(&devices)
    }
}
