//! The circles of a space: founding them, bringing people of the space in, following the space's roster.
//!
//! A circle has a log, a group and documents of its own, so nobody else of the space learns that it exists. Who is brought
//! in hears of it by an *introduction*: a direct entry of the space's root circle, which its addressee alone can open.
//! A nested circle's roster is its own log's, less whoever is not in the space any more.

use std::sync::Arc;

use clave_crypto::{HashContext, PersonId, Suite, hash};

use super::*;
use crate::Refusal;
use crate::desk::{Introduced, Introducing};
use crate::entry::Body;
use crate::group::epoch_id;
use crate::identity::check_name;
use crate::key_packages;
use crate::membership::{Action, Log, Operation, PersonEntry, Right, Role, Scope};
use crate::proto::entry as proto;

/// The most people that a circle is founded with or given at once; further ones are added in a second step.
const PEOPLE_AT_ONCE_MAX: usize = 1_024;
/// How long the first in line waits before it removes from a circle whom the space has removed, in milliseconds.
const ENACT_QUIET_MS: u64 = 1_000;
/// How long each further one waits for the one before it, in milliseconds.
const ENACT_STEP_MS: u64 = 5_000;

/// How long a device has to be silent about a circle that it is in before it is introduced to it anew, in milliseconds: what it
/// needs may be on its way.
pub(super) const INTRODUCE_QUIET_MS: u64 = 60_000;
/// How long each further one who could introduce it waits for the one before it, in milliseconds.
const INTRODUCE_STEP_MS: u64 = 10_000;

/// A circle, as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CircleInfo {
    /// Which.
    pub id: CircleId,
    /// The space it belongs to.
    pub space: CircleId,
    /// What it is called. Of a chat of two: the other's name.
    pub name: String,
    /// Whether only people of the space can be in it.
    pub scope: Scope,
    /// By what it agrees on its keys.
    pub suite: Suite,
    /// Whether it is a chat of two.
    pub direct: bool,
    /// How many people are in it.
    pub people: usize,
    /// Whether this device was removed from it: what it had stays readable, nothing more arrives.
    pub removed: bool,
}

impl Engine {
    /// Command: founds a circle in a space, with people of that space. This person is its owner.
    ///
    /// # Errors
    /// If this device is not in the space or may not invite, the name cannot be used, or somebody is not in the space.
    pub fn create_circle(
        &mut self,
        space: CircleId,
        name: &str,
        scope: Scope,
        people: &[PersonId],
        now_ms: u64,
    ) -> Result<CircleId, EngineError> {
        self.create_circle_of(space, name, scope, Suite::default(), people, now_ms)
    }

    /// The same, of a suite. A circle of a post-quantum space is post-quantum whatever is asked for.
    ///
    /// # Errors
    /// As [`create_circle`](Self::create_circle), and [`EngineError::NoKeyPackage`] if somebody could not be added.
    pub fn create_circle_of(
        &mut self,
        space: CircleId,
        name: &str,
        scope: Scope,
        suite: Suite,
        people: &[PersonId],
        now_ms: u64,
    ) -> Result<CircleId, EngineError> {
        self.begin(now_ms)?;
        let name = check_name(name)?.to_owned();
        let circle = self.found_circle(space, name, scope, suite, people);
        self.finish();
        circle
    }

    /// Command: founds the chat of two with somebody of a space. See [`direct_circle`](Self::direct_circle) first.
    ///
    /// # Errors
    /// If this device or the other person is not in the space.
    pub fn create_direct_circle(
        &mut self,
        space: CircleId,
        person: PersonId,
        now_ms: u64,
    ) -> Result<CircleId, EngineError> {
        self.begin(now_ms)?;
        // No other circle goes without a name: that is what makes it a chat of two.
        let circle = self.found_circle(space, String::new(), Scope::Nested, Suite::default(), &[person]);
        self.finish();
        circle
    }

