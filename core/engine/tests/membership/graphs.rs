//! Random graphs: people who see some of what others do, obey no rule, and pretend to have seen less.
#![expect(clippy::disallowed_methods, reason = "the number of graphs comes from the environment")]

use std::collections::BTreeSet;
use std::sync::LazyLock;

use clave_crypto::{DeviceKey, Domain, PersonKey, Suite};
use clave_engine::membership::{
    Action, DeviceEntry, DeviceStanding, HISTORY, Insertion, KeyPackages, Log, MEMBERS_MAY_INVITE, Membership,
    Operation, PersonEntry, RecoveryCertificate, Role, Scope, Stay, recovery_change_message, recovery_message,
    verify_chain,
};
use clave_engine::{CircleId, OperationId};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;

use crate::harness::NOW_MS;
use crate::oracle;

const PEOPLE: usize = 8;

struct Someone {
    person: PersonKey,
    devices: [DeviceKey; 3],
    entries: [DeviceEntry; 3],
    recoveries: [DeviceKey; 2],
}

static EVERYBODY: LazyLock<Vec<Someone>> = LazyLock::new(|| {
    let someone = |n: usize| {
        let seed = |m: usize| [(n * 6 + m) as u8; 32].into();
        let person = PersonKey::from_seed(seed(0));
        let recoveries = [4, 5].map(|m| DeviceKey::from_seed(seed(m)));
        let devices = [1, 2, 3].map(|m| DeviceKey::from_seed(seed(m)));
        let entries =
            [0, 1, 2].map(|m| DeviceEntry::new(&person, &devices[m], format!("{n}.{m}"), KeyPackages::default()));
        Someone { person, devices, entries, recoveries }
    };
    (0..PEOPLE).map(someone).collect()
});

/// Somebody with their first devices and, counted round, with one recovery key, another or none.
fn person_entry(n: usize, devices: usize, recovery: u64) -> PersonEntry {
    let someone = &EVERYBODY[n];
    let devices = someone.entries[..devices].to_vec();
    let recovery = someone.recoveries.get(recovery as usize % 3);
    let recovery = recovery.map(|key| RecoveryCertificate::new(&someone.person, *key.id().as_bytes()));
    PersonEntry { person: someone.person.id(), name: format!("P{n}"), devices, invitation: None, recovery }
}

#[derive(Clone, Debug)]
struct Step {
    actor: usize,
    device: usize,
    what: u8,
    target: usize,
    role: Role,
    /// What the author's clock says: anything.
    clock_ms: u64,
    /// Pretends that only this operation, counted round, and what came before it had happened.
    backdated: Option<usize>,
    /// A revocation keeps what this operation, counted round, and what came before it did.
    kept: Option<usize>,
}

impl Step {
    #[allow(clippy::type_complexity)]
    fn of(
        (actor, device, what, target, role, clock_ms, backdated, kept): (
            usize,
            usize,
            u8,
            usize,
            Role,
            u64,
            Option<usize>,
            Option<usize>,
        ),
    ) -> Self {
        Self { actor, device, what, target, role, clock_ms, backdated, kept }
    }
}

#[derive(Clone, Debug)]
struct Script {
    roles: Vec<Role>,
    steps: Vec<Step>,
    shuffle: u64,
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![
        3 => Just(Role::Owner),
        3 => Just(Role::Admin),
        3 => Just(Role::Member),
        1 => Just(Role::Bot),
        1 => Just(Role::Guest)
    ]
}

fn script(steps: usize) -> impl Strategy<Value = Script> {
    (3..=PEOPLE, any::<u64>()).prop_flat_map(move |(people, shuffle)| {
        let sometimes = || prop_oneof![3 => Just(None), 1 => any::<usize>().prop_map(Some)];
        let step = (0..people, 0..3_usize, 0..26_u8, 0..people, role(), any::<u64>(), sometimes(), sometimes());
        let step = step.prop_map(Step::of);
        let roles = proptest::collection::vec(role(), people - 1);
        (roles, proptest::collection::vec(step, 1..steps)).prop_map(move |(roles, steps)| Script {
            roles,
            steps,
            shuffle,
        })
    })
}

