//! A circle of any size in which four devices are real: two of Clave's, two of bare openmls.

use clave_crypto::{
    Checkpoint, DeviceKey, Entropy, GroupKeyAgreement, KeyPackagePair, Mls, PersonKey, RecoveryPhrase, RosterChange,
    Suite,
};
use clave_engine::CircleId;
use clave_engine::membership::{Action, DeviceEntry, Insertion, KeyPackages, Log, PersonEntry, Role, Scope};

use super::bare;

/// Key packages that each device publishes: those for one use, and a last resort.
pub const KEY_PACKAGES: usize = 4;
/// Devices that are there in earnest.
pub const REAL: usize = 4;
const SOUND: &str = "the team is made by the rules";

/// Who a member is.
pub struct Person {
    pub seed: [u8; 32],
    pub name: String,
    person: PersonKey,
    pub device: DeviceKey,
}

impl Person {
    /// Draws the keys as `Identity::generate` does from the same seed.
    pub fn new(number: usize) -> Self {
        let seed = *clave_seed(number).as_bytes();
        let mut entropy = Entropy::from_seed(seed);
        let person = RecoveryPhrase::generate(&mut entropy).person_key();
        let device = DeviceKey::generate(&mut entropy);
        Self { seed, name: format!("Person {number}"), person, device }
    }

    pub fn person_id(&self) -> clave_crypto::PersonId {
        self.person.id()
    }

    pub fn entry(&self, mut key_packages: Vec<Vec<u8>>) -> PersonEntry {
        let key_packages = KeyPackages { last_resort: key_packages.pop(), single_use: key_packages, x_wing: None };
        let device = DeviceEntry::new(&self.person, &self.device, "phone", key_packages);
        PersonEntry {
            person: self.person.id(),
            name: self.name.clone(),
            devices: vec![device],
            invitation: None,
            recovery: None,
        }
    }
}

fn clave_seed(number: usize) -> blake3::Hash {
    blake3::hash(&(number as u64).to_be_bytes())
}

/// Whose leaves have renewed their keys since they were added.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Tree {
    /// Nobody's but the founder's: all were added in one commit.
    Cold,
    /// Those of every so-manieth device, and of those that are real.
    Warm { every: usize },
}

/// Everybody, at one epoch.
pub struct Team {
    pub people: Vec<Person>,
    pub logs: [Log; 2],
    pub ours: [Checkpoint; 2],
    pub bare: [bare::Member; 2],
}

impl Team {
    /// Builds a circle of so many devices, of one person each.
    pub fn new(devices: usize, tree: Tree, entropy: &mut Entropy) -> Self {
        let people: Vec<Person> = (0..devices).map(Person::new).collect();
        let packages: Vec<Vec<KeyPackagePair>> = people
            .iter()
            .map(|person| {
                (0..KEY_PACKAGES).map(|_| Mls.key_package(&person.device, Suite::default(), false, entropy)).collect()
            })
            .collect();
        let logs = [(); 2].map(|()| write_log(&people, &packages));
        let circle = logs[0].circle();

        let created = Mls.create(&people[0].device, circle.as_bytes(), Suite::default(), entropy);
        // The devices of bare openmls are added by key packages that openmls made itself.
        let bare = [2, 3].map(|number: usize| bare::Newcomer::new(&people[number].device, entropy));
        let mut add: Vec<Vec<u8>> = packages[1..].iter().map(|pairs| pairs[0].public.clone()).collect();
        for (bare, slot) in bare.iter().zip([1, 2]) {
            add[slot] = bare.key_package.clone();
        }
        let change = RosterChange { add, remove: Vec::new() };
        let founded = Mls.commit(&people[0].device, &created, &change, entropy).expect(SOUND);
        let welcome = founded.welcome.expect("all but one are welcome");
        let joined = Mls.join(&people[1].device, &welcome, &[&packages[1][0].secret]).expect(SOUND).checkpoint;
        let team =
            Self { people, logs, ours: [founded.checkpoint, joined], bare: bare.map(|bare| bare.join(&welcome)) };
        match tree {
            Tree::Cold => team,
            Tree::Warm { every } => team.warmed(every, entropy),
        }
    }

