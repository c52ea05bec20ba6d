//! What the parts of Clave's path cost by themselves, to see where the time goes.

use clave_crypto::{Entropy, Export, GroupKeyAgreement, Mls, RosterChange};
use clave_engine::membership::{Action, Log};
use serde_json::{Value, json};

use super::cost::cost_of;
use super::team::Team;
use crate::harness::{Spread, human};

/// How often each is done.
const TIMES: usize = 9;

fn median(mut work: impl FnMut() -> f64) -> f64 {
    Spread::of((0..TIMES).map(|_| work()).collect()).median
}

fn cpu<T>(work: impl FnOnce() -> T) -> f64 {
    cost_of(work).1.cpu.as_secs_f64()
}

/// Measures and prints them.
pub fn of(team: &Team, entropy: &mut Entropy) -> Value {
    let [alice, bob] = &team.ours;
    let devices = [&team.people[0].device, &team.people[1].device];
    let rotation = RosterChange::default();
    let commit = Mls.commit(devices[0], alice, &rotation, entropy).expect("a member may");
    let log = &team.logs[0];
    let person = team.people[1].person_id();
    let revocation = Action::RevokePerson { person, keep_heads: Vec::new(), keep_changes: Vec::new() };
    let operations = || log.operations().cloned().collect::<Vec<_>>();
    let refill = |operations: Vec<_>| {
        let mut log = Log::new(team.circle());
        operations.into_iter().for_each(|operation| drop(log.insert_verified(operation)));
        let _ = log.membership();
        log
    };
    let revoke = || {
        let mut log = refill(operations());
        let operation = log.new_operation(devices[0], revocation.clone(), super::START_MS).expect("the founder may");
        cpu(|| {
            drop(log.insert_verified(operation));
            log.membership().devices.len()
        })
    };
    let parts = [
        ("Mls::commit", median(|| cpu(|| Mls.commit(devices[0], alice, &rotation, entropy)))),
        ("Mls::process", median(|| cpu(|| Mls.process(devices[1], bob, &commit.message)))),
        ("Mls::export", median(|| cpu(|| Mls.export(bob, Export::ContentKey, b"")))),
        ("Checkpoint::to_bytes", median(|| cpu(|| bob.to_bytes()))),
        ("insert a revocation", median(revoke)),
        (
            "encode all operations",
            median(|| cpu(|| log.operations().map(|operation| operation.encode().len()).sum::<usize>())),
        ),
        ("verify all operations", median(|| cpu(|| log.operations().all(|operation| operation.verify().is_ok())))),
        (
            "take in all operations",
            median(|| {
                let operations = operations();
                cpu(|| refill(operations))
            }),
        ),
    ];
    for (name, seconds) in parts {
        println!("  {name:32} {:>10}", human(seconds));
    }
    json!(std::collections::BTreeMap::from(parts))
}
