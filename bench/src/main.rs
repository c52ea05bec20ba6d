//! What Clave's layers cost, beside what they stand on. See `USAGE`.

#![forbid(unsafe_code)]

mod aead;
mod catchup;
mod documents;
mod harness;
mod membership;
mod store;

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

const USAGE: &str = "\
Usage: clave-bench [--quick] [--json FILE] [--data FOLDER] [aead|documents|store|membership|log|catchup|curve]...

Prints for each contestant the median, the quartiles, and the ratio to the first one of its group.

  --quick         few rounds on small inputs: shows that the benches run, measures nothing
  --json FILE     writes the results to a file, too
  --rounds N      how often each contestant runs (default: 25)
  --devices N     membership: one size of circle only
  --data FOLDER   where the stores lie (default: the working directory); the disk under it decides what they cost";

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
    let (mut quick, mut file, mut data, mut wanted) = (false, None, PathBuf::from("."), Vec::new());
    let (mut devices, mut rounds) = (None, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => quick = true,
            "--json" => file = arguments.next().map(PathBuf::from),
            "--rounds" => rounds = arguments.next().and_then(|number| number.parse().ok()),
            "--devices" => devices = arguments.next().and_then(|number| number.parse().ok()),
            "--data" => data = arguments.next().map_or(data, PathBuf::from),
            "aead" | "documents" | "store" | "membership" | "log" | "catchup" | "curve" => wanted.push(argument),
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
    if wants("catchup") {
        groups.extend(catchup::groups(scale, &data));
    }
    // Takes minutes: only who asks for it gets it.
    if wanted.iter().any(|wanted| wanted == "curve") {
        groups.extend(membership::curve(scale, &data));
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