    /// The chat of two with somebody, if there is one. Both may have founded one at the same time: then both find the one
    /// with the lesser id.
    ///
    /// # Errors
    /// If this device is not in the space.
    pub fn direct_circle(&self, space: CircleId, person: PersonId) -> Result<Option<CircleId>, EngineError> {
        let Some(me) = self.identity.person() else { return Ok(None) };
        let with_them = |info: &CircleInfo| {
            let people = &self.circles[&info.id].log.membership().people;
            info.direct && !info.removed && people.contains_key(&me) && people.contains_key(&person)
        };
        Ok(self.circles_of(space)?.into_iter().find(with_them).map(|info| info.id))
    }

    /// The circles of a space that this device is or was in, the root apart, in order of id.
    ///
    /// # Errors
    /// If this device is not in the space.
    pub fn circles_of(&self, space: CircleId) -> Result<Vec<CircleInfo>, EngineError> {
        if !self.circles.contains_key(&space) {
            return Err(EngineError::NoSuchCircle);
        }
        let of_space = |circle: &&Circle| circle.log.membership().parent == Some(space);
        Ok(self.circles.values().filter(of_space).map(|circle| self.info(circle, space)).collect())
    }

    /// A circle, as a list shows it: that of everybody in a space, too.
    ///
    /// # Errors
    /// If this device is not in the circle.
    pub fn circle_info(&self, circle: CircleId) -> Result<CircleInfo, EngineError> {
        let known = self.circles.get(&circle).ok_or(EngineError::NoSuchCircle)?;
        Ok(self.info(known, known.log.membership().parent.unwrap_or(circle)))
    }

    /// The space that a circle belongs to: itself, if it is a root.
    ///
    /// # Errors
    /// If this device is not in the circle.
    pub fn space_of(&self, circle: CircleId) -> Result<CircleId, EngineError> {
        let known = self.circles.get(&circle).ok_or(EngineError::NoSuchCircle)?;
        Ok(known.log.membership().parent.unwrap_or(circle))
    }

    fn info(&self, circle: &Circle, space: CircleId) -> CircleInfo {
        let membership = circle.log.membership();
        let direct = membership.name.is_empty();
        let other = || {
            let me = self.identity.person();
            let other = membership.people.iter().find(|(person, _)| Some(**person) != me);
            other.map(|(_, person)| person.name.clone()).unwrap_or_default()
        };
        CircleInfo {
            id: circle.id,
            space,
            name: if direct { other() } else { membership.name.clone() },
            scope: membership.scope,
            suite: membership.suite,
            direct,
            people: membership.people.len(),
            removed: !circle.is_member(&self.desk.me()),
        }
    }

    fn found_circle(
        &mut self,
        space: CircleId,
        name: String,
        scope: Scope,
        suite: Suite,
        people: &[PersonId],
    ) -> Result<CircleId, EngineError> {
        let me = self.desk.me();
        let root = self.circles.get(&space).ok_or(EngineError::NoSuchCircle)?;
        root.refuse_apart()?;
        let is_root = root.log.membership().parent.is_none();
        if !is_root
            || !root.is_member(&me)
            || !root.log.membership().role_of(me).is_some_and(|role| role.has(Right::Invite))
        {
            return Err(EngineError::MayNotInvite);
        }
        if people.len() > PEOPLE_AT_ONCE_MAX {
            return Err(EngineError::TooLarge);
        }
        // Nothing in a space is weaker than the space.
        let suite = suite.max(root.suite());
        let mine = self.identity.person();
        // Nothing may fail any more once the circle is founded: half of one would be there when this device starts again.
        let others: BTreeSet<PersonId> = people.iter().copied().filter(|person| Some(*person) != mine).collect();
        let entries =
            others.iter().map(|person| root.entry_for(*person, suite)).collect::<Result<Vec<PersonEntry>, _>>()?;
        let outer = Arc::new(root.as_outer());
        let founder = self.identity.entry(key_packages::make(suite, &mut self.desk)).ok_or(EngineError::NotLinked)?;
        let nonce = self.desk.entropy.bytes();
        let genesis = Action::Genesis { name, nonce, founder, parent: Some(space), scope, suite };
        let genesis = Operation::sign(&self.desk.device, Vec::new(), self.desk.now_ms, genesis);
        let mut circle = Circle::create(genesis, &mut self.desk)?;
        circle.follow_space(Some(outer), &mut self.desk);
        for newcomer in entries {
            circle.act(Action::AddPerson { newcomer, role: Role::Member }, &mut self.desk)?;
        }
        circle.catch_up_roster(&mut self.desk)?;
        let id = circle.id;
        self.circles.insert(id, circle);
        Ok(id)
    }

