//! Random schedules under fixed seeds.

use clave_sim::{Agreement, Attack, Mix, Plan, run};

/// Runs a plan that must end well.
fn ends_well(plan: Plan) {
    let outcome = run(plan);
    assert!(outcome.faults.is_empty(), "{:#?}\nreplay: {plan}", outcome.faults);
}

/// A short run of few devices.
fn small(seed: u64, devices: usize, mix: Mix) -> Plan {
    Plan { devices, steps: 25, ..Plan::of_seed(seed) }.with_mix(mix)
}

#[test]
fn every_device_agrees_after_a_calm_schedule() {
    for seed in 0..25 {
        ends_well(small(seed, 5, Mix::Calm));
    }
}

#[test]
fn every_device_agrees_after_admins_quarrelled() {
    for seed in 0..25 {
        ends_well(small(seed, 6, Mix::Admins));
    }
}

#[test]
fn every_honest_device_agrees_whatever_others_throw_at_it() {
    for (seed, attack) in (0..).zip(Attack::ALL) {
        ends_well(Plan { attack: Some(attack), rogues: 2, ..small(seed, 6, Mix::Hostile) });
    }
}

#[test]
fn every_device_agrees_after_people_lived_with_circles_and_devices() {
    for seed in 0..15 {
        ends_well(small(seed, 7, Mix::Life));
    }
}

#[test]
fn every_device_agrees_whatever_relays_do() {
    let (mut relayed, mut betrayed) = (0, 0);
    for seed in 0..20 {
        let plan = Plan { relays: 1 + seed as usize % 2, ..small(seed, 6, Mix::Admins) };
        let outcome = run(plan);
        assert!(outcome.faults.is_empty(), "{:#?}\nreplay: {plan}", outcome.faults);
        relayed += outcome.seen.relayed;
        betrayed += outcome.seen.betrayed;
    }
    assert!(relayed > 1_000 && betrayed > 100, "{relayed} {betrayed}");
}

#[test]
fn every_attack_is_made() {
    for (seed, attack) in (0..).zip(Attack::ALL) {
        let outcome = run(Plan { attack: Some(attack), ..small(seed, 6, Mix::Hostile) });
        assert!(outcome.seen.attacks > 0, "{attack:?}");
    }
}

#[test]
fn the_oracle_of_key_agreement_agrees_too() {
    for seed in 0..20 {
        ends_well(Plan { agreement: Agreement::SealedSecret, ..small(seed, 5, Mix::Calm) });
    }
}

#[test]
fn a_device_may_crash_at_any_of_its_writes() {
    let plan = Plan { devices: 3, steps: 6, ..small(1, 3, Mix::Calm) };
    let writes = run(plan).writes;
    assert!(writes.iter().all(|writes| *writes > 4), "{writes:?}");
    for (device, writes) in writes.into_iter().enumerate() {
        for write in 0..writes {
            ends_well(Plan { crash_at: Some((device, write)), ..plan });
        }
    }
}

#[test]
fn a_seed_replays_byte_for_byte() {
    for (seed, mix) in [3, 4, 7, 9].into_iter().zip(Mix::ALL) {
        let plan = small(seed, 6, mix);
        let [one, same] = [plan; 2].map(run);
        assert_eq!(one.trace_hash, same.trace_hash, "seed {seed}");
        assert_ne!(one.trace_hash, run(Plan { seed: seed + 100, ..plan }).trace_hash);
    }
}
