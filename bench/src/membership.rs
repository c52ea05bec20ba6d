//! Adding, removing and rotating, and following a rival, through Clave's whole path, beside bare openmls.
//!
//! *Ours* is everything from the command or frame until what it brings is durable and the frames for one peer are
//! made: the membership operation, the commit, the checkpoint, the content key, the key bundle; sealed, signed and written
//! to redb with a flush. *Bare* is openmls alone (see `bare`). Both sit in the same tree, whose other members are key
//! packages only. Times are of all processors together.

mod bare;
pub mod cost;
mod log;
pub mod ours;
mod parts;
pub mod team;

use std::collections::BTreeMap;
use std::path::Path;

use clave_crypto::{DeviceKey, Entropy};
use clave_engine::membership::Action;
use clave_engine::{Channel, benching};
use serde_json::{Value, json};

use crate::Scale;
use crate::harness::{Spread, human};
use cost::Cost;
use ours::Network;

pub use ours::Device;
pub use team::{Person, Team, Tree};

pub const START_MS: u64 = 1_790_000_000_000;
const DAY_MS: u64 = 86_400_000;

const ALICE: usize = 0;
const BOB: usize = 1;
const CAROL: usize = 2;

/// One side of one operation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Side {
    AddMake,
    AddFollow,
    AddJoin,
    RemoveMake,
    RemoveFollow,
    RotateMake,
    RotateFollow,
    RivalFollow,
    RivalKeep,
    RivalHandOver,
}

impl Side {
    fn name(self) -> &'static str {
        match self {
            Self::AddMake => "add: who adds",
            Self::AddFollow => "add: who follows",
            Self::AddJoin => "add: who joins",
            Self::RemoveMake => "remove: who removes",
            Self::RemoveFollow => "remove: who follows",
            Self::RotateMake => "rotate: who rotates",
            Self::RotateFollow => "rotate: who follows",
            Self::RivalFollow => "rival: roll back and follow",
            Self::RivalKeep => "rival: keep the loser's branch",
            Self::RivalHandOver => "rival: hand its key over",
        }
    }
}

type Costs = BTreeMap<Side, Vec<Cost>>;

/// The comparison at 10, 100 and 1,000 devices, with a warm and with a cold tree.
pub fn groups(scale: Scale, data: &Path) -> Vec<Value> {
    let sizes = match scale.devices {
        Some(devices) => vec![devices],
        None if scale.quick => vec![10],
        None => vec![10, 100, 1_000],
    };
    let trees = [("warm", Tree::Warm { every: 2 }), ("cold", Tree::Cold)];
    let of_size = |&devices: &usize| trees.map(|(name, tree)| compare(devices, name, tree, scale, data));
    sizes.iter().flat_map(of_size).collect()
}

/// What the same costs up to 10,000 devices, with a warm tree: at 10,000, every 32nd device has renewed its keys.
pub fn curve(scale: Scale, data: &Path) -> Vec<Value> {
    let sizes = match scale.devices {
        Some(devices) => vec![devices],
        None if scale.quick => vec![10, 40],
        None => vec![10, 100, 1_000, 10_000],
    };
    let every = |devices: usize| if devices > 1_000 { 32 } else { 2 };
    let of_size = |devices| compare(devices, "warm", Tree::Warm { every: every(devices) }, scale, data);
    sizes.into_iter().map(of_size).collect()
}

/// The log of an organisation.
pub fn logs(scale: Scale) -> Vec<Value> {
    let (people, operations) = if scale.quick { (400, 1_000) } else { (4_000, 10_000) };
    vec![log::of(people, operations, scale)]
}

