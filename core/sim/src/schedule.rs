//! The random runner: people who use their devices while things go wrong, then a healed world that must agree.

use clave_engine::crdt::EventPatch;
use clave_engine::membership::Role;
use clave_engine::{CircleId, FileContent, InviteLink};

use crate::{Agreement, Findings, Network, OpenNote, Who, World};

const NAMES: [&str; 8] = ["Alice", "Bob", "Carol", "Dave", "Erin", "Frank", "Grace", "Heidi"];

/// What a run is made of. Equal plans do the same, byte for byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Where all chance comes from.
    pub seed: u64,
    /// How many devices there are, at most; at least two.
    pub devices: usize,
    /// How many things people do.
    pub steps: usize,
    /// How devices agree on keys.
    pub agreement: Agreement,
    /// Whether people are removed.
    pub removals: bool,
    /// Whether several may remove others: then two may remove each other.
    pub many_admins: bool,
    /// Whether people write notes and calendars too, not only messages and files.
    pub papers: bool,
    /// Whether frames come twice and out of order.
    pub hostile: bool,
    /// Whether to keep a readable trace.
    pub trace: bool,
}

impl Plan {
    /// What runs by default under a seed: two to five devices.
    #[must_use]
    pub fn of_seed(seed: u64) -> Self {
        Self {
            seed,
            devices: 2 + usize::try_from(seed % 4).expect("less than four"),
            steps: 40,
            agreement: Agreement::Mls,
            removals: true,
            many_admins: false,
            papers: true,
            hostile: seed % 5 == 4,
            trace: false,
        }
    }
}

/// How a run ended.
pub struct Outcome {
    /// What did not hold; nothing, if all is well.
    pub faults: Vec<String>,
    /// See [`Findings::unreadable`].
    pub unreadable: usize,
    /// Names everything that happened.
    pub trace_hash: String,
    /// What happened, if it was to be kept.
    pub lines: Vec<String>,
    /// How many things happened in the simulator.
    pub steps: u64,
    /// Simulated time, in milliseconds.
    pub elapsed_ms: u64,
}

struct Run {
    world: World,
    plan: Plan,
    circle: CircleId,
    people: Vec<Who>,
    /// Devices that were invited, and the founder.
    invited: Vec<Who>,
    removed: Vec<Who>,
    files: Vec<FileContent>,
    links: Vec<(Who, InviteLink)>,
    /// A note that somebody has open in an editor.
    open: Option<(Who, OpenNote)>,
}

/// Runs a plan.
#[must_use]
pub fn run(plan: Plan) -> Outcome {
    let mut run = Run::begin(plan);
    for _ in 0..plan.steps {
        run.somebody_acts();
        run.something_breaks();
        let ms = match run.world.random.between(0..4) {
            0 => 1,
            1 => run.world.random.between(1..200),
            2 => run.world.random.between(200..3_000),
            _ => run.world.random.between(3_000..20_000),
        };
        run.world.pass(ms);
    }
    run.world.heal();
    run.join_again();
    let mut faults = match run.world.settle() {
        Ok(()) => Vec::new(),
        Err(livelock) => vec![livelock.to_string()],
    };
    let Findings { faults: more, unreadable } = run.world.examine(run.circle);
    faults.extend(more);
    Outcome {
        faults,
        unreadable,
        trace_hash: run.world.trace().hash(),
        lines: run.world.trace().lines().to_vec(),
        steps: run.world.steps(),
        elapsed_ms: run.world.elapsed_ms(),
    }
}

impl Run {
    fn begin(plan: Plan) -> Self {
        let mut network = Network::default();
        if plan.hostile {
            network = Network { duplicate_permille: 30, overtake_permille: 30, ..network };
        }
        let mut world = World::with(plan.seed, plan.agreement, network);
        if plan.trace {
            world.keep_trace();
        }
        let mut people = Vec::new();
        for name in NAMES.into_iter().take(plan.devices.clamp(2, NAMES.len())) {
            let skew = world.random.between(0..7_200_000) as i64 - 3_600_000;
            people.push(world.add_with_clock(name, skew));
        }
        let circle = world.create_space(people[0], "Team");
        let mut run = Self {
            world,
            plan,
            circle,
            invited: vec![people[0]],
            people,
            removed: Vec::new(),
            files: Vec::new(),
            links: Vec::new(),
            open: None,
        };
        run.world.pass(1_000);
        run.invite();
        run.world.pass(5_000);
        run
    }

    /// A join is not remembered across a crash: whoever did not get in opens the link once more.
    fn join_again(&mut self) {
        for (guest, link) in std::mem::take(&mut self.links) {
            // Those who are in are refused at once.
            let _ = self.world.join(guest, &link);
        }
    }

    fn somebody(&mut self) -> Option<Who> {
        let able: Vec<Who> = self.world.members(self.circle);
        self.world.random.pick(&able)
    }

    fn somebody_acts(&mut self) {
        if self.plan.papers && self.world.random.permille(350) {
            let Some(who) = self.somebody() else { return };
            return match self.world.random.between(0..10) {
                0..3 => self.splice(who),
                3 => self.open = Some((who, self.world.open_note(who, self.circle))),
                4 => self.save(),
                _ => self.plan_something(who),
            };
        }
        match self.world.random.between(0..100) {
            0..55 => self.post(),
            55..75 => self.invite(),
            75..80 => self.remove(),
            80..85 => self.set_role(),
            85..92 => self.add_file(),
            _ => self.fetch(),
        }
    }

    fn post(&mut self) {
        let Some(who) = self.somebody() else { return };
        let text = self.world.fresh_text(who);
        // Somebody who was just removed may not write any more.
        let _ = self.world.try_post(who, self.circle, &text);
    }

