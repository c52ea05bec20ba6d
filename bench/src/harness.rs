//! Measures contestants against each other: rounds in which each runs once, so that what disturbs the machine disturbs
//! them alike; medians with their spread; ratios taken round by round.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long a sample should take at least, so that the clock's grain does not matter.
const SAMPLE_TIME_MIN: Duration = Duration::from_millis(5);

/// Does its work so many times and says how long that took, leaving out what is not to be measured.
pub type Run<'a> = Box<dyn FnMut(u32) -> Duration + 'a>;

/// Times `work` as it is.
pub fn timed<'a, T>(mut work: impl FnMut() -> T + 'a) -> Run<'a> {
    Box::new(move |times| {
        let started = Instant::now();
        for _ in 0..times {
            std::hint::black_box(work());
        }
        started.elapsed()
    })
}

/// Times `work` without what prepares it.
pub fn prepared<'a, S, T>(mut prepare: impl FnMut() -> S + 'a, mut work: impl FnMut(S) -> T + 'a) -> Run<'a> {
    Box::new(move |times| {
        (0..times)
            .map(|_| {
                let state = prepare();
                let started = Instant::now();
                let result = std::hint::black_box(work(state));
                let took = started.elapsed();
                drop(result);
                took
            })
            .sum()
    })
}

/// One comparison.
pub struct Group<'a> {
    name: String,
    /// How many things one run handles, and what they are.
    unit: (u32, &'static str),
    contestants: Vec<(&'static str, Run<'a>)>,
}

impl<'a> Group<'a> {
    /// A comparison whose runs handle `count` of `unit` each.
    pub fn new(name: impl Into<String>, count: u32, unit: &'static str) -> Self {
        Self { name: name.into(), unit: (count, unit), contestants: Vec::new() }
    }

    /// Adds a contestant. The first is what the others are compared with.
    pub fn with(mut self, name: &'static str, run: Run<'a>) -> Self {
        self.contestants.push((name, run));
        self
    }

    /// Runs the comparison, prints it and returns it as JSON.
    pub fn measure(mut self, rounds: usize) -> Value {
        let times: Vec<u32> = self.contestants.iter_mut().map(|(_, run)| calibrate(run)).collect();
        let mut samples = vec![Vec::with_capacity(rounds); self.contestants.len()];
        for round in 0..rounds {
            // Nobody is always first.
            for turn in 0..self.contestants.len() {
                let index = (round + turn) % self.contestants.len();
                let took = (self.contestants[index].1)(times[index]);
                samples[index].push(took.as_secs_f64() / f64::from(times[index]) / f64::from(self.unit.0));
            }
        }

        println!("\n{}", self.name);
        let results: Vec<Value> = self
            .contestants
            .iter()
            .zip(&samples)
            .map(|((name, _), taken)| {
                let ratios = taken.iter().zip(&samples[0]).map(|(own, first)| own / first).collect();
                let (seconds, ratio) = (Spread::of(taken.clone()), Spread::of(ratios));
                let unit = self.unit.1;
                println!(
                    "  {name:34} {:>10} /{unit}  ({} to {})   ×{:.2} ({:.2} to {:.2})",
                    human(seconds.median),
                    human(seconds.low),
                    human(seconds.high),
                    ratio.median,
                    ratio.low,
                    ratio.high
                );
                json!({ "contestant": name, "seconds": seconds.json(), "ratio_to_first": ratio.json() })
            })
            .collect();
        json!({ "name": self.name, "per": self.unit.1, "rounds": rounds, "results": results })
    }
}

/// How often to run so that a sample is long enough; runs it warm on the way.
fn calibrate(run: &mut Run<'_>) -> u32 {
    let mut times = 1;
    while run(times) < SAMPLE_TIME_MIN && times < 1 << 20 {
        times *= 2;
    }
    times
}

/// A median and the quartiles about it.
pub struct Spread {
    pub low: f64,
    pub median: f64,
    pub high: f64,
}

impl Spread {
    pub fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        let at = |quarter: usize| samples[(samples.len() - 1) * quarter / 4];
        Self { low: at(1), median: at(2), high: at(3) }
    }

    pub fn json(&self) -> Value {
        json!({ "median": self.median, "quartile_low": self.low, "quartile_high": self.high })
    }
}

pub fn human(seconds: f64) -> String {
    match seconds {
        s if s < 1e-6 => format!("{:.0} ns", s * 1e9),
        s if s < 1e-3 => format!("{:.2} µs", s * 1e6),
        s if s < 1.0 => format!("{:.2} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_the_median_and_its_quartiles() {
        let spread = Spread::of(vec![5.0, 1.0, 4.0, 2.0, 3.0]);
        assert_eq!((spread.low, spread.median, spread.high), (2.0, 3.0, 4.0));
    }

    #[test]
    fn ratios_and_units_follow_from_what_the_contestants_say() {
        let run = |ms: u64| -> Run<'_> { Box::new(move |times| Duration::from_millis(ms) * times) };
        let value = Group::new("fixed", 10, "thing").with("first", run(10)).with("half as fast", run(20)).measure(3);
        assert_eq!(value["results"][0]["seconds"]["median"], 0.001);
        assert_eq!(value["results"][1]["ratio_to_first"]["median"], 2.0);
    }

    #[test]
    fn what_prepares_is_not_measured() {
        let mut prepared_times = 0;
        let mut run = prepared(|| prepared_times += 1, |()| ());
        assert!(run(3) < Duration::from_secs(1));
        drop(run);
        assert_eq!(prepared_times, 3);
    }
}
