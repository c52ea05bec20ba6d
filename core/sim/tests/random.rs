//! Random schedules under fixed seeds.

use clave_sim::{Agreement, Plan, run};

#[test]
fn every_device_agrees_after_a_random_schedule() {
    for seed in 0..100 {
        let plan = Plan { steps: 25, ..Plan::of_seed(seed) };
        let outcome = run(plan);
        assert!(
            outcome.faults.is_empty(),
            "{:#?}\nreplay: cargo run -p clave-sim -- --seed {seed} --devices {} --steps 25 --trace",
            outcome.faults,
            plan.devices,
        );
    }
}

#[test]
fn the_oracle_of_key_agreement_agrees_too() {
    for seed in 0..20 {
        let outcome = run(Plan { agreement: Agreement::SealedSecret, steps: 25, ..Plan::of_seed(seed) });
        assert!(outcome.faults.is_empty(), "seed {seed}: {:#?}", outcome.faults);
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
