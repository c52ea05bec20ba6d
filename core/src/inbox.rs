//! All circles at a glance: what was said last, and what is unread.

use clave_engine::crdt::{DocumentKind, MessageId};
use clave_engine::{CircleInfo, Event};

use crate::diff::diff_any;
use crate::{Circle, Error, Happenings, ListDiff, Node, Preview};

/// A circle, as a list of conversations shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboxItem {
    /// The circle. That of everybody in a space has the space's name.
    pub circle: CircleInfo,
    /// What was said last in it, and what is unread.
    pub preview: Preview,
}

impl Node {
    /// Every circle this device is in, those first in which something was said last. No document is loaded for it, but for
    /// segments of chats that changed since anybody looked; what of these is left over for later is marked
    /// ([`Preview::current`]).
    ///
    /// ```no_run
    /// # async fn show(node: &clave::Node) -> Result<(), clave::Error> {
    /// for item in node.inbox().await? {
    ///     let newest = item.preview.newest.map(|newest| format!("{}: {}", newest.name, newest.text));
    ///     println!("{} ({} unread) {}", item.circle.name, item.preview.unread, newest.unwrap_or_default());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Stopped`], or what the disk has to say.
    pub async fn inbox(&self) -> Result<Vec<InboxItem>, Error> {
        self.read(|engine| {
            let previews = engine.previews()?;
            let item = |preview: Preview| Ok(InboxItem { circle: engine.circle_info(preview.circle)?, preview });
            previews.into_iter().map(item).collect()
        })
        .await
    }
}

/// Steps of the observed inbox; see [`Node::observe_inbox`].
pub struct InboxUpdates {
    node: Node,
    happenings: Happenings,
    shown: Option<Vec<InboxItem>>,
}

impl Node {
    /// The [inbox](Self::inbox) and everything that happens to it, as steps; the first is [`ListDiff::Reset`].
    #[must_use]
    pub fn observe_inbox(&self) -> InboxUpdates {
        InboxUpdates { node: self.clone(), happenings: self.happenings(), shown: None }
    }
}

impl InboxUpdates {
    /// The next steps, all that are due in one batch; never empty. Waits while the node is paused. Cancel safe.
    ///
    /// # Errors
    /// [`Error::Stopped`] once the node was shut down, or what the disk has to say.
    pub async fn next(&mut self) -> Result<Vec<ListDiff<InboxItem>>, Error> {
        let concerns = |event: &Event| match event {
            Event::DocumentChanged { kind, .. } => *kind == DocumentKind::Timeline,
            Event::MembershipChanged { .. }
            | Event::ReadChanged { .. }
            | Event::Joined { .. }
            | Event::CircleJoined { .. }
            | Event::CircleLinked { .. }
            | Event::Removed { .. } => true,
            _ => false,
        };
        loop {
            if self.shown.is_some() {
                self.happenings.any(concerns).await?;
            }
            let node = self.node.clone();
            let now = self.happenings.read(|| node.inbox()).await?;
            let steps = match &self.shown {
                None => vec![ListDiff::Reset(now.clone())],
                Some(before) => diff_any(before, &now, |item| item.circle.id),
            };
            self.shown = Some(now);
            if !steps.is_empty() {
                return Ok(steps);
            }
        }
    }
}

impl Circle {
    /// What was said last here, and what is unread.
    ///
    /// # Errors
    /// [`Error::Stopped`], or what the disk has to say.
    pub async fn preview(&self) -> Result<Preview, Error> {
        let id = self.id;
        self.node.read(move |engine| engine.preview(id)).await
    }

    /// Notes that this person has read everything up to a message; everything there is, if none is named. It never goes
    /// back. Their other devices are told within seconds or, while somebody reads on, minutes; nobody else is.
    ///
    /// ```
    /// # async fn example(node: clave::Node) -> Result<(), clave::Error> {
    /// let team = node.create_space("Team").await?;
    /// team.mark_read(None).await?;
    /// assert_eq!(team.preview().await?.unread, 0);
    /// # Ok(())
    /// # }
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// #     let folder = tempfile::tempdir()?;
    /// #     let node = clave::Node::create(clave::NodeConfig::new(folder.path()), "Ada", "Laptop").await?;
    /// #     Ok(example(node).await?)
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Stopped`], or if the disk refuses.
    pub async fn mark_read(&self, up_to: Option<MessageId>) -> Result<(), Error> {
        let id = self.id;
        self.node.command(move |engine, now| engine.mark_read(id, up_to, now)).await
    }
}
