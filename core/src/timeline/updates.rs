//! A chat as a screen shows it: a stretch of it, as steps, that can be made longer at both ends.

use clave_engine::crdt::{DocumentKind, MessageId};
use clave_engine::{Engine, EngineError, Event, SpaceId};
use tokio::sync::{mpsc, oneshot};

use super::{Message, Timeline, newest, since};
use crate::diff::{ListDiff, diff};
use crate::{Error, Happenings};

/// Pages that may be asked for before the first is shown.
const PAGES_QUEUED_MAX: usize = 16;

/// Steps of an observed timeline; see [`Timeline::observe`].
pub struct TimelineUpdates {
    timeline: Timeline,
    happenings: Happenings,
    window: Window,
    shown: Option<Vec<Message>>,
    pages: (mpsc::Sender<Page>, mpsc::Receiver<Page>),
    /// Taken from there, and not shown yet.
    page: Option<Page>,
}

/// Has an observed timeline show more; see [`TimelineUpdates::pages`]. Cheap to clone.
#[derive(Clone)]
pub struct TimelinePages(mpsc::Sender<Page>);

/// More of a timeline.
struct Page {
    earlier: bool,
    count: usize,
    /// Whether there may be more.
    shown: oneshot::Sender<bool>,
}

/// Which stretch is shown.
#[derive(Clone, Copy)]
struct Window {
    /// How many are shown at the beginning at most.
    count: usize,
    /// Around which message.
    around: Option<MessageId>,
    /// From which message on; `None`: the newest so many.
    first: Option<MessageId>,
    /// Up to which message; `None`: to the end, and what comes there is shown.
    last: Option<MessageId>,
}

impl TimelineUpdates {
    pub(super) fn new(timeline: Timeline, count: usize, around: Option<MessageId>) -> Self {
        let happenings = timeline.circle.node.happenings();
        let window = Window { count, around, first: None, last: None };
        Self { timeline, happenings, window, shown: None, pages: mpsc::channel(PAGES_QUEUED_MAX), page: None }
    }

    /// Has this show more, from elsewhere: while this is awaited.
    #[must_use]
    pub fn pages(&self) -> TimelinePages {
        TimelinePages(self.pages.0.clone())
    }

    /// The next steps, all that are due in one batch; never empty. Waits while the node is paused, and goes on when it
    /// runs again. Cancel safe.
    ///
    /// # Errors
    /// [`Error::Stopped`] once the node was shut down.
    pub async fn next(&mut self) -> Result<Vec<ListDiff<Message>>, Error> {
        loop {
            if self.shown.is_some() && self.page.is_none() {
                self.page = self.wait().await?;
            }
            let circle = &self.timeline.circle;
            let (id, window) = (circle.id, self.window);
            let more = self.page.as_ref().map(|page| (page.earlier, page.count));
            let read = move |engine: &mut Engine| window.read(engine, id, more);
            let (now, window, may_be_more) = self.happenings.read(|| circle.node.read(read)).await?;
            let steps = match &self.shown {
                None => vec![ListDiff::Reset(now.clone())],
                Some(before) => diff(before, &now, |message| message.id),
            };
            (self.shown, self.window) = (Some(now), window);
            if let Some(page) = self.page.take() {
                let _ = page.shown.send(may_be_more);
            }
            if !steps.is_empty() {
                return Ok(steps);
            }
        }
    }

    /// Until something in this timeline may have changed, or more is to be shown.
    async fn wait(&mut self) -> Result<Option<Page>, Error> {
        let id = self.timeline.circle.id;
        let concerns = |event: &Event| match event {
            Event::DocumentChanged { circle, kind, .. } => *circle == id && *kind == DocumentKind::Timeline,
            Event::MembershipChanged { circle } | Event::ReachChanged { circle } => *circle == id,
            // It may refuse what is here.
            Event::RelayChanged { .. } => true,
            _ => false,
        };
        tokio::select! {
            changed = self.happenings.any(concerns) => changed.map(|()| None),
            page = self.pages.1.recv() => Ok(page),
        }
    }
}

impl TimelinePages {
    /// Shows up to `count` messages more at the beginning, and says whether there may be more still. The steps come by
    /// [`TimelineUpdates::next`], which has to be awaited meanwhile.
    ///
    /// # Errors
    /// [`Error::Stopped`] once nobody awaits it any more.
    pub async fn earlier(&self, count: usize) -> Result<bool, Error> {
        self.page(true, count).await
    }

    /// The same at the end. Once the end of the chat is shown, what is new there is shown by itself.
    ///
    /// # Errors
    /// As [`earlier`](Self::earlier).
    pub async fn later(&self, count: usize) -> Result<bool, Error> {
        self.page(false, count).await
    }

    async fn page(&self, earlier: bool, count: usize) -> Result<bool, Error> {
        let (shown, may_be_more) = oneshot::channel();
        self.0.send(Page { earlier, count, shown }).await.map_err(|_| Error::Stopped)?;
        may_be_more.await.map_err(|_| Error::Stopped)
    }
}

impl Window {
    /// What is to be shown, and which stretch that is; with more, if that is asked for: then also whether there may be more.
    fn read(
        mut self,
        engine: &mut Engine,
        id: SpaceId,
        more: Option<(bool, usize)>,
    ) -> Result<(Vec<Message>, Self, bool), EngineError> {
        let mut may_be_more = false;
        if let Some(around) = self.around.take() {
            self.first =
                newest(engine, id, Some(around), self.count)?.first().map_or(Some(around), |first| Some(first.id));
            self.extend(engine, id, around, self.count)?;
        }
        match (more, self.first, self.last) {
            (Some((true, count)), Some(first), _) => {
                let before = newest(engine, id, Some(first), count)?;
                may_be_more = before.len() == count;
                self.first = before.first().map_or(self.first, |message| Some(message.id));
                self.count = self.count.saturating_add(count);
            }
            (Some((true, count)), None, _) => self.count = self.count.saturating_add(count),
            (Some((false, count)), _, Some(last)) => {
                // The last one is shown already.
                self.extend(engine, id, last, count.saturating_add(1))?;
                may_be_more = self.last.is_some();
            }
            _ => {}
        }
        let mut now = match self.first {
            Some(first) => since(engine, id, first)?,
            None => newest(engine, id, None, self.count)?,
        };
        if let Some(last) = self.last {
            now.retain(|message| message.id <= last);
        }
        // While there is room, messages that arrive late may go before the first one shown.
        if self.first.is_none() && now.len() >= self.count {
            self.first = now.first().map(|message| message.id);
        }
        Ok((now, self, may_be_more))
    }

    /// Lets it reach up to so many messages from one on.
    fn extend(&mut self, engine: &mut Engine, id: SpaceId, from: MessageId, count: usize) -> Result<(), EngineError> {
        let behind = since(engine, id, from)?;
        self.last = if behind.len() > count { behind.get(count.max(1) - 1).map(|message| message.id) } else { None };
        Ok(())
    }
}
