//! A space: a team and what it works on.

use std::sync::Arc;
use std::time::Duration;

use crate::convert::{parse, parse_all};
use crate::session::Session;
use crate::{Circle, CircleInfo, ClaveError, Member, Suite, Timeline};

/// A space this device is in: the circle of everybody in it, and the circles inside.
#[derive(uniffi::Object)]
pub struct Space {
    pub(crate) session: Arc<Session>,
    pub(crate) space: clave::Space,
}

/// Who can be in a circle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Scope {
    /// Whoever is also in the space.
    Nested,
    /// Everybody: for people from outside the space.
    Isolated,
}

impl Space {
    pub(crate) fn new(session: Arc<Session>, space: clave::Space) -> Self {
        Self { session, space }
    }
}

#[uniffi::export]
impl Space {
    /// Its id, the same on every device.
    #[must_use]
    pub fn id(&self) -> String {
        self.space.id().to_string()
    }

    /// The circle of everybody in the space: its chat, notes, files, calendar, people.
    #[must_use]
    pub fn everybody(&self) -> Circle {
        Circle::new(self.session.clone(), self.space.everybody().clone())
    }

    /// The chat of everybody.
    #[must_use]
    pub fn timeline(&self) -> Timeline {
        self.everybody().timeline()
    }

    /// Its name.
    ///
    /// # Errors
    /// [`ClaveError::Paused`], [`ClaveError::Stopped`].
    pub async fn name(&self) -> Result<String, ClaveError> {
        self.everybody().name().await
    }

    /// Who is in it, owners first, then by name.
    ///
    /// # Errors
    /// [`ClaveError::Paused`], [`ClaveError::Stopped`].
    pub async fn members(&self) -> Result<Vec<Member>, ClaveError> {
        self.everybody().members().await
    }

    /// Makes an invitation that works once, within `valid`, and returns its link. Whoever takes it up has to reach this
    /// device.
    ///
    /// # Errors
    /// [`ClaveError::NotAllowed`] if this person may not invite.
    pub async fn invite(&self, valid: Duration) -> Result<String, ClaveError> {
        self.everybody().invite(valid).await
    }

    /// The circles of this space that this device is in, that of everybody apart: by name, chats of two last.
    ///
    /// # Errors
    /// [`ClaveError::Paused`], [`ClaveError::Stopped`].
    pub async fn circles(&self) -> Result<Vec<CircleInfo>, ClaveError> {
        let space = self.space.clone();
        let circles = self.session.run(async move { space.circles().await }).await?;
        Ok(circles.into_iter().map(CircleInfo::from).collect())
    }

    /// A circle of this space by its id.
    ///
    /// # Errors
    /// [`ClaveError::NotFound`] if this device is not in it, or not yet.
    pub async fn circle(&self, id: String) -> Result<Circle, ClaveError> {
        let (space, id) = (self.space.clone(), parse(&id, "circle")?);
        let circle = self.session.run(async move { space.circle(id).await }).await?;
        Ok(Circle::new(self.session.clone(), circle))
    }

    /// Founds a circle with people of this space, by their ids; its owner is this person. Nobody else of the space learns of
    /// it.
    ///
    /// # Errors
    /// If the name cannot be used, somebody is not in the space, or this person may not invite.
    #[uniffi::method(default(scope = None))]
    pub async fn create_circle(
        &self,
        name: String,
        people: Vec<String>,
        scope: Option<Scope>,
    ) -> Result<Circle, ClaveError> {
        let (space, people) = (self.space.clone(), parse_all(&people, "person")?);
        let scope = scope.unwrap_or(Scope::Nested).into();
        let circle = self.session.run(async move { space.create_circle(&name, &people, scope).await }).await?;
        Ok(Circle::new(self.session.clone(), circle))
    }

    /// The same, with a choice of how keys are agreed on, which holds for good. In a space that is not post-quantum itself, a
    /// post-quantum circle takes only people whose devices have said how: they do so once the policy `post_quantum_circles`
    /// of the space is `true`.
    ///
    /// # Errors
    /// As [`create_circle`](Self::create_circle), or if a device of somebody has not said so yet.
    pub async fn create_circle_of(
        &self,
        name: String,
        people: Vec<String>,
        scope: Scope,
        suite: Suite,
    ) -> Result<Circle, ClaveError> {
        let (space, people) = (self.space.clone(), parse_all(&people, "person")?);
        let create = async move { space.create_circle_of(&name, &people, scope.into(), suite.into()).await };
        let circle = self.session.run(create).await?;
        Ok(Circle::new(self.session.clone(), circle))
    }

    /// The chat of two with somebody of this space, if there is one.
    ///
    /// # Errors
    /// [`ClaveError::Paused`], [`ClaveError::Stopped`].
    pub async fn known_direct_chat(&self, person: String) -> Result<Option<Arc<Circle>>, ClaveError> {
        let (space, person) = (self.space.clone(), parse(&person, "person")?);
        let known = self.session.run(async move { space.known_direct_chat(person).await }).await?;
        Ok(known.map(|circle| Arc::new(Circle::new(self.session.clone(), circle))))
    }

    /// The chat of two with somebody of this space: the one there is, or a new one.
    ///
    /// # Errors
    /// If they are not in the space.
    pub async fn direct_chat(&self, person: String) -> Result<Circle, ClaveError> {
        let (space, person) = (self.space.clone(), parse(&person, "person")?);
        let circle = self.session.run(async move { space.direct_chat(person).await }).await?;
        Ok(Circle::new(self.session.clone(), circle))
    }
}

impl From<Scope> for clave::Scope {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Nested => Self::Nested,
            Scope::Isolated => Self::Isolated,
        }
    }
}

impl From<clave::Scope> for Scope {
    fn from(scope: clave::Scope) -> Self {
        match scope {
            clave::Scope::Nested => Self::Nested,
            clave::Scope::Isolated => Self::Isolated,
        }
    }
}