    /// Command: brings somebody of the space into a circle of it.
    ///
    /// # Errors
    /// If they are not in the space, are in the circle already, or this person may not.
    pub fn add_person(
        &mut self,
        circle: CircleId,
        person: PersonId,
        role: Role,
        now_ms: u64,
    ) -> Result<(), EngineError> {
        let newcomer = self.entry_from_space(circle, person)?;
        self.bring_in(circle, Action::AddPerson { newcomer, role }, now_ms)
    }

    /// Command: lets somebody of the space into a circle of it as a guest, until a date; or moves the date of a guest who
    /// is there.
    ///
    /// # Errors
    /// As for [`add_person`](Self::add_person).
    pub fn grant_until(
        &mut self,
        circle: CircleId,
        person: PersonId,
        expires_ms: u64,
        now_ms: u64,
    ) -> Result<(), EngineError> {
        let there =
            self.circles.get(&circle).is_some_and(|circle| circle.log.membership().people.contains_key(&person));
        let mut guest = self.entry_from_space(circle, person)?;
        if there {
            guest.devices.clear();
        }
        self.bring_in(circle, Action::Grant { guest, expires_ms }, now_ms)
    }

    fn entry_from_space(&self, circle: CircleId, person: PersonId) -> Result<PersonEntry, EngineError> {
        let root = self.circles.get(&self.space_of(circle)?).ok_or(EngineError::NoSuchCircle)?;
        let suite = self.circles.get(&circle).ok_or(EngineError::NoSuchCircle)?.suite();
        root.entry_for(person, suite)
    }

    fn bring_in(&mut self, circle: CircleId, action: Action, now_ms: u64) -> Result<(), EngineError> {
        self.begin(now_ms)?;
        let (circle, desk) = self.circle_mut(circle)?;
        let done = circle.act(action, desk).and_then(|()| circle.catch_up_roster(desk));
        self.finish();
        done
    }

    /// Lets nested circles follow their space, and removes from them whom the space has removed, when it is this device's
    /// turn: it was first to learn of it, or nobody before it did.
    pub(super) fn follow_spaces(&mut self) {
        let roots: BTreeSet<CircleId> =
            self.circles.values().filter_map(|circle| circle.log.membership().parent).collect();
        for root in roots {
            let Some(space) = self.circles.get(&root) else { continue };
            let version = space.log.len();
            let behind =
                |circle: &Circle| circle.log.membership().parent == Some(root) && circle.outer_version() != version;
            if !self.circles.values().any(behind) {
                continue;
            }
            let outer = Arc::new(space.as_outer());
            for circle in self.circles.values_mut().filter(|circle| behind(circle)) {
                circle.follow_space(Some(outer.clone()), &mut self.desk);
            }
        }
        self.look_back();
        let online: Vec<DeviceId> = self.peers.keys().copied().chain([self.desk.me()]).collect();
        for circle in self.circles.values_mut() {
            circle.enact_removals(&online, ENACT_QUIET_MS, ENACT_STEP_MS, &mut self.desk);
        }
    }

