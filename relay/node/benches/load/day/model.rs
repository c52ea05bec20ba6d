//! The organisation, and what its people do in a day. Every number that was assumed is a constant here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::random::Random;

/// Of all people: have a phone beside the laptop that everybody has; work on that day.
const WITH_PHONE: f64 = 0.6;
const AT_WORK: f64 = 0.85;

/// Members of a department and of a team; teams and chats of two that one person is in. Besides, there is one circle of all.
const DEPARTMENT: usize = 40;
const TEAM: usize = 10;
const TEAMS_EACH: usize = 2;
const CHATS_EACH: usize = 5;

/// What one person at work says in a day, in entries: in chats of two, in teams, in the department. What all say to all.
const IN_CHATS: f64 = 14.0;
const IN_TEAMS: f64 = 11.0;
const IN_DEPARTMENT: f64 = 5.0;
const TO_ALL: usize = 10;

/// Files that one person adds in a day, and their lengths in bytes: median, spread of the logarithm, and what still goes through relays.
const FILES_EACH: f64 = 0.3;
const FILE_BYTES: (f64, f64, f64) = (200_000.0, 1.5, 32_000_000.0);

/// How often a circle begins a new epoch in a day: who comes, who goes, whose device renews its keys.
const EPOCHS_A_DAY: f64 = 1.0 / 3.0;

/// Epochs before the first of the day whose mailboxes are followed still: those of 30 days.
pub const PAST_EPOCHS: u32 = 9;

/// When laptops come and go: mean hour and deviation. Some sleep over lunch.
const COMES: (f64, f64) = (8.8, 0.75);
const GOES: (f64, f64) = (17.8, 1.0);
const LUNCH: f64 = 0.5;

/// How often a phone looks in between 7 and 23, and for how long, in hours.
const LOOKS: usize = 12;
const LOOK_HOURS: f64 = 1.0 / 60.0;

/// Sessions that compare all their circles: positions are not always known.
const COMPARES: f64 = 0.02;

/// What is said in each hour of the day, in relation.
const HOURS: [f64; 24] = [
    0.1, 0.05, 0.03, 0.02, 0.03, 0.1, 0.4, 1.5, 5.0, 9.0, 10.0, 10.0, 6.0, 7.0, 9.5, 10.0, 9.0, 7.0, 3.5, 2.0, 1.5,
    1.2, 0.8, 0.3,
];

pub struct Organisation {
    pub people: usize,
    /// The people of each.
    pub circles: Vec<Vec<usize>>,
    /// By person.
    pub circles_of: Vec<Vec<usize>>,
    /// Whose each device is, and whether it is a phone.
    pub devices: Vec<(usize, bool)>,
    departments: usize,
    teams: usize,
}

#[derive(Clone, Copy, Debug)]
pub enum Act {
    Entry { circle: usize },
    File { circle: usize, bytes: usize },
    Epoch { circle: usize },
}

impl Act {
    pub fn circle(self) -> usize {
        match self {
            Self::Entry { circle } | Self::File { circle, .. } | Self::Epoch { circle } => circle,
        }
    }
}

/// A time in which a device is online, in hours of the day.
#[derive(Default)]
pub struct Session {
    pub from: f64,
    pub until: f64,
    pub compares: bool,
    /// What it does, and when.
    pub acts: VecDeque<(f64, Act)>,
}

/// A device's day.
#[derive(Default)]
pub struct Plan {
    pub sessions: Vec<Session>,
}

impl Organisation {
    pub fn new(people: usize, random: &mut Random) -> Self {
        let mut circles = vec![(0..people).collect::<Vec<_>>()];
        let all: Vec<_> = (0..people).collect();
        circles.extend(all.chunks(DEPARTMENT).map(<[usize]>::to_vec));
        let departments = circles.len() - 1;
        for _ in 0..TEAMS_EACH {
            let mut mixed = all.clone();
            shuffle(&mut mixed, random);
            circles.extend(mixed.chunks(TEAM).map(<[usize]>::to_vec));
        }
        let teams = circles.len() - 1 - departments;
        for _ in 0..CHATS_EACH {
            let mut mixed = all.clone();
            shuffle(&mut mixed, random);
            circles.extend(mixed.chunks(2).map(<[usize]>::to_vec));
        }
        let mut circles_of = vec![Vec::new(); people];
        for (circle, members) in circles.iter().enumerate() {
            members.iter().for_each(|person| circles_of[*person].push(circle));
        }
        let mut devices: Vec<_> = all.iter().map(|person| (*person, false)).collect();
        devices.extend(all.into_iter().filter(|_| random.chance(WITH_PHONE)).map(|person| (person, true)));
        Self { people, circles, circles_of, devices, departments, teams }
    }

    pub fn describe(&self) {
        let phones = self.devices.iter().filter(|(_, is_phone)| *is_phone).count();
        let Self { people, departments, teams, .. } = self;
        let chats = self.circles.len() - 1 - departments - teams;
        println!(
            "{people} people, {phones} of them with a phone, {departments} departments, {teams} teams, {chats} chats of two, 1 of all"
        );
    }

