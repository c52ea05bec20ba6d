//! Runs a target without libFuzzer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::{Mutator, Target};

/// An input that takes longer than this is a finding: a peer could stop a device with it.
pub const INPUT_TIME_MAX: Duration = Duration::from_secs(10);

/// What a clean run did.
#[derive(Debug)]
pub struct Report {
    /// How many inputs the target was given.
    pub inputs: u64,
    /// The longest that one took.
    pub slowest: Duration,
}

/// An input that the target handles wrongly.
#[derive(Debug)]
pub struct Finding {
    /// The input.
    pub input: Vec<u8>,
    /// What the target did.
    pub reason: String,
}

/// Gives the target every input of `corpus`, then mutations of them that follow from `seed`, until `budget` is used up.
///
/// # Errors
/// The first input that makes it panic or takes longer than [`INPUT_TIME_MAX`].
pub fn smoke(target: &Target, corpus: &[Vec<u8>], seed: u64, budget: Duration) -> Result<Report, Finding> {
    let started = Instant::now();
    let mut report = Report { inputs: 0, slowest: Duration::ZERO };
    for input in corpus {
        report.take(target, input)?;
    }
    let mut mutator = Mutator::new(seed);
    while started.elapsed() < budget {
        report.take(target, &mutator.input(corpus))?;
    }
    Ok(report)
}

impl Report {
    fn take(&mut self, target: &Target, input: &[u8]) -> Result<(), Finding> {
        let started = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
        let took = started.elapsed();
        self.inputs += 1;
        self.slowest = self.slowest.max(took);
        let reason = match outcome {
            Ok(()) if took <= INPUT_TIME_MAX => return Ok(()),
            Ok(()) => format!("took {took:.1?}"),
            Err(panic) => {
                let said = panic.downcast_ref::<String>().map(String::as_str);
                format!("panicked: {}", said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("?"))
            }
        };
        Err(Finding { input: input.to_vec(), reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Panics on a length that its bytes do not bear out, as careless parsers do.
    fn careless(data: &[u8]) {
        if let Some((length, rest)) = data.split_first() {
            let _ = &rest[..usize::from(*length)];
        }
    }

    #[test]
    fn a_careless_parser_is_found_out() {
        let target = Target { name: "careless", run: careless, seeds: Vec::new };
        let sound = vec![vec![3, 1, 2, 3], vec![]];
        let finding = smoke(&target, &sound, 1, Duration::from_secs(60)).unwrap_err();
        assert!(usize::from(finding.input[0]) >= finding.input.len(), "{finding:?}");
        assert!(finding.reason.starts_with("panicked: range end index"), "{finding:?}");
    }

    #[test]
    fn a_sound_parser_is_left_in_peace() {
        let target = Target { name: "sound", run: |data| assert!(data.len() < usize::MAX), seeds: Vec::new };
        let report = smoke(&target, &[vec![1]], 1, Duration::from_millis(20)).unwrap();
        assert!(report.inputs > 1);
    }
}
