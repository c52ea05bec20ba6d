//! What a run is made of.

use clave_engine::crypto::Suite;

use crate::{Agreement, Attack, Random};

/// The fewest devices of a plan.
pub(crate) const DEVICES_MIN: usize = 2;
/// The most devices of a plan.
pub(crate) const DEVICES_MAX: usize = 200;

/// Of a thousand seeds, how many run the mix *life* if none is named. A quarter once 200 seeds of it end well.
const LIFE_PERMILLE: u64 = 0;
/// Of a thousand seeds, in how many the space names relays if nobody says. A quarter once 1,000 seeds with relays end well.
const RELAYS_PERMILLE: u64 = 0;
/// The most relays that a space can name.
pub(crate) const RELAYS_MAX: usize = 4;

/// What people are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mix {
    /// One owner, who alone removes people and gives roles.
    Calm,
    /// Several owners and admins, who remove each other and each other's invitees.
    Admins,
    /// The same, and some members' devices that keep to no rule.
    Hostile,
    /// As admins; and people have circles inside the space, several devices each, and recovery phrases.
    Life,
}

impl Mix {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Calm, Self::Admins, Self::Hostile, Self::Life];
    /// Those of people with one circle and one device each.
    const PLAIN: [Self; 3] = [Self::Calm, Self::Admins, Self::Hostile];

    /// The word for it on the command line.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Admins => "admins",
            Self::Hostile => "hostile",
            Self::Life => "life",
        }
    }

    /// The mix of that word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mix| mix.word() == word)
    }
}

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
    /// The suite of the space.
    pub suite: Suite,
    /// What people are like.
    pub mix: Mix,
    /// How many members' devices keep to no rule.
    pub rogues: usize,
    /// What they do, if it is always the same.
    pub attack: Option<Attack>,
    /// Whether people are removed.
    pub removals: bool,
    /// Whether who was removed may be brought in again.
    pub returns: bool,
    /// Whether people write notes and calendars too, not only messages and files.
    pub papers: bool,
    /// Whether people of the log alone act at every turn, from any point of it.
    pub strays: bool,
    /// Whether who comes reads nothing from before they came.
    pub history: bool,
    /// Whether guests are given dates that are about to pass, and somebody writes as they do.
    pub guests: bool,
    /// Whether entries are bundled early and often.
    pub bundles: bool,
    /// How many relays there are.
    pub relays: usize,
    /// Whether frames come twice and out of order.
    pub disorder: bool,
    /// Crashes the device of that number when so many of its writes are durable, before it hears of the last.
    pub crash_at: Option<(usize, u64)>,
    /// Whether to keep a readable trace.
    pub trace: bool,
}

impl Plan {
    /// What runs by default under a seed: 5 to 40 devices, most often few; each mix for an equal part of the seeds, but for
    /// *life* so many in a thousand of all, and the others those that are left; disorder on the network for a fifth.
    #[must_use]
    pub fn of_seed(seed: u64) -> Self {
        let plan = Self::plain(seed);
        let lives = Random::new(seed ^ 0x6c69_6665_0000_0000).permille(LIFE_PERMILLE);
        if lives { plan.with_mix(Mix::Life) } else { plan }
    }

    /// The seed's plan in which nobody has more than a circle and a device.
    fn plain(seed: u64) -> Self {
        // Drawn apart from what the run draws, so that a plan can be varied and its chances stay.
        let mut random = Random::new(seed ^ 0x706c_616e_0000_0000);
        let devices = match random.between(0..100) {
            0..62 => random.between(5..9),
            62..86 => random.between(9..16),
            86..95 => random.between(16..25),
            95..99 => random.between(25..40),
            _ => 40,
        };
        let mix = random.pick(&Mix::PLAIN).expect("there are three");
        let rogues = 1 + random.between(0..3);
        let disorder = random.permille(200);
        let mut random = Random::new(seed ^ 0x7265_6c61_7900_0000);
        let relays = if random.permille(RELAYS_PERMILLE) { random.between(1..3) } else { 0 };
        Self {
            seed,
            devices: devices as usize,
            // More devices have more to do with each other, but a long run of many is not another kind of run.
            steps: 40 + devices as usize,
            agreement: Agreement::Mls,
            suite: Suite::default(),
            mix,
            rogues: if mix == Mix::Hostile { (rogues as usize).min(devices as usize / 3) } else { 0 },
            attack: None,
            removals: true,
            returns: true,
            papers: true,
            strays: false,
            history: false,
            guests: false,
            bundles: false,
            relays: relays as usize,
            disorder,
            crash_at: None,
            trace: false,
        }
    }

    /// How many people there are, with a device each at first: all, or of those who link further ones two thirds.
    #[must_use]
    pub fn people(&self) -> usize {
        if self.mix == Mix::Life { (self.devices * 2 / 3).max(DEVICES_MIN) } else { self.devices }
    }

    /// The same people under another mix.
    #[must_use]
    pub fn with_mix(self, mix: Mix) -> Self {
        let rogues = self.rogues.max(Self::plain(self.seed).rogues).max(1);
        Self { mix, rogues: if mix == Mix::Hostile { rogues } else { 0 }, ..self }
    }
}

/// What the device of that number is called.
pub(crate) fn name(number: usize) -> String {
    const NAMES: [&str; 20] = [
        "Alice", "Bob", "Carol", "Dave", "Erin", "Frank", "Grace", "Heidi", "Ivan", "Judy", "Kim", "Lena", "Mallory",
        "Niaj", "Olivia", "Peggy", "Quinn", "Rupert", "Sybil", "Trent",
    ];
    match number / NAMES.len() {
        0 => NAMES[number].to_owned(),
        round => format!("{} {}", NAMES[number % NAMES.len()], round + 1),
    }
}