/// A few owners who do to each other what owners can, with a device to lose: where the last of them is at stake.
fn quarrel(steps: usize) -> impl Strategy<Value = Script> {
    (2..=4_usize, any::<u64>()).prop_flat_map(move |(people, shuffle)| {
        let sometimes = || prop_oneof![7 => Just(None), 1 => any::<usize>().prop_map(Some)];
        let what = proptest::sample::select(&[0_u8, 4, 8, 8, 11, 11, 12, 13, 17, 20, 20, 20][..]);
        let role = prop_oneof![4 => Just(Role::Owner), 1 => Just(Role::Admin), 1 => Just(Role::Bot)];
        let step = (0..people, 0..3_usize, what, 0..people, role, any::<u64>(), sometimes(), sometimes());
        let step = step.prop_map(Step::of);
        proptest::collection::vec(step, 1..steps).prop_map(move |steps| Script {
            roles: vec![Role::Owner; people - 1],
            steps,
            shuffle,
        })
    })
}

fn action(circle: CircleId, step: &Step, keep_heads: Vec<OperationId>) -> Action {
    let keep_changes: Vec<_> = step.kept.map(|n| [n as u8; 32]).into_iter().collect();
    let (target, role) = (EVERYBODY[step.target].person.id(), step.role);
    match step.what {
        0..=3 => Action::RevokePerson { person: target, keep_heads, keep_changes },
        4..=7 => Action::SetRole { person: target, role, keep_heads },
        8..=10 => Action::AddPerson { newcomer: person_entry(step.target, 1 + step.device % 2, step.clock_ms), role },
        11 => {
            let device = EVERYBODY[step.target].devices[step.device].id();
            Action::RevokeDevice { device, keep_heads, keep_changes }
        }
        12 => {
            let whose = if role == Role::Bot { step.target } else { step.actor };
            Action::AddDevice { device: EVERYBODY[whose].entries[(step.device + 1) % 3].clone() }
        }
        13 => Action::Grant { guest: person_entry(step.target, step.device, step.clock_ms), expires_ms: 1 },
        14 => Action::EndGrant { person: target, keep_heads, keep_changes },
        15 => {
            let (key, value) = match role {
                Role::Guest => (MEMBERS_MAY_INVITE, "perhaps".to_owned()),
                Role::Bot => (HISTORY, format!("ratcheted:{}", 3_600 + step.clock_ms % 9)),
                role => (MEMBERS_MAY_INVITE, (role > Role::Admin).to_string()),
            };
            Action::SetPolicy { key: key.to_owned(), value, keep_heads }
        }
        19 => {
            let whose = if role == Role::Bot { step.target } else { step.actor };
            let device = EVERYBODY[whose].devices[(step.device + 1) % 3].id();
            Action::RenameDevice { device, name: format!("{role} {}", step.clock_ms) }
        }
        16 => Action::SetProfile { person: target, name: format!("{role}") },
        18 => {
            let someone = &EVERYBODY[if role == Role::Bot { step.target } else { step.actor }];
            let (former, next) = (step.clock_ms as usize / 3 % 2, step.clock_ms as usize / 7 % 2);
            let (person, key) = (someone.person.id(), *someone.recoveries[next].id().as_bytes());
            let message = recovery_change_message(person, &key);
            let former_signature = someone.recoveries[former].sign(Domain::RecoveryChange, &message);
            Action::SetRecovery { person, recovery: RecoveryCertificate::new(&someone.person, key), former_signature }
        }
        17 => {
            let whose = if role == Role::Bot { step.target } else { step.actor };
            let (someone, entry) = (&EVERYBODY[whose], EVERYBODY[step.actor].entries[step.device].clone());
            let message = recovery_message(circle, entry.device(), entry.certificate.person);
            let recovery = &someone.recoveries[step.clock_ms as usize / 3 % 2];
            Action::RecoverDevice { device: entry, recovery_signature: recovery.sign(Domain::Recovery, &message) }
        }
        _ => Action::PublishKeyPackages {
            key_packages: KeyPackages { single_use: vec![vec![step.what]], last_resort: None, x_wing: None },
        },
    }
}

