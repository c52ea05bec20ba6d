//! Many devices in one process, under one seed: a network, clocks and disks that fail in every way that real ones do.
//!
//! A [`World`] drives the sans-IO engine. Everything that happens by chance follows from its seed, so a run can be
//! repeated byte for byte. The random runner ([`run`]) lets people use the devices while faults happen, heals the world,
//! and checks that all devices agree.
//!
//! ```
//! use clave_sim::World;
//!
//! let mut world = World::new(1);
//! let (alice, bob) = (world.alice(), world.bob());
//! let team = world.create_space(alice, "Team");
//! world.invite(alice, team, bob);
//! world.settle()?;
//! world.post(alice, team, "Good morning");
//! world.settle()?;
//! assert_eq!(world.messages(bob, team), ["Good morning"]);
//! # Ok::<(), clave_sim::Livelock>(())
//! ```

#![forbid(unsafe_code)]

mod arguments;
mod check;
mod device;
mod epochs;
mod oracle;
mod parallel;
mod plan;
mod random;
mod relay;
mod schedule;
mod tally;
mod trace;
mod world;

pub use arguments::{Arguments, HELP};
pub use check::{Check, Findings};
pub use clave_engine::fuzzing::Memory as Disk;
pub use clave_mailbox::Reason;
pub use device::{Content, Device, Who, Written};
pub use epochs::{Epochs, Given};
pub use parallel::run_all;
pub use plan::{Mix, Plan};
pub use random::Random;
pub use relay::{Malice, ModelRelay};
pub use schedule::{Outcome, run};
pub use tally::{Seen, Tally};
pub use trace::Trace;
pub use world::{Agreement, Attack, Livelock, Network, OpenNote, RelayNumber, World};
