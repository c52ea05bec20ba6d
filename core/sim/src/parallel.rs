//! Many runs at once. Worlds share nothing, so each comes to the same however many run beside it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;

use crate::{Outcome, Plan, run};

/// Outcomes that may wait to be taken, per job.
const WAITING_MAX: usize = 4;

/// Runs plans on so many threads, and hands out what became of them in the order of the plans.
pub fn run_all(plans: &[Plan], jobs: usize, mut take: impl FnMut(&Plan, Outcome)) {
    let jobs = jobs.clamp(1, plans.len().max(1));
    let next = AtomicUsize::new(0);
    let (done, outcomes) = sync_channel(jobs * WAITING_MAX);
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            let (next, done) = (&next, done.clone());
            scope.spawn(move || {
                while let Some((place, plan)) = {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    plans.get(place).map(|plan| (place, *plan))
                } {
                    if done.send((place, run_to_the_end(plan))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(done);
        let (mut early, mut due) = (BTreeMap::new(), 0);
        for (place, outcome) in outcomes {
            early.insert(place, outcome);
            while let Some(outcome) = early.remove(&due) {
                take(&plans[due], outcome);
                due += 1;
            }
        }
    });
}

/// A panic is a fault like any other: the seeds after it still run.
fn run_to_the_end(plan: Plan) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| run(plan))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Outcome { faults: vec![format!("no panic: {}", text.unwrap_or_default())], ..Outcome::default() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_come_in_order_and_alike_however_many_run_at_once() {
        let plans: Vec<Plan> = (0..6).map(|seed| Plan { devices: 5, steps: 6, ..Plan::of_seed(seed) }).collect();
        let hashes = |jobs| {
            let mut hashes = Vec::new();
            run_all(&plans, jobs, |plan, outcome| hashes.push((plan.seed, outcome.trace_hash)));
            hashes
        };
        let one = hashes(1);
        assert_eq!(one.iter().map(|(seed, _)| *seed).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
        assert_eq!(one, hashes(3));
    }
}