/// Plays a script and returns everything that anybody did, parents first.
fn play(script: &Script) -> Vec<Operation> {
    let founder = &EVERYBODY[0];
    let genesis = Action::Genesis {
        name: "Band".into(),
        nonce: [0; 16],
        founder: person_entry(0, 2, 0),
        parent: None,
        scope: Scope::Nested,
        suite: Suite::default(),
    };
    let mut all = Log::found(&founder.devices[0], genesis, NOW_MS).expect("a genesis");
    let circle = all.circle();
    for (n, role) in script.roles.iter().enumerate() {
        let newcomer = person_entry(n + 1, 1 + n % 2, n as u64);
        let add = match role {
            Role::Guest => Action::Grant { guest: newcomer, expires_ms: 1 },
            role => Action::AddPerson { newcomer, role: *role },
        };
        let add = Operation::sign(&founder.devices[0], all.heads(), NOW_MS, add);
        assert!(matches!(all.insert_verified(add), Insertion::Inserted(_)));
    }
    let start: Vec<Operation> = all.operations().cloned().collect();
    let mut views: Vec<Log> = (0..script.roles.len() + 1).map(|_| collect(circle, &start, false)).collect();
    for step in &script.steps {
        if step.what >= 20 {
            let heard: Vec<Operation> = views[step.target].operations().cloned().collect();
            let some = step.kept.map_or(heard.len(), |kept| kept % heard.len());
            for operation in heard.into_iter().take(some) {
                let _ = views[step.actor].insert_verified(operation);
            }
            continue;
        }
        let view = &mut views[step.actor];
        let nth = |log: &Log, n: usize| log.operations().nth(n % log.len()).expect("n is in range").id();
        let parents = step.backdated.map_or_else(|| view.heads(), |n| vec![nth(view, n)]);
        let keep_heads = step.kept.map(|n| nth(&all, n)).into_iter().collect();
        let key = &EVERYBODY[step.actor].devices[step.device];
        let operation = Operation::sign(key, parents, step.clock_ms, action(circle, step, keep_heads));
        let _ = all.insert_verified(operation.clone());
        let _ = view.insert_verified(operation);
    }
    all.operations().cloned().collect()
}

fn collect(circle: CircleId, operations: &[Operation], look_often: bool) -> Log {
    let mut log = Log::new(circle);
    for operation in operations {
        assert!(!matches!(log.insert_verified(operation.clone()), Insertion::Refused(_)));
        if look_often {
            let _ = log.membership();
        }
    }
    log
}

fn circle_of(operations: &[Operation]) -> CircleId {
    CircleId::from_bytes(*operations[0].id().as_bytes())
}

fn shuffled(operations: &[Operation], mut seed: u64) -> Vec<Operation> {
    let mut shuffled = operations.to_vec();
    for at in (1..shuffled.len()).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        shuffled.swap(at, (seed >> 33) as usize % (at + 1));
    }
    shuffled
}

fn check_invariants(operations: &[Operation], membership: &Membership) {
    let owners: BTreeSet<_> =
        membership.people.iter().filter(|(_, person)| person.role == Role::Owner).map(|(id, _)| *id).collect();
    assert!(membership.devices.values().any(|device| owners.contains(&device.person)), "an owner with a device");
    for (device, entry) in &membership.devices {
        assert!(membership.people[&entry.person].devices.contains(device), "a device is its person's");
        assert_eq!(membership.device_standing(*device), DeviceStanding::Current);
    }
    for (id, person) in &membership.people {
        assert!(!membership.former_people.contains_key(id));
        assert!(person.devices.iter().all(|device| membership.devices[device].person == *id));
    }
    let void: BTreeSet<_> = membership.set_aside.iter().map(|set_aside| set_aside.operation).collect();
    for (id, person) in &membership.people {
        // No role without an operation that stands and gave it.
        let given = operations.iter().find(|operation| operation.id() == person.seniority.operation);
        let given = given.expect("the operation that gave the role is in the log");
        assert!(!void.contains(&given.id()));
        let gave = match given.action() {
            Action::Genesis { founder, .. } => (founder.person, Role::Owner),
            Action::AddPerson { newcomer, role } => (newcomer.person, *role),
            Action::Grant { guest, .. } => (guest.person, Role::Guest),
            Action::SetRole { person, role, .. } => (*person, *role),
            other => panic!("{other:?} gives no role"),
        };
        assert_eq!(gave, (*id, person.role));
    }
    let mut all_in_standing = true;
    for (device, stays) in &membership.stays {
        let in_standing = stays.values().any(|stay| *stay == Stay::InStanding);
        assert_eq!(in_standing, membership.devices.contains_key(device), "in, with a stay that says so");
        all_in_standing &= stays.values().all(|stay| *stay == Stay::InStanding);
        for (admission, stay) in stays {
            let prefix = admission.as_bytes().first_chunk().expect("an id has 32 bytes");
            assert_eq!(membership.stay(*device, *prefix), *stay);
            let short = device.as_bytes().first_chunk().expect("an id has 32 bytes");
            assert_eq!(membership.stay_of_actor(short, prefix), *stay);
        }
    }
    assert_eq!(membership.has_ended_stays(), !all_in_standing);
    for (device, current) in &membership.devices {
        assert_eq!(membership.stays[device][&current.since], Stay::InStanding);
    }
    for device in membership.former_devices.keys().chain(membership.devices_set_aside.keys()) {
        assert!(!membership.devices.contains_key(device));
    }
}

