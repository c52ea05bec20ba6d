//! Who is in a circle: bringing in, removing, roles, policies, who can read what.

use std::collections::BTreeMap;

use clave_engine::crypto::{DeviceId, PersonId};
use clave_engine::membership::{Action, AuditRecord, History, Policy, Role};
use clave_engine::{Access, CircleId, Engine, Evidence, KeyAudit};

use crate::{Circle, Error};

impl Circle {
    /// Brings somebody of the space into this circle.
    ///
    /// # Errors
    /// If they are not in the space, are here already, or this person may not.
    pub async fn add(&self, person: PersonId, role: Role) -> Result<(), Error> {
        let id = self.id;
        self.node.command(move |engine, now| engine.add_person(id, person, role, now)).await
    }

    /// Lets somebody of the space in as a guest until a date, in Unix milliseconds; or moves the date of a guest who is
    /// here. Everybody is reminded a day and an hour before ([`Event::GrantEnds`](crate::Event::GrantEnds)); after it they get nothing more.
    ///
    /// # Errors
    /// As for [`add`](Self::add).
    pub async fn grant(&self, person: PersonId, expires_ms: u64) -> Result<(), Error> {
        let id = self.id;
        self.node.command(move |engine, now| engine.grant_until(id, person, expires_ms, now)).await
    }

    /// Removes somebody with all their devices, and changes the keys. From a space, that removes from all its circles. They
    /// keep what they had; see [`access`](Self::access) for when the keys have changed.
    ///
    /// # Errors
    /// If they are not here, or this person may not.
    pub async fn remove(&self, person: PersonId) -> Result<(), Error> {
        let id = self.id;
        self.node.command(move |engine, now| engine.remove_person(id, person, now)).await
    }

    /// Removes one device, one's own that was lost or somebody else's, and changes the keys. It keeps what it had.
    ///
    /// # Errors
    /// If it is not here, or this person may not.
    pub async fn revoke_device(&self, device: DeviceId) -> Result<(), Error> {
        let id = self.id;
        self.node.command(move |engine, now| engine.act(id, Action::revoke_device(device), now)).await
    }

    /// Leaves. What is here stays readable on this device, nothing more arrives.
    ///
    /// # Errors
    /// If no owner would be left: make somebody else one first.
    pub async fn leave(&self) -> Result<(), Error> {
        self.remove(self.node.profile().person).await
    }

    /// Gives somebody a role.
    ///
    /// # Errors
    /// If they are not here, or this person may not.
    pub async fn set_role(&self, person: PersonId, role: Role) -> Result<(), Error> {
        let id = self.id;
        self.node.command(move |engine, now| engine.set_role(id, person, role, now)).await
    }

    /// Says what newcomers can read of what was written before they came, or after how long everything is erased.
    ///
    /// # Errors
    /// If this person may not set policies.
    pub async fn set_history(&self, history: History) -> Result<(), Error> {
        self.set_policy("history", &history.to_string()).await
    }

    /// Sets a policy.
    ///
    /// # Errors
    /// If this person may not, or the value is none that the policy can have.
    pub async fn set_policy(&self, key: &str, value: &str) -> Result<(), Error> {
        let (id, key, value) = (self.id, key.to_owned(), value.to_owned());
        self.node.command(move |engine, now| engine.set_policy(id, &key, &value, now)).await
    }

    /// The policies in force: those that were set, and the defaults of those that this version knows.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn policies(&self) -> Result<BTreeMap<String, String>, Error> {
        let id = self.id;
        let read = move |engine: &mut Engine| {
            let membership = engine.membership(id)?;
            let may_ask = membership.parent.is_none() && !membership.suite.is_post_quantum();
            Ok((membership.policies.clone(), may_ask))
        };
        let (mut policies, may_ask) = self.node.read(read).await?;
        let defaults = [Policy::MembersMayInvite(true), Policy::History(History::default())];
        // It means something in a space that is not post-quantum as a whole.
        for default in defaults.into_iter().chain(may_ask.then_some(Policy::PostQuantumCircles(false))) {
            policies.entry(default.key()).or_insert_with(|| default.value());
        }
        Ok(policies)
    }

    /// How much this device wrote here that no relay of the space has yet, in entries and chunks of files: others may have it all the
    /// same. Always none in a space without relays. [`Event::Stored`](crate::Event::Stored) says when it is none again.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn waiting_for_relays(&self) -> Result<usize, Error> {
        let id = self.id;
        self.node.read(move |engine| Ok(engine.waiting_for_relays(id))).await
    }

    /// Who can read what is written here now, whose keys ended when, and which devices have confirmed the newest keys.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn access(&self) -> Result<Access, Error> {
        let id = self.id;
        self.node.read(move |engine| engine.access(id)).await
    }

    /// Everything that ever changed who is in and who may what, and what was set aside, each record chained to the one
    /// before by its hash. The same on every device that has seen the same.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn audit(&self) -> Result<Vec<AuditRecord>, Error> {
        let id = self.id;
        self.node.read(move |engine| engine.audit(id)).await
    }

    /// Every change of the keys that is here: who made it, when, whom it let in, kept out or had begin anew, on which acts it
    /// rests, and whether it stands or lost to another. A chain of its own beside [`audit`](Self::audit): the same on every
    /// device that holds the same changes. Who came later lacks the oldest, and is told how many.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn key_audit(&self) -> Result<KeyAudit, Error> {
        let id = self.id;
        self.node.read(move |engine| engine.key_audit(id)).await
    }

    /// Devices that did what no device in order does, each with the two acts, signed by it, that prove it: its key is in two
    /// hands, it runs from an old copy of its data, or it lies. Evidence, no verdict: ask its person, and if they cannot
    /// explain it, [`revoke`](Self::revoke_device) the device or [`remove`](Self::remove) the person.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn evidence(&self) -> Result<Vec<Evidence>, Error> {
        let id = self.id;
        self.node.read(move |engine| engine.evidence(id)).await
    }

    /// What was set aside, each with its reason as a sentence.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn set_aside(&self) -> Result<Vec<String>, Error> {
        let id = self.id;
        self.node.read(move |engine| engine.set_aside_operations(id)).await
    }

    /// The space it belongs to: itself, if it is the circle of everybody.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn space(&self) -> Result<CircleId, Error> {
        let id = self.id;
        self.node.read(move |engine| engine.space_of(id)).await
    }
}
