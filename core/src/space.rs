//! A space: a team. Its root circle is everybody; further circles are private channels, departments, chats of two.

use std::ops::Deref;

use clave_engine::crypto::{PersonId, Suite};
use clave_engine::membership::{Policy, RELAYS_MAX, RelayAddress, Scope};
use clave_engine::{CircleId, Engine, RelayStatus};

use crate::{Circle, CircleInfo, Error, Node};

/// A space this device is in. Cheap to clone.
///
/// It is first of all the circle of everybody in it, whose methods it has.
#[derive(Clone)]
pub struct Space {
    everybody: Circle,
}

impl Deref for Space {
    type Target = Circle;

    fn deref(&self) -> &Circle {
        &self.everybody
    }
}

impl Space {
    pub(crate) fn new(node: Node, id: CircleId) -> Self {
        Self { everybody: Circle::new(node, id) }
    }

    /// The circle of everybody in the space.
    #[must_use]
    pub fn everybody(&self) -> &Circle {
        &self.everybody
    }

    /// The circles of this space that this device is in, the root apart: by name, chats of two last. Whoever is not in a
    /// circle does not learn that it exists.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn circles(&self) -> Result<Vec<CircleInfo>, Error> {
        let space = self.id();
        let mut circles = self.node().read(move |engine| engine.circles_of(space)).await?;
        circles.sort_by(|a, b| (a.direct, &a.name, a.id).cmp(&(b.direct, &b.name, b.id)));
        Ok(circles)
    }

    /// A circle of this space by its id.
    ///
    /// # Errors
    /// [`Error::NotFound`] if this device is not in it, or not yet.
    pub async fn circle(&self, id: CircleId) -> Result<Circle, Error> {
        let known = self.circles().await?.iter().any(|circle| circle.id == id);
        if known { Ok(Circle::new(self.node().clone(), id)) } else { Err(Error::NotFound("circle")) }
    }

    /// Founds a circle with people of this space, and its owner is this person. Nobody else of the space learns of it.
    ///
    /// # Errors
    /// If the name cannot be used, somebody is not in the space, or this person may not invite.
    pub async fn create_circle(&self, name: &str, people: &[PersonId], scope: Scope) -> Result<Circle, Error> {
        self.create_circle_of(name, people, scope, Suite::default()).await
    }

    /// The same, with a choice of how keys are agreed on, which holds for good. In a space that is not post-quantum itself, a
    /// post-quantum circle takes only people whose devices have said how: they do so once the policy
    /// [`POST_QUANTUM_CIRCLES`](crate::POST_QUANTUM_CIRCLES) of the space is `true`.
    ///
    /// # Errors
    /// As [`create_circle`](Self::create_circle), or if a device of somebody has not said so yet.
    pub async fn create_circle_of(
        &self,
        name: &str,
        people: &[PersonId],
        scope: Scope,
        suite: Suite,
    ) -> Result<Circle, Error> {
        let (space, name, people) = (self.id(), name.to_owned(), people.to_vec());
        let create = move |engine: &mut Engine, now| engine.create_circle_of(space, &name, scope, suite, &people, now);
        let id = self.node().command(create).await?;
        let circle = Circle::new(self.node().clone(), id);
        circle.set_up().await?;
        Ok(circle)
    }

    /// The relays of this space, and how this device gets on with each. They keep what is written here, sealed, for who is not
    /// online.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn relays(&self) -> Result<Vec<RelayStatus>, Error> {
        let space = self.id();
        self.node().read(move |engine| engine.relays(space)).await
    }

    /// Has the space use these relays, in this order, and no others: the first four of them, if there are more.
    ///
    /// # Errors
    /// [`Error::Address`] if one cannot be dialled; if this person may not set policies.
    pub async fn set_relays(&self, relays: &[RelayAddress]) -> Result<(), Error> {
        for relay in relays {
            relay.as_str().parse::<clave_transport::Address>()?;
        }
        let (space, relays) = (self.id(), relays.to_vec());
        let set = move |engine: &mut Engine, now| {
            let known = engine.membership(space)?.relays();
            for (number, address) in (1..=RELAYS_MAX).zip(relays.into_iter().map(Some).chain(std::iter::repeat(None))) {
                if known.get(&number) != address.as_ref() {
                    let policy = Policy::Relay { number, address };
                    engine.set_policy(space, &policy.key(), &policy.value(), now)?;
                }
            }
            Ok(())
        };
        self.node().command(set).await
    }

    /// The chat of two with somebody of this space, if there is one.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn known_direct_chat(&self, person: PersonId) -> Result<Option<Circle>, Error> {
        let space = self.id();
        let known = self.node().read(move |engine| engine.direct_circle(space, person)).await?;
        Ok(known.map(|id| Circle::new(self.node().clone(), id)))
    }

    /// The chat of two with somebody of this space: the one there is, or a new one.
    ///
    /// # Errors
    /// If they are not in the space.
    pub async fn direct_chat(&self, person: PersonId) -> Result<Circle, Error> {
        let space = self.id();
        if let Some(known) = self.known_direct_chat(person).await? {
            return Ok(known);
        }
        let id = self.node().command(move |engine, now| engine.create_direct_circle(space, person, now)).await?;
        let circle = Circle::new(self.node().clone(), id);
        circle.set_up().await?;
        Ok(circle)
    }
}
