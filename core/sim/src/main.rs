//! Runs random schedules and says which seeds fail: `cargo run -p clave-sim -- --seeds 200`.
#![allow(clippy::print_stdout, reason = "a command for people in a terminal")]

use std::process::ExitCode;
use std::time::Instant;

use clave_sim::{Arguments, HELP, run};

fn main() -> ExitCode {
    let Some(arguments) = Arguments::read(std::env::args().skip(1)) else {
        println!("{HELP}");
        return ExitCode::from(2);
    };
    let (start, mut steps, mut failed, mut unreadable) = (Instant::now(), 0, 0, 0);
    for seed in arguments.first..arguments.first + arguments.seeds {
        let plan = arguments.plan(seed);
        let outcome = run(plan);
        steps += outcome.steps;
        unreadable += outcome.unreadable;
        for line in &outcome.lines {
            println!("{line}");
        }
        if outcome.unreadable > 0 {
            println!("seed {seed}: {} entries of removed devices that nobody can read: {plan}", outcome.unreadable);
        }
        if !outcome.faults.is_empty() {
            failed += 1;
            println!("seed {seed}, {} devices, after {} s:", plan.devices, outcome.elapsed_ms / 1_000);
            for fault in &outcome.faults {
                println!("  {fault}");
            }
            println!("  replay: {plan}");
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{} seeds, {failed} failed, {unreadable} unreadable entries; {steps} steps in {seconds:.1} s: {:.1} seeds/s, {:.0} steps/s",
        arguments.seeds,
        arguments.seeds as f64 / seconds,
        steps as f64 / seconds
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