fn compare(devices: usize, tree_name: &str, tree: Tree, scale: Scale, data: &Path) -> Value {
    let mut entropy = Entropy::from_seed([3; 32]);
    let mut team = Team::new(devices, tree, &mut entropy);
    let circle = team.circle();
    println!("\n{devices} devices, {tree_name} tree: parts");
    let parts = parts::of(&team, &mut entropy);
    let mut engines: Vec<Device> = team.people[..2].iter().map(|person| Device::new(person, data, START_MS)).collect();
    for ((device, log), checkpoint) in engines.iter_mut().zip(team.logs).zip(team.ours) {
        device.enter(log, checkpoint, START_MS);
    }
    let entered: BTreeMap<_, _> = engines[0].written.clone();
    let mut network = Network::new(engines, circle, START_MS);
    network.connect(ALICE, BOB);
    network.settle();
    network.rest();
    let disk_before = network.devices[ALICE].disk_bytes();

    let (mut ours, mut bare, mut rotated) = (Costs::new(), Costs::new(), BTreeMap::new());
    let rounds = if devices > 1_000 { scale.rounds.min(5) } else { scale.rounds };
    // The first round is not counted: it finds everything cold.
    for round in 0..=rounds {
        let newcomer = Person::new(devices + round);
        let (mut our_costs, mut bare_costs) = (BTreeMap::new(), BTreeMap::new());
        let mut our_turn = |costs: &mut _| {
            our_add_and_remove(&mut network, &newcomer, data, costs);
            rotated = our_rotate(&mut network, costs);
            our_rival(&mut network, costs);
        };
        // Nobody is always first.
        if round % 2 == 0 {
            our_turn(&mut our_costs);
            bare_turn(&mut team.bare, &newcomer.device, &mut entropy, &mut bare_costs);
        } else {
            bare_turn(&mut team.bare, &newcomer.device, &mut entropy, &mut bare_costs);
            our_turn(&mut our_costs);
        }
        if round > 0 {
            our_costs.into_iter().for_each(|(side, cost)| ours.entry(side).or_default().push(cost));
            bare_costs.into_iter().for_each(|(side, cost)| bare.entry(side).or_default().push(cost));
        }
    }
    let disk_after = network.devices[ALICE].disk_bytes();
    network.now_ms += 60_000;
    let now_ms = network.now_ms;
    let open = network.devices[ALICE].reopen(now_ms);

    println!("\n{devices} devices, {tree_name} tree, {rounds} rounds");
    println!(
        "  {:32} {:>10} {:>10}  {:28} {:>10} {:>10} {:>6} {:>10} {:>10}",
        "", "bare CPU", "ours CPU", "ratio, without writing", "bare B", "ours B", "ratio", "of it write", "written B"
    );
    let results: Vec<Value> = ours.iter().map(|(side, costs)| report(*side, costs, bare.get(side))).collect();
    println!(
        "  open: {} CPU; a first entry writes {entered:?}; a rotation writes {rotated:?}",
        human(open.cpu.as_secs_f64())
    );
    println!("  entries made, in bytes: {:?}", network.entries);
    println!("  the store's file: {disk_before} B, then {disk_after} B");
    let by_keyspace = |written: &BTreeMap<_, usize>| -> BTreeMap<String, usize> {
        written.iter().map(|(keyspace, bytes)| (format!("{keyspace:?}"), *bytes)).collect()
    };
    json!({
        "name": format!("membership, {devices} devices, {tree_name} tree"),
        "per": "operation",
        "rounds": rounds,
        "parts_cpu_seconds": parts,
        "open_cpu_seconds": open.cpu.as_secs_f64(),
        "first_written": by_keyspace(&entered),
        "entries_bytes": network.entries,
        "rotation_written": by_keyspace(&rotated),
        "results": results,
    })
}

