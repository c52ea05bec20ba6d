//! The random runner: people who use their devices while things go wrong, then a healed world that must agree.

use std::collections::{BTreeMap, BTreeSet};

use clave_engine::crypto::EpochId;
use clave_engine::fuzzing::inside;
use clave_engine::membership::{Action, HISTORY};
use clave_engine::{CircleId, FileContent, InviteLink};

use crate::plan::{Mix, name};
use crate::{Attack, Check, Network, OpenNote, Plan, RelayNumber, Seen, Who, World};

use life::Life;

mod breaking;
mod life;
mod relays;
mod roster;
mod writing;

/// How a run ended.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What did not hold; nothing, if all is well.
    pub faults: Vec<String>,
    /// What happened, in numbers.
    pub seen: Seen,
    /// Names everything that happened.
    pub trace_hash: String,
    /// What happened, if it was to be kept.
    pub lines: Vec<String>,
    /// How many writes of each device became durable.
    pub writes: Vec<u64>,
}

struct Run {
    world: World,
    plan: Plan,
    /// Where people act: the space, or for a while a circle in it.
    circle: CircleId,
    /// The devices that there are so far.
    people: Vec<Who>,
    /// Devices that were invited, and the founder.
    invited: Vec<Who>,
    /// By whom.
    hosts: BTreeMap<Who, Who>,
    files: Vec<(CircleId, FileContent)>,
    links: Vec<(Who, InviteLink)>,
    /// A note that somebody has open in an editor.
    open: Option<(Who, CircleId, OpenNote)>,
    /// What people have in the mix *life* only.
    life: Life,
    /// The relays that there are.
    relays: Vec<RelayNumber>,
    /// Whether the network is cut for good: until the world is healed.
    cut: bool,
}

/// Runs a plan.
#[must_use]
pub fn run(plan: Plan) -> Outcome {
    let mut run = Run::begin(plan);
    for step in 0..plan.steps {
        run.somebody_acts();
        if plan.strays {
            run.somebody_strays();
        }
        if plan.guests {
            run.somebody_has_a_guest();
        }
        run.something_breaks();
        if plan.relays > 0 {
            run.something_breaks_at_relays();
        }
        if step * 4 == plan.steps * 3 && run.world.random.permille(250) {
            run.cut_for_good();
        }
        let ms = match run.world.random.between(0..40) {
            0..10 => 1,
            10..20 => run.world.random.between(1..200),
            20..30 => run.world.random.between(200..3_000),
            30..39 => run.world.random.between(3_000..20_000),
            _ => run.world.random.between(20_000..200_000),
        };
        run.world.pass(ms);
    }
    run.end()
}

impl Run {
    fn begin(plan: Plan) -> Self {
        let mut network = Network::default();
        if plan.disorder {
            network = Network { duplicate_permille: 30, overtake_permille: 30, ..network };
        }
        let mut world = World::with(plan.seed, plan.agreement, network).of_suite(plan.suite);
        if plan.bundles {
            world = world.with_bundles();
        }
        if plan.trace {
            world.keep_trace();
        }
        let mut people = Vec::new();
        for number in 0..plan.people() {
            let skew = world.random.between(0..7_200_000) as i64 - 3_600_000;
            people.push(world.add_with_clock(&name(number), skew));
        }
        let circle = world.create_space(people[0], "Team");
        if plan.history {
            let (key, value) = (HISTORY.to_owned(), "since_joining".to_owned());
            let set = world.act(people[0], circle, Action::SetPolicy { key, value, keep_heads: Vec::new() });
            set.expect("the founder may");
        }
        for who in people.iter().rev().take(plan.rogues.min(plan.devices - 2)) {
            world.turn_rogue(*who);
        }
        if let Some((device, write)) = plan.crash_at
            && let Some(who) = people.get(device)
        {
            world.plan_crash(*who, write);
        }
        let mut run = Self {
            world,
            plan,
            circle,
            invited: vec![people[0]],
            people,
            hosts: BTreeMap::new(),
            files: Vec::new(),
            links: Vec::new(),
            open: None,
            life: Life::new(circle),
            relays: Vec::new(),
            cut: false,
        };
        if plan.relays > 0 {
            run.bring_relays();
        }
        run.gather();
        if plan.strays {
            run.world.bring_strays(run.people[0], circle);
        }
        run
    }

    /// Most come in before anything breaks; the rest while it does.
    fn gather(&mut self) {
        self.world.pass(1_000);
        for _ in 0..self.people.len() * 2 / 3 {
            self.invite();
            let ms = self.world.random.between(500..4_000);
            self.world.pass(ms);
        }
        // Rogues are in from the start, or there would be nothing that they could do.
        let rogues: Vec<Who> = self.people.iter().copied().filter(|who| self.world.is_rogue(*who)).collect();
        for rogue in rogues {
            self.invite_whom(rogue);
            self.world.pass(2_000);
        }
        if self.plan.mix != Mix::Calm {
            for _ in 0..1 + self.plan.devices / 5 {
                self.promote();
            }
        }
    }

    fn somebody(&mut self) -> Option<Who> {
        let able: Vec<Who> = self.world.members(self.circle);
        self.world.random.pick(&able)
    }

    fn somebody_honest(&mut self) -> Option<Who> {
        let mut able = self.world.members(self.circle);
        able.retain(|who| !self.world.is_rogue(*who));
        self.world.random.pick(&able)
    }

