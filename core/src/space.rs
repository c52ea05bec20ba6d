//! A space: a team. Its root circle is everybody; further circles are private channels, departments, chats of two.

use std::ops::Deref;

use clave_engine::CircleId;

use crate::{Circle, Node};

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
}
