//! What many runs come to.

use std::fmt;

use crate::{Outcome, Plan};

/// The figures of many runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many runs.
    pub runs: u64,
    /// How many of them did not end well.
    pub failed: u64,
    devices: (usize, usize, usize),
    /// What the runs saw, added up.
    pub seen: Seen,
}

/// What a run saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Epochs that a commit led to.
    pub commits: u64,
    /// Commits whose parent had another one.
    pub forks: u64,
    /// Writes to documents and drives that a device was told to be durable.
    pub messages: u64,
    /// Pairs of an entry and a member who reads it.
    pub readable: u64,
    /// Entries that nobody who is in can ever read: nobody who survived was ever in their epoch.
    pub unreadable: u64,
    /// Entries that a rogue sealed under a commit which it kept back.
    pub withheld: u64,
    /// People and devices that were removed and are out at the end.
    pub removed: u64,
    /// Devices that were lost for ever.
    pub lost: u64,
    /// Times that a device was started again.
    pub restarts: u64,
    /// What rogues threw at others.
    pub attacks: u64,
    /// Entries, frames and operations that were refused.
    pub refusals: u64,
    /// Spaces, and circles in them.
    pub circles: u64,
    /// Entries that relays delivered.
    pub relayed: u64,
    /// Frames of bad relays that were not what they should have been.
    pub betrayed: u64,
    /// Devices that were linked to a person who had one.
    pub linked: u64,
    /// Devices that were restored by a phrase.
    pub recovered: u64,
    /// Things that happened in the simulator.
    pub steps: u64,
    /// Simulated milliseconds.
    pub elapsed_ms: u64,
}

impl Seen {
    fn fields(&self) -> [(&'static str, u64); 18] {
        [
            ("commits", self.commits),
            ("forks", self.forks),
            ("messages", self.messages),
            ("readable", self.readable),
            ("unreadable", self.unreadable),
            ("withheld", self.withheld),
            ("removed", self.removed),
            ("lost", self.lost),
            ("restarts", self.restarts),
            ("attacks", self.attacks),
            ("refusals", self.refusals),
            ("circles", self.circles),
            ("relayed", self.relayed),
            ("betrayed", self.betrayed),
            ("linked", self.linked),
            ("recovered", self.recovered),
            ("steps", self.steps),
            ("simulated_hours", self.elapsed_ms / 3_600_000),
        ]
    }

    fn add(&mut self, other: &Self) {
        self.commits += other.commits;
        self.forks += other.forks;
        self.messages += other.messages;
        self.readable += other.readable;
        self.unreadable += other.unreadable;
        self.withheld += other.withheld;
        self.removed += other.removed;
        self.lost += other.lost;
        self.restarts += other.restarts;
        self.attacks += other.attacks;
        self.refusals += other.refusals;
        self.circles += other.circles;
        self.relayed += other.relayed;
        self.betrayed += other.betrayed;
        self.linked += other.linked;
        self.recovered += other.recovered;
        self.steps += other.steps;
        self.elapsed_ms += other.elapsed_ms;
    }
}

impl Tally {
    /// Adds a run.
    pub fn add(&mut self, plan: &Plan, outcome: &Outcome) {
        let (least, sum, most) = self.devices;
        let least = if self.runs == 0 { plan.devices } else { least.min(plan.devices) };
        self.devices = (least, sum + plan.devices, most.max(plan.devices));
        self.runs += 1;
        self.failed += u64::from(!outcome.faults.is_empty());
        self.seen.add(&outcome.seen);
    }

    /// The same for a program, on one line of JSON.
    #[must_use]
    pub fn json(&self, seconds: f64) -> String {
        let (least, sum, most) = self.devices;
        let fields: String = self.seen.fields().iter().map(|(name, number)| format!(",\"{name}\":{number}")).collect();
        format!(
            "{{\"runs\":{},\"failed\":{},\"devices_min\":{least},\"devices_sum\":{sum},\"devices_max\":{most}{fields},\
             \"seconds\":{seconds:.1}}}",
            self.runs, self.failed
        )
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (least, sum, most) = self.devices;
        let mean = sum as f64 / self.runs.max(1) as f64;
        write!(f, "{} runs, {} failed; devices {least} to {most}, {mean:.1} in the mean;", self.runs, self.failed)?;
        for (place, (name, number)) in self.seen.fields().iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(f, "{comma} {number} {}", name.replace('_', " "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_add_up() {
        let mut tally = Tally::default();
        for (devices, faults) in [(5, vec![]), (40, vec!["one head: Bob".to_owned()]), (6, vec![])] {
            let seen = Seen { commits: 2, forks: 1, elapsed_ms: 3_600_000, ..Seen::default() };
            let outcome = Outcome { faults, seen, ..Outcome::default() };
            tally.add(&Plan { devices, ..Plan::of_seed(0) }, &outcome);
        }
        let text = tally.to_string();
        assert!(text.starts_with("3 runs, 1 failed; devices 5 to 40, 17.0 in the mean; 6 commits, 3 forks,"), "{text}");
        let json = tally.json(1.5);
        assert!(json.starts_with("{\"runs\":3,\"failed\":1,\"devices_min\":5,\"devices_sum\":51"), "{json}");
        assert!(json.ends_with("\"simulated_hours\":3,\"seconds\":1.5}"), "{json}");
    }
}
