//! What a large log costs. The bounds are loose: they catch a wrong exponent, not a slow machine.
#![expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]

use std::time::{Duration, Instant};

use clave_crypto::{DeviceKey, PersonKey, Suite};
use clave_engine::OperationId;
use clave_engine::membership::{Action, Insertion, KeyPackages, Log, Operation, Role, Scope};

use crate::harness::{NOW_MS, entry};

/// Something that nobody's standing rests on.
fn publishes(number: u8) -> Action {
    Action::PublishKeyPackages {
        key_packages: KeyPackages { single_use: vec![vec![number]], last_resort: None, x_wing: None },
    }
}

const PEOPLE: usize = 400;
const OPERATIONS: usize = 20_000;

struct Big {
    people: Vec<(PersonKey, DeviceKey)>,
    log: Log,
}

impl Big {
    /// A circle of many, all brought in by the first.
    fn new(role: Role) -> Self {
        Self::of(PEOPLE, role)
    }

    fn of(count: usize, role: Role) -> Self {
        let seed = |n: usize, m: u8| {
            let mut seed = [m; 32];
            seed[..8].copy_from_slice(&n.to_be_bytes());
            seed.into()
        };
        let people: Vec<_> =
            (0..count).map(|n| (PersonKey::from_seed(seed(n, 1)), DeviceKey::from_seed(seed(n, 2)))).collect();
        let (person, device) = &people[0];
        let founder = entry("0", person, device);
        let genesis = Action::Genesis {
            name: "Big".into(),
            nonce: [0; 16],
            founder,
            parent: None,
            scope: Scope::Nested,
            suite: Suite::default(),
        };
        let log = Log::found(device, genesis, NOW_MS).expect("a genesis");
        let mut big = Self { people, log };
        for n in 1..count {
            let newcomer = entry(&n.to_string(), &big.people[n].0, &big.people[n].1);
            big.write(0, big.log.heads(), Action::AddPerson { newcomer, role });
        }
        big
    }

    fn write(&mut self, author: usize, parents: Vec<OperationId>, action: Action) -> OperationId {
        let operation = Operation::sign(&self.people[author].1, parents, NOW_MS, action);
        let id = operation.id();
        assert_eq!(self.log.insert_verified(operation), Insertion::Inserted(vec![id]));
        id
    }

    fn remove(&mut self, author: usize, parents: Vec<OperationId>, target: usize) -> OperationId {
        let person = self.people[target].0.id();
        self.write(author, parents, Action::RevokePerson { person, keep_heads: Vec::new(), keep_changes: Vec::new() })
    }

    /// The time of a full evaluation.
    fn evaluate(&self) -> Duration {
        let start = Instant::now();
        let people = self.log.membership().people.len();
        let taken = start.elapsed();
        assert!(people > 0);
        // No measure: what grows with the square of the log takes hours.
        assert!(taken < Duration::from_secs(900), "{taken:?}");
        report(taken, self.log.len());
        taken
    }
}

/// Run with `--nocapture` to see the figures of `docs/validation.md`.
#[allow(clippy::print_stderr)]
fn report(taken: Duration, operations: usize) {
    let test = std::thread::current();
    eprintln!("{}: {taken:?} for {operations} operations", test.name().unwrap_or_default());
}

#[test]
fn a_long_life() {
    let mut big = Big::new(Role::Member);
    let mut round = 0;
    while big.log.len() < OPERATIONS {
        round += 1;
        // Eight people at the same time, then one who has seen them all.
        let heads = big.log.heads();
        for n in 0..8 {
            let author = (round * 8 + n) % PEOPLE;
            big.write(author, heads.clone(), publishes(n as u8));
        }
        if round % 10 == 0 {
            let target = 1 + round / 10 % (PEOPLE - 1);
            big.remove(0, heads, target);
            let newcomer = entry("back", &big.people[target].0, &big.people[target].1);
            big.write(0, big.log.heads(), Action::AddPerson { newcomer, role: Role::Member });
        }
    }
    big.evaluate();
    assert_eq!(big.log.membership().people.len(), PEOPLE);

    // From now on in place.
    let start = Instant::now();
    for n in 0..1000 {
        big.write(0, big.log.heads(), publishes(n as u8));
        assert_eq!(big.log.membership().people.len(), PEOPLE);
    }
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    report(start.elapsed() / 1000, 1);
}

