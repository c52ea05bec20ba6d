//! Random schedules under fixed seeds.

use clave_sim::{Agreement, Mix, Plan, run};

/// Runs a plan that must end well.
fn ends_well(plan: Plan) {
    let outcome = run(plan);
    assert!(outcome.faults.is_empty(), "{:#?}\nreplay: {plan}", outcome.faults);
}

#[test]
fn every_device_agrees_after_a_calm_schedule() {
    for seed in 0..30 {
        ends_well(Plan { devices: 5, steps: 25, ..Plan::of_seed(seed) }.with_mix(Mix::Calm));
    }
}

#[test]
fn every_device_agrees_after_admins_quarrelled() {
    for seed in 0..30 {
        ends_well(Plan { devices: 6, steps: 25, ..Plan::of_seed(seed) }.with_mix(Mix::Admins));
    }
}

#[test]
fn every_honest_device_agrees_whatever_others_throw_at_it() {
    for seed in 0..30 {
        ends_well(Plan { devices: 6, steps: 25, ..Plan::of_seed(seed) }.with_mix(Mix::Hostile));
    }
}

#[test]
fn the_oracle_of_key_agreement_agrees_too() {
    for seed in 0..20 {
        ends_well(Plan { agreement: Agreement::SealedSecret, devices: 5, steps: 25, ..Plan::of_seed(seed) });
    }
}

#[test]
fn a_seed_replays_byte_for_byte() {
    for seed in [3, 4, 7] {
        let plan = |seed| Plan { devices: 6, steps: 20, ..Plan::of_seed(seed) }.with_mix(Mix::ALL[seed as usize % 3]);
        let (one, same) = (run(plan(seed)), run(plan(seed)));
        assert_eq!(one.trace_hash, same.trace_hash, "seed {seed}");
        assert_ne!(one.trace_hash, run(plan(seed + 100)).trace_hash);
    }
}
