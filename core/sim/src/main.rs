//! Runs random schedules and says which seeds fail: `cargo run --release -p clave-sim -- --seeds 200`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command for people in a terminal")]

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Instant;

use clave_sim::{Arguments, HELP, Outcome, Plan, Tally, run, run_all};

fn main() -> ExitCode {
    #[cfg(feature = "mutations")]
    if std::env::args().nth(1).as_deref() == Some("--rules") {
        list_rules();
        return ExitCode::SUCCESS;
    }
    let Some(arguments) = Arguments::read(std::env::args().skip(1)) else {
        println!("{HELP}");
        return ExitCode::from(2);
    };
    let jobs = arguments.jobs.or_else(|| std::thread::available_parallelism().ok().map(usize::from)).unwrap_or(1);
    let mut plans: Vec<Plan> = (arguments.first..arguments.first + arguments.seeds)
        .filter(|seed| !arguments.skip.contains(seed))
        .map(|seed| arguments.plan(seed))
        .collect();
    if arguments.sweep {
        plans = plans.into_iter().flat_map(sweep).collect();
    }
    let (start, mut tally, count) = (Instant::now(), Tally::default(), plans.len());
    let mut shown = Instant::now();
    // A few at a time, if the first that fails is the last.
    let at_once = if arguments.until_failure { jobs } else { count.max(1) };
    for plans in plans.chunks(at_once) {
        if arguments.until_failure && tally.failed > 0 {
            break;
        }
        run_all(plans, jobs, |plan, outcome| {
            tally.add(plan, &outcome);
            report(plan, &outcome);
            // A line that is written over, or now and then one that stays.
            let terminal = std::io::stderr().is_terminal();
            if shown.elapsed().as_secs() >= if terminal { 1 } else { 30 } {
                shown = Instant::now();
                let end = if terminal { '\r' } else { '\n' };
                eprint!(
                    "{} of {count} runs, {} failed, {:.0} s{end}",
                    tally.runs,
                    tally.failed,
                    start.elapsed().as_secs_f64()
                );
            }
        });
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("{tally}; {seconds:.1} s, {:.1} runs/s", count as f64 / seconds);
    println!("{}", tally.json(seconds));
    if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The rules that this build can switch off, one a line: name, number, what it says.
#[cfg(feature = "mutations")]
fn list_rules() {
    use clave_engine::{crdt, mutation::Rule};
    for rule in Rule::ALL {
        println!("{}\t{}\t{}", rule.name(), rule.covers(), rule.says());
    }
    for (name, covers, says) in crdt::mutation::ALL {
        println!("{name}\t{covers}\t{says}");
    }
}

/// One plan for each write of each device of a plan.
fn sweep(plan: Plan) -> Vec<Plan> {
    let writes = run(plan).writes;
    let each =
        writes.into_iter().enumerate().flat_map(|(device, writes)| (0..writes).map(move |write| (device, write)));
    each.map(|at| Plan { crash_at: Some(at), ..plan }).collect()
}

fn report(plan: &Plan, outcome: &Outcome) {
    for line in &outcome.lines {
        println!("{line}");
    }
    if outcome.seen.unreadable > 0 {
        println!(
            "seed {}: {} entries of epochs that no device still here was ever in: {plan}",
            plan.seed, outcome.seen.unreadable
        );
    }
    if !outcome.faults.is_empty() {
        println!("seed {}, {} devices, after {} s:", plan.seed, plan.devices, outcome.seen.elapsed_ms / 1_000);
        for fault in &outcome.faults {
            println!("  {fault}");
        }
        println!("  replay: {plan}");
    }
}
