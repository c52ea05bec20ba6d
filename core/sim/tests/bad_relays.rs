//! Relays that say what is not so, or nothing at all, to people who have no other way to each other.

use clave_engine::crypto::{ContentKey, Entropy};
use clave_engine::fuzzing::rogue::{Rogue, Said};
use clave_mailbox::{self as wire, Reply, reply};
use clave_sim::{Livelock, Reason, RelayNumber, Who, World};

use away::{alone, met_once};

#[allow(dead_code, unreachable_pub, reason = "shared by tests")]
#[path = "support/away.rs"]
mod away;

/// Has a relay deliver bytes out of each mailbox that a device has open.
fn deliver(world: &mut World, relay: RelayNumber, to: Who, bytes: &[u8]) {
    let last = world.relay(relay).entries().map(|(position, ..)| position).max().unwrap_or_default();
    for mailbox in world.relay(relay).opened_by(to) {
        let item = wire::Item { position: last + 1, bytes: bytes.to_vec().into() };
        let delivery = wire::Delivery { mailbox: mailbox.to_vec().into(), entries: vec![item] };
        let reply = Reply { number: 0, body: Some(reply::Body::Delivery(delivery)) };
        world.send_from_relay(relay, to, wire::encode(&reply));
    }
}

/// The relay has no room, and says of something else that it stored it.
#[test]
fn what_a_relay_stored_without_having_been_asked_is_not_what_waits_for_it() -> Result<(), Livelock> {
    for seed in 0..4 {
        let (mut world, [alice, bob, _], team, relays) = met_once(seed, 1)?;
        world.restart(alice);
        world.pass(60_000);
        world.relay_mut(relays[0]).refuses_puts = Some(Reason::Full);
        world.post(alice, team, "你好");
        world.pass(10);
        let stored = reply::Body::Stored(wire::Stored { new: 1 });
        let reply = Reply { number: 1_000_000, body: Some(stored) };
        world.send_from_relay(relays[0], alice, wire::encode(&reply));
        world.pass(10_000);
        assert_eq!(world.engine(alice).waiting_for_relays(team), 1, "seed {seed}");
        world.relay_mut(relays[0]).refuses_puts = None;
        world.stop_relay(relays[0]);
        world.start_relay(relays[0]);
        world.pass(600_000);
        world.crash(alice);
        alone(&mut world, bob, |world| assert_eq!(world.messages(bob, team), ["你好"], "seed {seed}"));
    }
    Ok(())
}

#[test]
fn a_relay_that_does_not_answer_is_given_up_and_greeted_anew() -> Result<(), Livelock> {
    let (mut world, [alice, bob, _], team, relays) = met_once(1, 1)?;
    world.relay_mut(relays[0]).is_silent = true;
    world.restart(alice);
    world.post(alice, team, "你好");
    world.pass(10_000);
    world.relay_mut(relays[0]).is_silent = false;
    // The connection stays as it is.
    world.pass(120_000);
    assert_eq!(world.engine(alice).waiting_for_relays(team), 0);
    world.crash(alice);
    alone(&mut world, bob, |world| assert_eq!(world.messages(bob, team), ["你好"]));
    Ok(())
}

/// Somebody who once had the keys of the mailboxes puts there what is sealed with a key that does not exist.
#[test]
fn what_does_not_belong_into_a_mailbox_makes_nobody_wait() -> Result<(), Livelock> {
    let (mut world, [alice, bob, _], team, relays) = met_once(1, 1)?;
    let key = ContentKey::from_bytes([7; 32].into());
    world.restart(alice);
    let sealer = Rogue::of(world.engine(alice), team).expect("a member");
    let now_ms = world.wall_clock_ms();
    let said = Said::Garbage(vec![7; 40]);
    let sealed = sealer.seal(&key, sealer.id(), said, now_ms, &mut Entropy::from_seed([3; 32]));
    world.crash(alice);
    world.restart(bob);
    world.pass(60_000);
    deliver(&mut world, relays[0], bob, &sealed.expect("it is small").bytes);
    world.pass(10_000);
    assert_eq!(world.engine(bob).status(team).expect("a member").held, 0, "it waits for a key");
    world.crash(bob);
    alone(&mut world, alice, |world| world.post(alice, team, "你好"));
    alone(&mut world, bob, |world| assert_eq!(world.messages(bob, team), ["你好"]));
    Ok(())
}
