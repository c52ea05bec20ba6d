use clave_crypto::{DeviceKey, Entropy, PersonKey, Suite};

use super::*;
use crate::membership::{Action, DeviceEntry, KeyPackages, PersonEntry, Scope};

fn epoch(n: u8) -> EpochId {
    EpochId::from_bytes([n; 32])
}

/// A log with its founder's device in it.
fn log() -> (Log, DeviceId) {
    let mut entropy = Entropy::from_seed([1; 32]);
    let (person, device) = (PersonKey::generate(&mut entropy), DeviceKey::generate(&mut entropy));
    let entry = DeviceEntry::new(&person, &device, "laptop", KeyPackages::default());
    let (id, devices) = (person.id(), vec![entry]);
    let founder = PersonEntry { person: id, name: "Zoë".into(), devices, invitation: None, recovery: None };
    let (name, suite) = ("四月".into(), Suite::default());
    let genesis = Action::Genesis { name, nonce: [0; 16], founder, parent: None, scope: Scope::Nested, suite };
    (Log::found(&device, genesis, 1).expect("it is in order"), device.id())
}

fn claim(log: &Log, author: DeviceId, parent: u8, to: u8) -> Claim {
    Claim {
        parent: epoch(parent),
        epoch: epoch(to),
        author,
        time_ms: u64::from(to),
        operations: log.heads(),
        added: BTreeSet::new(),
        removed: BTreeSet::new(),
        renewed: BTreeSet::new(),
    }
}

fn standings(audit: &KeyAudit) -> Vec<(EpochId, KeyStanding)> {
    audit.changes.iter().map(|change| (change.epoch, change.standing)).collect()
}

#[test]
fn each_change_says_what_became_of_it() {
    let (log, zoe) = log();
    // 0 → 1 → 2 → 3, and beside it 1 → 4 → 5; 9 → 6 comes from nowhere; 3 → 7 is of whoever went on without this device.
    let claims = [(2, 3), (0, 1), (1, 2), (1, 4), (4, 5), (9, 6), (3, 7)].map(|(from, to)| claim(&log, zoe, from, to));
    let audit = KeyAudit::new(&log, (epoch(3), 3), claims.into_iter().map(|claim| (claim, true)).collect());
    use KeyStanding::{Beyond, Lost, Stands, Unconnected};
    let lost = Lost { to: epoch(2) };
    let expected = [(1, Stands), (6, Unconnected), (2, Stands), (4, lost), (3, Stands), (5, lost), (7, Beyond)];
    assert_eq!(standings(&audit), expected.map(|(to, standing)| (epoch(to), standing)));
    assert_eq!((audit.missing, audit.changes[0].sentence.as_str()), (0, "Zoë renewed the keys"));
}

#[test]
fn what_came_before_this_device_is_counted_and_covered_by_the_chain() {
    let (log, zoe) = log();
    let claims = BTreeMap::from([(claim(&log, zoe, 5, 6), false)]);
    let audit = KeyAudit::new(&log, (epoch(6), 6), claims);
    assert_eq!((audit.missing, standings(&audit)), (5, vec![(epoch(6), KeyStanding::Stands)]));
    assert_eq!(verify_key_chain(log.circle(), 5, &audit.changes), Ok(audit.hash));
    assert_eq!(verify_key_chain(log.circle(), 0, &audit.changes), Err(BrokenChain { sequence: 0 }));
    let empty = KeyAudit::new(&log, (epoch(6), 6), BTreeMap::new());
    assert_eq!(verify_key_chain(log.circle(), 6, &[]), Ok(empty.hash));
    assert_ne!(verify_key_chain(log.circle(), 5, &[]), Ok(empty.hash));
}

#[test]
fn what_was_seen_here_outweighs_what_others_say_and_circles_of_lies_end() {
    let (log, zoe) = log();
    let liar = DeviceId::from_bytes([9; 32]);
    let claims = BTreeMap::from([
        (claim(&log, zoe, 0, 1), true),
        (claim(&log, liar, 7, 1), false),
        (claim(&log, liar, 8, 9), false),
        (claim(&log, liar, 9, 8), false),
    ]);
    let audit = KeyAudit::new(&log, (epoch(1), 1), claims);
    let by: Vec<_> = audit.changes.iter().map(|change| (change.by.device, change.standing)).collect();
    assert_eq!(by.iter().filter(|(_, standing)| *standing == KeyStanding::Stands).count(), 1);
    assert!(by.contains(&(zoe, KeyStanding::Stands)) && audit.changes.len() == 3);
    // A circle through the head is left after as many commits as led there.
    let claims = BTreeMap::from([(claim(&log, liar, 1, 2), false), (claim(&log, liar, 2, 1), false)]);
    let audit = KeyAudit::new(&log, (epoch(1), 9), claims);
    assert_eq!(audit.missing, 7);
}

#[test]
fn a_list_that_was_altered_is_seen() {
    let (log, zoe) = log();
    let claims = (0..4).map(|n| (claim(&log, zoe, n, n + 1), true)).collect();
    let audit = KeyAudit::new(&log, (epoch(4), 4), claims);
    assert_eq!(verify_key_chain(log.circle(), 0, &audit.changes), Ok(audit.hash));
    type Forgery = fn(&mut Vec<KeyChange>);
    let forgeries: [(u64, Forgery); 10] = [
        (1, |changes| changes[1].sentence.push('!')),
        (1, |changes| changes[1].time_ms += 1),
        (1, |changes| changes[1].by.person_name.push('!')),
        (2, |changes| changes[2].by.device = DeviceId::from_bytes([1; 32])),
        (2, |changes| changes[2].operations.clear()),
        (2, |changes| changes[2].standing = KeyStanding::Lost { to: EpochId::from_bytes([1; 32]) }),
        (0, |changes| changes[0].parent = EpochId::from_bytes([1; 32])),
        (3, |changes| changes[3].added = vec![changes[3].by.clone()]),
        (1, |changes| changes.swap(1, 2)),
        (0, |changes| drop(changes.remove(0))),
    ];
    for (sequence, forge) in forgeries {
        let mut forged = audit.changes.clone();
        forge(&mut forged);
        assert_eq!(verify_key_chain(log.circle(), 0, &forged), Err(BrokenChain { sequence }));
    }
}

#[test]
fn a_sentence_names_a_few_and_counts_the_rest() {
    let party = |n: u8| {
        let device = DeviceId::from_bytes([n; 32]);
        Party { device, device_name: "phone".into(), person: None, person_name: format!("P{n}") }
    };
    let many: Vec<Party> = (1..=10).map(party).collect();
    assert_eq!(
        sentence(&party(0), &many[..2], &many[2..3], &many[3..4]),
        "P0 changed the keys: P3 (phone) is out; P1 (phone) and P2 (phone) are in; P4 (phone) begins anew with them"
    );
    let names: Vec<String> = (1..=8).map(|n| format!("P{n} (phone)")).collect();
    assert_eq!(
        sentence(&party(0), &many, &[], &[]),
        format!("P0 changed the keys: {} and 2 more are in", names.join(", "))
    );
}