/// A newcomer takes an invitation up, and is removed.
fn our_add_and_remove(network: &mut Network, newcomer: &Person, data: &Path, costs: &mut BTreeMap<Side, Cost>) {
    let circle = network.circle;
    network.devices.push(Device::new(newcomer, data, network.now_ms));
    let mut link = None;
    network.handle(ALICE, |engine, now_ms| link = Some(engine.invite(circle, DAY_MS, now_ms).expect("a member may")));
    network
        .handle(CAROL, |engine, now_ms| engine.join(link.expect("made above"), now_ms).expect("nobody joined before"));
    network.settle();
    network.reset();
    network.connect(ALICE, CAROL);
    // Whatever else the newcomer has to say comes later.
    network.deliver(|from, to, channel| channel == Channel::Join || from.max(to) == BOB);
    let welcomed = network.sent.get(&(ALICE, CAROL)).copied().unwrap_or_default();
    network.note_entries("add", ALICE);
    costs.insert(Side::AddMake, network.take_cost(ALICE, BOB));
    costs.insert(Side::AddFollow, network.take_cost(BOB, ALICE));
    costs.insert(Side::AddJoin, Cost { wire_bytes: welcomed, ..network.devices[CAROL].take_cost() });
    network.settle();
    network.rest();
    assert_eq!(epoch(network, CAROL), epoch(network, ALICE));
    network.disconnect(ALICE, CAROL);
    network.devices.pop();
    network.settle();
    network.reset();

    let person = newcomer.person_id();
    network.handle(ALICE, |engine, now_ms| {
        let action = Action::RevokePerson { person, keep_heads: Vec::new(), keep_changes: Vec::new() };
        engine.act(circle, action, now_ms).expect("the founder may");
    });
    network.settle();
    network.note_entries("remove", ALICE);
    costs.insert(Side::RemoveMake, network.take_cost(ALICE, BOB));
    costs.insert(Side::RemoveFollow, network.take_cost(BOB, ALICE));
    assert_eq!(epoch(network, BOB), epoch(network, ALICE));
    network.rest();
}

fn our_rotate(network: &mut Network, costs: &mut BTreeMap<Side, Cost>) -> BTreeMap<clave_engine::Keyspace, usize> {
    network.reset();
    let circle = network.circle;
    network.handle(ALICE, |engine, now_ms| benching::rotate(engine, circle, now_ms).expect("a member may"));
    network.settle();
    network.note_entries("rotate", ALICE);
    let written = network.devices[ALICE].written.clone();
    costs.insert(Side::RotateMake, network.take_cost(ALICE, BOB));
    costs.insert(Side::RotateFollow, network.take_cost(BOB, ALICE));
    assert_eq!(epoch(network, BOB), epoch(network, ALICE));
    network.rest();
    written
}

/// Both commit on the same epoch before they hear of each other.
fn our_rival(network: &mut Network, costs: &mut BTreeMap<Side, Cost>) {
    let circle = network.circle;
    for who in [ALICE, BOB] {
        network.handle(who, |engine, now_ms| benching::rotate(engine, circle, now_ms).expect("a member may"));
    }
    network.reset();
    let before = [ALICE, BOB].map(|who| epoch(network, who));
    network.settle();
    let loser = if epoch(network, ALICE) == before[ALICE] { BOB } else { ALICE };
    let winner = 1 - loser;
    assert_eq!(epoch(network, loser), before[winner]);
    assert_eq!(epoch(network, winner), before[winner]);
    let sent = [ALICE, BOB].map(|who| network.sent.get(&(who, 1 - who)).copied().unwrap_or_default());
    // What it is sent to follow is what the winner had sent.
    costs.insert(Side::RivalFollow, Cost { wire_bytes: sent[winner], ..network.devices[loser].take_cost() });
    costs.insert(Side::RivalKeep, Cost { wire_bytes: sent[loser], ..network.devices[winner].take_cost() });
    network.reset();
    network.rest();
    let sent = network.sent.values().sum();
    let both = [ALICE, BOB].map(|who| network.devices[who].take_cost());
    let handed = Cost {
        cpu: both[0].cpu + both[1].cpu,
        write_cpu: both[0].write_cpu + both[1].write_cpu,
        wall: both[0].wall + both[1].wall,
        wire_bytes: sent,
        stored_bytes: both[0].stored_bytes,
    };
    costs.insert(Side::RivalHandOver, handed);
    assert_eq!(epoch(network, loser), epoch(network, winner));
}

fn epoch(network: &Network, who: usize) -> clave_crypto::EpochId {
    network.devices[who].engine.status(network.circle).expect("a member").epoch
}

