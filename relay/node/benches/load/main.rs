//! The real relay under load: `just relay-soak` and `just relay-day`.
//!
//! ```text
//! load soak [--minutes 30]
//! load day [--speed 100] [--hours 24] [--people 4000]
//! ```
//!
//! One process is all devices, over libp2p on loopback, so it and the relay share the machine. Ends with an error if what it prints is worse than its rule.

#![allow(clippy::unwrap_used, clippy::print_stdout, unreachable_pub, missing_docs)] // A measurement may panic, and prints.

mod client;
mod day;
#[path = "../../tests/mailbox/harness.rs"]
#[allow(dead_code)]
mod harness;
mod process;
mod random;
mod soak;

use std::process::ExitCode;

/// What stands behind a flag, or a default.
fn number(arguments: &[String], flag: &str, default: f64) -> f64 {
    let at = arguments.iter().position(|argument| argument == flag);
    at.map_or(default, |at| arguments[at + 1].parse().expect("a number"))
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let of = |flag, default| number(&arguments, flag, default);
    let wants = |name: &str| arguments.iter().any(|argument| argument == name);
    let mut good = true;
    println!("machine: {}", process::machine());
    if wants("soak") {
        good &= soak::run(of("--minutes", 30.0)).await;
    }
    if wants("day") {
        good &= day::run(of("--speed", 100.0), of("--hours", 24.0), of("--people", 4_000.0) as usize).await;
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
