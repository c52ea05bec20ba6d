//! What a relay is given by circles that renew their keys all the time, and what it is not told of that: so that it can be looked for what joins the two.

use clave_engine::membership::Action;

use crate::{Livelock, Random, RelayNumber, Who, World};

/// A circle renews its keys once in a quarter of this, if anything was said.
const RATCHET_MS: u64 = 4 * 3_600_000;

/// How often is looked at the relay, in milliseconds.
const LOOK_MS: u64 = 60_000;

/// How often something is said in a circle, in thousandths for each look.
const SAYS_PERMILLE: u64 = 150;

/// An entry as it came to a relay.
#[derive(Clone, Debug)]
pub struct Given {
    /// When, in seconds since 1970.
    pub at_seconds: u64,
    /// The mailbox that it was put into.
    pub mailbox: [u8; 32],
    /// The envelope.
    pub bytes: Vec<u8>,
}

/// What a relay was given, in its order, and the truth about it.
#[derive(Clone, Debug, Default)]
pub struct Epochs {
    /// Everything.
    pub given: Vec<Given>,
    /// By circle: the mailboxes of its epochs, one after the other.
    pub circles: Vec<Vec<[u8; 32]>>,
}

impl Epochs {
    /// Has so many circles of two devices each begin so many epochs, and talk, through one relay.
    ///
    /// # Errors
    /// If the devices do not come to rest.
    ///
    /// # Panics
    /// If the engines do not do what they always do.
    pub fn of(seed: u64, circles: usize, epochs: usize) -> Result<Self, Livelock> {
        let mut world = World::new(seed);
        let mut random = Random::new(seed);
        let relay = world.add_relay();
        let mut pairs = Vec::new();
        for number in 0..circles {
            pairs.push(pair(&mut world, relay, number)?);
            // They do not all renew at the same moment.
            world.pass(random.between(0..RATCHET_MS / 4 / circles as u64));
        }
        let mut found = Self { given: Vec::new(), circles: vec![Vec::new(); circles] };
        let mut seen = 0;
        while found.circles.iter().any(|mailboxes| mailboxes.len() < epochs) {
            for (people, circle) in &pairs {
                if random.permille(SAYS_PERMILLE) {
                    let who = people[random.between(0..2) as usize];
                    world.post(who, *circle, "到 9 点开会 – see you there");
                }
                world.pass(random.between(0..2 * LOOK_MS / circles as u64));
                found.look(&world, relay, &pairs, &mut seen);
            }
        }
        Ok(found)
    }

    /// Takes what came to the relay.
    fn look(
        &mut self,
        world: &World,
        relay: RelayNumber,
        pairs: &[([Who; 2], clave_engine::CircleId)],
        seen: &mut u64,
    ) {
        let at_seconds = world.wall_clock_ms() / 1_000;
        let mut came: Vec<_> = world.relay(relay).entries().filter(|(position, ..)| position > seen).collect();
        came.sort_unstable_by_key(|(position, ..)| *position);
        for (position, mailbox, bytes) in came {
            *seen = position;
            self.given.push(Given { at_seconds, mailbox, bytes: bytes.to_vec() });
            // Both devices of a circle open the mailboxes of its epochs; each alone, its own.
            let both =
                |people: &[Who; 2]| people.iter().all(|who| world.relay(relay).opened_by(*who).contains(&mailbox));
            let circle = pairs.iter().position(|(people, _)| both(people));
            if let Some(mailboxes) = circle.map(|circle| &mut self.circles[circle])
                && !mailboxes.contains(&mailbox)
            {
                mailboxes.push(mailbox);
            }
        }
    }
}

/// Two people in a circle that renews its keys.
fn pair(world: &mut World, relay: RelayNumber, number: usize) -> Result<([Who; 2], clave_engine::CircleId), Livelock> {
    let people = ["王芳", "José"].map(|name| world.add(&format!("{name} {number}")));
    let circle = world.create_space(people[0], &format!("团队 {number}"));
    world.invite(people[0], circle, people[1]);
    world.settle()?;
    let (key, value) = ("history".to_owned(), format!("ratcheted:{}", RATCHET_MS / 1_000));
    let ratcheted = world.act(people[0], circle, Action::SetPolicy { key, value, keep_heads: Vec::new() });
    ratcheted.expect("an owner may set policies");
    world.use_relays(people[0], circle, &[relay]);
    world.settle()?;
    Ok((people, circle))
}
