//! The log of an organisation: 4,000 people, 10,000 operations. What it takes to evaluate it, and to hand it to a newcomer.

use clave_crypto::{DeviceKey, Entropy, GroupKeyAgreement, Mls, Suite};
use clave_engine::OperationId;
use clave_engine::membership::{Action, Insertion, Log, Operation, Role, Scope};
use serde_json::{Value, json};

use super::START_MS;
use super::cost::cost_of;
use super::team::Person;
use crate::Scale;
use crate::harness::{Spread, human};

const SOUND: &str = "the organisation keeps to the rules";
/// Two operations of this many are done without knowing of each other.
const CONCURRENT_EVERY: usize = 10;

/// Everybody is brought in by an admin; then roles change, people leave, rename themselves, publish key packages.
fn organisation(people: usize, operations: usize, entropy: &mut Entropy) -> (Vec<Person>, Log) {
    let everybody: Vec<Person> = (0..people).map(Person::new).collect();
    // What a key package holds makes no difference to the log, its size does.
    let package = Mls.key_package(&everybody[0].device, Suite::default(), false, entropy).public;
    let packages = || vec![package.clone(); super::team::KEY_PACKAGES];
    let founder = &everybody[0].device;
    let (name, founding) = ("Organisation".to_owned(), everybody[0].entry(packages()));
    let genesis = Action::Genesis {
        name,
        nonce: [7; 16],
        founder: founding,
        parent: None,
        scope: Scope::Nested,
        suite: Suite::default(),
    };
    let mut log = Log::found(founder, genesis, START_MS).expect(SOUND);
    // As many admins as there are departments of eighty.
    let admins = (people / 80).max(1);
    for (number, newcomer) in everybody.iter().enumerate().skip(1) {
        let role = if number <= admins { Role::Admin } else { Role::Member };
        let author = if number <= admins { founder } else { &everybody[1 + number % admins].device };
        let parents = log.heads();
        write(&mut log, author, parents, Action::AddPerson { newcomer: newcomer.entry(packages()), role });
    }
    let mut before = log.heads();
    let mut next = admins + 1;
    while log.len() < operations {
        let number = log.len();
        let heads = log.heads();
        // Now and then somebody has not heard of the newest.
        let parents = if number.is_multiple_of(CONCURRENT_EVERY) { before } else { heads.clone() };
        before = heads;
        let admin = &everybody[1 + number % admins].device;
        let member = &everybody[next];
        let person = member.person_id();
        let (author, action) = match number % 6 {
            0 | 3 => (&member.device, Action::SetProfile { person, name: format!("Name {number}") }),
            1 | 4 => {
                let key_packages = member.entry(packages()).devices[0].key_packages.clone();
                (&member.device, Action::PublishKeyPackages { key_packages })
            }
            2 => (admin, Action::SetRole { person, role: Role::Guest, keep_heads: Vec::new() }),
            _ => {
                next += 1;
                (admin, Action::RevokePerson { person, keep_heads: Vec::new(), keep_changes: Vec::new() })
            }
        };
        write(&mut log, author, parents, action);
    }
    (everybody, log)
}

fn write(log: &mut Log, author: &DeviceKey, parents: Vec<OperationId>, action: Action) {
    let operation = Operation::sign(author, parents, START_MS, action);
    assert!(matches!(log.insert_verified(operation), Insertion::Inserted(_)), "{SOUND}");
}

/// Measures and prints.
pub fn of(people: usize, operations: usize, scale: Scale) -> Value {
    let mut entropy = Entropy::from_seed([9; 32]);
    let (everybody, log) = organisation(people, operations, &mut entropy);
    let all: Vec<Operation> = log.operations().cloned().collect();
    let encoded: Vec<Vec<u8>> = all.iter().map(Operation::encode).collect();
    let answer_bytes: usize = encoded.iter().map(Vec::len).sum();
    let times = scale.rounds.min(5);
    let median = |work: &mut dyn FnMut() -> f64| Spread::of((0..times).map(|_| work()).collect()).median;
    fn cpu<T>(work: impl FnOnce() -> T) -> f64 {
        cost_of(work).1.cpu.as_secs_f64()
    }
    let refill = || {
        let mut log = Log::new(log.circle());
        for operation in all.clone() {
            drop(log.insert_verified(operation));
        }
        log
    };
    let act = |log: &mut Log, parents: Vec<OperationId>| {
        let person = everybody[people - 1].person_id();
        let action = Action::RevokePerson { person, keep_heads: Vec::new(), keep_changes: Vec::new() };
        let operation = Operation::sign(&everybody[0].device, parents, START_MS, action);
        cpu(|| {
            drop(log.insert_verified(operation));
            log.membership().people.len()
        })
    };
    let late = all[all.len() - 3].id();
    let parts = [
        (
            "read all operations",
            median(&mut || cpu(|| encoded.iter().filter_map(|bytes| Operation::decode(bytes).ok()).count())),
        ),
        ("verify all signatures", median(&mut || cpu(|| all.iter().all(|operation| operation.verify().is_ok())))),
        ("take all in", median(&mut || cpu(refill))),
        (
            "evaluate all",
            median(&mut || {
                let log = refill();
                cpu(|| log.membership().people.len())
            }),
        ),
        (
            "remove somebody, knowing everything",
            median(&mut || {
                let mut log = refill();
                let _ = log.membership();
                let heads = log.heads();
                act(&mut log, heads)
            }),
        ),
        (
            "remove somebody, at the same time as others",
            median(&mut || {
                let mut log = refill();
                let _ = log.membership();
                act(&mut log, vec![late])
            }),
        ),
        (
            "membership at a point",
            median(&mut || {
                let log = refill();
                let _ = log.membership();
                cpu(|| log.membership_at(&[late]).map(|membership| membership.people.len()))
            }),
        ),
    ];
    let remaining = log.membership().people.len();
    println!("\nlog: {people} people ({remaining} left), {} operations", all.len());
    for (name, seconds) in parts {
        println!("  {name:44} {:>10}", human(seconds));
    }
    println!("  operations in a joining answer               {answer_bytes} B");
    let seconds: std::collections::BTreeMap<_, _> = parts.into_iter().collect();
    json!({
        "name": format!("log of {people} people, {operations} operations"),
        "operations": all.len(),
        "answer_bytes": answer_bytes,
        "cpu_seconds": seconds,
    })
}
