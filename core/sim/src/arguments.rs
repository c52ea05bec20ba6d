//! What the runner is told on the command line, and the line that repeats a run.

use std::fmt;

use crate::{Agreement, Plan};

/// How the runner is used.
pub const HELP: &str = "\
Runs random schedules of the Clave simulator: people use their devices while things go wrong; then the world is healed
and comes to rest, and all devices must agree. Of each seed that fails it prints the command that repeats it exactly.
Entries that nobody who is in can ever read (all who had their key were removed) are counted and printed.

  just sim SEEDS [FLAGS]                       from the repository, or
  cargo run -p clave-sim -- --seeds N [FLAGS]  (with --release before the -- for many)

  --seeds N        how many seeds, from 0 or from --seed (default 200)
  --seed N         the first seed; alone, the only one
  --devices N      how many devices, instead of 2 to 5 by the seed
  --steps K        how many things people do in each run (default 40)
  --agreement A    mls (default) or sealed-secret
  --network N      plain or hostile (frames come twice and overtake), instead of hostile for each fifth seed
  --many-admins    let people remove each other
  --no-removals    let nobody be removed
  --no-papers      let people write only messages and files, no notes and calendars
  --trace          print everything that happens
  --help           print this

Example: cargo run -p clave-sim -- --seed 17 --steps 40 --trace";

/// What the runner is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    /// The first seed.
    pub first: u64,
    /// How many.
    pub seeds: u64,
    devices: Option<usize>,
    steps: Option<usize>,
    sealed_secret: bool,
    hostile: Option<bool>,
    many_admins: bool,
    no_removals: bool,
    no_papers: bool,
    trace: bool,
}

impl Arguments {
    /// Reads the words of a command line; none if they are to be answered by [`HELP`].
    pub fn read(mut words: impl Iterator<Item = String>) -> Option<Self> {
        let (mut first, mut seeds, mut arguments) = (None, None, Self::default());
        while let Some(word) = words.next() {
            let mut number = || words.next()?.parse::<u64>().ok();
            match word.as_str() {
                "--seeds" => seeds = Some(number()?),
                "--seed" => first = Some(number()?),
                "--devices" => arguments.devices = Some(usize::try_from(number()?).ok()?),
                "--steps" => arguments.steps = Some(usize::try_from(number()?).ok()?),
                "--agreement" => {
                    arguments.sealed_secret = match words.next()?.as_str() {
                        "mls" => false,
                        "sealed-secret" => true,
                        _ => return None,
                    }
                }
                "--network" => {
                    arguments.hostile = match words.next()?.as_str() {
                        "plain" => Some(false),
                        "hostile" => Some(true),
                        _ => return None,
                    }
                }
                "--many-admins" => arguments.many_admins = true,
                "--no-removals" => arguments.no_removals = true,
                "--no-papers" => arguments.no_papers = true,
                "--trace" => arguments.trace = true,
                _ => return None,
            }
        }
        arguments.first = first.unwrap_or(0);
        arguments.seeds = seeds.unwrap_or(if first.is_some() { 1 } else { 200 });
        Some(arguments)
    }

    /// What to run under a seed.
    #[must_use]
    pub fn plan(&self, seed: u64) -> Plan {
        let plan = Plan::of_seed(seed);
        Plan {
            devices: self.devices.unwrap_or(plan.devices),
            steps: self.steps.unwrap_or(plan.steps),
            agreement: if self.sealed_secret { Agreement::SealedSecret } else { Agreement::Mls },
            hostile: self.hostile.unwrap_or(plan.hostile),
            many_admins: self.many_admins,
            removals: !self.no_removals,
            papers: !self.no_papers,
            trace: self.trace,
            ..plan
        }
    }
}

/// The command that does the same again.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let agreement = match self.agreement {
            Agreement::Mls => "mls",
            Agreement::SealedSecret => "sealed-secret",
        };
        let network = if self.hostile { "hostile" } else { "plain" };
        write!(
            f,
            "cargo run -p clave-sim -- --seed {} --devices {} --steps {} --agreement {agreement} --network {network}",
            self.seed, self.devices, self.steps,
        )?;
        let flags = [
            (self.many_admins, " --many-admins"),
            (!self.removals, " --no-removals"),
            (!self.papers, " --no-papers"),
            (self.trace, " --trace"),
        ];
        flags.iter().filter(|(given, _)| *given).try_for_each(|(_, flag)| f.write_str(flag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_plan_leads_to_the_plan() {
        let plan = Plan::of_seed(9);
        let plans = [
            plan,
            Plan { hostile: !plan.hostile, steps: 7, devices: 3, ..plan },
            Plan { agreement: Agreement::SealedSecret, many_admins: true, ..plan },
            Plan { removals: false, papers: false, trace: true, ..plan },
        ];
        for plan in plans {
            let line = plan.to_string();
            let words = line.split(' ').skip_while(|word| *word != "--").skip(1).map(str::to_owned);
            let arguments = Arguments::read(words).expect("the runner's own words");
            assert_eq!((arguments.first, arguments.seeds, arguments.plan(plan.seed)), (plan.seed, 1, plan), "{line}");
        }
    }

    #[test]
    fn what_is_not_understood_is_answered_by_help() {
        for line in ["--help", "--seed", "--seed x", "--agreement none", "--network", "17"] {
            assert_eq!(Arguments::read(line.split(' ').map(str::to_owned)), None, "{line}");
        }
    }
}
