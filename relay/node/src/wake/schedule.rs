//! When whom to push: no more often than need be, again after a failure, and no longer once they came. Without I/O or a clock.
//!
//! Each subscription waits at most once, so there is no queue that could grow beyond their number.

use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, Instant},
};

use super::SubscriptionId;

/// How often a push is tried before it is given up until the next entry comes.
const ATTEMPTS_MAX: u32 = 12;

/// The longest pause after a failure, and after a refusal for which there is no reason to think that it will pass.
const PAUSE_MAX: Duration = Duration::from_secs(60 * 60);

/// The longest pause that a push server may ask for.
const ASKED_PAUSE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How often.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Between two pushes of a subscription, until its device has come.
    pub(super) interval: Duration,
    /// Between two pushes of a subscription in any case.
    pub(super) gap: Duration,
    /// After the first failure; doubled with each further one.
    pub(super) retry: Duration,
    /// Pushes that go on at a time.
    pub(super) pushes_max: usize,
}

/// What the push server did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It took it.
    Accepted,
    /// Try again, not before so long. The status is 0 if it was not reached.
    Later { status: u16, after: Option<Duration> },
    /// It did not like it.
    Refused { status: u16 },
    /// There is no such subscription any more.
    Gone { status: u16 },
}

#[derive(Default)]
struct Bell {
    /// It stands in `due` for then.
    due: Option<Instant>,
    /// A push is on its way.
    is_ringing: bool,
    /// Since it is on its way, something more came.
    is_wanted: bool,
    /// Since it is on its way, the device came.
    has_come: bool,
    not_before: Option<Instant>,
    pushed: Option<Instant>,
    failures: u32,
}

/// All that wait.
pub(super) struct Schedule {
    rules: Rules,
    bells: HashMap<SubscriptionId, Bell>,
    due: BTreeSet<(Instant, SubscriptionId)>,
    ringing: usize,
}

impl Schedule {
    pub(super) fn new(rules: Rules) -> Self {
        Self { rules, bells: HashMap::new(), due: BTreeSet::new(), ringing: 0 }
    }

    /// Something came for a device that is not there: push at `at`, or when it is allowed.
    pub(super) fn want(&mut self, id: SubscriptionId, at: Instant) {
        let bell = self.bells.entry(id).or_default();
        if bell.is_ringing {
            // Whatever came before it came is on the device by then.
            bell.is_wanted = true;
        } else if bell.due.is_none() {
            let due = bell.not_before.map_or(at, |not_before| not_before.max(at));
            bell.due = Some(due);
            self.due.insert((due, id));
        }
    }

    /// The device is there: nothing is to be pushed for what came until now.
    pub(super) fn came(&mut self, id: SubscriptionId) {
        let Some(bell) = self.bells.get_mut(&id) else { return };
        if let Some(due) = bell.due.take() {
            self.due.remove(&(due, id));
        }
        (bell.is_wanted, bell.has_come, bell.failures) = (false, true, 0);
        bell.not_before = bell.pushed.map(|pushed| pushed + self.rules.gap);
    }

    /// The subscription is no more.
    pub(super) fn forget(&mut self, id: SubscriptionId) {
        let Some(bell) = self.bells.remove(&id) else { return };
        if let Some(due) = bell.due {
            self.due.remove(&(due, id));
        }
        self.ringing -= usize::from(bell.is_ringing);
    }

    /// Whom to push now. [`done`](Self::done) has to follow.
    pub(super) fn next(&mut self, now: Instant) -> Option<SubscriptionId> {
        if self.deadline()? > now {
            return None;
        }
        let (_, id) = self.due.pop_first()?;
        let bell = self.bells.get_mut(&id).expect("what is due has a bell");
        (bell.due, bell.is_ringing, bell.has_come, bell.pushed) = (None, true, false, Some(now));
        self.ringing += 1;
        Some(id)
    }