    /// Circles of a person that have so many members at most and more than those before.
    fn of(&self, person: usize, members: std::ops::RangeInclusive<usize>) -> Vec<usize> {
        let fits = |circle: &&usize| members.contains(&self.circles[**circle].len());
        self.circles_of[person].iter().filter(fits).copied().collect()
    }
}

fn shuffle(all: &mut [usize], random: &mut Random) {
    for at in (1..all.len()).rev() {
        all.swap(at, random.below(at + 1));
    }
}

/// By device: what each does between two hours of the day.
pub fn plans(organisation: &Organisation, from: f64, until: f64, random: &mut Random) -> Vec<Plan> {
    let at_work: BTreeSet<usize> = (0..organisation.people).filter(|_| random.chance(AT_WORK)).collect();
    let mut plans: Vec<Plan> = organisation
        .devices
        .iter()
        .map(|(person, is_phone)| match is_phone {
            true => phone(random),
            false if at_work.contains(person) => laptop(random),
            false => Plan::default(),
        })
        .collect();
    // Laptops stand first, in the order of their people.
    for (person, act) in acts(organisation, &at_work, random) {
        let hour = hour(random);
        let sessions = &mut plans[person].sessions;
        if let Some(session) = sessions.iter_mut().find(|session| (session.from..session.until).contains(&hour)) {
            session.acts.push_back((hour, act));
        } else if let Some(session) = sessions.first_mut() {
            let hour = random.between(session.from, session.until);
            session.acts.push_back((hour, act));
        }
    }
    for plan in &mut plans {
        plan.sessions.retain(|session| session.until > from && session.from < until);
        for session in &mut plan.sessions {
            (session.from, session.until) = (session.from.max(from), session.until.min(until));
            session.acts.retain(|(hour, _)| (session.from..session.until).contains(hour));
            session.acts.make_contiguous().sort_by(|one, other| one.0.total_cmp(&other.0));
        }
    }
    plans
}

/// An hour at which something is said.
fn hour(random: &mut Random) -> f64 {
    let mut left = random.unit() * HOURS.iter().sum::<f64>();
    for (hour, weight) in HOURS.iter().enumerate() {
        if left < *weight {
            return hour as f64 + left / weight;
        }
        left -= weight;
    }
    12.0
}

fn laptop(random: &mut Random) -> Plan {
    let comes = random.normal(COMES.0, COMES.1).clamp(5.0, 11.5);
    let goes = random.normal(GOES.0, GOES.1).clamp(14.0, 23.5);
    let lunch = random.between(11.6, 13.0);
    let mut session = |from, until| Session { from, until, compares: random.chance(COMPARES), acts: VecDeque::new() };
    let whole = session(comes, goes);
    let halves = vec![session(comes, lunch), session(lunch + 0.75, goes)];
    Plan { sessions: if random.chance(LUNCH) { halves } else { vec![whole] } }
}

fn phone(random: &mut Random) -> Plan {
    let mut looks: Vec<_> = (0..LOOKS).map(|_| random.between(7.0, 23.0)).collect();
    looks.sort_by(f64::total_cmp);
    // One look after the other.
    looks.dedup_by(|next, last| *next - *last < 2.0 * LOOK_HOURS);
    let session = |from: f64| Session {
        from,
        until: from + LOOK_HOURS,
        compares: random.chance(COMPARES),
        acts: VecDeque::new(),
    };
    Plan { sessions: looks.into_iter().map(session).collect() }
}

/// Who does what.
fn acts(organisation: &Organisation, at_work: &BTreeSet<usize>, random: &mut Random) -> Vec<(usize, Act)> {
    let mut acts = Vec::new();
    for person in at_work {
        let by_size = [(2..=2, IN_CHATS), (3..=TEAM, IN_TEAMS), (TEAM + 1..=DEPARTMENT, IN_DEPARTMENT)];
        for (members, mean) in by_size {
            let circles = organisation.of(*person, members);
            for _ in 0..random.count(mean) {
                let Some(circle) = circles.get(random.below(circles.len())) else { continue };
                acts.push((*person, Act::Entry { circle: *circle }));
            }
        }
        for _ in 0..random.count(FILES_EACH) {
            let circles = organisation.of(*person, 2..=DEPARTMENT);
            let Some(circle) = circles.get(random.below(circles.len())) else { continue };
            let bytes = random.length(FILE_BYTES.0, FILE_BYTES.1, FILE_BYTES.2);
            acts.push((*person, Act::File { circle: *circle, bytes }));
        }
    }
    let workers: Vec<_> = at_work.iter().copied().collect();
    acts.extend((0..TO_ALL).map(|_| (workers[random.below(workers.len())], Act::Entry { circle: 0 })));
    let mut there: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (circle, members) in organisation.circles.iter().enumerate() {
        there.insert(circle, members.iter().copied().filter(|person| at_work.contains(person)).collect());
    }
    for (circle, members) in there {
        if !members.is_empty() && random.chance(EPOCHS_A_DAY) {
            acts.push((members[random.below(members.len())], Act::Epoch { circle }));
        }
    }
    acts
}