    fn splice(&mut self, who: Who) {
        let len = self.world.note_len(who, self.circle) as u64;
        let position = self.world.random.between(0..len + 1);
        let delete = self.world.random.between(0..(len - position).min(5) + 1);
        let insert = ["", "and ", "*", "\n", "日本 "][self.world.random.between(0..5) as usize];
        // Whoever was just removed may not write any more. The same below.
        let _ = self.world.splice(who, self.circle, position as usize, delete as usize, insert);
    }

    /// Saves a note that was opened a while ago; others, and the same person, may have written to it meanwhile.
    fn save(&mut self) {
        let Some((who, open)) = self.open.take().filter(|(who, _)| self.world.is_up(*who)) else { return };
        let line = self.world.fresh_text(who);
        let markdown = match self.world.random.between(0..3) {
            0 => format!("# {line}\n\n{}", open.markdown),
            1 => format!("{}\n\n- [ ] {line}\n", open.markdown),
            _ => open.markdown.replace("and", "or"),
        };
        let _ = self.world.save_note(who, self.circle, &open, &markdown);
    }

    fn plan_something(&mut self, who: Who) {
        // Few, so that people meet at the same events.
        let uid = format!("event-{}@example.org", self.world.random.between(0..4));
        let text = Some(self.world.fresh_text(who));
        let _ = match self.world.random.between(0..10) {
            0..3 => self.world.add_event(who, self.circle, &uid, "a meeting"),
            3..5 => {
                let patch = EventPatch { summary: text, ..EventPatch::default() };
                self.world.update_event(who, self.circle, &uid, &patch)
            }
            5..7 => {
                let patch = EventPatch { location: text, ..EventPatch::default() };
                self.world.update_event(who, self.circle, &uid, &patch)
            }
            7..9 => {
                let events: String = (1..4).map(|n| {
                    let uid = format!("UID:event-{n}@example.org\r\nDTSTAMP:20270101T000000Z");
                    format!("BEGIN:VEVENT\r\n{uid}\r\nDTSTART:2027040{n}T090000Z\r\nSUMMARY:imported {n}\r\nEND:VEVENT\r\n")
                }).collect();
                let text = format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//sim//EN\r\n{events}END:VCALENDAR\r\n");
                self.world.import_events(who, self.circle, &text)
            }
            _ => self.world.remove_event(who, self.circle, &uid),
        };
    }

    fn invite(&mut self) {
        let Some(guest) = self.people.iter().copied().find(|who| !self.invited.contains(who)) else { return };
        let Some(host) = self.somebody() else { return };
        if !self.world.is_up(guest) {
            return;
        }
        if let Ok(link) = self.world.invitation(host, self.circle)
            && self.world.join(guest, &link).is_ok()
        {
            self.invited.push(guest);
            self.links.push((guest, link));
        }
    }

    fn remove(&mut self) {
        let standing: Vec<Who> =
            self.invited.iter().copied().filter(|who| *who != self.people[0] && !self.removed.contains(who)).collect();
        if !self.plan.removals || standing.len() < 2 {
            return;
        }
        let by = if self.plan.many_admins { self.somebody() } else { Some(self.people[0]) };
        let (Some(by), Some(whom)) = (by, self.world.random.pick(&standing)) else { return };
        if self.world.is_up(by) && self.world.remove(by, self.circle, whom).is_ok() {
            self.removed.push(whom);
        }
    }

    fn set_role(&mut self) {
        let (by, whom) = (self.people[0], self.world.random.pick(&self.invited.clone()));
        let role = match (self.plan.many_admins, self.world.random.between(0..2)) {
            (true, 0) => Role::Admin,
            _ => Role::Bot,
        };
        let Some(whom) = whom.filter(|whom| *whom != by) else { return };
        if self.world.is_up(by) {
            let _ = self.world.set_role(by, self.circle, whom, role);
        }
    }

    fn add_file(&mut self) {
        let Some(who) = self.somebody() else { return };
        let name = self.world.fresh_text(who).replace(' ', "-");
        let content = name.repeat(1 + self.world.random.between(0..3_000) as usize);
        if let Ok(file) = self.world.add_file(who, self.circle, &name, content.as_bytes()) {
            self.files.push(file);
        }
    }

    fn fetch(&mut self) {
        let Some(who) = self.somebody() else { return };
        let Some(place) = self.files.len().checked_sub(1) else { return };
        let file = self.files[self.world.random.between(0..place as u64 + 1) as usize].clone();
        let _ = self.world.fetch(who, self.circle, &file);
    }

    fn something_breaks(&mut self) {
        let Some(who) = self.world.random.pick(&self.people.clone()) else { return };
        match self.world.random.between(0..100) {
            0..10 => self.world.network_fault(),
            10..16 => {
                self.world.crash(who);
                let ms = self.world.random.between(1..30_000);
                self.world.restart_in(who, ms);
            }
            16..20 => {
                let writes = self.world.random.between(0..10);
                self.world.crash_at_write(who, writes);
                let ms = self.world.random.between(1..60_000);
                self.world.restart_in(who, ms);
            }
            20..24 => self.world.fail_next_write(who),
            24..28 => self.world.slow_disk(who, 0, 3_000),
            28..36 => {
                let islands: Vec<(Who, u8)> =
                    self.people.clone().into_iter().map(|who| (who, self.world.random.between(0..2) as u8)).collect();
                self.world.partition(&islands);
            }
            36..42 => {
                let islands: Vec<(Who, u8)> = self.people.iter().map(|who| (*who, 0)).collect();
                self.world.partition(&islands);
            }
            42..45 => self.world.isolate(who),
            _ => {}
        }
    }
}
