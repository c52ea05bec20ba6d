//! A long note that one types and another follows live: two engines in a simulated world, beside automerge doing the same
//! local and remote work.

use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, Instant};

use automerge::transaction::Transactable as _;
use automerge::{ActorId, AutoCommit, Change, ObjId, ObjType, ROOT, ReadDoc as _, TextEncoding};
use clave_engine::crdt::DocumentKind;
use clave_engine::{DocumentId, SpaceId};
use clave_sim::{Agreement, Network, Who, World};
use serde_json::{Value, json};

use crate::Scale;
use crate::harness::human;

const SOUND: &str = "the edit is sound";
/// Edits that become one change, as a typist's do.
const BURST: usize = 100;
const FILE: &str = "automerge-paper.json.gz";
/// The trace is measured in so many parts: what a burst costs grows with the note.
const PARTS: usize = 8;

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
        end.clear();
    }
    let edits: usize = bursts.iter().map(Vec::len).sum();
    println!("\n{edits} edits of a note, typed in bursts of {BURST} on one device and followed live on another");
    println!(
        "  in parts: automerge alone, both documents; two engines; of these, what the typist waits for, per burst"
    );
    let (mut bare, mut ours) = (Bare::new(), Ours::new());
    let (mut totals, mut ratios) = ([0.0; 3], Vec::new());
    for part in bursts.chunks(bursts.len().div_ceil(PARTS)) {
        let mut took = [Duration::ZERO; 3];
        for (number, burst) in part.iter().enumerate() {
            // In turn, burst by burst: what disturbs the machine disturbs both.
            let ((whole, local), alone) = if number % 2 == 0 {
                let alone = bare.burst(burst);
                (ours.burst(burst), alone)
            } else {
                (ours.burst(burst), bare.burst(burst))
            };
            took.iter_mut().zip([alone, whole, local]).for_each(|(sum, took)| *sum += took);
        }
        let seconds = took.map(|took| took.as_secs_f64());
        totals.iter_mut().zip(seconds).for_each(|(total, part)| *total += part);
        ratios.push(seconds[1] / seconds[0]);
        let per_burst = |index: usize| human(seconds[index] / part.len() as f64);
        let ratio = seconds[1] / seconds[0];
        println!("  {:>10} {:>10} {:>10}   ×{ratio:.2}", per_burst(0), per_burst(1), per_burst(2));
    }
    totals[1] += ours.settle().as_secs_f64();
    let (text, copy) = (ours.text(), bare.text());
    assert!(text == copy && (scale.quick || text == end), "the followers have what was typed");
    let ratio = totals[1] / totals[0];
    println!("  all of it: {} and {}   ×{ratio:.2} (bar: 1.5)", human(totals[0]), human(totals[1]));
    vec![json!({
        "name": "typing", "edits": edits, "automerge_seconds": totals[0], "engines_seconds": totals[1],
        "typist_seconds_per_burst": totals[2] / bursts.len() as f64, "ratio": ratio, "ratio_of_parts": ratios, "bar": 1.5,
    })]
}

/// Automerge alone: local edits into one document, each burst's change into another.
struct Bare {
    typist: AutoCommit,
    follower: AutoCommit,
    text: ObjId,
}

impl Bare {
    fn new() -> Self {
        let mut typist =
            AutoCommit::new_with_encoding(TextEncoding::UnicodeCodePoint).with_actor(ActorId::from([1; 24]));
        let text = typist.put_object(ROOT, "text", ObjType::Text).expect(SOUND);
        typist.commit();
        let follower = typist.fork().with_actor(ActorId::from([2; 24]));
        Self { typist, follower, text }
    }

    fn burst(&mut self, burst: &[Edit]) -> Duration {
        let started = Instant::now();
        for (position, delete, insert) in burst {
            let delete = isize::try_from(*delete).expect("small");
            self.typist.splice_text(&self.text, *position, delete, insert).expect(SOUND);
        }
        if let Some(hash) = self.typist.commit() {
            let change = self.typist.get_change_by_hash(&hash).expect("it was just made");
            let change = Change::from_bytes(change.raw_bytes().to_vec()).expect("it was just made");
            self.follower.apply_changes([change]).expect(SOUND);
        }
        std::hint::black_box(self.follower.get_heads());
        started.elapsed()
    }

    fn text(&self) -> String {
        self.follower.text(&self.text).expect("it is a text")
    }
}

/// Two engines, the wire between them and stores in memory.
struct Ours {
    world: World,
    alice: Who,
    bob: Who,
    team: SpaceId,
    note: DocumentId,
}

impl Ours {
    fn new() -> Self {
        let mut world =
            World::with(1, Agreement::Mls, Network { latency_ms: (1, 5), slow_permille: 0, ..Network::default() });
        let (alice, bob) = (world.alice(), world.bob());
        let team = world.create_space(alice, "Team");
        world.invite(alice, team, bob);
        world.settle().expect("nobody is busy");
        Self { world, alice, bob, team, note: DocumentId::from_bytes([7; 16]) }
    }

    /// The time of all of it, and of the typist's part.
    fn burst(&mut self, burst: &[Edit]) -> (Duration, Duration) {
        let (team, note) = (self.team, self.note);
        let splices: Vec<(usize, usize, &str)> =
            burst.iter().map(|(at, delete, insert)| (*at, *delete, insert.as_str())).collect();
        let started = Instant::now();
        self.world
            .input(self.alice, |engine, now| {
                engine.edit(team, note, DocumentKind::Note, now, |document, _| document.note()?.splice_many(&splices))
            })
            .expect(SOUND);
        let local = started.elapsed();
        self.world.pass(100);
        // Whoever follows looks at each burst.
        let document = self.world.engine(self.bob).document(team, note, DocumentKind::Note).expect("it is there");
        std::hint::black_box(document.heads());
        (started.elapsed(), local)
    }

    /// What follows from it after a while.
    fn settle(&mut self) -> Duration {
        let started = Instant::now();
        self.world.pass(5_000);
        started.elapsed()
    }

    fn text(&mut self) -> String {
        let document = self.world.engine(self.bob).document(self.team, self.note, DocumentKind::Note);
        document.expect("it is there").note().expect("a note").text().expect("a text")
    }
}