fn bare_turn(
    members: &mut [bare::Member; 2],
    newcomer: &DeviceKey,
    entropy: &mut Entropy,
    costs: &mut BTreeMap<Side, Cost>,
) {
    let [alice, bob] = members;
    let joining = bare::Newcomer::new(newcomer, entropy);
    let key_package = joining.key_package.clone();
    let (commit, welcome, cost) = alice.commit(bare::Change::Add(&key_package));
    let welcome = welcome.expect("one was added");
    costs.insert(Side::AddMake, cost);
    costs.insert(Side::AddFollow, bob.process(&commit));
    let (_, cost) = cost::cost_of(|| joining.join(&welcome));
    costs.insert(Side::AddJoin, Cost { wire_bytes: welcome.len(), ..cost });

    for (change, make, follow) in [
        (bare::Change::Remove(newcomer.id()), Side::RemoveMake, Side::RemoveFollow),
        (bare::Change::Rotate, Side::RotateMake, Side::RotateFollow),
    ] {
        let (commit, _, cost) = alice.commit(change);
        costs.insert(make, cost);
        costs.insert(follow, bob.process(&commit));
    }

    let snapshot = bob.snapshot();
    let (commit, ..) = alice.commit(bare::Change::Rotate);
    bob.commit(bare::Change::Rotate);
    let cost = bob.follow_rival(snapshot, &commit);
    costs.insert(Side::RivalFollow, Cost { wire_bytes: commit.len(), ..cost });
    assert_eq!(alice.authenticator(), bob.authenticator());
}

fn report(side: Side, ours: &[Cost], bare: Option<&Vec<Cost>>) -> Value {
    let spread = |costs: &[Cost], of: fn(&Cost) -> f64| Spread::of(costs.iter().map(of).collect());
    let cpu = |cost: &Cost| cost.cpu.as_secs_f64();
    let wire = |cost: &Cost| cost.wire_bytes as f64;
    let our_cpu = spread(ours, cpu);
    let our_write = spread(ours, |cost| cost.write_cpu.as_secs_f64());
    let our_wall = spread(ours, |cost| cost.wall.as_secs_f64());
    let our_wire = spread(ours, wire);
    let our_written = spread(ours, |cost| cost.stored_bytes as f64);
    let (mut ratio, mut bare_cpu, mut bare_wire, mut wire_ratio) = (None, String::new(), String::new(), String::new());
    let mut value = json!({
        "side": side.name(), "ours_cpu_seconds": our_cpu.json(), "ours_wall_seconds": our_wall.json(),
        "ours_write_cpu_seconds": our_write.json(),
        "ours_wire_bytes": our_wire.median, "ours_written_bytes": our_written.median,
    });
    if let Some(bare) = bare {
        let per_round = ours.iter().zip(bare).map(|(ours, bare)| cpu(ours) / cpu(bare)).collect();
        let unwritten = |cost: &Cost| (cost.cpu - cost.write_cpu).as_secs_f64();
        let without: Vec<f64> = ours.iter().zip(bare).map(|(ours, bare)| unwritten(ours) / cpu(bare)).collect();
        let without = Spread::of(without);
        value["cpu_ratio_without_writing"] = without.json();
        let (cpu, wire) = (spread(bare, cpu), spread(bare, wire));
        let of = Spread::of(per_round);
        value["bare_cpu_seconds"] = cpu.json();
        value["cpu_ratio"] = of.json();
        value["bare_wire_bytes"] = wire.median.into();
        bare_cpu = human(cpu.median);
        if wire.median > 0.0 {
            bare_wire = format!("{}", wire.median);
            wire_ratio = format!("×{:.2}", our_wire.median / wire.median);
        }
        ratio = Some(format!("×{:.2} ({:.2} to {:.2}), ×{:.2}", of.median, of.low, of.high, without.median));
    }
    println!(
        "  {:32} {bare_cpu:>10} {:>10}  {:28} {bare_wire:>10} {:>10} {wire_ratio:>6} {:>10} {:>10}",
        side.name(),
        human(our_cpu.median),
        ratio.unwrap_or_default(),
        our_wire.median,
        human(our_write.median),
        our_written.median
    );
    value
}