    fn somebody_acts(&mut self) {
        if self.plan.mix == Mix::Life && self.somebody_lives() {
            return;
        }
        self.somebody_works();
        self.circle = self.life.space;
    }

    /// What people do in a circle, whatever their life is like.
    fn somebody_works(&mut self) {
        let rogues: Vec<Who> = self.people.iter().copied().filter(|who| self.world.is_rogue(*who)).collect();
        if let Some(rogue) = self.world.random.pick(&rogues)
            && self.world.random.permille(500)
        {
            // Those against bundles only where there are some.
            let attacks = if self.plan.bundles { &Attack::ALL[..] } else { &Attack::ALL[..Attack::ALL.len() - 1] };
            let any = self.world.random.pick(attacks).expect("there are some");
            self.world.attack(rogue, self.circle, self.plan.attack.unwrap_or(any));
        }
        if self.plan.papers && self.world.random.permille(300) {
            return self.write_papers();
        }
        match self.world.random.between(0..100) {
            0..45 => self.post(),
            45..62 => self.invite(),
            62..86 => self.change_roster(),
            86..93 => self.add_file(),
            _ => self.fetch(),
        }
    }

    /// Somebody passes on what people of the log alone write.
    fn somebody_strays(&mut self) {
        for _ in 0..2 {
            if let Some(who) = self.somebody_honest() {
                self.world.stray(who, self.circle);
            }
        }
    }

    fn end(mut self) -> Outcome {
        self.world.heal();
        self.world.pass(1_000);
        self.join_again();
        let mut settled = self.world.settle();
        if settled.is_ok() && self.join_again() {
            // Their device crashed since.
            settled = self.world.settle();
        }
        let mut faults: Vec<String> = settled.err().map(|livelock| Check::Rest.fault(&livelock)).into_iter().collect();
        self.note_unanswered();
        let mut seen = self.seen();
        for (circle, name) in self.life.named_circles() {
            let findings = self.world.examine(circle);
            for fault in findings.faults {
                // What is not of one circle was said of the space.
                let of_all =
                    [Check::SendGate, Check::NoRefusal].iter().any(|check| fault.starts_with(&check.fault(&"")));
                match name.is_empty() {
                    true => faults.push(fault),
                    false if of_all => {}
                    false => faults.push(format!("{fault} (in {name})")),
                }
            }
            seen.unreadable += findings.unreadable as u64;
            seen.readable += findings.readable as u64;
            seen.withheld += findings.withheld as u64;
        }
        Outcome {
            faults,
            seen,
            trace_hash: self.world.trace().hash(),
            lines: self.world.trace().lines().to_vec(),
            writes: self.people.iter().map(|who| self.world.device(*who).writes).collect(),
        }
    }

    /// A join is not remembered across a crash: whoever did not get in opens the link once more. Whether anybody did.
    fn join_again(&mut self) -> bool {
        let mut any = false;
        for (guest, link) in self.links.clone() {
            // Those who are in are refused at once.
            any |= self.world.is_up(guest) && self.world.join(guest, &link).is_ok();
        }
        any
    }

    /// Whoever waits for an answer of somebody who is lost, or out, waits for ever.
    fn note_unanswered(&mut self) {
        let members: BTreeSet<Who> = self.world.members(self.circle).into_iter().collect();
        for (guest, host) in self.hosts.clone() {
            let is_in = self.world.is_up(guest) && self.world.circles(guest).contains(&self.circle);
            if !is_in && !members.contains(&host) {
                self.world.unanswered.insert(guest);
            }
        }
        self.note_unlinked(&members);
    }

    fn seen(&mut self) -> Seen {
        let mut parents: BTreeMap<EpochId, EpochId> = BTreeMap::new();
        for who in self.people.clone() {
            for (circle, _) in self.life.named_circles() {
                let epochs = inside::epochs(&*self.world.device(who).disk, circle);
                parents.extend(epochs.into_iter().filter_map(|(epoch, parent, _)| Some((epoch, parent?))));
            }
        }
        let different: BTreeSet<&EpochId> = parents.values().collect();
        let devices: Vec<_> = self.people.iter().map(|who| self.world.device(*who)).collect();
        let (relayed, betrayed) = self.world.relay_figures();
        let mut seen = Seen {
            relayed,
            betrayed,
            commits: parents.len() as u64,
            forks: (parents.len() - different.len()) as u64,
            messages: devices.iter().map(|device| device.acknowledged.len() as u64).sum(),
            lost: self.people.iter().filter(|who| self.world.is_lost(**who)).count() as u64,
            restarts: devices.iter().map(|device| device.restarts).sum(),
            attacks: self.world.rogues.attacks,
            refusals: devices.iter().map(|device| device.refusals().values().sum::<u64>()).sum(),
            circles: self.life.named_circles().len() as u64,
            linked: self.life.linked(&self.world),
            recovered: self.life.recovered,
            steps: self.world.steps(),
            elapsed_ms: self.world.elapsed_ms(),
            ..Seen::default()
        };
        if let Some(first) = self.world.undisputed_member(self.circle) {
            let membership = self.world.engine(first).membership(self.circle).expect("a member");
            seen.removed = membership.former_devices.len() as u64;
        }
        seen
    }
}