    /// Has nested circles judge commits that cite the space at an earlier point.
    fn look_back(&mut self) {
        let mut known = Vec::new();
        for circle in self.circles.values() {
            let Some(root) = circle.log.membership().parent.and_then(|space| self.circles.get(&space)) else {
                continue;
            };
            let points = circle.wanted_points().into_iter().filter_map(|heads| root.as_outer_at(&heads));
            let points: Vec<_> = points.collect();
            if !points.is_empty() {
                known.push((circle.id, points));
            }
        }
        for (id, points) in known {
            self.circles.get_mut(&id).expect("it was there above").look_back(points, &mut self.desk);
        }
    }

    /// When the next device is to be introduced anew to a circle, at the earliest.
    pub(super) fn next_introduction_ms(&self) -> Option<u64> {
        self.peers.values().flat_map(|peer| peer.overlooked.values()).map(|(due_ms, _)| *due_ms).min()
    }

    /// Introduces connected devices anew to circles that they are in and do not name: whoever brought them in broke off half
    /// way, and may be gone. One does of those who meet the device, and ever more rarely.
    pub(super) fn introduce_anew(&mut self) {
        let now_ms = self.desk.now_ms;
        let mut due = Vec::new();
        for (device, peer) in &self.peers {
            let overlooked = peer.overlooked.iter().filter(|(_, (due_ms, _))| *due_ms <= now_ms);
            due.extend(overlooked.map(|(circle, (_, is_my_turn))| (*device, *circle, *is_my_turn)));
        }
        for (device, circle, is_my_turn) in due {
            let (again_ms, is_my_turn) = match self.turn_to_introduce(device, circle) {
                Some(place) if place > 0 && !is_my_turn => (now_ms + place * INTRODUCE_STEP_MS, true),
                Some(_) => (self.introduce_one_anew(device, circle), false),
                None => (now_ms + INTRODUCE_QUIET_MS, false),
            };
            if let Some(peer) = self.peers.get_mut(&device) {
                peer.overlooked.insert(circle, (again_ms, is_my_turn));
            }
        }
    }

    /// How many come before this device in introducing another to a circle; none if it cannot.
    fn turn_to_introduce(&self, device: DeviceId, id: CircleId) -> Option<u64> {
        let (circle, me) = (self.circles.get(&id)?, self.desk.me());
        // It asks for its circles one by one just now.
        let is_linking = self.joins.answering.keys().any(|(peer, _)| *peer == device);
        if !circle.is_member(&me) || circle.is_apart() || !circle.is_introduced(&device) || is_linking {
            return None;
        }
        let place =
            |one: &DeviceId| hash(HashContext::RepairOrder, &[device.as_bytes().as_slice(), one.as_bytes()].concat());
        let others = self.ready_peers_that(|peer| peer.circles.contains(&id));
        let before = others.into_iter().filter(|one| circle.is_member(one) && place(one) < place(&me)).count();
        Some(before as u64)
    }

    /// Gives a device a new leaf by what the space knows of it, as what it offered to whoever brought it in may be gone. Returns
    /// when that may be done again.
    fn introduce_one_anew(&mut self, device: DeviceId, id: CircleId) -> u64 {
        let offered = || {
            let membership = self.circles.get(&id)?.log.membership();
            let (person, space) = (membership.devices.get(&device)?.person, membership.parent?);
            let mut entries = self.circles.get(&space)?.device_entries(person, membership.suite);
            entries.find(|entry| entry.device() == device)?.key_packages.last_resort
        };
        let again_ms = self.desk.now_ms + INTRODUCE_QUIET_MS;
        let (Some(package), Some(circle)) = (offered(), self.circles.get_mut(&id)) else { return again_ms };
        circle.introduce_anew(device, &package, &mut self.desk).unwrap_or_else(|error| {
            tracing::error!(circle = %id.short(), %error, "a device could not be introduced anew");
            again_ms
        })
    }

