//! Catching up: reaching whoever can be reached, getting what they have, and knowing when that is done.

use std::collections::BTreeSet;
use std::time::Duration;

use clave_engine::{CircleId, Engine, Event};
use tokio::sync::oneshot;

use super::dialer::Dialer;
use super::driver::{Input, now_ms};
use super::relays::Relays;
use super::{Node, Phase};
use crate::Error;

/// How long nothing may have been on its way until all is here, in milliseconds.
const QUIET_MS: u64 = 300;
/// How often it is looked whether somebody who was waited for will not answer any more, in milliseconds.
const LOOK_MS: u64 = 250;
/// How long to wait for members of whom it is not known where they are: they may be nearby, or dial this device; in
/// milliseconds.
const NEARBY_MS: u64 = 2_000;

/// How far catching up came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaughtUp {
    /// Whether this device has all that those it could reach had, members' devices and relays. If not, the deadline came first.
    pub completed: bool,
    /// Members' devices with which everything was compared.
    pub reached: usize,
    /// Members' devices that could not be reached, or not in time.
    pub unreached: usize,
    /// Relays that said all that they had for this device.
    pub relays: usize,
    /// Circles in which something changed meanwhile, in order.
    pub changed: Vec<CircleId>,
}

/// Somebody who waits for the node to have caught up.
pub(super) struct Catching {
    pub(super) answer: oneshot::Sender<CaughtUp>,
    began_ms: u64,
    until_ms: u64,
    quiet_since_ms: Option<u64>,
    changed: BTreeSet<CircleId>,
}

/// What may bring more, besides the engine.
pub(super) struct Busy<'a> {
    /// Whether members nearby may still be found.
    pub(super) has_mdns: bool,
    pub(super) is_writing: bool,
    /// Who is a relay: nobody to compare with.
    pub(super) relays: &'a Relays,
}

impl Catching {
    pub(super) fn new(answer: oneshot::Sender<CaughtUp>, until_ms: u64) -> Self {
        Self { answer, began_ms: now_ms(), until_ms, quiet_since_ms: None, changed: BTreeSet::new() }
    }

    pub(super) fn note(&mut self, event: &Event) {
        match event {
            Event::DocumentChanged { circle, .. } | Event::MembershipChanged { circle } => {
                self.changed.insert(*circle);
            }
            _ => {}
        }
    }

    /// Looks whether it is done. When to look again, if not.
    fn look(&mut self, engine: &Engine, dialer: &Dialer, busy: &Busy<'_>, now_ms: u64) -> Result<u64, CaughtUp> {
        let settled = engine.settled(now_ms);
        let reached = settled.values().filter(|settled| **settled).count();
        let unreached = dialer.unconnected(busy.relays) + settled.len() - reached;
        let (relays, reading) = engine.relays_read();
        let is_busy = busy.is_writing || dialer.is_dialling() || reached < settled.len() || reading > 0;
        let changed = || self.changed.iter().copied().collect();
        let caught_up = |completed| CaughtUp { completed, reached, unreached, relays, changed: changed() };
        if now_ms >= self.until_ms {
            return Err(caught_up(!is_busy));
        }
        if is_busy {
            self.quiet_since_ms = None;
            return Ok(self.until_ms.min(now_ms + LOOK_MS));
        }
        let quiet_at_ms = *self.quiet_since_ms.get_or_insert(now_ms) + QUIET_MS;
        let may_come = dialer.awaits() || busy.has_mdns && unreached > 0;
        let nearby_at_ms = if may_come { self.began_ms + NEARBY_MS } else { 0 };
        let done_ms = quiet_at_ms.max(nearby_at_ms);
        if now_ms >= done_ms { Err(caught_up(true)) } else { Ok(done_ms.min(self.until_ms)) }
    }
}

/// Answers those who are to be answered. When to look again, if somebody is not.
pub(super) fn tend(all: &mut Vec<Catching>, engine: &Engine, dialer: &Dialer, busy: &Busy<'_>) -> Option<u64> {
    let (now_ms, mut next_ms) = (now_ms(), None::<u64>);
    for mut catching in std::mem::take(all) {
        match catching.look(engine, dialer, busy, now_ms) {
            Err(caught_up) => _ = catching.answer.send(caught_up),
            Ok(at_ms) if !catching.answer.is_closed() => {
                next_ms = Some(next_ms.map_or(at_ms, |next_ms| next_ms.min(at_ms)));
                all.push(catching);
            }
            Ok(_) => {}
        }
    }
    next_ms
}

impl Node {
    /// Gets what happened while this device was away: [resumes](Self::resume) it if it is paused, dials everybody, compares with
    /// whoever can be reached, reads what relays have, and returns when nothing more is on its way, or after `deadline`. What an app does that
    /// was woken in the background, before it pauses again. Content of files is not waited for.
    ///
    /// That a device is reached is found out by trying: somebody who left without a word is waited for until the attempt
    /// ends or the deadline comes. Dropping the future harms nothing.
    ///
    /// # Errors
    /// Those of [`resume`](Self::resume); [`Error::Paused`] or [`Error::Stopped`] if somebody has it pause or stop meanwhile.
    pub async fn catch_up(&self, deadline: Duration) -> Result<CaughtUp, Error> {
        let until_ms = now_ms().saturating_add(u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX));
        if matches!(*self.inner.phase.borrow(), Phase::Paused) {
            self.resume().await?;
        }
        let (answer, caught_up) = oneshot::channel();
        let asked = self.running()?.inputs.send(Input::CatchUp(answer, until_ms)).await;
        asked.map_err(|_| self.gone())?;
        caught_up.await.map_err(|_| self.gone())
    }
}
