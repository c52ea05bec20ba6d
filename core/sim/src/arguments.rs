//! What the runner is told on the command line, and the line that repeats a run.

use std::fmt;

use clave_engine::crypto::Suite;

use crate::plan::{DEVICES_MAX, DEVICES_MIN, RELAYS_MAX};
use crate::{Agreement, Attack, Mix, Plan};

/// How the runner is used.
pub const HELP: &str = "\
Runs random schedules of the Clave simulator: people use their devices while things go wrong; then the world is healed
and comes to rest, and all devices must agree. Of each seed that fails it prints the command that repeats it exactly.
Entries that nobody who is in can ever read (all who had their key were removed or lost) are counted and printed.

  just sim SEEDS [FLAGS]                                 from the repository, or
  cargo run --release -p clave-sim -- --seeds N [FLAGS]

  --seeds N        how many seeds, from 0 or from --seed (default 200)
  --seed N         the first seed; alone, the only one
  --jobs N         how many at once (default: as many as there are processors)
  --mix M          calm, admins or hostile, instead of each for a third of the seeds; or life
  --rogues N       how many devices keep to no rule, instead of 1 to 3 in the hostile mix
  --attack A       what these do, always the same: forged-author, two-changes, … (docs/simulation.md)
  --devices N      how many devices, instead of 5 to 40 by the seed
  --relays N       how many relays there are, up to 4, good and bad ones (docs/simulation.md)
  --steps K        how many things people do in each run (default 40 and one for each device)
  --agreement A    mls (default) or sealed-secret
  --suite S        x25519 (default) or x-wing
  --network N      plain or disorder (frames come twice and overtake), instead of disorder for each fifth seed
  --no-removals    let nobody be removed
  --no-returns     let nobody who was removed be brought in again
  --no-papers      let people write only messages and files, no notes and calendars
  --strays         add people of the log alone, who write any operation from any point of it
  --history        let who comes read nothing from before they came (policy since_joining)
  --bundles        bundle the entries of the chat early and often
  --guests         give guests dates that are about to pass, and write as they do
  --skip N,N,…     leave out these seeds
  --until-failure  stop at the first seed that fails
  --sweep          run each plan once for each write of each device, and crash that device there
  --crash-at D:K   crash device number D at its write number K
  --trace          print everything that happens
  --help           print this

Example: cargo run --release -p clave-sim -- --seed 17 --steps 40 --trace";