    /// Sends what was prepared for devices that a commit added: the log, a Welcome, the keys they may have.
    pub(super) fn introduce(&mut self) {
        for Introducing { circle, device, welcome } in std::mem::take(&mut self.desk.introducing) {
            let Some(known) = self.circles.get(&circle) else { continue };
            let Some(space) = known.log.membership().parent else { continue };
            let key = |(epoch, key): (EpochId, &clave_crypto::ContentKey)| proto::ContentKey {
                epoch: epoch.as_bytes().to_vec(),
                key: key.as_bytes().to_vec(),
                lasting: key.is_lasting(),
            };
            let person = known.log.membership().devices.get(&device).map(|device| device.person);
            let is_own = person.is_some() && person == self.identity.person();
            let keys = match is_own {
                // What is sealed to a device is sealed by X25519. The bundles under the Welcome's epoch lead to these keys.
                _ if known.suite().is_post_quantum() => Vec::new(),
                true => known.own_history().map(key).collect(),
                false => known.history().map(key).collect(),
            };
            let operations = known.log.operations().map(Operation::encode).collect();
            let introduction = proto::Introduction { operations, welcome, keys };
            let Some(root) = self.circles.get_mut(&space) else { continue };
            if let Err(error) = root.publish_direct(device, Body::Introduction(introduction), &mut self.desk) {
                tracing::error!(circle = %circle.short(), %error, "a device could not be introduced to a circle");
            }
        }
    }

    /// Takes up membership of circles that this device was introduced to.
    pub(super) fn take_introductions(&mut self) {
        for introduced in std::mem::take(&mut self.desk.introduced) {
            if self.take_introduction(introduced).is_none() {
                self.desk.refuse(Refusal::BadIntroduction);
            }
        }
    }

    fn take_introduction(&mut self, introduced: Introduced) -> Option<()> {
        let Introduced { space, author, introduction } = introduced;
        let operations: Vec<Operation> =
            introduction.operations.iter().map(|bytes| Operation::decode(bytes).ok()).collect::<Option<_>>()?;
        let id = CircleId::from_bytes(*operations.first()?.id().as_bytes());
        let mut keys = Vec::with_capacity(introduction.keys.len());
        for key in &introduction.keys {
            let bytes = <[u8; 32]>::try_from(key.key.as_slice()).ok()?;
            keys.push((epoch_id(&key.epoch)?, clave_crypto::ContentKey::of_class(bytes.into(), key.lasting)));
        }
        if let Some(circle) = self.circles.get_mut(&id) {
            let of_space = circle.log.membership().parent == Some(space);
            return of_space
                .then(|| circle.welcome_back(author, operations, &introduction.welcome, keys, &mut self.desk))?;
        }
        let mut log = Log::new(id);
        for operation in operations {
            // One that is refused means nothing to anybody.
            let _ = log.insert(operation);
        }
        let membership = log.membership();
        let in_log = |device: &DeviceId| membership.devices.contains_key(device);
        if membership.parent != Some(space) || !in_log(&self.desk.me()) || !in_log(&author) {
            return None;
        }
        let secrets = key_packages::secrets(&self.desk).ok()?;
        let secrets: Vec<&[u8]> = secrets.iter().map(|secret| secret.as_slice()).collect();
        let joined = self.desk.agreement.join(&self.desk.device, &introduction.welcome, &secrets).ok()?;
        if joined.checkpoint.group != id.as_bytes() || joined.committer != author || joined.suite != membership.suite {
            return None;
        }
        let outer = Arc::new(self.circles.get(&space)?.as_outer());
        let mut circle = Circle::join(log, joined.checkpoint, keys, &mut self.desk).ok()?;
        circle.follow_space(Some(outer), &mut self.desk);
        self.circles.insert(id, circle);
        self.desk.events.push(Event::CircleJoined { space, circle: id });
        Some(())
    }
}