    /// When to ask for the next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.ringing >= self.rules.pushes_max {
            return None;
        }
        self.due.first().map(|(due, _)| *due)
    }

    /// What came of a push.
    pub(super) fn done(&mut self, id: SubscriptionId, outcome: Outcome, now: Instant) {
        let rules = self.rules;
        let Some(bell) = self.bells.get_mut(&id).filter(|bell| bell.is_ringing) else { return };
        bell.is_ringing = false;
        self.ringing -= 1;
        let mut is_wanted = std::mem::take(&mut bell.is_wanted);
        let pause = match outcome {
            Outcome::Accepted => {
                bell.failures = 0;
                rules.interval
            }
            Outcome::Later { after, .. } => {
                let doubled = rules.retry.saturating_mul(1 << bell.failures.min(16)).min(PAUSE_MAX);
                bell.failures += 1;
                if bell.failures < ATTEMPTS_MAX {
                    is_wanted |= !bell.has_come;
                } else {
                    bell.failures = 0;
                }
                after.map_or(doubled, |after| after.clamp(doubled, ASKED_PAUSE_MAX.max(doubled)))
            }
            Outcome::Refused { .. } => PAUSE_MAX,
            Outcome::Gone { .. } => return self.forget(id),
        };
        // Who came since has another try soon.
        let pause = if bell.has_come { rules.gap } else { pause };
        bell.not_before = Some(now + pause.max(rules.gap));
        if is_wanted {
            self.want(id, now);
        }
    }

    /// Whether a push waits or is on its way.
    pub(super) fn is_waiting(&self, id: SubscriptionId) -> bool {
        self.bells.get(&id).is_some_and(|bell| bell.due.is_some() || (bell.is_ringing && !bell.has_come))
    }

    /// How many wait or are on their way.
    pub(super) fn waiting(&self) -> usize {
        self.due.len() + self.ringing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: SubscriptionId = SubscriptionId([1; 16]);
    const B: SubscriptionId = SubscriptionId([2; 16]);
    const LATER: Outcome = Outcome::Later { status: 503, after: None };

    fn schedule() -> (Schedule, Instant) {
        let seconds = Duration::from_secs;
        let rules = Rules { interval: seconds(60), gap: seconds(5), retry: seconds(10), pushes_max: 2 };
        (Schedule::new(rules), Instant::now())
    }

    fn after(now: Instant, seconds: u64) -> Instant {
        now + Duration::from_secs(seconds)
    }

    #[test]
    fn many_entries_are_one_push_until_the_device_came() {
        let (mut schedule, now) = schedule();
        (0..100).for_each(|_| schedule.want(A, now));
        assert_eq!((schedule.next(now), schedule.next(now)), (Some(A), None));
        schedule.done(A, Outcome::Accepted, now);
        // What comes now waits for the interval…
        (1..50).for_each(|second| schedule.want(A, after(now, second)));
        assert_eq!((schedule.deadline(), schedule.waiting()), (Some(after(now, 60)), 1));
        // …and need not be told once the device has come.
        schedule.came(A);
        assert_eq!((schedule.deadline(), schedule.is_waiting(A)), (None, false));
        schedule.want(A, after(now, 3));
        assert_eq!(schedule.deadline(), Some(after(now, 5)), "the gap holds in any case");
    }

    #[test]
    fn failures_are_tried_again_later_and_later_and_given_up() {
        let (mut schedule, start) = schedule();
        schedule.want(A, start);
        let (mut now, mut pauses) = (start, Vec::new());
        while let Some(due) = schedule.deadline() {
            pauses.push(due.duration_since(now).as_secs());
            now = due;
            assert_eq!(schedule.next(now), Some(A));
            schedule.done(A, LATER, now);
        }
        assert_eq!(pauses, [0, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]);
        schedule.want(A, now);
        assert_eq!(schedule.deadline(), Some(after(now, 3600)), "the next entry tries again, after the pause");
    }

    #[test]
    fn a_push_server_says_when_and_for_ever_is_a_day() {
        for (asked, waited) in [(0, 10), (120, 120), (u64::MAX >> 8, 86_400)] {
            let (mut schedule, now) = schedule();
            schedule.want(A, now);
            schedule.next(now);
            let asked = Some(Duration::from_secs(asked));
            schedule.done(A, Outcome::Later { status: 429, after: asked }, now);
            assert_eq!(schedule.deadline(), Some(after(now, waited)));
        }
    }

    #[test]
    fn who_came_while_a_push_failed_is_not_pushed_again() {
        let (mut schedule, now) = schedule();
        schedule.want(A, now);
        schedule.next(now);
        schedule.came(A);
        schedule.done(A, LATER, now);
        assert_eq!(schedule.deadline(), None);
        schedule.want(A, now);
        assert_eq!(schedule.deadline(), Some(after(now, 5)));
        // What comes while it is on its way is told after it.
        assert_eq!(schedule.next(after(now, 5)), Some(A));
        schedule.want(A, after(now, 5));
        schedule.done(A, Outcome::Accepted, after(now, 5));
        assert_eq!(schedule.deadline(), Some(after(now, 65)));
    }

    #[test]
    fn gone_refused_and_forgotten() {
        let (mut schedule, now) = schedule();
        schedule.want(A, now);
        schedule.next(now);
        schedule.want(A, now);
        schedule.done(A, Outcome::Gone { status: 410 }, now);
        assert_eq!((schedule.deadline(), schedule.waiting()), (None, 0));
        schedule.want(A, now);
        schedule.next(now);
        schedule.done(A, Outcome::Refused { status: 403 }, now);
        assert_eq!(schedule.deadline(), None);
        schedule.want(A, now);
        assert_eq!(schedule.deadline(), Some(after(now, 3600)));
        schedule.forget(A);
        assert_eq!(schedule.waiting(), 0);
        // A push of what was forgotten ends without a trace.
        schedule.want(A, now);
        schedule.next(now);
        schedule.forget(A);
        schedule.done(A, LATER, now);
        assert_eq!((schedule.deadline(), schedule.waiting()), (None, 0));
    }

    #[test]
    fn so_many_at_a_time_in_the_order_in_which_they_are_due() {
        let (mut schedule, now) = schedule();
        let third = SubscriptionId([3; 16]);
        schedule.want(B, now);
        schedule.want(A, after(now, 1));
        schedule.want(third, after(now, 2));
        let late = after(now, 9);
        assert_eq!([schedule.next(late), schedule.next(late), schedule.next(late)], [Some(B), Some(A), None]);
        assert_eq!(schedule.deadline(), None);
        schedule.done(A, Outcome::Accepted, late);
        assert_eq!(schedule.next(late), Some(third));
    }
}