fn check(script: &Script) {
    let operations = play(script);
    let circle = circle_of(&operations);
    let reference = collect(circle, &operations, false);
    let (membership, audit) = (reference.membership(), reference.audit());
    verify_chain(circle, &audit).expect("as it was made");
    assert!(audit.iter().map(|record| record.operation).eq(operations.iter().map(Operation::id)));
    for (round, look_often) in [(1, false), (2, true), (3, true)] {
        let log = collect(circle, &shuffled(&operations, script.shuffle ^ round), look_often);
        assert_eq!(log.pending(), 0);
        assert_eq!(log.membership(), membership, "the order of arrival changes nothing");
        assert_eq!(log.heads(), reference.heads());
        assert_eq!(log.equivocations(), reference.equivocations());
        assert!(log.operations().eq(&operations));
        if round == 1 {
            assert_eq!(log.audit(), audit, "the same list everywhere");
        }
    }
    let watched = collect(circle, &operations, true);
    assert_eq!(watched.membership(), membership, "looking on changes nothing");
    assert_eq!(watched.audit(), audit);
    check_invariants(&operations, membership);

    let outcome = oracle::evaluate(&operations);
    let found = oracle::Outcome {
        people: membership.people.iter().map(|(id, person)| (*id, person.role)).collect(),
        devices: membership.devices.iter().map(|(id, device)| (*id, device.person)).collect(),
        device_names: membership.devices.iter().map(|(id, device)| (*id, device.name.clone())).collect(),
        void: membership.set_aside.iter().map(|set_aside| set_aside.operation).collect(),
        stays: membership.stays.clone(),
        kept_changes: membership.kept_changes().clone(),
    };
    assert_eq!(found, outcome, "the oracle says otherwise");

    let point = operations[script.shuffle as usize % operations.len()].id();
    let past = reference.ancestors(&[point]).expect("the point is in the log");
    let past: Vec<Operation> = operations.iter().filter(|operation| past.contains(&operation.id())).cloned().collect();
    let then = reference.membership_at(&[point]).expect("the point is in the log");
    let alone = collect(circle, &past, false);
    assert_eq!(*then, *alone.membership(), "a point is seen as by who has seen nothing else");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(400)))]

    #[test]
    fn membership_is_a_function_of_the_set(script in script(60)) {
        check(&script);
    }

    #[test]
    fn owners_quarrel(script in quarrel(24)) {
        check(&script);
    }

    #[test]
    fn small_graphs_are_searched_more_often(script in script(12)) {
        check(&script);
    }
}

/// A generator that never gets there would let every rule pass.
#[test]
fn the_graphs_reach_every_rule() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut reached = BTreeSet::new();
    for _ in 0..600 {
        let script = script(60).new_tree(&mut runner).expect("a script").current();
        let operations = play(&script);
        let log = collect(circle_of(&operations), &operations, false);
        for set_aside in &log.membership().set_aside {
            let reason = format!("{:?}", set_aside.reason);
            reached.insert(reason.split([' ', '(']).next().expect("a first word").to_owned());
        }
        let void: BTreeSet<_> = log.membership().set_aside.iter().map(|set_aside| set_aside.operation).collect();
        for operation in operations.iter().filter(|operation| !void.contains(&operation.id())) {
            let action = format!("{:?}", operation.action());
            reached.insert(action.split([' ', '(']).next().expect("a first word").to_owned());
        }
    }
    for reason in [
        "AuthorRemoved",
        "AuthorSetAside",
        "RemovedMeanwhile",
        "LoweredMeanwhile",
        "PolicyMeanwhile",
        "NotAllowed",
        "RoleTooHigh",
        "Outranked",
        "Overruled",
        "LastOwner",
        "AlreadyThere",
        "NotThere",
        "NotTheirOwn",
        "NoGrant",
        "NoRecovery",
        "NotNew",
        "RecoveryChangedMeanwhile",
        "Unreadable",
        // And these stand in some graph.
        "AddDevice",
        "RenameDevice",
        "RecoverDevice",
        "SetRecovery",
        "RevokeDevice",
        "RevokePerson",
        "EndGrant",
        "SetPolicy",
        "NoChange",
    ] {
        assert!(reached.contains(reason), "no graph reaches {reason}: {reached:?}");
    }
}

/// `CLAVE_GRAPHS=100000` for the long run.
fn cases(usual: u32) -> u32 {
    std::env::var("CLAVE_GRAPHS").ok().and_then(|cases| cases.parse().ok()).unwrap_or(usual)
}
