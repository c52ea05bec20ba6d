//! A long note that one types and another follows live: two engines in a simulated world, beside automerge doing the same
//! local and remote work.

use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, Instant};

use automerge::transaction::Transactable as _;
use automerge::{ActorId, AutoCommit, Change, ObjType, ROOT, ReadDoc as _, TextEncoding};
use clave_engine::DocumentId;
use clave_engine::crdt::DocumentKind;
use clave_sim::{Agreement, Network, World};
use serde_json::{Value, json};

use crate::Scale;
use crate::harness::{Spread, human};

const SOUND: &str = "the edit is sound";
/// Edits that become one change, as a typist's do.
const BURST: usize = 100;
const FILE: &str = "automerge-paper.json.gz";

type Edit = (usize, usize, String);

/// The edits of the trace, in bursts, and the text at its end.
fn trace(path: &Path) -> Option<(Vec<Vec<Edit>>, String)> {
    let mut json = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).ok()?).read_to_string(&mut json).ok()?;
    let trace: Value = serde_json::from_str(&json).ok()?;
    let number = |value: &Value| usize::try_from(value.as_u64()?).ok();
    let edit = |patch: &Value| Some((number(&patch[0])?, number(&patch[1])?, patch[2].as_str()?.to_owned()));
    let transactions = trace["txns"].as_array()?;
    let edits: Vec<Edit> =
        transactions.iter().flat_map(|txn| txn["patches"].as_array()).flatten().filter_map(edit).collect();
    let bursts = edits.chunks(BURST).map(<[Edit]>::to_vec).collect();
    Some((bursts, trace["endContent"].as_str()?.to_owned()))
}

pub fn groups(scale: Scale, traces: Option<&Path>) -> Vec<Value> {
    let Some((mut bursts, mut end)) = traces.and_then(|folder| trace(&folder.join(FILE))) else {
        println!("SKIPPED: typing, because {FILE} is not there (name its folder with --traces)");
        return Vec::new();
    };
    if scale.quick {
        bursts.truncate(20);
        end = bare(&bursts).1;
    }
    let edits: usize = bursts.iter().map(Vec::len).sum();
    let rounds = scale.rounds.min(5);
    println!("\n{edits} edits of a note, typed in bursts of {BURST} on one device and followed live on another");
    let (mut alone, mut ours, mut typist, mut ratios) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let (first, (second, local, text)) = if round % 2 == 0 {
            let first = bare(&bursts).0;
            (first, engines(&bursts))
        } else {
            let second = engines(&bursts);
            (bare(&bursts).0, second)
        };
        assert!(text == end, "the follower has what was typed");
        alone.push(first.as_secs_f64());
        ours.push(second.as_secs_f64());
        typist.push(local.as_secs_f64() / bursts.len() as f64);
        ratios.push(second.as_secs_f64() / first.as_secs_f64());
    }
    let (alone, ours, typist, ratio) = (Spread::of(alone), Spread::of(ours), Spread::of(typist), Spread::of(ratios));
    println!(
        "  automerge, both documents          {:>10}  ({} to {})",
        human(alone.median),
        human(alone.low),
        human(alone.high)
    );
    println!(
        "  two engines                        {:>10}  ({} to {})   ×{:.2} ({:.2} to {:.2}; bar 1.5)",
        human(ours.median),
        human(ours.low),
        human(ours.high),
        ratio.median,
        ratio.low,
        ratio.high
    );
    println!("  of that, the typist waits          {:>10} /burst", human(typist.median));
    vec![json!({
        "name": "typing", "edits": edits, "rounds": rounds, "automerge_seconds": alone.json(), "engines_seconds": ours.json(),
        "typist_seconds_per_burst": typist.json(), "ratio": ratio.json(), "bar": 1.5,
    })]
}

/// Automerge alone: local edits into one document, each burst's change into another.
fn bare(bursts: &[Vec<Edit>]) -> (Duration, String) {
    let started = Instant::now();
    let mut typist = AutoCommit::new_with_encoding(TextEncoding::UnicodeCodePoint).with_actor(ActorId::from([1; 24]));
    let text = typist.put_object(ROOT, "text", ObjType::Text).expect(SOUND);
    typist.commit();
    let mut follower = typist.fork().with_actor(ActorId::from([2; 24]));
    for burst in bursts {
        for (position, delete, insert) in burst {
            typist.splice_text(&text, *position, isize::try_from(*delete).expect("small"), insert).expect(SOUND);
        }
        let Some(hash) = typist.commit() else { continue };
        let change = typist.get_change_by_hash(&hash).expect("it was just made");
        let change = Change::from_bytes(change.raw_bytes().to_vec()).expect("it was just made");
        follower.apply_changes([change]).expect(SOUND);
        std::hint::black_box(follower.get_heads());
    }
    let took = started.elapsed();
    (took, follower.text(&text).expect("it is a text"))
}

/// Two engines, the wire between them and stores in memory: the time of all of it, of the typist's edits among that, and what
/// the follower has in the end.
fn engines(bursts: &[Vec<Edit>]) -> (Duration, Duration, String) {
    let mut world =
        World::with(1, Agreement::Mls, Network { latency_ms: (1, 5), slow_permille: 0, ..Network::default() });
    let (alice, bob) = (world.alice(), world.bob());
    let team = world.create_space(alice, "Team");
    world.invite(alice, team, bob);
    world.settle().expect("nobody is busy");
    let note = DocumentId::from_bytes([7; 16]);
    let (started, mut local) = (Instant::now(), Duration::ZERO);
    for burst in bursts {
        let splices: Vec<(usize, usize, &str)> =
            burst.iter().map(|(at, delete, insert)| (*at, *delete, insert.as_str())).collect();
        let edit = Instant::now();
        world
            .input(alice, |engine, now| {
                engine.edit(team, note, DocumentKind::Note, now, |document, _| document.note()?.splice_many(&splices))
            })
            .expect(SOUND);
        local += edit.elapsed();
        world.pass(100);
        // Whoever follows looks at each burst.
        let heads = world.engine(bob).document(team, note, DocumentKind::Note).expect("it is there").heads();
        std::hint::black_box(heads);
    }
    world.pass(5_000);
    let took = started.elapsed();
    let document = world.engine(bob).document(team, note, DocumentKind::Note).expect("it is there");
    let text = document.note().expect("a note").text().expect("a text");
    (took, local, text)
}