/// What the runner is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    /// The first seed.
    pub first: u64,
    /// How many.
    pub seeds: u64,
    /// How many at once; none for as many as there are processors.
    pub jobs: Option<usize>,
    /// Whether to crash each device at each of its writes in turn.
    pub sweep: bool,
    /// Whether to stop at the first seed that fails.
    pub until_failure: bool,
    /// Seeds to leave out.
    pub skip: Vec<u64>,
    mix: Option<Mix>,
    rogues: Option<usize>,
    attack: Option<Attack>,
    devices: Option<usize>,
    relays: Option<usize>,
    steps: Option<usize>,
    sealed_secret: bool,
    suite: Suite,
    disorder: Option<bool>,
    no_removals: bool,
    no_returns: bool,
    no_papers: bool,
    strays: bool,
    guests: bool,
    history: bool,
    bundles: bool,
    crash_at: Option<(usize, u64)>,
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
                "--jobs" => arguments.jobs = Some(usize::try_from(number()?).ok()?),
                "--rogues" => arguments.rogues = Some(usize::try_from(number()?).ok()?),
                "--devices" => {
                    let devices = usize::try_from(number()?).ok()?;
                    arguments.devices = Some(devices).filter(|devices| (DEVICES_MIN..=DEVICES_MAX).contains(devices));
                    arguments.devices?;
                }
                "--relays" => {
                    let relays = usize::try_from(number()?).ok()?;
                    arguments.relays = Some(relays).filter(|relays| *relays <= RELAYS_MAX);
                    arguments.relays?;
                }
                "--steps" => arguments.steps = Some(usize::try_from(number()?).ok()?),
                "--attack" => arguments.attack = Some(Attack::of_word(&words.next()?)?),
                "--mix" => arguments.mix = Some(Mix::of_word(&words.next()?)?),
                "--agreement" => {
                    arguments.sealed_secret = match words.next()?.as_str() {
                        "mls" => false,
                        "sealed-secret" => true,
                        _ => return None,
                    }
                }
                "--suite" => {
                    arguments.suite = match words.next()?.as_str() {
                        "x25519" => Suite::X25519,
                        "x-wing" => Suite::XWing,
                        _ => return None,
                    }
                }
                "--network" => {
                    arguments.disorder = match words.next()?.as_str() {
                        "plain" => Some(false),
                        "disorder" => Some(true),
                        _ => return None,
                    }
                }
                "--crash-at" => {
                    let word = words.next()?;
                    let (device, write) = word.split_once(':')?;
                    arguments.crash_at = Some((device.parse().ok()?, write.parse().ok()?));
                }
                "--no-removals" => arguments.no_removals = true,
                "--no-returns" => arguments.no_returns = true,
                "--no-papers" => arguments.no_papers = true,
                "--strays" => arguments.strays = true,
                "--guests" => arguments.guests = true,
                "--bundles" => arguments.bundles = true,
                "--history" => arguments.history = true,
                "--until-failure" => arguments.until_failure = true,
                "--skip" => {
                    let numbers = words.next()?;
                    let numbers = numbers.split(',').filter(|number| !number.is_empty());
                    arguments.skip = numbers.map(|number| number.parse().ok()).collect::<Option<_>>()?;
                }
                "--sweep" => arguments.sweep = true,
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
        let plan = self.mix.map_or(plan, |mix| plan.with_mix(mix));
        let devices = self.devices.unwrap_or(plan.devices);
        Plan {
            devices,
            steps: self.steps.unwrap_or(40 + devices),
            agreement: if self.sealed_secret { Agreement::SealedSecret } else { Agreement::Mls },
            suite: self.suite,
            rogues: self.rogues.unwrap_or(plan.rogues),
            relays: self.relays.unwrap_or(plan.relays),
            disorder: self.disorder.unwrap_or(plan.disorder),
            attack: self.attack,
            removals: !self.no_removals,
            returns: !self.no_returns,
            papers: !self.no_papers,
            strays: self.strays,
            guests: self.guests,
            history: self.history,
            bundles: self.bundles,
            crash_at: self.crash_at,
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
        let network = if self.disorder { "disorder" } else { "plain" };
        let (mix, rogues, relays) = (self.mix.word(), self.rogues, self.relays);
        write!(
            f,
            "cargo run --release -p clave-sim -- --seed {} --devices {} --steps {} --mix {mix} --rogues {rogues} \
             --relays {relays} --agreement {agreement} --network {network}",
            self.seed, self.devices, self.steps,
        )?;
        if self.suite == Suite::XWing {
            f.write_str(" --suite x-wing")?;
        }
        if let Some(attack) = self.attack {
            write!(f, " --attack {}", attack.word())?;
        }
        if let Some((device, write)) = self.crash_at {
            write!(f, " --crash-at {device}:{write}")?;
        }
        let flags = [
            (!self.removals, " --no-removals"),
            (!self.returns, " --no-returns"),
            (!self.papers, " --no-papers"),
            (self.strays, " --strays"),
            (self.guests, " --guests"),
            (self.history, " --history"),
            (self.bundles, " --bundles"),
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
            Plan { disorder: !plan.disorder, steps: 7, devices: 3, ..plan },
            Plan { suite: Suite::XWing, ..plan },
            Plan { agreement: Agreement::SealedSecret, ..plan.with_mix(Mix::Admins) },
            Plan { relays: 2, ..plan },
            Plan { rogues: 3, attack: Some(Attack::TwoCommits), ..plan.with_mix(Mix::Hostile) },
            Plan {
                removals: false,
                returns: false,
                papers: false,
                strays: true,
                guests: true,
                history: true,
                bundles: true,
                trace: true,
                crash_at: Some((3, 17)),
                ..plan.with_mix(Mix::Calm)
            },
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
        let lines = [
            "--help",
            "--seed",
            "--seed x",
            "--agreement none",
            "--suite none",
            "--network",
            "17",
            "--devices 1",
            "--relays 5",
            "--mix many",
        ];
        for line in lines.into_iter().chain(["--crash-at 3"]) {
            assert_eq!(Arguments::read(line.split(' ').map(str::to_owned)), None, "{line}");
        }
    }
}