    pub fn circle(&self) -> CircleId {
        self.logs[0].circle()
    }

    /// Has devices renew their keys, in turn. Those that are real step out for the time: so nobody has to follow.
    fn warmed(self, every: usize, entropy: &mut Entropy) -> Self {
        let Self { people, logs, ours: [mut at, _], .. } = self;
        let real = || people[..REAL].iter().map(|person| person.device.id());
        for number in (REAL..people.len()).step_by(every) {
            let device = &people[number].device;
            let seat = Mls.seat(&at, device.id()).expect(SOUND);
            let remove = if number == REAL { real().collect() } else { Vec::new() };
            at = Mls.commit(device, &seat, &RosterChange { add: Vec::new(), remove }, entropy).expect(SOUND).checkpoint;
        }
        let pairs =
            [0, 1].map(|number: usize| Mls.key_package(&people[number].device, Suite::default(), false, entropy));
        let bare = [2, 3].map(|number: usize| bare::Newcomer::new(&people[number].device, entropy));
        let add = pairs.iter().map(|pair| &pair.public).chain(bare.iter().map(|bare| &bare.key_package)).cloned();
        let host = &people[REAL].device;
        let seat = Mls.seat(&at, host.id()).expect(SOUND);
        let change = RosterChange { add: add.collect(), remove: Vec::new() };
        let welcome = Mls.commit(host, &seat, &change, entropy).expect(SOUND).welcome.expect("four are welcome");
        let mut ours = [0, 1].map(|number: usize| {
            Mls.join(&people[number].device, &welcome, &[&pairs[number].secret]).expect(SOUND).checkpoint
        });
        let mut bare = bare.map(|bare| bare.join(&welcome));
        // And those four, each followed by the others.
        for by in 0..REAL {
            let commit = if by < 2 {
                let output = Mls.commit(&people[by].device, &ours[by], &RosterChange::default(), entropy).expect(SOUND);
                let whole = Mls.whole_commit(&ours[by], &output.message).expect(SOUND);
                ours[by] = output.checkpoint;
                whole
            } else {
                bare[by - 2].commit(bare::Change::Rotate).0
            };
            for other in (0..REAL).filter(|other| *other != by) {
                if other < 2 {
                    let brief = Mls.brief_commit(&ours[other], &commit).expect(SOUND);
                    let followed = Mls.process(&people[other].device, &ours[other], &brief).expect(SOUND);
                    ours[other] = followed.checkpoint;
                } else {
                    bare[other - 2].process(&commit);
                }
            }
        }
        assert_eq!(ours[0].epoch, ours[1].epoch);
        assert_eq!(bare[0].authenticator(), bare[1].authenticator());
        Self { people, logs, ours, bare }
    }
}

/// The founder brings everybody in.
fn write_log(people: &[Person], packages: &[Vec<KeyPackagePair>]) -> Log {
    let entry = |number: usize| people[number].entry(packages[number].iter().map(|pair| pair.public.clone()).collect());
    let founder = &people[0].device;
    let name = "Team".to_owned();
    let genesis = Action::Genesis {
        name,
        nonce: [7; 16],
        founder: entry(0),
        parent: None,
        scope: Scope::Nested,
        suite: Suite::default(),
    };
    let mut log = Log::found(founder, genesis, super::START_MS).expect(SOUND);
    for number in 1..people.len() {
        let action = Action::AddPerson { newcomer: entry(number), role: Role::Member };
        let operation = log.new_operation(founder, action, super::START_MS).expect(SOUND);
        assert!(matches!(log.insert_verified(operation), Insertion::Inserted(_)));
    }
    log
}
