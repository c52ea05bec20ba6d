//! Runs random schedules and says which seeds fail: `cargo run -p clave-sim -- --seeds 200`.
#![allow(clippy::print_stdout, reason = "a command for people in a terminal")]

use std::process::ExitCode;
use std::time::Instant;

use clave_sim::{Agreement, Plan, run};

const HELP: &str = "\
Runs random schedules of the Clave simulator.

  --seeds N        how many seeds, from 0 or from --seed (default 200)
  --seed N         the first seed; alone, the only one
  --devices N      how many devices, instead of 2 to 5 by the seed
  --steps K        how many things people do in each run (default 40)
  --agreement A    mls (default) or sealed-secret
  --many-admins    let people remove each other
  --no-removals    let nobody be removed
  --trace          print everything that happens

Example: cargo run -p clave-sim -- --seed 17 --steps 40 --trace";

struct Arguments {
    first: u64,
    seeds: u64,
    devices: Option<usize>,
    steps: Option<usize>,
    agreement: Agreement,
    many_admins: bool,
    removals: bool,
    trace: bool,
}

impl Arguments {
    fn read(mut words: impl Iterator<Item = String>) -> Option<Self> {
        let (mut first, mut seeds) = (None, None);
        let mut arguments = Self {
            first: 0,
            seeds: 200,
            devices: None,
            steps: None,
            agreement: Agreement::Mls,
            many_admins: false,
            removals: true,
            trace: false,
        };
        while let Some(word) = words.next() {
            let mut number = || words.next()?.parse::<u64>().ok();
            match word.as_str() {
                "--seeds" => seeds = Some(number()?),
                "--seed" => first = Some(number()?),
                "--devices" => arguments.devices = Some(usize::try_from(number()?).ok()?),
                "--steps" => arguments.steps = Some(usize::try_from(number()?).ok()?),
                "--agreement" => {
                    arguments.agreement = match words.next()?.as_str() {
                        "mls" => Agreement::Mls,
                        "sealed-secret" => Agreement::SealedSecret,
                        _ => return None,
                    }
                }
                "--many-admins" => arguments.many_admins = true,
                "--no-removals" => arguments.removals = false,
                "--trace" => arguments.trace = true,
                _ => return None,
            }
        }
        arguments.first = first.unwrap_or(0);
        arguments.seeds = seeds.unwrap_or(if first.is_some() { 1 } else { 200 });
        Some(arguments)
    }

    fn plan(&self, seed: u64) -> Plan {
        let plan = Plan::of_seed(seed);
        Plan {
            devices: self.devices.unwrap_or(plan.devices),
            steps: self.steps.unwrap_or(plan.steps),
            agreement: self.agreement,
            many_admins: self.many_admins,
            removals: self.removals,
            trace: self.trace,
            ..plan
        }
    }
}

fn main() -> ExitCode {
    let Some(arguments) = Arguments::read(std::env::args().skip(1)) else {
        println!("{HELP}");
        return ExitCode::from(2);
    };
    let (start, mut steps, mut failed) = (Instant::now(), 0, Vec::new());
    for seed in arguments.first..arguments.first + arguments.seeds {
        let plan = arguments.plan(seed);
        let outcome = run(plan);
        steps += outcome.steps;
        for line in &outcome.lines {
            println!("{line}");
        }
        if !outcome.faults.is_empty() {
            failed.push(seed);
            println!("seed {seed}, {} devices, after {} s:", plan.devices, outcome.elapsed_ms / 1_000);
            for fault in &outcome.faults {
                println!("  {fault}");
            }
            println!(
                "  replay: cargo run -p clave-sim -- --seed {seed} --devices {} --steps {} --trace",
                plan.devices, plan.steps
            );
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{} seeds, {} failed; {steps} steps in {seconds:.1} s: {:.1} seeds/s, {:.0} steps/s",
        arguments.seeds,
        failed.len(),
        arguments.seeds as f64 / seconds,
        steps as f64 / seconds
    );
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
