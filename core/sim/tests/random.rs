//! Random schedules under fixed seeds.

use clave_sim::{Agreement, Plan, run};

#[test]
fn every_device_agrees_after_a_random_schedule() {
    for seed in 0..100 {
        let plan = Plan { steps: 25, ..Plan::of_seed(seed) };
        let outcome = run(plan);
        assert!(outcome.faults.is_empty(), "{:#?}\nreplay: {plan}", outcome.faults);
    }
}

#[test]
fn the_oracle_of_key_agreement_agrees_too() {
    for seed in 0..20 {
        let plan = Plan { agreement: Agreement::SealedSecret, steps: 25, ..Plan::of_seed(seed) };
        let outcome = run(plan);
        assert!(outcome.faults.is_empty(), "{:#?}\nreplay: {plan}", outcome.faults);
    }
}

#[test]
fn a_seed_replays_byte_for_byte() {
    for seed in [3, 4, 7] {
        let (one, same) = (run(Plan::of_seed(seed)), run(Plan::of_seed(seed)));
        assert_eq!(one.trace_hash, same.trace_hash, "seed {seed}");
        assert_ne!(one.trace_hash, run(Plan::of_seed(seed + 100)).trace_hash);
    }
}

/// Schedules that once ended badly.
#[test]
fn what_was_mended_stays_mended() {
    let plans = [
        // A Welcome to a branch with people whose operations only its keys open.
        Plan { devices: 5, ..Plan::of_seed(23) },
        // Somebody removed had been handed the key of a branch that lost and then won.
        Plan { devices: 5, steps: 80, ..Plan::of_seed(867) },
        // A commit that cited operations whose keys were handed over behind it.
        Plan { devices: 5, steps: 60, ..Plan::of_seed(2087) },
        Plan { devices: 4, many_admins: true, ..Plan::of_seed(146) },
    ];
    for plan in plans.map(|plan| Plan { papers: false, ..plan }) {
        let outcome = run(plan);
        assert!(outcome.faults.is_empty(), "{:#?}\nreplay: {plan}", outcome.faults);
    }
}