#[test]
fn an_admin_who_toggles_a_role_all_day() {
    let mut big = Big::new(Role::Admin);
    let person = big.people[1].0.id();
    while big.log.len() < OPERATIONS {
        let role = if big.log.len().is_multiple_of(2) { Role::Member } else { Role::Admin };
        big.write(0, big.log.heads(), Action::SetRole { person, role, keep_heads: Vec::new() });
    }
    big.evaluate();
}

#[test]
fn everybody_removed_while_they_work() {
    let mut big = Big::new(Role::Admin);
    let heads = big.log.heads();
    for target in 1..PEOPLE {
        big.remove(0, heads.clone(), target);
    }
    while big.log.len() < OPERATIONS {
        let author = 1 + big.log.len() % (PEOPLE - 1);
        let name = big.log.len().to_string();
        big.write(author, heads.clone(), Action::Rename { name });
    }
    big.evaluate();
    assert_eq!(big.log.membership().people.len(), 1);
}

/// An organisation: 4,000 people, most of whom confirmed their keys, with some coming and going.
#[test]
fn an_organisation() {
    let mut big = Big::of(4_000, Role::Member);
    for n in 0..OPERATIONS / 2 {
        let heads = big.log.heads();
        match n % 50 {
            0 if n > 0 => {
                let target = 1 + n / 50;
                big.remove(0, heads, target);
                let newcomer = entry("back", &big.people[target].0, &big.people[target].1);
                big.write(0, big.log.heads(), Action::AddPerson { newcomer, role: Role::Member });
            }
            // Two at the same time.
            k if k % 2 == 1 => {
                big.write(n * 7 % 4_000, heads.clone(), publishes(1));
                big.write(n * 11 % 4_000, heads, publishes(2));
            }
            _ => {}
        }
        if big.log.len() >= OPERATIONS / 2 {
            break;
        }
    }
    big.evaluate();
    let heads = big.log.heads();
    let timed = |what: &str, act: &mut dyn FnMut()| {
        let start = Instant::now();
        act();
        eprintln!("  {what}: {:?}", start.elapsed());
    };
    let log = &big.log;
    timed("membership_at now", &mut || drop(log.membership_at(&heads)));
    let middle = log.operations().nth(log.len() * 9 / 10).expect("in range").id();
    timed("membership_at earlier", &mut || drop(log.membership_at(&[middle])));
    timed("again", &mut || drop(log.membership_at(&[middle])));
    let at = || log.membership_at(&[middle]).expect("it is in the log");
    assert!(std::sync::Arc::ptr_eq(&at(), &at()), "kept, not evaluated anew");
    timed("audit", &mut || drop(log.audit()));
    let device = big.people[17].1.id();
    timed("authority", &mut || {
        let _ = log.authority(device, &[middle], clave_engine::membership::Right::Commit);
    });
    let mut next = |what: &str, action: Action| {
        let start = Instant::now();
        big.write(0, big.log.heads(), action);
        let inserted = start.elapsed();
        let people = big.log.membership().people.len();
        eprintln!("  {what}: insert {inserted:?}, membership {:?} ({people})", start.elapsed() - inserted);
    };
    next("publish key packages", publishes(3));
    let key = |n: u8| (PersonKey::from_seed([n; 32].into()), DeviceKey::from_seed([n + 1; 32].into()));
    let new = key(200);
    next("add a new person", Action::AddPerson { newcomer: entry("new", &new.0, &new.1), role: Role::Member });
    next("remove", Action::RevokePerson { person: new.0.id(), keep_heads: Vec::new(), keep_changes: Vec::new() });
    next("add back", Action::AddPerson { newcomer: entry("new", &new.0, &new.1), role: Role::Member });
    let role = Role::Admin;
    next("set role", Action::SetRole { person: new.0.id(), role, keep_heads: Vec::new() });
    let mut anew = Log::new(big.log.circle());
    for operation in big.log.operations() {
        assert!(!matches!(anew.insert_verified(operation.clone()), Insertion::Refused(_)));
    }
    assert_eq!(anew.membership(), big.log.membership(), "in place as anew");
}
