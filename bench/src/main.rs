//! What Clave's layers cost, beside what they stand on. See `USAGE`.

#![forbid(unsafe_code)]

mod aead;
mod catchup;
mod chat;
mod documents;
mod files;
mod harness;
mod index;
mod membership;
mod open_space;
mod search;
mod store;
mod typing;

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

const USAGE: &str = "\
Usage: clave-bench [--quick] [--json FILE] [--data FOLDER] [NAME]...

Names: aead documents store membership log live stream search; and, only if asked for, as they take minutes: curve open
       reconcile catchup typing open-space file-1g file-256m files-small.

Prints for each contestant the median, the quartiles, and the ratio to the first one of its group.

  --quick         few rounds on small inputs: shows that the benches run, measures nothing
  --json FILE     writes the results to a file, too
  --rounds N      how often each contestant runs (default: 25)
  --devices N     membership: one size of circle only
  --traces FOLDER where automerge-paper.json.gz lies, for `typing`
  --data FOLDER   where the stores lie (default: the working directory); the disk under it decides what they cost";

const NAMES: [&str; 17] = [
    "aead",
    "documents",
    "store",
    "membership",
    "log",
    "live",
    "stream",
    "search",
    "curve",
    "open",
    "reconcile",
    "typing",
    "open-space",
    "file-1g",
    "file-256m",
    "files-small",
    "catchup",
];

/// How much is measured.
#[derive(Clone, Copy)]
struct Scale {
    rounds: usize,
    quick: bool,
    /// The one size of circle that is measured, instead of several.
    devices: Option<usize>,
}

impl Scale {
    /// A size, or the small one that shows that a bench runs.
    fn of(self, full: u32, quick: u32) -> u32 {
        if self.quick { quick } else { full }
    }
}

fn main() -> ExitCode {
    let all: Vec<String> = std::env::args().skip(1).collect();
    if let [once, folder, seed] = all.as_slice()
        && once == index::ONCE
    {
        index::open_once(folder.as_ref(), seed);
        return ExitCode::SUCCESS;
    }
    if let Some(("--child", rest)) = all.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        files::child::run(rest);
        return ExitCode::SUCCESS;
    }
    let (mut quick, mut file, mut data, mut wanted) = (false, None, PathBuf::from("."), Vec::new());
    let (mut devices, mut rounds, mut traces) = (None, None, None);
    if let Some(folder) = std::env::var_os(open_space::CHILD) {
        return open_space::child(folder.as_ref());
    }
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => quick = true,
            "--json" => file = arguments.next().map(PathBuf::from),
            "--rounds" => rounds = arguments.next().and_then(|number| number.parse().ok()),
            "--devices" => devices = arguments.next().and_then(|number| number.parse().ok()),
            "--traces" => traces = arguments.next().map(PathBuf::from),
            "--data" => data = arguments.next().map_or(data, PathBuf::from),
            name if NAMES.contains(&name) => wanted.push(argument),
            _ => {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    let scale = Scale { rounds: rounds.unwrap_or(if quick { 3 } else { 25 }), quick, devices };
    let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);

    let mut groups = Vec::new();
    if wants("aead") {
        groups.extend(aead::groups(scale));
    }
    if wants("documents") {
        groups.extend(documents::groups(scale));
    }
    if wants("store") {
        groups.extend(store::groups(scale, &data));
    }
    if wants("membership") {
        groups.extend(membership::groups(scale, &data));
    }
    if wants("log") {
        groups.extend(membership::logs(scale));
    }
    if wants("live") {
        groups.extend(chat::live(scale, &data));
    }
    if wants("stream") {
        groups.extend(chat::stream(scale, &data));
    }
    if wants("search") {
        groups.extend(search::groups(scale, &data));
    }
    // These take minutes: only who asks for them gets them; and all of them run with `--quick`.
    let asked = |name: &str| wanted.iter().any(|wanted| wanted == name) || quick && wanted.is_empty();
    if asked("catchup") {
        groups.extend(catchup::groups(scale, &data));
    }
    if wanted.iter().any(|wanted| wanted == "curve") {
        groups.extend(membership::curve(scale, &data));
    }
    // Both fill a circle: they share it.
    if asked("open") || asked("reconcile") {
        groups.extend(index::groups(scale, &data, asked("open"), asked("reconcile")));
    }
    if asked("typing") {
        groups.extend(typing::groups(scale, traces.as_deref()));
    }
    if asked("open-space") {
        groups.extend(open_space::groups(scale, &data));
    }
    if asked("file-1g") {
        groups.extend(files::large(scale, &data));
    }
    if asked("file-256m") {
        groups.extend(files::middle(scale, &data));
    }
    if asked("files-small") {
        groups.extend(files::small(scale, &data));
    }
    println!("\n{} comparisons{}", groups.len(), if quick { ", quick: not to be quoted" } else { "" });
    let results = json!({ "quick": quick, "groups": groups });
    match file.map(|file| std::fs::write(file, format!("{results:#}\n"))) {
        Some(Err(error)) => {
            eprintln!("the results could not be written: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}
